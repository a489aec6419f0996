#include "src/store/shared_memory.h"

namespace holdfast::store {

void* SharedMemory::map(std::size_t region, std::size_t size, bool make) {
  while (make && regions_.size() <= region)
    regions_.push_back(std::make_unique<std::uint8_t[]>(size));
  return region < regions_.size() ? regions_[region].get() : nullptr;
}

bool SharedMemory::lock(Holder& holder, int first, int count, bool exclusive) {
  for (int i = first; i < first + count; ++i) {
    int others = shared_[i] - (holder.shared >> i & 1u ? 1 : 0);
    if (exclusive_[i] && exclusive_[i] != &holder) return false;
    if (exclusive && others > 0) return false;
  }
  unsigned& mine = exclusive ? holder.exclusive : holder.shared;
  for (int i = first; i < first + count; ++i) {
    if (mine & 1u << i) continue;
    mine |= 1u << i;
    if (exclusive) {
      exclusive_[i] = &holder;
    } else {
      ++shared_[i];
    }
  }
  return true;
}

void SharedMemory::unlock(Holder& holder, int first, int count, bool exclusive) {
  unsigned& mine = exclusive ? holder.exclusive : holder.shared;
  for (int i = first; i < first + count; ++i) {
    if (!(mine & 1u << i)) continue;
    mine &= ~(1u << i);
    if (exclusive) {
      exclusive_[i] = nullptr;
    } else {
      --shared_[i];
    }
  }
}

}  // namespace holdfast::store
