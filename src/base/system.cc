// The real clock, random source and file system (POSIX).

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "holdfast/error.h"
#include "src/base/environment.h"

namespace holdfast::base {
namespace {

[[noreturn]] void fail(const std::string& doing, const std::string& path) {
  int error = errno;
  std::string hint = error == ENOSPC ? " (free some space, then try again)" : "";
  throw Error(ErrorCode::io, "cannot " + doing + " " + path + ": " + std::strerror(error) + hint);
}

class SystemClock : public Clock {
 public:
  std::int64_t now_ms() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  std::int64_t monotonic_ms() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
  }
  void sleep_ms(std::int64_t ms) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  }
};

class SystemRandom : public Random {
 public:
  SystemRandom() {
    if (sodium_init() < 0) throw Error(ErrorCode::io, "the system's random source does not work");
  }
  void fill(std::span<std::uint8_t> out) override { randombytes_buf(out.data(), out.size()); }
};

class SystemFile : public File {
 public:
  SystemFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~SystemFile() override { ::close(fd_); }
  SystemFile(const SystemFile&) = delete;
  SystemFile& operator=(const SystemFile&) = delete;

  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("read", path_);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  void write(std::uint64_t offset, ByteView bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      ssize_t n = ::pwrite(fd_, bytes.data() + done, bytes.size() - done,
                           static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write", path_);
      done += static_cast<std::size_t>(n);
    }
  }

  std::uint64_t size() override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) fail("read the size of", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  void truncate(std::uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("truncate", path_);
  }

  void sync() override {
    if (::fdatasync(fd_) != 0) fail("sync", path_);
  }

  bool try_lock() override {
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) fail("lock", path_);
    return false;
  }

  bool is_at(const std::string& path) override {
    struct stat here;
    struct stat there;
    if (::fstat(fd_, &here) != 0) fail("read the size of", path_);
    return ::stat(path.c_str(), &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
  }

 private:
  int fd_;
  std::string path_;
};

class SystemFiles : public FileSystem {
 public:
  std::unique_ptr<File> open(const std::string& path, Mode mode) override {
    int flags = mode == Mode::read_only ? O_RDONLY : O_RDWR;
    if (mode == Mode::create) flags |= O_CREAT;
    int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT && mode != Mode::create) return nullptr;
    if (fd < 0) fail("open", path);
    auto file = std::make_unique<SystemFile>(fd, path);
    struct stat info;
    if (::fstat(fd, &info) != 0) fail("open", path);
    if (!S_ISREG(info.st_mode)) {
      throw Error(ErrorCode::not_a_store, path + " is not a regular file");
    }
    if (mode == Mode::create) sync_directory(path);
    return file;
  }

  bool exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) {
      if (errno == ENOENT) return;
      fail("remove", path);
    }
    sync_directory(path);
  }

  bool rename_new(const std::string& from, const std::string& to) override {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) return false;
      // Some file systems cannot refuse to overwrite in a rename; a link does.
      if (errno != EINVAL && errno != ENOSYS) fail("rename a new file to", to);
      if (::link(from.c_str(), to.c_str()) != 0) {
        if (errno == EEXIST) return false;
        fail("rename a new file to", to);
      }
      if (::unlink(from.c_str()) != 0) fail("remove", from);
    }
    sync_directory(to);
    return true;
  }

  void rename_over(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) fail("rename a new file to", to);
    sync_directory(to);
  }

  std::string canonical(const std::string& path) override {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::path out = path;
    // A link to a file that is still to be made is followed, too.
    for (int links = 0; links < 40 && fs::is_symlink(out, error); ++links) {
      fs::path target = fs::read_symlink(out, error);
      out = target.is_absolute() ? target : out.parent_path() / target;
    }
    out = fs::weakly_canonical(fs::absolute(out, error), error);
    if (error) throw Error(ErrorCode::io, "cannot find " + path + ": " + error.message());
    return out.string();
  }

 private:
  static void sync_directory(const std::string& path) {
    std::size_t slash = path.rfind('/');
    std::string folder = slash == std::string::npos ? "."
                         : slash == 0               ? "/"
                                                    : path.substr(0, slash);
    int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail("open the folder", folder);
    int result = ::fsync(fd);
    int error = errno;
    ::close(fd);
    errno = error;
    if (result != 0 && error != EINVAL) fail("sync the folder", folder);
  }
};

}  // namespace

std::uint64_t Random::below(std::uint64_t bound) {
  // Rejects the short last interval, so that every value is equally likely.
  std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  for (;;) {
    auto bytes = array<8>();
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    if (value < limit) return value % bound;
  }
}

unsigned fork_generation() {
  static std::atomic<unsigned> generation{0};
  static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  if (registered != 0) throw std::bad_alloc();
  return generation.load(std::memory_order_relaxed);
}

std::shared_ptr<Clock> system_clock() { return std::make_shared<SystemClock>(); }
std::shared_ptr<Random> system_random() { return std::make_shared<SystemRandom>(); }
std::shared_ptr<FileSystem> system_files() { return std::make_shared<SystemFiles>(); }

Environment system_environment() {
  return {system_clock(), system_random(), system_files(), curl_network()};
}

}  // namespace holdfast::base
