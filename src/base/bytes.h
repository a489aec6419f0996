#pragma once

// Bytes, and the two classes by which every binary format of Holdfast is written and read.
// Integers of fixed width are little-endian; varints are LEB128 in their shortest form.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

namespace base {

using Id16 = std::array<std::uint8_t, 16>;
using Hash32 = std::array<std::uint8_t, 32>;

inline ByteView view(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

// Appends to a growing buffer. Not thread-safe.
class Writer {
 public:
  void u8(std::uint8_t value) { out_.push_back(value); }
  void u32(std::uint32_t value) { fixed(value, 4); }
  void u64(std::uint64_t value) { fixed(value, 8); }
  void varint(std::uint64_t value);
  void zigzag(std::int64_t value);
  void raw(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void sized(ByteView bytes) {  // its length as a varint, then the bytes
    varint(bytes.size());
    raw(bytes);
  }
  void sized(std::string_view text) { sized(view(text)); }

  std::size_t size() const { return out_.size(); }
  ByteView bytes() const { return out_; }
  Bytes take() { return std::move(out_); }

 private:
  void fixed(std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i) out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  Bytes out_;
};

// Reads untrusted bytes; every method throws Error(malformed) naming `what` when they run out or
// break the format. Views returned live as long as the input. Not thread-safe.
class Reader {
 public:
  Reader(ByteView bytes, const char* what) : rest_(bytes), what_(what) {}

  std::uint8_t u8() { return raw(1)[0]; }
  std::uint32_t u32() { return static_cast<std::uint32_t>(fixed(4)); }
  std::uint64_t u64() { return fixed(8); }
  std::uint64_t varint();
  std::int64_t zigzag();
  ByteView raw(std::size_t size);
  ByteView sized() { return raw(count(1)); }
  std::string sized_text() { return std::string(text(sized())); }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out;
    ByteView bytes = raw(N);
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
  }
  // A varint that counts items of at least `item_size` bytes each still to come, so that a hostile
  // count is refused before anything is allocated for it.
  std::size_t count(std::size_t item_size);

  bool empty() const { return rest_.empty(); }
  ByteView rest() const { return rest_; }
  void expect_end() const;
  [[noreturn]] void fail(const char* why) const;

 private:
  std::uint64_t fixed(int width);
  ByteView rest_;
  const char* what_;
};

std::string to_hex(ByteView bytes);
std::optional<Bytes> from_hex(std::string_view hex);
// RFC 4648, section 5. Encodes without padding; decodes with or without it, and nothing but it.
std::string to_base64url(ByteView bytes);
std::optional<Bytes> from_base64url(std::string_view text);

}  // namespace base
}  // namespace holdfast
