#pragma once

#include <sodium.h>

#include <cstring>
#include <memory>
#include <new>

#include "src/base/bytes.h"

namespace holdfast::crypto {

// Bytes that are kept out of swap and core dumps, guarded against overruns, and wiped when let go
// (libsodium's sodium_malloc). Move-only. Reading from many threads is safe, writing is not.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size) : size_(size) {
    if (sodium_init() < 0) throw std::bad_alloc();
    data_.reset(static_cast<std::uint8_t*>(sodium_malloc(size == 0 ? 1 : size)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, size);
  }
  explicit Secret(ByteView bytes) : Secret(bytes.size()) {
    if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
  }
  Secret copy() const { return Secret(view()); }

  std::uint8_t* data() { return data_.get(); }
  std::size_t size() const { return size_; }
  std::span<std::uint8_t> span() { return {data_.get(), size_}; }
  ByteView view() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const { sodium_free(p); }
  };
  std::unique_ptr<std::uint8_t, Free> data_;
  std::size_t size_ = 0;
};

// Constant-time comparison; false where the lengths differ.
inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

// Wipes an ordinary buffer that held a secret for a moment.
template <typename Container>
void wipe(Container& bytes) {
  sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace holdfast::crypto
