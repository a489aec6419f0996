#pragma once

// Shared by the two halves of the VFS: vfs.cc opens files, vfs_file.cc is what SQLite does with
// them.

#include <sqlite3.h>

#include <atomic>
#include <exception>
#include <shared_mutex>

#include "holdfast/error.h"
#include "src/store/page_file.h"
#include "src/store/shared_memory.h"
#include "src/store/wal_file.h"

namespace holdfast::store {

// What the connections of one store share: the files, and in this process's memory the locks and
// the index that SQLite would keep in a file beside the store.
struct StoreFiles {
  StoreFiles(std::string path, std::unique_ptr<base::File> file, const Unlocked& unlocked,
             const base::Environment& environment)
      : path_(std::move(path)),
        wal_path_(path_ + "-wal"),
        environment_(environment),
        file_(std::move(file)),
        codec_(unlocked.data_key.view(), unlocked.header.database_id, environment.random),
        header_(*file_, unlocked.header, unlocked.data_key.view(), unlocked.stale),
        pages_(*file_, codec_, header_) {}

  std::string path_;
  std::string wal_path_;
  base::Environment environment_;

  // Shared to read the files and to sync them, alone to change them: there is one writer, so that a
  // sync meets no change, and readers need not wait for the disk.
  std::shared_mutex mutex_;
  std::unique_ptr<base::File> file_;
  PageCodec codec_;
  HeaderPages header_;
  PageFile pages_;
  std::unique_ptr<WalFile> wal_;
  int wal_users_ = 0;
  std::atomic<bool> sync_failed_ = false;
  const unsigned process_ = base::fork_generation();

  std::mutex lock_mutex_;  // for what follows
  int shared_locks_ = 0;
  const void* writer_ = nullptr;  // the connection that was opened first; the others only read
  const void* reserved_by_ = nullptr;
  const void* exclusive_by_ = nullptr;
  SharedMemory shm_;

  void change_header(const std::function<void(HeaderPages&)>& change);

  // After a sync failed, nobody knows what the disk holds: nothing more is written.
  void require_synced() const {
    if (sync_failed_) {
      throw Error(ErrorCode::io,
                  "an earlier sync to disk failed: close the store and open it again");
    }
  }
};

// What SQLite holds for an open file.
struct OpenFile {
  sqlite3_file base;
  StoreFiles* files;
  bool is_wal;
  bool checkpointing;  // of a database: copy sealed pages as they are
  OpenFile* main;      // of a log: its database
  int lock;
  SharedMemory::Holder shm;
  PageOpener* opener;
};

inline OpenFile& open_file(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }

// The reason of the last error on this thread, and whose it was: SQLite calls back on the thread
// that called it.
struct LastError {
  const StoreFiles* files = nullptr;
  std::exception_ptr reason;
};
inline thread_local LastError last_error;

// Runs one operation; an exception becomes SQLite's code and is kept for the caller of SQLite.
template <typename Operation>
int guarded(StoreFiles& files, int code, Operation operation) noexcept {
  try {
    if (base::fork_generation() != files.process_) {
      throw Error(ErrorCode::in_use,
                  "a store cannot be used on in a forked process: open it there");
    }
    return operation();
  } catch (...) {
    last_error = {&files, std::current_exception()};
    return code;
  }
}

// What SQLite calls on an open file.
extern const sqlite3_io_methods kFileMethods;

}  // namespace holdfast::store
