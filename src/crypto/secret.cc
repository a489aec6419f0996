#include "src/crypto/secret.h"

#include <mutex>
#include <vector>

#ifdef HOLDFAST_SANITIZED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(0)
#endif

namespace holdfast::crypto {
namespace {

// Keys are small, and many live only for one derivation. A mapping for each, with its guard pages,
// costs six system calls and a locked page, of which a process may have as few as sixteen: so they
// share mappings. A slot holds a secret at its end and a canary behind it.
constexpr std::size_t kSlot = 128;
constexpr std::size_t kCanary = 16;
constexpr std::size_t kMost = kSlot - kCanary;
constexpr std::size_t kSlots = 127;  // four pages, with libsodium's own canary

class Slots {
 public:
  Slots() { randombytes_buf(canary_, kCanary); }

  std::uint8_t* take(std::size_t size) {
    std::lock_guard lock(mutex_);
    if (free_.empty()) add_block();
    std::uint8_t* slot = free_.back();
    free_.pop_back();
    ASAN_UNPOISON_MEMORY_REGION(slot + kMost - size, size);
    return slot + kMost - size;
  }

  void give(std::uint8_t* data, std::size_t size) {
    std::uint8_t* canary = data + size;
    ASAN_UNPOISON_MEMORY_REGION(canary, kCanary);
    if (sodium_memcmp(canary, canary_, kCanary) != 0) std::abort();  // something wrote behind it
    sodium_memzero(data, size);
    std::uint8_t* slot = canary - kMost;
    ASAN_POISON_MEMORY_REGION(slot, kSlot);
    std::lock_guard lock(mutex_);
    free_.push_back(slot);  // there is room: see add_block()
  }

 private:
  void add_block() {
    free_.reserve((blocks_ + 1) * kSlots);
    auto* block = static_cast<std::uint8_t*>(sodium_malloc(kSlots * kSlot));
    if (!block) throw std::bad_alloc();
    ++blocks_;
    for (std::size_t i = 0; i < kSlots; ++i) {
      std::uint8_t* slot = block + i * kSlot;
      std::memcpy(slot + kMost, canary_, kCanary);
      ASAN_POISON_MEMORY_REGION(slot, kSlot);
      free_.push_back(slot);
    }
  }

  std::uint8_t canary_[kCanary];
  std::mutex mutex_;
  std::size_t blocks_ = 0;  // never given back: as many as there were secrets at a time
  std::vector<std::uint8_t*> free_;
};

Slots& slots() {
  static Slots& all = *new Slots;  // outlives the secrets of other static objects
  return all;
}

}  // namespace

Secret::Secret(std::size_t size) {
  static const bool is_ready = sodium_init() >= 0;  // before its memory is asked for
  if (!is_ready) throw std::bad_alloc();
  auto* data = size <= kMost ? slots().take(size) : static_cast<std::uint8_t*>(sodium_malloc(size));
  if (!data) throw std::bad_alloc();
  std::memset(data, 0, size);
  data_ = {data, Free{size}};
}

void Secret::Free::operator()(std::uint8_t* data) const {
  if (size <= kMost) {
    slots().give(data, size);
  } else {
    sodium_free(data);
  }
}

}  // namespace holdfast::crypto
