#ifndef HOLDFAST_C_MOVING_H
#define HOLDFAST_C_MOVING_H

/* Backups, and databases of Fernet tokens: see holdfast/backup.h. `progress` may be NULL. */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `records` and `bytes` may be NULL. */
hf_code hf_backup(hf_store* store, const char* path, hf_key* key, hf_progress progress, void* user,
                  uint64_t* records, uint64_t* bytes);
/* Makes a store at `path` of a backup; with `replace`, in the place of the one there, which must
 * not be open. `options` may be NULL; its `open` is not used. */
hf_code hf_restore(const char* backup_path, hf_key* backup_key, const char* path, hf_key* key,
                   bool replace, const hf_store_options* options, hf_progress progress, void* user,
                   uint64_t* records, uint64_t* bytes);

/* A plain SQLite database whose table `encrypted_data` has columns `id` and `data`, a token of a
 * JSON object. */
hf_code hf_import_fernet(hf_store* store, const char* sqlite_path, hf_fernet* keys,
                         const char* collection, hf_progress progress, void* user,
                         uint64_t* records);
hf_code hf_export_fernet(hf_store* store, const char* sqlite_path, hf_fernet* keys,
                         const char* collection, hf_progress progress, void* user,
                         uint64_t* records);

#ifdef __cplusplus
}
#endif

#endif
