#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast {

// Who is told of something, by the number that add() gave. Thread-safe.
template <typename... Arguments>
class Observers {
 public:
  using Observer = std::function<void(Arguments...)>;

  int add(Observer observer) {
    std::lock_guard lock(mutex_);
    slots_[next_] = std::make_shared<Slot>(std::move(observer));
    return next_++;
  }

  // The observer is not called any more once this returns: waits for calls on other threads, so
  // that nothing that it needs may be held; an observer may remove itself.
  void remove(int number) {
    std::shared_ptr<Slot> slot;
    {
      std::lock_guard lock(mutex_);
      auto found = slots_.find(number);
      if (found == slots_.end()) return;
      slot = found->second;
      slots_.erase(found);
    }
    std::unique_lock lock(slot->mutex);
    slot->is_removed = true;
    slot->returned.wait(lock, [&] {
      return std::all_of(slot->callers.begin(), slot->callers.end(),
                         [](std::thread::id id) { return id == std::this_thread::get_id(); });
    });
  }

  bool empty() const {
    std::lock_guard lock(mutex_);
    return slots_.empty();
  }

  // Calls each on this thread, without a lock held. What they throw is dropped: whom it is told to
  // does not change what happened.
  void tell(Arguments... arguments) const {
    std::map<int, std::shared_ptr<Slot>> slots;
    {
      std::lock_guard lock(mutex_);
      slots = slots_;
    }
    for (const auto& [number, slot] : slots) {
      Call call(*slot);
      try {
        if (call.is_on) slot->observer(arguments...);
      } catch (...) {
      }
    }
  }

 private:
  struct Slot {
    explicit Slot(Observer given) : observer(std::move(given)) {}
    const Observer observer;
    std::mutex mutex;
    std::condition_variable returned;
    bool is_removed = false;
    std::vector<std::thread::id> callers;
  };
  struct Call {
    explicit Call(Slot& in) : slot(in) {
      std::lock_guard lock(slot.mutex);
      if (slot.is_removed) return;
      slot.callers.push_back(std::this_thread::get_id());
      is_on = true;
    }
    ~Call() {
      if (!is_on) return;
      std::lock_guard lock(slot.mutex);
      slot.callers.erase(
          std::find(slot.callers.begin(), slot.callers.end(), std::this_thread::get_id()));
      slot.returned.notify_all();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    Slot& slot;
    bool is_on = false;
  };

  mutable std::mutex mutex_;
  std::map<int, std::shared_ptr<Slot>> slots_;
  int next_ = 1;
};

}  // namespace holdfast
