#pragma once

#include "holdfast/encrypted_local_store.h"
#include "src/base/environment.h"
#include "src/base/sqlite.h"
#include "src/store/readers.h"
#include "src/store/vfs.h"

namespace holdfast::store {

using base::Connection;
using base::Statement;

// The file, locked for this process. Waits up to five seconds. Throws Error(not_found, in_use).
std::unique_ptr<base::File> lock_store(const std::string& path, base::FileSystem::Mode mode,
                                       const base::Environment& environment);

// The open file of a store: locked, unlocked with the user's key, its schema in place. One thread
// at a time, but for readers().
class Database {
 public:
  Database(const std::string& path, const UserKey& key, const StoreOptions& options,
           const base::Environment& environment);
  ~Database();

  // Opens the store, upgrades its tables, checks them, and keeps nothing of it.
  static void check_upgrade(const std::string& path, const UserKey& key,
                            const StoreOptions& options, const base::Environment& environment,
                            MigrationReport& report);

  // Throws Error(locked) after close(). To be used by the thread that holds the guard, where one is
  // set.
  Connection& connection();
  void set_guard(const base::OwnedMutex* mutex);
  Readers& readers() { return readers_; }
  QueryScope& scope() { return scope_; }  // of queries on connection()
  const std::string& path() const { return path_; }
  // Small values by name, in the table `meta`.
  std::optional<Bytes> meta(std::string_view name);
  void set_meta(std::string_view name, ByteView value);
  // Keys of the device and the vault are sealed once more inside the file, so that SQLite's own
  // memory, which is not wiped, never holds one.
  Bytes seal_secret(std::string_view name, ByteView secret);
  crypto::Secret open_secret(std::string_view name, ByteView sealed);  // throws Error(corrupt)
  void verify(const Progress& progress);

  // Waits for readers, writes the log into the pages, closes the file, wipes the keys.
  void close();
  bool is_open() const { return connection_ != nullptr; }
  // After close(). Throws as the constructor does.
  void open(const UserKey& key, MigrationReport* only_check = nullptr);
  // Tells the app's anchor how far the store is, where it has one.
  void anchor();

  crypto::Argon2Cost passphrase_cost(UserKey::Kind kind) const {
    return passphrase_cost(options_, kind, environment_);
  }

  // keys.cc: see EncryptedLocalStore.
  std::vector<KeySlotInfo> key_slots();
  std::uint8_t add_key(const UserKey& key);
  void change_key(std::uint8_t number, const UserKey& key);
  void remove_key(std::uint8_t number);
  std::string export_key(std::string_view password);
  void rekey(const Progress& progress);  // while the readers are stopped

  // This file is about to be renamed over another store.
  void set_replaced_another() { vfs_->set_replaced_another(true); }

 private:
  Database(const StoreOptions& options, const base::Environment& environment, std::string path)
      : environment_(environment), options_(options), path_(std::move(path)) {}
  // False where somebody else's new store is at `path` now.
  static bool create(const std::string& path, const UserKey& key, const StoreOptions& options,
                     const base::Environment& environment);
  void connect_all(std::unique_ptr<base::File> file, Unlocked unlocked);
  void check_anchor();
  void start_readers();
  void upgrade_schema(MigrationReport* only_check);
  void write_log_into_pages();  // all of it; throws Error(io) where somebody reads
  static void write_tables(StoreVfs& vfs);
  static crypto::Argon2Cost passphrase_cost(const StoreOptions& options, UserKey::Kind kind,
                                            const base::Environment& environment);
  void write_rekeyed(const std::string& aside, std::unique_ptr<base::File>& file,
                     const Unlocked& fresh, const Progress& progress);

  base::Environment environment_;
  StoreOptions options_;
  std::string path_;
  crypto::Secret data_key_;
  crypto::Secret secrets_key_;
  std::unique_ptr<StoreVfs> vfs_;
  const base::OwnedMutex* guard_ = nullptr;
  std::unique_ptr<Connection> connection_;
  QueryScope scope_;
  Readers readers_;
  std::optional<Position> anchored_;
};

}  // namespace holdfast::store
