#pragma once

// The four seams to the world. Everything above src/base takes them in through an Environment and
// reaches for nothing else, so that whole devices run from one seed in a test.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "src/base/bytes.h"

namespace holdfast::base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t now_ms() = 0;        // UTC, milliseconds since 1970
  virtual std::int64_t monotonic_ms() = 0;  // never goes back; for durations and time-outs
  virtual void sleep_ms(std::int64_t ms) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;  // cryptographically secure bytes

  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out;
    fill(out);
    return out;
  }
  std::uint64_t below(std::uint64_t bound);  // uniform in [0, bound); bound > 0
};

// An open file. Throws Error(io) where the operating system refuses. Closed on destruction.
class File {
 public:
  virtual ~File() = default;
  // Reads up to out.size() bytes; returns how many there were before the end.
  virtual std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) = 0;
  virtual void write(std::uint64_t offset, ByteView bytes) = 0;
  virtual std::uint64_t size() = 0;
  virtual void truncate(std::uint64_t size) = 0;
  virtual void sync() = 0;  // returns when the contents are durable
  // Takes this file for this process, until it is closed; false when another holds it.
  virtual bool try_lock() = 0;
  // Whether `path` still names this file: not where it was removed or another renamed over it.
  virtual bool is_at(const std::string& path) = 0;
};

class FileSystem {
 public:
  enum class Mode { read_only, existing, create };
  virtual ~FileSystem() = default;
  // Null where the file does not exist and `mode` is not `create`.
  virtual std::unique_ptr<File> open(const std::string& path, Mode mode) = 0;
  virtual bool exists(const std::string& path) = 0;
  virtual void remove(const std::string& path) = 0;  // durable; absent is fine
  // Durable when it returns; false, and nothing done, where `to` exists.
  virtual bool rename_new(const std::string& from, const std::string& to) = 0;
  // Durable when it returns; `to` is the one or the other at every moment.
  virtual void rename_over(const std::string& from, const std::string& to) = 0;
  // The one absolute name of a file that exists or could be made: links resolved, so that a store's
  // log lies beside the store whatever name it is opened by.
  virtual std::string canonical(const std::string& path) = 0;
};

struct HttpRequest {
  std::string method;  // "GET", "POST" or "PUT"
  std::string url;
  std::string token;  // sent as a bearer token where not empty
  Bytes body;
  // Where one is set from another thread, the request ends soon.
  const std::atomic<bool>* cancelled = nullptr;
  const std::atomic<bool>* stopped = nullptr;
};

struct HttpResponse {
  int status = 0;  // 0: nothing came back, and `error` says why
  Bytes body;
  std::int64_t retry_after_ms = 0;
  std::string error;
  bool was_cut = false;  // the peer was reached, and the connection broke
};

class Network {
 public:
  virtual ~Network() = default;
  // Performs one request and returns; never throws for what the network or the peer does.
  virtual HttpResponse perform(const HttpRequest& request) = 0;
};

struct Environment {
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Random> random;
  std::shared_ptr<FileSystem> files;
  std::shared_ptr<Network> network;
};

// How often this process was forked on its way from the first: another number in a child than in
// its parent. Much cheaper than asking for the process's id.
unsigned fork_generation();

std::shared_ptr<Clock> system_clock();
std::shared_ptr<Random> system_random();
std::shared_ptr<FileSystem> system_files();
std::shared_ptr<Network> curl_network();
Environment system_environment();

}  // namespace holdfast::base
