#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "src/store/query.h"

namespace holdfast::store {

// A connection that only reads.
struct Reader {
  explicit Reader(std::unique_ptr<base::Connection> given) : connection(std::move(given)) {
    install_authorizer(*connection, scope);
  }
  std::unique_ptr<base::Connection> connection;
  QueryScope scope;
};

// Connections for reading beside the writer, made when they are wanted and kept for the next.
// Thread-safe.
class Readers {
 public:
  using Open = std::function<std::unique_ptr<Reader>()>;

  // Queries from outside make views, which could hide a table from our own statements.
  enum class Use { own, queries };

  // One thread's use of a reader.
  class Lease {
   public:
    Lease(Readers& owner, std::unique_ptr<Reader> reader, Use use)
        : owner_(&owner), reader_(std::move(reader)), use_(use) {}
    ~Lease();
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    Reader* operator->() { return reader_.get(); }
    Reader& operator*() { return *reader_; }
    void discard() { reader_->connection.reset(); }  // something failed in it

   private:
    Readers* owner_;
    std::unique_ptr<Reader> reader_;
    Use use_;
  };

  // Waits while the readers are closed for a moment, but not on a thread that reads already: stop()
  // waits for that one. Throws Error(locked) while there is no store.
  Lease lease(Use use);
  // From now on connections come from `open`.
  void start(Open open);
  void resume();  // after stop(), with the same
  // Waits until no thread reads, then closes all: to be called without any lock that a reader may
  // want. Until start() or resume(), lease() waits, or throws where `locked`. Throws
  // Error(invalid_argument) where this very thread is reading.
  void stop(bool locked);

 private:
  static constexpr std::size_t kIdle = 4;
  std::mutex mutex_;
  std::condition_variable changed_;
  Open open_;
  bool stopped_ = true;
  bool locked_ = true;
  std::thread::id stopped_by_;  // and may not wait for its own start
  std::size_t active_ = 0;
  std::vector<std::unique_ptr<Reader>> idle_[2];  // by use
};

}  // namespace holdfast::store
