#pragma once

// A recursive mutex that knows which thread holds it, so that what it guards can tell misuse.

#include <atomic>
#include <mutex>
#include <thread>

namespace holdfast::base {

class OwnedMutex {
 public:
  void lock() {
    mutex_.lock();
    taken();
  }
  bool try_lock() {
    if (!mutex_.try_lock()) return false;
    taken();
    return true;
  }
  void unlock() {
    if (--depth_ == 0) owner_.store(std::thread::id(), std::memory_order_relaxed);
    mutex_.unlock();
  }
  // By the calling thread.
  bool held() const { return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

 private:
  void taken() {
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    ++depth_;
  }

  std::recursive_mutex mutex_;
  std::atomic<std::thread::id> owner_;
  int depth_ = 0;  // by mutex_
};

}  // namespace holdfast::base
