#pragma once

#include "src/sync/rewind.h"

namespace holdfast::sync {

// What follows from the log besides the records: what each device has written, which edits were
// written anew by whom, and how many change sets wait for one that is not in the log. Those follow.
struct CheckpointHeader {
  struct Written {
    std::uint64_t seen = 0;      // change sets
    std::uint64_t last = 0;      // of them in a batch …
    std::uint64_t position = 0;  // … which is there
    ChangeHashes changes;        // the last ones
  };
  std::map<base::Id16, Written> devices;
  std::vector<Claim> claims;
  std::uint64_t waiting = 0;

  // Throws Error(malformed), newer_version.
  static CheckpointHeader decode(ByteView bytes);
  Bytes encode() const;
};

// Throws Error(malformed).
store::Engine::Waiting decode_waiting(ByteView bytes);
Bytes encode(const store::Engine::Waiting& waiting);

// One chunk's key follows from the epoch's; what it is a chunk of is authenticated with it.
crypto::Secret chunk_key(const Membership& membership, std::uint32_t epoch);
std::string chunk_context(const Membership& membership, std::uint64_t position, std::size_t number);
// Checkpoint::state before any record, and behind what waits.
base::Hash32 state_start(ByteView header);
base::Hash32 state_next(const base::Hash32& state, ByteView waiting);

}  // namespace holdfast::sync
