#pragma once

// The vault's log as relay and devices both compute it: batches, their leaves, the chain over them.
// Only ciphertext and framing: nothing here can open a batch. Grammar and example: docs/formats.md.

#include "src/base/hash.h"

namespace holdfast::wire {

using base::Hash32;
using base::Id16;
using base::sha256;

constexpr std::size_t kMaxBatch = 1 << 20;  // bytes of one sealed batch
constexpr std::size_t kMinBatch = 512;      // what the smallest is padded to
constexpr std::size_t kSignatureSize = 64;  // at the end of each

// The clear part of a batch, authenticated with what follows it.
struct BatchHeader {
  static constexpr std::size_t kSize = 1 + 32 + 16 + 16 + 32 + 4 + 16 + 32;
  Hash32 vault{};
  Id16 batch{};       // random, so that a push can be repeated
  Id16 device{};      // of the author
  Hash32 previous{};  // leaf of this device's batch before; zero for its first
  std::uint32_t epoch = 0;
  Id16 salt{};
  Hash32 commitment{};  // to the key that opens this batch, and no other
};

Bytes encode(const BatchHeader& header);
// Whether the batch ends with its author's signature (under kSignBatch) over all that comes before.
// Anyone can check it: a relay stores no other, so nobody can put words into a device's mouth.
bool is_signed(ByteView batch, const Hash32& vault, const Hash32& author_sign);
// Of a whole batch. Throws Error(malformed) for a wrong size or form, newer_version for a later
// format.
BatchHeader decode_batch_header(ByteView batch);

// A place in a vault's log: the chain says what came before it.
struct LogPosition {
  Id16 log_id{};
  std::uint64_t position = 0;
  Hash32 chain{};
  bool operator==(const LogPosition&) const = default;
};
void write(base::Writer& out, const LogPosition& log);
LogPosition read_position(base::Reader& in);

Hash32 leaf_of(ByteView batch);
Hash32 chain_start(const Id16& log_id);
Hash32 chain_next(const Hash32& chain, std::uint64_t position, const Hash32& leaf);

// The size to pad `size` to: PADMÉ (Nikitin and others, PETS 2019), so that at most 12 % is added
// and the size tells O(log log size) bits; at least kMinBatch.
std::size_t padded_size(std::size_t size);

// Ed25519 over a purpose label, the vault, and a message: so no signature serves twice.
Bytes signed_message(std::string_view purpose, const Hash32& vault, ByteView message);
bool verify(const Hash32& public_key, std::string_view purpose, const Hash32& vault,
            ByteView message, ByteView signature64);

constexpr std::string_view kSignBatch = "holdfast batch v1";
constexpr std::string_view kSignControl = "holdfast control v1";
constexpr std::string_view kSignSession = "holdfast session v1";
constexpr std::string_view kSignRecovery = "holdfast recovery v1";

}  // namespace holdfast::wire
