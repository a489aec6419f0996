#include "src/store/vfs.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <new>

#include "holdfast/error.h"
#include "src/store/page_file.h"
#include "src/store/shared_memory.h"
#include "src/store/wal_file.h"

namespace holdfast::store {
// What the connections of one store share: the files, and in this process's memory the locks and
// the index that SQLite would keep in a file beside the store.
class StoreFiles {
 public:
  StoreFiles(std::string path, std::unique_ptr<base::File> file, ByteView data_key,
             const base::Id16& database_id, const base::Environment& environment)
      : path_(std::move(path)),
        wal_path_(path_ + "-wal"),
        environment_(environment),
        codec_(data_key, database_id, environment.random),
        pages_(std::move(file), codec_) {}

  std::string path_;
  std::string wal_path_;
  base::Environment environment_;
  std::recursive_mutex mutex_;
  PageCodec codec_;
  PageFile pages_;
  std::unique_ptr<WalFile> wal_;
  int wal_users_ = 0;
  bool sync_failed_ = false;
  const pid_t process_ = ::getpid();
  std::exception_ptr last_error_;

  int shared_locks_ = 0;
  const void* reserved_by_ = nullptr;
  const void* exclusive_by_ = nullptr;

  SharedMemory shm_;

  // After a sync failed, nobody knows what the disk holds: nothing more is written.
  void require_synced() const {
    if (sync_failed_) {
      throw Error(ErrorCode::io,
                  "an earlier sync to disk failed: close the store and open it again");
    }
  }
};

namespace {

// What SQLite holds for an open file.
struct OpenFile {
  sqlite3_file base;
  StoreFiles* files;
  bool is_wal;
  bool checkpointing;  // of a database: copy sealed pages as they are
  OpenFile* main;      // of a log: its database
  int lock;
  SharedMemory::Holder shm;
};

OpenFile& open_file(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
StoreFiles& files_of(sqlite3_vfs* vfs) { return *static_cast<StoreFiles*>(vfs->pAppData); }

// Runs one operation under the store's lock; an exception becomes SQLite's code and is kept for the
// caller of SQLite.
template <typename Operation>
int guarded(StoreFiles& files, int code, Operation operation) noexcept {
  std::lock_guard lock(files.mutex_);
  try {
    if (::getpid() != files.process_) {
      throw Error(ErrorCode::in_use,
                  "a store cannot be used on in a forked process: open it there");
    }
    return operation();
  } catch (...) {
    files.last_error_ = std::current_exception();
    return code;
  }
}

int x_close(sqlite3_file* file) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_CLOSE, [&] {
    if (self.is_wal && --files.wal_users_ == 0) files.wal_.reset();
    return SQLITE_OK;
  });
}

int x_read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_READ, [&] {
    std::span<std::uint8_t> bytes{static_cast<std::uint8_t*>(out), static_cast<std::size_t>(size)};
    auto at = static_cast<std::uint64_t>(offset);
    bool raw = self.is_wal ? self.main && self.main->checkpointing : self.checkpointing;
    constexpr std::size_t kDatabaseHeader = 100;
    if (!self.is_wal && at == 0 && bytes.size() == kDatabaseHeader &&
        files.environment_.files->exists(files.wal_path_)) {
      // SQLite looks at these bytes before it looks at the log. A checkpoint that a power cut tore
      // may have left page 1 unreadable here and whole there; the page itself is read by the same
      // rule as every other, and must be in one of the two.
      try {
        if (files.pages_.read(at, bytes, false)) return SQLITE_OK;
      } catch (const Error&) {
        std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
      }
      return SQLITE_IOERR_SHORT_READ;
    }
    bool there = self.is_wal ? files.wal_->read(at, bytes, raw) : files.pages_.read(at, bytes, raw);
    return there ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  });
}

int x_write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_WRITE, [&] {
    files.require_synced();
    ByteView bytes{static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)};
    auto at = static_cast<std::uint64_t>(offset);
    if (self.is_wal) {
      files.wal_->write(at, bytes);
    } else {
      files.pages_.write(at, bytes, self.checkpointing);
    }
    return SQLITE_OK;
  });
}

int x_truncate(sqlite3_file* file, sqlite3_int64 size) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_TRUNCATE, [&] {
    files.require_synced();
    if (self.is_wal) {
      files.wal_->truncate(static_cast<std::uint64_t>(size));
    } else {
      files.pages_.truncate(static_cast<std::uint64_t>(size));
    }
    return SQLITE_OK;
  });
}

int x_sync(sqlite3_file* file, int) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_FSYNC, [&] {
    files.require_synced();
    try {
      self.is_wal ? files.wal_->sync() : files.pages_.sync();
    } catch (...) {
      files.sync_failed_ = true;
      throw;
    }
    return SQLITE_OK;
  });
}

int x_file_size(sqlite3_file* file, sqlite3_int64* size) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_FSTAT, [&] {
    *size = static_cast<sqlite3_int64>(self.is_wal ? files.wal_->size() : files.pages_.size());
    return SQLITE_OK;
  });
}

int x_lock(sqlite3_file* file, int level) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_LOCK, [&] {
    if (self.lock >= level) return SQLITE_OK;
    if (self.lock == SQLITE_LOCK_NONE) {
      if (files.exclusive_by_ && files.exclusive_by_ != &self) return SQLITE_BUSY;
      ++files.shared_locks_;
      self.lock = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED) {
      if (files.reserved_by_ && files.reserved_by_ != &self) return SQLITE_BUSY;
      files.reserved_by_ = &self;
      self.lock = SQLITE_LOCK_RESERVED;
    }
    if (level >= SQLITE_LOCK_PENDING) {
      files.exclusive_by_ = &self;
      self.lock = SQLITE_LOCK_PENDING;
      if (files.shared_locks_ > 1) return SQLITE_BUSY;
      self.lock = SQLITE_LOCK_EXCLUSIVE;
    }
    return SQLITE_OK;
  });
}

int x_unlock(sqlite3_file* file, int level) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_UNLOCK, [&] {
    if (self.lock <= level) return SQLITE_OK;
    if (files.exclusive_by_ == &self) files.exclusive_by_ = nullptr;
    if (files.reserved_by_ == &self) files.reserved_by_ = nullptr;
    if (level == SQLITE_LOCK_NONE && self.lock >= SQLITE_LOCK_SHARED) --files.shared_locks_;
    self.lock = level;
    return SQLITE_OK;
  });
}

int x_check_reserved_lock(sqlite3_file* file, int* out) {
  OpenFile& self = open_file(file);
  std::lock_guard lock(self.files->mutex_);
  *out = self.files->reserved_by_ != nullptr;
  return SQLITE_OK;
}

int x_file_control(sqlite3_file* file, int op, void*) {
  OpenFile& self = open_file(file);
  switch (op) {
    case SQLITE_FCNTL_CKPT_START: self.checkpointing = true; return SQLITE_OK;
    case SQLITE_FCNTL_CKPT_DONE: self.checkpointing = false; return SQLITE_OK;
    default: return SQLITE_NOTFOUND;
  }
}

int x_sector_size(sqlite3_file*) { return static_cast<int>(kPageSize); }
int x_device_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

int x_shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  StoreFiles& files = *open_file(file).files;
  return guarded(files, SQLITE_IOERR_SHMMAP, [&] {
    *out = files.shm_.map(static_cast<std::size_t>(region), static_cast<std::size_t>(size), extend);
    return SQLITE_OK;
  });
}

int x_shm_lock(sqlite3_file* file, int first, int count, int flags) {
  OpenFile& self = open_file(file);
  return guarded(*self.files, SQLITE_IOERR_SHMLOCK, [&] {
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    if (flags & SQLITE_SHM_UNLOCK) {
      self.files->shm_.unlock(self.shm, first, count, exclusive);
      return SQLITE_OK;
    }
    return self.files->shm_.lock(self.shm, first, count, exclusive) ? SQLITE_OK : SQLITE_BUSY;
  });
}

void x_shm_barrier(sqlite3_file* file) { std::lock_guard lock(open_file(file).files->mutex_); }

int x_shm_unmap(sqlite3_file* file, int remove) {
  OpenFile& self = open_file(file);
  std::lock_guard lock(self.files->mutex_);
  if (remove) self.files->shm_.clear();
  return SQLITE_OK;
}

const sqlite3_io_methods kMethods = {
    2,
    x_close,
    x_read,
    x_write,
    x_truncate,
    x_sync,
    x_file_size,
    x_lock,
    x_unlock,
    x_check_reserved_lock,
    x_file_control,
    x_sector_size,
    x_device_characteristics,
    x_shm_map,
    x_shm_lock,
    x_shm_barrier,
    x_shm_unmap,
    nullptr,
    nullptr,
};

int x_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  StoreFiles& files = files_of(vfs);
  file->pMethods = nullptr;
  return guarded(files, SQLITE_CANTOPEN, [&] {
    bool is_wal = (flags & SQLITE_OPEN_WAL) != 0;
    bool is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    // Temporary files, journals and other databases would not be sealed by this store's key.
    if (!name || (!is_wal && !is_main) || name != (is_wal ? files.wal_path_ : files.path_)) {
      return SQLITE_CANTOPEN;
    }
    auto* self = new (file) OpenFile{};
    self->files = &files;
    self->is_wal = is_wal;
    if (is_wal) {
      if (!files.wal_) {
        files.wal_ = std::make_unique<WalFile>(
            files.environment_.files->open(files.wal_path_, base::FileSystem::Mode::create),
            files.codec_);
      }
      ++files.wal_users_;
      self->main = &open_file(sqlite3_database_file_object(name));
    }
    self->base.pMethods = &kMethods;
    if (out_flags) *out_flags = flags;
    return SQLITE_OK;
  });
}

int x_delete(sqlite3_vfs* vfs, const char* name, int) {
  StoreFiles& files = files_of(vfs);
  return guarded(files, SQLITE_IOERR_DELETE, [&] {
    if (name != files.wal_path_) return SQLITE_OK;
    files.require_synced();
    files.environment_.files->remove(name);
    return SQLITE_OK;
  });
}

int x_access(sqlite3_vfs* vfs, const char* name, int, int* out) {
  StoreFiles& files = files_of(vfs);
  return guarded(files, SQLITE_IOERR_ACCESS, [&] {
    *out =
        name == files.path_ || (name == files.wal_path_ && files.environment_.files->exists(name));
    return SQLITE_OK;
  });
}

int x_full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
  if (std::strlen(name) >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
  std::strcpy(out, name);
  return SQLITE_OK;
}

// Seams may throw, and SQLite's frames must not be unwound.
int x_randomness(sqlite3_vfs* vfs, int size, char* out) {
  StoreFiles& files = files_of(vfs);
  int code = guarded(files, SQLITE_ERROR, [&] {
    files.environment_.random->fill(
        {reinterpret_cast<std::uint8_t*>(out), static_cast<std::size_t>(size)});
    return SQLITE_OK;
  });
  return code == SQLITE_OK ? size : 0;
}

int x_sleep(sqlite3_vfs* vfs, int microseconds) {
  StoreFiles& files = files_of(vfs);
  guarded(files, SQLITE_ERROR, [&] {
    files.environment_.clock->sleep_ms((microseconds + 999) / 1000);
    return SQLITE_OK;
  });
  return microseconds;
}

int x_current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  constexpr sqlite3_int64 kJulianDayOf1970Ms = 210866760000000;
  StoreFiles& files = files_of(vfs);
  return guarded(files, SQLITE_ERROR, [&] {
    *out = kJulianDayOf1970Ms + files.environment_.clock->now_ms();
    return SQLITE_OK;
  });
}

int x_current_time(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 ms = 0;
  x_current_time_int64(vfs, &ms);
  *out = static_cast<double>(ms) / 86400000.0;
  return SQLITE_OK;
}

int x_get_last_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

StoreVfs::StoreVfs(std::string path, std::unique_ptr<base::File> file, ByteView data_key,
                   const base::Id16& database_id, const base::Environment& environment)
    : files_(std::make_unique<StoreFiles>(std::move(path), std::move(file), data_key, database_id,
                                          environment)) {
  static std::atomic<unsigned> counter{0};
  name_ = "holdfast-" + std::to_string(++counter);
  vfs_.iVersion = 2;
  vfs_.szOsFile = sizeof(OpenFile);
  vfs_.mxPathname = 4096;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = files_.get();
  vfs_.xOpen = x_open;
  vfs_.xDelete = x_delete;
  vfs_.xAccess = x_access;
  vfs_.xFullPathname = x_full_pathname;
  vfs_.xRandomness = x_randomness;
  vfs_.xSleep = x_sleep;
  vfs_.xCurrentTime = x_current_time;
  vfs_.xGetLastError = x_get_last_error;
  vfs_.xCurrentTimeInt64 = x_current_time_int64;
  if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK) throw std::bad_alloc();
}

StoreVfs::~StoreVfs() { sqlite3_vfs_unregister(&vfs_); }

void StoreVfs::verify_pages() {
  std::lock_guard lock(files_->mutex_);
  files_->pages_.verify();
}

const std::string& StoreVfs::path() const { return files_->path_; }

void StoreVfs::rethrow_last_error() const {
  std::lock_guard lock(files_->mutex_);
  if (std::exception_ptr error = std::exchange(files_->last_error_, nullptr)) {
    std::rethrow_exception(error);
  }
}

void StoreVfs::forget_last_error() {
  std::lock_guard lock(files_->mutex_);
  files_->last_error_ = nullptr;
}

}  // namespace holdfast::store
