#pragma once

#include "src/sync/membership.h"

namespace holdfast::sync {

// A change set that its author has written anew: see Claims.
struct Claim {
  base::Id16 device{};
  std::uint64_t sequence = 0;
  base::Id16 hash{};
  auto operator<=>(const Claim&) const = default;
};
constexpr std::size_t kMaxClaims = 1000;  // in a batch

// What a batch says inside, under its author's signature.
struct BatchContent {
  std::uint64_t first = 0;  // the author's change sets, first to last
  std::uint64_t last = 0;
  LogPosition seen;  // the author's view of the log when it sealed; makes forks evident
  base::Hash32 control_head{};
  // Once this batch is in the log, so are all of the author's change sets that do not know what
  // the log holds up to here.
  std::uint64_t acknowledged = 0;
  std::uint64_t sealed_ms = 0;  // by the author's clock
  std::vector<Claim> claims;
  Bytes changes;  // model::encode_changes; empty in a batch that only acknowledges
};

// Seals one batch of the engine's own device. Throws Error(too_large) where it does not fit.
Bytes seal_batch(const BatchContent& content, const base::Hash32& previous_leaf,
                 const Membership& membership, const store::Identity& identity,
                 base::Random& random);

// Compressed, behind its size, and back. Throws Error(malformed).
Bytes packed(ByteView bytes);
Bytes unpacked(ByteView plain);  // and padding of zeros behind it

struct OpenedBatch {
  wire::BatchHeader header;
  BatchContent content;
  std::vector<model::ChangeSet> changes;
  // Validly signed, yet against the rules: on every device its change sets count as seen and do
  // nothing. Empty: a good batch.
  std::string void_because;
  bool is_readable = true;  // else its content says nothing at all
};
// Throws Error: malformed or protocol (not a valid batch of this vault), newer_version, not_found
// (its author is not in the device list as known here).
OpenedBatch open_batch(ByteView batch, const Membership& membership);

}  // namespace holdfast::sync
