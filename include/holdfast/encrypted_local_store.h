#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/progress.h"
#include "holdfast/query.h"
#include "holdfast/record_version.h"
#include "holdfast/user_key.h"

namespace holdfast {

namespace base {
struct Environment;
}
namespace store {
class Engine;
}  // namespace store

// Names a record: by id alone in the collection "records", or by collection and id. Both are 1 to
// 1024 bytes of UTF-8 without NUL; names of collections that start with "_" are Holdfast's own.
struct Key {
  std::string collection = "records";
  std::string id;
  Key(const char* record_id) : id(record_id) {}             // NOLINT: meant to convert
  Key(std::string record_id) : id(std::move(record_id)) {}  // NOLINT: meant to convert
  Key(std::string in_collection, std::string record_id)
      : collection(std::move(in_collection)), id(std::move(record_id)) {}
};

struct VersionedDocument {
  nlohmann::json document;
  RecordVersion version;
  std::int64_t created_ms = 0;  // UTC, milliseconds since 1970: the first write
  std::int64_t updated_ms = 0;  // the latest write
};

// How far a store's history goes: every transaction counts one up, and chains a MAC to the one
// before. No secret.
struct StorePosition {
  std::uint64_t commits = 0;
  std::array<std::uint8_t, 16> root{};
};

// A place outside the store's file that keeps its position, such as the platform's key store: with
// it, a whole file that was put back in an older version is noticed, and so is a log that lost its
// end. Both functions are called on the thread that opens or writes, under the store's lock.
struct StoreAnchor {
  std::function<std::optional<StorePosition>()> load;  // nothing: no store was opened here yet
  // After each transaction, before it is acknowledged. Must be durable when it returns. Where it
  // throws, the transaction is stored, but the store takes no more until it is opened again.
  std::function<void(const StorePosition&)> save;
};

struct StoreOptions {
  enum class Open { or_create, existing, create };
  enum class Durability {
    full,     // acknowledged means on disk: survives a power cut
    relaxed,  // survives a killed process; a power cut may take the last moments
  };
  Open open = Open::or_create;
  Durability durability = Durability::full;
  // Page cache of the writer, and of each thread that reads beside it; 0: by the memory there is.
  std::size_t cache_mib = 0;
  // Of Argon2id for a new passphrase slot, 64 to 1024; 0: what takes this machine about half a
  // second.
  std::uint32_t passphrase_memory_mib = 0;
  // How long what records said before is kept: see History. 0: not at all.
  int history_days = 30;
  // How much the vault's log grows, at 4 KiB a batch more than its bytes, and by half of what the
  // vault holds at least, before this device makes a checkpoint of it: see docs/protocol.md.
  std::uint64_t checkpoint_bytes = 8 << 20;
  StoreAnchor anchor;                              // needs Durability::full
  const base::Environment* environment = nullptr;  // the world's seams; null: the real ones
};

// One way to open a store.
struct KeySlotInfo {
  std::uint8_t number = 0;
  std::string kind = "unknown";  // see key_kind_name; "unknown": of a later version
  std::int64_t created_ms = 0;   // UTC, milliseconds since 1970
};

// One step of an app's own schema.
struct Migration {
  std::uint32_t version = 0;  // that it leads to: 1, 2, …
  std::string name;
  std::function<void(class EncryptedLocalStore&)> run;
};
struct MigrationReport {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::vector<std::string> steps;  // that were run
};

struct WriteOptions {
  // Ranks this write under the strategy `priority`; by default the document's integer `priority`
  // field.
  std::optional<std::int64_t> priority;
};

// An encrypted store of JSON documents in one file. All of it is sealed: ids, field names, times,
// indexes, journal. The file belongs to one process at a time; the object may be used from many
// threads.
//
// Limits: a document is a JSON object of at most 512 KiB of text and 100 levels. Keys come back
// sorted. Every method throws Error: io (disk full, failed sync: nothing was acknowledged), corrupt
// (stored bytes fail authentication), locked (see lock()), invalid_argument and too_large (the
// input breaks a limit).
class EncryptedLocalStore {
 public:
  // Opens the store, or makes it with `user_key` as its first key. Waits up to five seconds for
  // another process to let go. Throws Error: in_use, wrong_key, not_a_store, newer_version,
  // corrupt, not_found (Open::existing), exists (Open::create), io.
  EncryptedLocalStore(const std::string& db_path, const UserKey& user_key,
                      const StoreOptions& options = {});
  ~EncryptedLocalStore();  // closes; keys are wiped
  EncryptedLocalStore(EncryptedLocalStore&&) noexcept;
  EncryptedLocalStore& operator=(EncryptedLocalStore&&) noexcept;

  // Overwrites what is visible now, field by field: a field that is equal is not touched. Nothing
  // happens where nothing differs.
  void store(const Key& key, nlohmann::json document, const WriteOptions& options = {});
  // As above for a document that was read earlier: changes only the fields that differ from that
  // version, and a change that landed in between stays beside this one as a conflict.
  void store(const Key& key, const nlohmann::json& document, const RecordVersion& version,
             const WriteOptions& options = {});
  // The document; nothing where there is none.
  std::optional<nlohmann::json> retrieve(const Key& key) const;
  std::optional<VersionedDocument> retrieve_versioned(const Key& key) const;
  // Reads, lets `edit` change the document, and writes, in one transaction. False where there is
  // none.
  bool update(const Key& key, const std::function<void(nlohmann::json&)>& edit,
              const WriteOptions& options = {});
  // Changes the fields that `merge_patch` names (RFC 7396; null deletes). False where there is no
  // record.
  bool patch(const Key& key, const nlohmann::json& merge_patch, const WriteOptions& options = {});
  // False where there was none.
  bool remove(const Key& key);

  // The ids in a collection, in byte order; empty for an unknown collection.
  std::vector<std::string> list(const std::string& collection = "records") const;
  // Calls `visit` for each record in the order of list(), until it returns false; records as of one
  // moment, while others write.
  void for_each(
      const std::string& collection,
      const std::function<bool(const std::string& id, const nlohmann::json&)>& visit) const;
  std::vector<std::string> collections() const;  // that hold a record, in byte order

  // Runs `work`, whose calls on this store all happen or, when it throws, none; then rethrows.
  // Other devices may see a transaction of more than about 256 KiB, or one that uses versions, in
  // parts.
  void transaction(const std::function<void()>& work);

  // SQL over collections, each a view with the columns id, doc (its JSON), created_at and
  // updated_at (milliseconds since 1970); a collection is there from its first record on. `sql` is
  // one SELECT;
  // `?` stand for `parameters`, in order. A row is an object by column, a column named doc the
  // document itself, a blob base64url text. Rows are as of one moment, and come while others write.
  // Throws Error(invalid_argument) where the query is wrong or reads anything else.
  //   query("SELECT id, doc ->> '$.title' AS title FROM notes WHERE doc ->> '$.due' < ?", {today})
  std::vector<nlohmann::json> query(const std::string& sql,
                                    const std::vector<nlohmann::json>& parameters = {}) const;
  // One row at a time, until `visit` returns false.
  void query(const std::string& sql, const std::vector<nlohmann::json>& parameters,
             const std::function<bool(const nlohmann::json& row)>& visit) const;
  // How it would be run; says where it scans.
  QueryPlan explain(const std::string& sql,
                    const std::vector<nlohmann::json>& parameters = {}) const;
  // Calls `changed` now with all rows, and after each commit, local or by sync, that changed the
  // result, on the thread that committed, after the commit. What `changed` throws is dropped then.
  // It may use the store.
  LiveQuery watch(const std::string& sql, const std::vector<nlohmann::json>& parameters,
                  const std::function<void(const QueryChange&)>& changed) const;
  // False where there is one already (create), or none (drop). The collection may still be to come.
  // Error(invalid_argument) for a path that is none.
  bool create_index(const std::string& collection, const std::string& path);
  bool drop_index(const std::string& collection, const std::string& path);
  std::vector<IndexInfo> indexes() const;

  // Brings the app's documents to the newest version: runs the steps that this store has not had,
  // in order, in one transaction. With `dry_run` nothing is kept. Each device of a vault runs them
  // for itself, so a step must give the same from the same documents. Throws Error(newer_version)
  // where the store has had a later step than the last of these, Error(invalid_argument) where
  // their versions do not ascend from 1 on, and what a step throws.
  MigrationReport migrate(const std::vector<Migration>& steps, bool dry_run = false);
  // What opening the store with this version of Holdfast will do to its tables; tries it, and keeps
  // nothing. Throws as the constructor does.
  static MigrationReport check_upgrade(const std::string& db_path, const UserKey& user_key,
                                       const StoreOptions& options = {});

  // The store's keys: any one of up to 8 opens it. A change is on disk when it returns, and leaves
  // the data as it is: who kept an old copy of the file opens it with the old key.
  std::vector<KeySlotInfo> key_slots() const;
  // Returns the slot's number. Error(exists) for a key that opens the store already (passphrases
  // are not compared), Error(invalid_argument) for an exported key, Error(too_large) with 8 keys.
  std::uint8_t add_key(const UserKey& key);
  void change_key(std::uint8_t number, const UserKey& key);  // Error(not_found) for no such slot
  void remove_key(std::uint8_t number);  // Error(invalid_argument) for the last one
  // Encrypts everything under a new key of its own, in a new file that takes the old one's place,
  // and leaves every slot opening it. Waits for queries of other threads. Killed at any moment, the
  // store is the old or the new one, whole. Needs as much free space as the store takes.
  void rekey(const Progress& progress = {});
  // The key that encrypts the data, as a line of text under Argon2id and `password`: opens the
  // store (UserKey::exported) when every slot is lost, until the next rekey.
  std::string export_key_for_backup(const std::string& password) const;

  // Closes the file and wipes every key from memory; waits for calls of other threads. Until
  // unlock(), every other method throws Error(locked), and another process may open the store.
  void lock();
  void unlock(const UserKey& user_key);  // throws as the constructor does
  bool is_locked() const;

  // Reads every page of the file and lets SQLite check its structure. Throws Error(corrupt,
  // cancelled).
  void verify(const Progress& progress = {}) const;

  store::Engine& engine() const { return *engine_; }  // for the other classes of Holdfast

 private:
  std::unique_ptr<store::Engine> engine_;
};

// What transaction() does, between two moments: for where a function does not fit. Of one thread;
// others wait with their calls meanwhile. Nested ones join the outermost, and end before it. The
// store must outlive it.
class Transaction {
 public:
  explicit Transaction(EncryptedLocalStore& store);
  ~Transaction();  // rolls back what was not committed
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();  // once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
