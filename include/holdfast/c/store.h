#ifndef HOLDFAST_C_STORE_H
#define HOLDFAST_C_STORE_H

/* The encrypted store: see holdfast/encrypted_local_store.h, whose limits and errors these have.
 * `collection` may be NULL everywhere: "records". */

#include "holdfast/c/keys.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_store hf_store;
typedef struct hf_version hf_version;         /* a record as it was read: of its store */
typedef struct hf_transaction hf_transaction; /* of its store, and of one thread */
typedef struct hf_live_query hf_live_query;   /* of its store */

enum { HF_OPEN_OR_CREATE = 0, HF_OPEN_EXISTING = 1, HF_CREATE = 2 };
enum { HF_DURABILITY_FULL = 0, HF_DURABILITY_RELAXED = 1 };

/* Start with HF_STORE_OPTIONS, and change what you need: later versions append members. */
typedef struct hf_store_options {
  size_t size; /* of this struct, as the caller knows it */
  int open;
  int durability;
  size_t cache_mib;               /* 0: by the memory there is */
  uint32_t passphrase_memory_mib; /* 64 to 1024; 0: what takes about half a second */
  int history_days;               /* 0: none */
  uint64_t checkpoint_bytes;      /* how much the vault's log grows before it is summed up */
  /* A place outside of the file that keeps the store's position, both or none: see StoreAnchor.
   * Return 0 where it worked; `load` 1 where nothing was kept yet. Called under the store's lock.
   */
  int (*anchor_load)(void* user, uint64_t* commits, uint8_t root[16]);
  int (*anchor_save)(void* user, uint64_t commits, const uint8_t root[16]);
  void* anchor_user;
} hf_store_options;
#define HF_STORE_OPTIONS \
  {sizeof(hf_store_options), HF_OPEN_OR_CREATE, HF_DURABILITY_FULL, 0, 0, 30, 8u << 20, 0, 0, 0}

/* `options` may be NULL. */
hf_code hf_store_open(const char* path, hf_key* key, const hf_store_options* options,
                      hf_store** out);
/* Closes the store and all that was made from it, and wipes its keys. HF_BUSY while another
 * thread has a transaction; one of this thread is rolled back. */
hf_code hf_store_close(hf_store* store);

/* `priority` ranks the write under the strategy "priority"; NULL: the document's own field. */
hf_code hf_store_put(hf_store* store, const char* collection, const char* id, const char* document,
                     const int64_t* priority);
/* Against what was read of this very record: changes only the fields that differ from that version.
 */
hf_code hf_store_put_version(hf_store* store, const char* collection, const char* id,
                             const char* document, hf_version* version, const int64_t* priority);
hf_code hf_store_get(hf_store* store, const char* collection, const char* id, char** document);
/* `version`, `created_ms` and `updated_ms` may be NULL. */
hf_code hf_store_get_version(hf_store* store, const char* collection, const char* id,
                             char** document, hf_version** version, int64_t* created_ms,
                             int64_t* updated_ms);
hf_code hf_version_close(hf_version* version);
/* Reads, lets `edit` answer with the new document, and writes, in one transaction. `edit` returns 0
 * to go on; no answer leaves the record as it is; anything else: HF_CANCELLED. */
typedef int (*hf_edit)(void* user, const char* document, hf_reply* reply);
hf_code hf_store_update(hf_store* store, const char* collection, const char* id, hf_edit edit,
                        void* user, const int64_t* priority, bool* found);
hf_code hf_store_patch(hf_store* store, const char* collection, const char* id,
                       const char* merge_patch, const int64_t* priority, bool* found);
hf_code hf_store_remove(hf_store* store, const char* collection, const char* id, bool* found);

/* Return 0 to go on; anything else ends the visit, which is no error. */
typedef int (*hf_visit_record)(void* user, const char* id, const char* document);
typedef int (*hf_visit_text)(void* user, const char* text);

hf_code hf_store_list(hf_store* store, const char* collection, char** ids); /* ["a", "b"] */
hf_code hf_store_for_each(hf_store* store, const char* collection, hf_visit_record visit,
                          void* user);
hf_code hf_store_collections(hf_store* store, char** names); /* ["notes", "records"] */

/* All calls of this thread on the store until commit happen, or none. Another thread's calls wait
 * meanwhile. Nested ones join the outermost; the inner ones end first. Both functions close the
 * handle, whatever they return but HF_MISUSE: on another thread, or before an inner one. */
hf_code hf_transaction_begin(hf_store* store, hf_transaction** out);
hf_code hf_transaction_commit(hf_transaction* transaction);
hf_code hf_transaction_rollback(hf_transaction* transaction);

/* SQL over collections: see EncryptedLocalStore::query. `parameters` is a JSON array, or NULL. A
 * row is a JSON object by column. */
hf_code hf_store_query(hf_store* store, const char* sql, const char* parameters,
                       hf_visit_text visit, void* user);
hf_code hf_store_query_all(hf_store* store, const char* sql, const char* parameters, char** rows);
/* {"scans": bool, "steps": [{"detail", "scans", "collection"}]} */
hf_code hf_store_explain(hf_store* store, const char* sql, const char* parameters, char** plan);
/* Calls `changed` now, and after each commit that changed the result, on the thread that committed,
 * with {"added": [row], "removed": [row], "rows": n}. It may use the store. */
typedef void (*hf_observe)(void* user, const char* json);
hf_code hf_store_watch(hf_store* store, const char* sql, const char* parameters, hf_observe changed,
                       void* user, hf_live_query** out);
hf_code hf_live_query_close(hf_live_query* query); /* not inside a transaction */
/* `path` is like "$.due". False where there is one (create), or none (drop). */
hf_code hf_store_create_index(hf_store* store, const char* collection, const char* path,
                              bool* created);
hf_code hf_store_drop_index(hf_store* store, const char* collection, const char* path,
                            bool* dropped);
hf_code hf_store_indexes(hf_store* store, char** indexes); /* [{"collection", "path"}] */

/* Edits of fields whose type a policy declares: see holdfast/fields.h. `path` is like "$.todo". */
hf_code hf_field_add(hf_store* store, const char* collection, const char* id, const char* path,
                     int64_t by, bool* found);
hf_code hf_field_insert_member(hf_store* store, const char* collection, const char* id,
                               const char* path, const char* member, bool* found);
hf_code hf_field_remove_member(hf_store* store, const char* collection, const char* id,
                               const char* path, const char* member, bool* found);
hf_code hf_field_insert(hf_store* store, const char* collection, const char* id, const char* path,
                        size_t at, const char* value, bool* found);
hf_code hf_field_move(hf_store* store, const char* collection, const char* id, const char* path,
                      size_t from, size_t to, bool* found);
hf_code hf_field_erase(hf_store* store, const char* collection, const char* id, const char* path,
                       size_t at, bool* found);
/* `erase` characters (Unicode scalars) at `at` go, and `insert` comes. */
hf_code hf_field_edit_text(hf_store* store, const char* collection, const char* id,
                           const char* path, size_t at, size_t erase, const char* insert,
                           bool* found);

/* What a record said before: [{"change", "time_ms", "created", "deleted", "values": [{"path",
 * "value", "by", "device", "time_ms"}]}], the last first; "value" is missing where there was none,
 * "by" where it is no counter. */
hf_code hf_history_changes(hf_store* store, const char* collection, const char* id, char** changes);
/* Undoes a change by its "change": {"records": n, "skipped": ["collection/id $.path"]} */
hf_code hf_history_undo(hf_store* store, const char* change, char** report);

/* One step of the app's own schema, `version` 1, 2, …; `run` returns 0 where it worked. */
typedef struct hf_migration {
  uint32_t version;
  const char* name;
  int (*run)(void* user, hf_store* store);
  void* user;
} hf_migration;
/* {"from", "to", "steps": [name]}. HF_CANCELLED where a step did not return 0. */
hf_code hf_store_migrate(hf_store* store, const hf_migration* steps, size_t count, bool dry_run,
                         char** report);
/* What opening the store will do to its tables; likewise. */
hf_code hf_store_check_upgrade(const char* path, hf_key* key, const hf_store_options* options,
                               char** report);

/* The store's keys: [{"number", "kind", "created_ms"}]. */
hf_code hf_store_key_slots(hf_store* store, char** slots);
hf_code hf_store_add_key(hf_store* store, hf_key* key, uint8_t* number);
hf_code hf_store_change_key(hf_store* store, uint8_t number, hf_key* key);
hf_code hf_store_remove_key(hf_store* store, uint8_t number);
/* `progress` may be NULL, here and below. */
hf_code hf_store_rekey(hf_store* store, hf_progress progress, void* user);
hf_code hf_store_export_key(hf_store* store, const void* password, size_t size, char** text);
hf_code hf_store_lock(hf_store* store); /* until unlock other calls are HF_LOCKED */
hf_code hf_store_unlock(hf_store* store, hf_key* key);
hf_code hf_store_is_locked(hf_store* store, bool* locked);
hf_code hf_store_verify(hf_store* store, hf_progress progress, void* user);

#ifdef __cplusplus
}
#endif

#endif
