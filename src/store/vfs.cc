#include "src/store/vfs.h"

#include <chrono>
#include <cstring>
#include <new>
#include <set>
#include <thread>

#include "src/store/store_files.h"

namespace holdfast::store {
namespace {

StoreFiles& files_of(sqlite3_vfs* vfs) { return *static_cast<StoreFiles*>(vfs->pAppData); }

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
    auto opener = std::make_unique<PageOpener>(files.codec_);
    auto* self = new (file) OpenFile{};
    self->files = &files;
    self->is_wal = is_wal;
    std::lock_guard lock(files.mutex_);
    if (is_wal) {
      if (!files.wal_) {
        files.wal_ = std::make_unique<WalFile>(*files.environment_.files, files.wal_path_,
                                               files.codec_, files.header_.header().checkpoint);
      }
      ++files.wal_users_;
      self->main = &open_file(sqlite3_database_file_object(name));
    } else {
      std::lock_guard locks(files.lock_mutex_);
      if (!files.writer_) files.writer_ = self;
    }
    self->opener = opener.release();
    self->base.pMethods = &kFileMethods;
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

// SQLite waits so for another thread that is at the index of the log, a hundred times at most. That
// thread needs real time, whatever the store's clock says.
int x_sleep(sqlite3_vfs*, int microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
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

StoreVfs::StoreVfs(std::string path, std::unique_ptr<base::File> file, const Unlocked& unlocked,
                   const base::Environment& environment)
    : files_(
          std::make_unique<StoreFiles>(std::move(path), std::move(file), unlocked, environment)) {
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

const std::string& StoreVfs::path() const { return files_->path_; }

void StoreVfs::rethrow_last_error() const {
  if (last_error.files != files_.get()) return;
  if (std::exception_ptr error = std::exchange(last_error.reason, nullptr)) {
    std::rethrow_exception(error);
  }
}

void StoreVfs::forget_last_error() const { last_error.reason = nullptr; }

Header StoreVfs::header() const {
  std::shared_lock lock(files_->mutex_);
  return files_->header_.header();
}

base::File& StoreVfs::file() { return *files_->file_; }

void StoreFiles::change_header(const std::function<void(HeaderPages&)>& change) {
  require_synced();
  std::lock_guard lock(mutex_);
  try {
    change(header_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::too_large) sync_failed_ = true;
    throw;
  }
}

void StoreVfs::set_slots(std::vector<KeySlot> slots) {
  files_->change_header([&](HeaderPages& header) { header.set_slots(std::move(slots)); });
}

void StoreVfs::set_replaced_another(bool value) {
  files_->change_header([&](HeaderPages& header) { header.set_replaced_another(value); });
}

Position StoreVfs::position() const {
  std::shared_lock lock(files_->mutex_);
  return files_->wal_ ? files_->wal_->position() : files_->header_.header().checkpoint.position;
}

void StoreVfs::read_pages(const std::function<void(std::uint64_t index, ByteView page,
                                                   std::uint64_t total)>& visit) const {
  PageOpener opener(files_->codec_);
  crypto::Secret page(kPageSize);
  std::uint64_t total = files_->pages_.size() / kPageSize;
  for (std::uint64_t index = 0; index < total; ++index) {
    {
      std::shared_lock lock(files_->mutex_);
      static_cast<void>(files_->pages_.read(opener, index * kPageSize, page.span(), false));
    }
    visit(index, page.view(), total);
  }
}

void StoreVfs::verify_pages(
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) const {
  PageOpener opener(files_->codec_);
  std::array<std::uint8_t, kPageSize> page;
  for (std::uint64_t index = 0;; ++index) {
    std::uint64_t pages = 0;
    {
      std::shared_lock lock(files_->mutex_);
      pages = files_->pages_.size() / kPageSize;
      if (index >= pages) break;
      try {
        static_cast<void>(files_->pages_.read(opener, index * kPageSize, page, false));
      } catch (const Error&) {
        // A checkpoint that was cut off may have left it half written: the log has it whole.
        const WalFile* log = files_->wal_.get();
        if (!log || log->is_copied(files_->header_.header().checkpoint) ||
            !log->holds(static_cast<std::uint32_t>(index + 1))) {
          throw;
        }
      }
    }
    if (progress && index % 256 == 0) progress(index, pages);
  }
  crypto::wipe(page);
  // The table in memory was read when the store was opened: once more from the disk.
  std::shared_lock lock(files_->mutex_);
  PageTable(*files_->file_, files_->codec_, files_->header_.header().checkpoint);
}

}  // namespace holdfast::store
