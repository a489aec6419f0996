#pragma once

#include <sqlite3.h>

#include <string>

#include "src/store/header.h"

namespace holdfast::store {

struct StoreFiles;

// An SQLite VFS for one store: it opens the store's database and its write-ahead log, sealed, and
// nothing else. Registered under a name of its own while it lives; connections must be closed
// before it goes. Any number of connections on any threads of this process, of which one may write;
// the caller owns the database file's lock.
class StoreVfs {
 public:
  // `file` is the open and locked store. Throws Error(corrupt).
  StoreVfs(std::string path, std::unique_ptr<base::File> file, const Unlocked& unlocked,
           const base::Environment& environment);
  ~StoreVfs();
  StoreVfs(const StoreVfs&) = delete;
  StoreVfs& operator=(const StoreVfs&) = delete;

  const std::string& name() const { return name_; }
  const std::string& path() const;

  // The exact reason of the last I/O error on this thread, which SQLite knows only as a number;
  // throws it and forgets it.
  void rethrow_last_error() const;
  void forget_last_error() const;

  Header header() const;
  // The open file, for its lock: it must not be read or written past this object.
  base::File& file();
  // Durable when it returns. Throws Error(io), after which nothing more is written.
  void set_slots(std::vector<KeySlot> slots);
  void set_replaced_another(bool value);  // likewise
  // After the last durable commit.
  Position position() const;

  // Every page of the database file, in plain text, which a finished checkpoint left complete.
  // Throws Error(corrupt).
  void read_pages(const std::function<void(std::uint64_t index, ByteView page,
                                           std::uint64_t total)>& visit) const;
  // Reads every page of the database file. Throws Error(corrupt).
  void verify_pages(
      const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) const;

 private:
  std::unique_ptr<StoreFiles> files_;
  std::string name_;
  sqlite3_vfs vfs_{};
};

}  // namespace holdfast::store
