#pragma once

#include "holdfast/encrypted_local_store.h"
#include "src/base/environment.h"
#include "src/base/sqlite.h"
#include "src/store/header.h"
#include "src/store/vfs.h"

namespace holdfast::store {

using base::Connection;
using base::Statement;

// The open file of a store: locked, unlocked with the user's key, its schema in place.
class Database {
 public:
  Database(const std::string& path, const UserKey& key, const StoreOptions& options,
           const base::Environment& environment);

  Connection& connection() { return *connection_; }
  // Small values by name, in the table `meta`.
  std::optional<Bytes> meta(std::string_view name);
  void set_meta(std::string_view name, ByteView value);
  // Keys of the device and the vault are sealed once more inside the file, so that SQLite's own
  // memory, which is not wiped, never holds one.
  Bytes seal_secret(std::string_view name, ByteView secret);
  crypto::Secret open_secret(std::string_view name, ByteView sealed);  // throws Error(corrupt)
  void verify();

 private:
  // False where somebody else's new store is at `path` now.
  static bool create(const std::string& path, const UserKey& key, const StoreOptions& options,
                     const base::Environment& environment);

  std::shared_ptr<base::Random> random_;
  crypto::Secret secrets_key_;
  std::unique_ptr<StoreVfs> vfs_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace holdfast::store
