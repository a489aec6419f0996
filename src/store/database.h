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
  void verify();

 private:
  static void create(const std::string& path, const UserKey& key, const StoreOptions& options,
                     const base::Environment& environment);

  std::unique_ptr<StoreVfs> vfs_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace holdfast::store
