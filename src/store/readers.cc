#include "src/store/readers.h"

#include <map>

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

// How many leases of each store this thread holds.
thread_local std::map<const Readers*, int> leases_of_this_thread;

}  // namespace

Readers::Lease::~Lease() {
  if (!reader_) return;
  if (--leases_of_this_thread[owner_] == 0) leases_of_this_thread.erase(owner_);
  std::unique_ptr<Reader> extra;  // closed outside the lock
  {
    std::lock_guard lock(owner_->mutex_);
    auto& idle = owner_->idle_[static_cast<int>(use_)];
    if (reader_->connection && !owner_->stopped_ && idle.size() < kIdle) {
      idle.push_back(std::move(reader_));
    } else {
      extra = std::move(reader_);
    }
  }
  extra.reset();
  std::lock_guard lock(owner_->mutex_);
  --owner_->active_;
  owner_->changed_.notify_all();
}

Readers::Lease Readers::lease(Use use) {
  int& own = leases_of_this_thread[this];  // may throw: before this use is counted
  std::unique_lock lock(mutex_);
  if (own == 0 && stopped_ && !locked_ && stopped_by_ == std::this_thread::get_id()) {
    leases_of_this_thread.erase(this);
    throw Error(ErrorCode::invalid_argument,
                "the store cannot be used from within the progress of its own rekey");
  }
  if (own == 0) changed_.wait(lock, [&] { return !stopped_ || locked_; });
  if (own == 0 && stopped_) {
    leases_of_this_thread.erase(this);
    throw Error(ErrorCode::locked, "the store is locked: unlock it first");
  }
  std::unique_ptr<Reader> reader;
  Open open = open_;  // likewise
  auto& idle = idle_[static_cast<int>(use)];
  if (!idle.empty()) {
    reader = std::move(idle.back());
    idle.pop_back();
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
  ++own;
  return {*this, std::move(reader), use};
}

void Readers::start(Open open) {
  std::lock_guard lock(mutex_);
  for (auto& idle : idle_) idle.reserve(kIdle);  // so that giving one back cannot fail
  open_ = std::move(open);
  stopped_ = locked_ = false;
  changed_.notify_all();
}

void Readers::resume() {
  std::lock_guard lock(mutex_);
  stopped_ = locked_ = false;
  changed_.notify_all();
}

void Readers::stop(bool locked) {
  auto own = leases_of_this_thread.find(this);
  if (own != leases_of_this_thread.end() && own->second > 0) {
    throw Error(ErrorCode::invalid_argument,
                "this cannot be done from within a query: let it end first");
  }
  std::unique_lock lock(mutex_);
  stopped_ = true;
  stopped_by_ = std::this_thread::get_id();
  locked_ = locked;
  changed_.notify_all();
  changed_.wait(lock, [&] { return active_ == 0; });
  for (auto& idle : idle_) idle.clear();
}

}  // namespace holdfast::store
