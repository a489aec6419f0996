#pragma once

// What a relay may ask for before it takes a new vault, and what takes a vault off it again.
// Grammar: docs/protocol.md.

#include <string_view>

#include "src/base/hash.h"
#include "src/wire/log.h"

namespace holdfast::wire {

// Body of a 428: what a vault's creation lacks.
struct AdmissionNeeded {
  enum class Kind : std::uint8_t { invite = 1, work = 2 };
  Kind kind = Kind::invite;
  std::uint8_t bits = 0;  // of work
  Bytes nonce;            // likewise
};
Bytes encode(const AdmissionNeeded& needed);
AdmissionNeeded decode_admission_needed(ByteView bytes);

// How many leading zero bits the proof of work has: SHA-256 over the label "holdfast admission v1",
// the relay's nonce, the vault's id and the counter, little-endian.
unsigned work_bits(ByteView nonce, const Hash32& vault, std::uint64_t counter);

// As which a relay keeps an invitation's code.
Hash32 invite_hash(std::string_view code);

// The user's request that a relay forget a vault.
struct Erasure {
  Hash32 signer{};  // a device that is in, or the recovery key
  Id16 log_id{};
  Bytes nonce;         // of the relay's challenge
  std::string origin;  // the relay's URL, so that no other can pass the request on
  std::array<std::uint8_t, kSignatureSize> signature{};
};
Bytes encode(const Erasure& erasure);
Erasure decode_erasure(ByteView bytes);         // throws Error(malformed)
Bytes erasure_message(const Erasure& erasure);  // what is signed, under kSignErasure

constexpr std::string_view kSignErasure = "holdfast erasure v1";

}  // namespace holdfast::wire
