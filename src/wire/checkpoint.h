#pragma once

// A checkpoint: all that a vault's log says up to a place, in the place of the log up to there. A
// device makes it, another one that has come to the same state signs it, too, and from then on the
// relay may let go of the batches. Grammar: docs/formats.md.

#include "src/wire/control.h"

namespace holdfast::wire {

constexpr std::size_t kMaxChunk = 1 << 20;  // bytes of one sealed chunk
constexpr std::size_t kMaxChunks = 65536;
constexpr std::size_t kMaxLeaves = 10'000;  // devices that ever wrote
constexpr std::size_t kMaxCheckpointSignatures = 16;

struct Checkpoint {
  struct Signature {
    Id16 device{};
    std::array<std::uint8_t, 64> signature{};
  };
  // What is signed.
  std::uint64_t position = 0;
  Hash32 history{};           // over the leaves up to there, whatever id the log goes by
  std::uint64_t records = 0;  // of the device list, that its maker knew
  Hash32 state{};             // over the records: see docs/formats.md
  std::vector<std::pair<Id16, Hash32>> leaves;  // of each device's last batch there, ascending
  // Of the device that made it, then of others that found the same; a vault of one device has one.
  std::vector<Signature> signatures;
  // How the records are stored: sealed chunks, by the hashes of their bytes.
  std::uint32_t epoch = 0;
  std::vector<Hash32> chunks;
};

// What its signatures cover (under kSignCheckpoint).
Bytes checkpoint_message(const Checkpoint& checkpoint);
Bytes encode(const Checkpoint& checkpoint);
// Throws Error(malformed), newer_version.
Checkpoint decode_checkpoint(ByteView bytes);
// Whether that signature is of a device that is in the vault, or that was when it was made, by what
// it says itself.
bool is_signed(const Checkpoint& checkpoint, const Checkpoint::Signature& signature,
               const ControlState& state);
// Whether it counts for `reader`: signed by two devices, or by the only one that there is besides
// the reader, and at least by one that is still in, or was when the vault was recovered by its code
// and the reader let in.
bool counts(const Checkpoint& checkpoint, const ControlState& state,
            const std::optional<Id16>& reader = std::nullopt);

// Checkpoint::history: behind no batch, and behind the next.
Hash32 history_start();
Hash32 history_next(const Hash32& history, std::uint64_t position, const Hash32& leaf);

// What a page of the log says of it.
struct CheckpointHead {
  std::uint64_t position = 0;
  Hash32 hash{};        // of the encoded checkpoint
  bool counts = false;  // by the device list as it is now
};

// A batch of the log that is there without its bytes.
struct Stub {
  Id16 batch{};
  Id16 device{};
  Hash32 leaf{};
};
constexpr std::size_t kMaxStubs = 60'000;  // in one answer or request
struct StubPage {
  Id16 log_id{};
  std::uint64_t after = 0;  // the first is behind this place
  std::vector<Stub> stubs;
};
Bytes encode(const StubPage& page);
StubPage decode_stub_page(ByteView bytes);

// Batches that a relay has lost, and whose bytes nobody has: a checkpoint that counts proves that
// they were there, behind what the relay still has up to `page.after`.
struct StubRestore {
  Checkpoint checkpoint;
  StubPage page;
};
Bytes encode(const StubRestore& restore);
StubRestore decode_stub_restore(ByteView bytes);

constexpr std::string_view kSignCheckpoint = "holdfast checkpoint v1";

}  // namespace holdfast::wire
