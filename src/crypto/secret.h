#pragma once

#include <sodium.h>

#include <cstring>
#include <memory>
#include <new>

#include "src/base/bytes.h"

namespace holdfast::crypto {

// Bytes that are kept out of swap and core dumps, and wiped when let go. They lie between guard
// pages (libsodium's sodium_malloc), small ones several to a mapping, each with a canary behind it:
// a process that wrote over it ends where the secret is let go. Move-only. Reading from many
// threads is safe, writing is not. Throws std::bad_alloc.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size);
  explicit Secret(ByteView bytes) : Secret(bytes.size()) {
    if (!bytes.empty()) std::memcpy(data(), bytes.data(), bytes.size());
  }
  Secret copy() const { return Secret(view()); }

  std::uint8_t* data() { return data_.get(); }
  std::size_t size() const { return data_.get_deleter().size; }
  std::span<std::uint8_t> span() { return {data_.get(), size()}; }
  ByteView view() const { return {data_.get(), size()}; }

 private:
  struct Free {
    Free() : size(0) {}
    explicit Free(std::size_t of) : size(of) {}
    std::size_t size;
    void operator()(std::uint8_t* data) const;
  };
  std::unique_ptr<std::uint8_t, Free> data_;
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
