#include "src/base/bytes.h"

#include <sodium.h>

#include "holdfast/error.h"

namespace holdfast::base {

void Writer::varint(std::uint64_t value) {
  while (value >= 0x80) {
    out_.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  out_.push_back(static_cast<std::uint8_t>(value));
}

void Writer::zigzag(std::int64_t value) {
  varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

std::uint64_t Reader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    std::uint8_t byte = u8();
    if (shift == 63 && byte > 1) fail("a number is out of range");
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift > 0) fail("a number is not in its shortest form");
      return value;
    }
  }
}

std::int64_t Reader::zigzag() {
  std::uint64_t value = varint();
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

ByteView Reader::raw(std::size_t size) {
  if (size > rest_.size()) fail("it ends too early");
  ByteView out = rest_.first(size);
  rest_ = rest_.subspan(size);
  return out;
}

std::size_t Reader::count(std::size_t item_size) {
  std::uint64_t value = varint();
  if (value > rest_.size() / item_size) fail("it ends too early");
  return static_cast<std::size_t>(value);
}

void Reader::expect_end() const {
  if (!rest_.empty()) fail("bytes are left over");
}

void Reader::fail(const char* why) const {
  throw Error(ErrorCode::malformed, std::string(what_) + " is malformed: " + why);
}

std::uint64_t Reader::fixed(int width) {
  ByteView bytes = raw(static_cast<std::size_t>(width));
  std::uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i) value = value << 8 | bytes[static_cast<std::size_t>(i)];
  return value;
}

// libsodium's functions want pointers that are not null even for nothing.
std::string to_hex(ByteView bytes) {
  if (bytes.empty()) return "";
  std::string out(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes.data(), bytes.size());
  out.pop_back();
  return out;
}

std::optional<Bytes> from_hex(std::string_view hex) {
  if (hex.empty()) return Bytes();
  Bytes out(hex.size() / 2);
  std::size_t written = 0;
  if (hex.size() % 2 != 0 || sodium_hex2bin(out.data(), out.size(), hex.data(), hex.size(), nullptr,
                                            &written, nullptr) != 0) {
    return std::nullopt;
  }
  if (written != out.size()) return std::nullopt;
  return out;
}

std::string to_base64url(ByteView bytes) {
  if (bytes.empty()) return "";
  constexpr int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string out(sodium_base64_encoded_len(bytes.size(), variant), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(), variant);
  out.pop_back();
  return out;
}

std::optional<Bytes> from_base64url(std::string_view text) {
  if (text.empty()) return Bytes();
  bool padded = !text.empty() && text.back() == '=';
  int variant = padded ? sodium_base64_VARIANT_URLSAFE : sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  Bytes out(text.size());
  std::size_t written = 0;
  if (sodium_base642bin(out.data(), out.size(), text.data(), text.size(), nullptr, &written,
                        nullptr, variant) != 0) {
    sodium_memzero(out.data(), out.size());
    return std::nullopt;
  }
  out.resize(written);
  return out;
}

}  // namespace holdfast::base
