#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/error.h"
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

struct StoreOptions {
  enum class Open { or_create, existing, create };
  enum class Durability {
    full,     // acknowledged means on disk: survives a power cut
    relaxed,  // survives a killed process; a power cut may take the last moments
  };
  Open open = Open::or_create;
  Durability durability = Durability::full;
  std::size_t cache_mib = 0;                  // page cache; 0: by the memory there is
  std::uint32_t passphrase_memory_mib = 256;  // of Argon2id for a new passphrase slot; 64 to 1024
  const base::Environment* environment = nullptr;  // the world's seams; null: the real ones
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
// (stored bytes fail authentication), invalid_argument and too_large (the input breaks a limit).
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
  // Calls `visit` for each record in the order of list(), until it returns false. The store must
  // not be changed from within.
  void for_each(
      const std::string& collection,
      const std::function<bool(const std::string& id, const nlohmann::json&)>& visit) const;
  std::vector<std::string> collections() const;  // that hold a record, in byte order

  // Runs `work`, whose calls on this store all happen or, when it throws, none; then rethrows.
  // Other devices may see a transaction of more than about 256 KiB, or one that uses versions, in
  // parts.
  void transaction(const std::function<void()>& work);

  // Reads every page of the file and lets SQLite check its structure. Throws Error(corrupt).
  void verify() const;

  store::Engine& engine() const { return *engine_; }  // for the other classes of Holdfast

 private:
  std::unique_ptr<store::Engine> engine_;
};

}  // namespace holdfast
