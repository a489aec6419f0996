// What SQLite does with an open file of a store: reads, writes, syncs and locks.

#include <algorithm>

#include "src/store/store_files.h"

namespace holdfast::store {
namespace {

int x_close(sqlite3_file* file) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  delete std::exchange(self.opener, nullptr);
  return guarded(files, SQLITE_IOERR_CLOSE, [&] {
    std::lock_guard lock(files.mutex_);
    if (self.is_wal && --files.wal_users_ == 0) files.wal_.reset();
    std::lock_guard locks(files.lock_mutex_);
    if (files.writer_ == &self) files.writer_ = nullptr;
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
    std::shared_lock lock(files.mutex_);
    constexpr std::size_t kDatabaseHeader = 100;
    if (!self.is_wal && at == 0 && bytes.size() == kDatabaseHeader &&
        files.environment_.files->exists(files.wal_path_)) {
      // SQLite looks at these bytes before it looks at the log. A checkpoint that a power cut tore
      // may have left page 1 unreadable here and whole there; the page itself is read by the same
      // rule as every other, and must be in one of the two.
      try {
        if (files.pages_.read(*self.opener, at, bytes, false)) return SQLITE_OK;
      } catch (const Error&) {
        std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
      }
      return SQLITE_IOERR_SHORT_READ;
    }
    bool there = self.is_wal ? files.wal_->read(*self.opener, at, bytes, raw)
                             : files.pages_.read(*self.opener, at, bytes, raw);
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
    std::lock_guard lock(files.mutex_);
    if (self.is_wal) {
      files.wal_->write(at, bytes, files.header_.header().checkpoint);
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
    std::lock_guard lock(files.mutex_);
    if (self.is_wal) {
      files.wal_->truncate(static_cast<std::uint64_t>(size));
    } else {
      files.pages_.truncate(static_cast<std::uint64_t>(size));
    }
    return SQLITE_OK;
  });
}

void sync_log(StoreFiles& files) {
  {
    std::shared_lock lock(files.mutex_);
    files.wal_->sync_file();
  }
  std::lock_guard lock(files.mutex_);
  files.wal_->synced();
}

void sync_pages(StoreFiles& files) {
  std::shared_lock lock(files.mutex_);
  Checkpoint log = files.header_.header().checkpoint;
  if (files.wal_) files.wal_->describe(log);
  files.pages_.sync(log);
}

int x_sync(sqlite3_file* file, int) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_FSYNC, [&] {
    files.require_synced();
    try {
      self.is_wal ? sync_log(files) : sync_pages(files);
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
    std::shared_lock lock(files.mutex_);
    *size = static_cast<sqlite3_int64>(self.is_wal ? files.wal_->size() : files.pages_.size());
    return SQLITE_OK;
  });
}

int x_lock(sqlite3_file* file, int level) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_LOCK, [&] {
    std::lock_guard lock(files.lock_mutex_);
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
      // Nobody waits here for others to leave, so nobody is kept from coming meanwhile.
      if (files.shared_locks_ > 1) return SQLITE_BUSY;
      files.exclusive_by_ = &self;
      self.lock = SQLITE_LOCK_EXCLUSIVE;
    }
    return SQLITE_OK;
  });
}

int x_unlock(sqlite3_file* file, int level) {
  OpenFile& self = open_file(file);
  StoreFiles& files = *self.files;
  return guarded(files, SQLITE_IOERR_UNLOCK, [&] {
    std::lock_guard lock(files.lock_mutex_);
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
  std::lock_guard lock(self.files->lock_mutex_);
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
    std::lock_guard lock(files.lock_mutex_);
    *out = files.shm_.map(static_cast<std::size_t>(region), static_cast<std::size_t>(size), extend);
    return SQLITE_OK;
  });
}

int x_shm_lock(sqlite3_file* file, int first, int count, int flags) {
  OpenFile& self = open_file(file);
  return guarded(*self.files, SQLITE_IOERR_SHMLOCK, [&] {
    std::lock_guard lock(self.files->lock_mutex_);
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    if (flags & SQLITE_SHM_UNLOCK) {
      self.files->shm_.unlock(self.shm, first, count, exclusive);
      return SQLITE_OK;
    }
    // A reader that meets the log's index half written would take the writer's lock to rebuild it,
    // beside a writer that goes on. Refused that, it reads the index again.
    constexpr int kWriteLock = 0;
    if (exclusive && first == kWriteLock && self.files->writer_ != &self) return SQLITE_BUSY;
    return self.files->shm_.lock(self.shm, first, count, exclusive) ? SQLITE_OK : SQLITE_BUSY;
  });
}

void x_shm_barrier(sqlite3_file* file) { std::lock_guard lock(open_file(file).files->lock_mutex_); }

int x_shm_unmap(sqlite3_file* file, int remove) {
  OpenFile& self = open_file(file);
  std::lock_guard lock(self.files->lock_mutex_);
  if (remove) self.files->shm_.clear();
  return SQLITE_OK;
}

}  // namespace

const sqlite3_io_methods kFileMethods = {
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

}  // namespace holdfast::store
