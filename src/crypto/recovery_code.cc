#include "src/crypto/recovery_code.h"

#include <cctype>

#include "src/base/hash.h"

namespace holdfast::crypto {
namespace {

constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

}  // namespace

std::string recovery_text(ByteView secret16) {
  base::Hash32 check = base::sha256({base::view("holdfast recovery check v1"), secret16});
  Bytes bits = base::to_bytes(secret16);
  bits.insert(bits.end(), check.begin(), check.begin() + 3);
  std::string out;
  for (std::size_t i = 0; i < 30; ++i) {
    unsigned value = 0;
    // 26 characters for 128 bits (the last padded with two zeros), 4 for the check.
    for (std::size_t b = 0; b < 5; ++b) {
      std::size_t at = i < 26 ? i * 5 + b : 128 + (i - 26) * 5 + b;
      bool set = (i >= 26 || at < 128) && (bits[at / 8] >> (7 - at % 8) & 1);
      value = value << 1 | (set ? 1u : 0u);
    }
    if (i > 0 && i % 5 == 0) out += '-';
    out += kCrockford[value];
  }
  wipe(bits);
  return out;
}

std::optional<Secret> parse_recovery_code(std::string_view text) {
  Secret secret(kRecoverySecretSize);
  std::size_t count = 0;
  for (char given : text) {
    if (given == '-' || given == ' ' || given == '\n' || given == '\r') continue;
    char c = static_cast<char>(std::toupper(static_cast<unsigned char>(given)));
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    std::size_t value = kCrockford.find(c);
    if (value == std::string_view::npos || count == 30) return std::nullopt;
    for (std::size_t b = 0; b < 5 && count < 26; ++b) {
      std::size_t at = count * 5 + b;
      if (at < 128 && (value >> (4 - b) & 1)) {
        secret.data()[at / 8] |= static_cast<std::uint8_t>(0x80 >> at % 8);
      }
    }
    ++count;
  }
  if (count != 30) return std::nullopt;
  // The check characters, and the two bits that pad the last of the others, must come out again.
  std::string again = recovery_text(secret.view());
  std::string plain;
  for (char given : text) {
    if (given == '-' || given == ' ' || given == '\n' || given == '\r') continue;
    char c = static_cast<char>(std::toupper(static_cast<unsigned char>(given)));
    plain += c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
  }
  std::erase(again, '-');
  bool fits = equal(base::view(again), base::view(plain));
  wipe(again);
  wipe(plain);
  if (!fits) return std::nullopt;
  return secret;
}

}  // namespace holdfast::crypto
