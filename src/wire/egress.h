#pragma once

// What a destination receives: a header in the open, which the seal covers, and the ciphertext.
// docs/formats.md has its grammar.

#include <string>

#include "src/base/hash.h"

namespace holdfast::wire {

constexpr std::size_t kMaxEgress = 2 << 20;

struct EgressHeader {
  base::Id16 id{};         // of this egress: one that comes twice is the same, byte by byte
  std::uint16_t aead = 0;  // as RFC 9180 numbers them
  base::Hash32 policy{};   // hash of the policy that it was made under
  std::string key_id;      // of the destination's key
  std::string destination;
  std::string purpose;
  std::string data_type;
  base::Hash32 encapsulated{};  // HPKE's "enc"
};

Bytes encode(const EgressHeader& header);

struct Egress {
  EgressHeader header;
  Bytes head;  // the header's bytes: the seal's associated data
  Bytes sealed;
};
// Throws Error(malformed, newer_version).
Egress decode_egress(ByteView bytes);

// HPKE's `info`: binds what is sealed to whom and what for.
Bytes egress_info(const EgressHeader& header);

// A payload in a bucket of 256 bytes, or the next power of two: its size tells little. Throws
// Error(too_large) beyond the largest, 1 MiB.
Bytes pad_payload(std::string_view text);
std::string unpad_payload(ByteView padded);  // throws Error(malformed)

}  // namespace holdfast::wire
