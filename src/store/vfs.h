#pragma once

#include <sqlite3.h>

#include <string>

#include "src/store/page_codec.h"

namespace holdfast::store {

class StoreFiles;

// An SQLite VFS for one store: it opens the store's database and its write-ahead log, sealed, and
// nothing else. Registered under a name of its own while it lives; connections must be closed
// before it goes. Any number of connections on any threads of this process; the caller owns the
// database file's lock.
class StoreVfs {
 public:
  // `file` is the open and locked store.
  StoreVfs(std::string path, std::unique_ptr<base::File> file, ByteView data_key,
           const base::Id16& database_id, const base::Environment& environment);
  ~StoreVfs();
  StoreVfs(const StoreVfs&) = delete;
  StoreVfs& operator=(const StoreVfs&) = delete;

  const std::string& name() const { return name_; }
  const std::string& path() const;

  // The exact reason of the last I/O error that SQLite knows only as a number; throws it and
  // forgets it.
  void rethrow_last_error() const;
  void forget_last_error();

  // Reads every page of the database file. Throws Error(corrupt).
  void verify_pages();

 private:
  std::unique_ptr<StoreFiles> files_;
  std::string name_;
  sqlite3_vfs vfs_{};
};

}  // namespace holdfast::store
