#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace holdfast::store {

// What SQLite would keep in a "-shm" file: the index of its log, and the locks on it. Here both
// live in this process, for the index holds checksums of plaintext. Not thread-safe: its owner
// (vfs.cc) locks.
class SharedMemory {
 public:
  static constexpr int kLocks = 8;

  // The locks that one connection holds, a bit each.
  struct Holder {
    unsigned shared = 0;
    unsigned exclusive = 0;
  };

  // A region of `size` bytes, zeroed when it is new; null where it is not there and not to be made.
  void* map(std::size_t region, std::size_t size, bool make);
  void clear() { regions_.clear(); }
  // All of [first, first + count) or none; false where another connection is in the way.
  bool lock(Holder& holder, int first, int count, bool exclusive);
  void unlock(Holder& holder, int first, int count, bool exclusive);

 private:
  std::vector<std::unique_ptr<std::uint8_t[]>> regions_;
  int shared_[kLocks] = {};
  const Holder* exclusive_[kLocks] = {};
};

}  // namespace holdfast::store
