#include "src/store/readers.h"

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

thread_local int leases_of_this_thread = 0;

}  // namespace

Readers::Lease::~Lease() {
  if (!reader_) return;
  --leases_of_this_thread;
  std::unique_ptr<Reader> extra;  // closed outside the lock
  std::lock_guard lock(owner_->mutex_);
  --owner_->active_;
  if (reader_->connection && owner_->open_ && owner_->idle_.size() < kIdle) {
    owner_->idle_.push_back(std::move(reader_));
  } else {
    extra = std::move(reader_);
    extra.reset();
  }
  owner_->changed_.notify_all();
}

Readers::Lease Readers::lease() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return open_ || locked_; });
  if (!open_) throw Error(ErrorCode::locked, "the store is locked: unlock it first");
  std::unique_ptr<Reader> reader;
  Open open = open_;  // may throw: before this use is counted
  if (!idle_.empty()) {
    reader = std::move(idle_.back());
    idle_.pop_back();
  }
  ++active_;
  lock.unlock();
  if (!reader) {
    try {
      reader = open();
    } catch (...) {
      lock.lock();
      --active_;
      changed_.notify_all();
      throw;
    }
  }
  ++leases_of_this_thread;
  return {*this, std::move(reader)};
}

void Readers::start(Open open) {
  std::lock_guard lock(mutex_);
  idle_.reserve(kIdle);  // so that giving one back cannot fail
  open_ = std::move(open);
  locked_ = false;
  changed_.notify_all();
}

void Readers::stop(bool locked) {
  if (leases_of_this_thread > 0) {
    throw Error(ErrorCode::invalid_argument,
                "this cannot be done from within a query: let it end first");
  }
  std::unique_lock lock(mutex_);
  open_ = nullptr;
  locked_ = locked;
  changed_.notify_all();
  changed_.wait(lock, [&] { return active_ == 0; });
  idle_.clear();
}

}  // namespace holdfast::store
