#include "src/wire/checkpoint.h"

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

constexpr std::uint8_t kVersion = 1;

void write_leaves(base::Writer& out, const Checkpoint& checkpoint) {
  out.varint(checkpoint.leaves.size());
  for (const auto& [device, leaf] : checkpoint.leaves) {
    out.raw(device);
    out.raw(leaf);
  }
}

}  // namespace

Bytes checkpoint_message(const Checkpoint& checkpoint) {
  base::Writer out;
  out.u64(checkpoint.position);
  out.raw(checkpoint.history);
  out.u64(checkpoint.records);
  out.raw(checkpoint.state);
  write_leaves(out, checkpoint);
  return out.take();
}

Bytes encode(const Checkpoint& checkpoint) {
  base::Writer out;
  out.u8(kVersion);
  out.raw(checkpoint_message(checkpoint));
  out.varint(checkpoint.signatures.size());
  for (const Checkpoint::Signature& signature : checkpoint.signatures) {
    out.raw(signature.device);
    out.raw(signature.signature);
  }
  out.u32(checkpoint.epoch);
  out.varint(checkpoint.chunks.size());
  for (const Hash32& chunk : checkpoint.chunks) out.raw(chunk);
  return out.take();
}

Checkpoint decode_checkpoint(ByteView bytes) {
  base::Reader in(bytes, "a checkpoint");
  std::uint8_t version = in.u8();
  if (version > kVersion) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault runs a newer version of the app: update this one");
  }
  if (version == 0) in.fail("its version is unknown");
  Checkpoint out;
  out.position = in.u64();
  out.history = in.array<32>();
  out.records = in.u64();
  out.state = in.array<32>();
  out.leaves.resize(in.count(48));
  if (out.leaves.size() > kMaxLeaves) in.fail("it names too many devices");
  for (std::size_t i = 0; i < out.leaves.size(); ++i) {
    out.leaves[i].first = in.array<16>();
    out.leaves[i].second = in.array<32>();
    if (i > 0 && !(out.leaves[i - 1].first < out.leaves[i].first)) in.fail("it is out of order");
  }
  out.signatures.resize(in.count(80));
  if (out.signatures.empty() || out.signatures.size() > kMaxCheckpointSignatures) {
    in.fail("its signatures are too few or too many");
  }
  for (Checkpoint::Signature& signature : out.signatures) {
    signature.device = in.array<16>();
    signature.signature = in.array<64>();
  }
  out.epoch = in.u32();
  out.chunks.resize(in.count(32));
  if (out.chunks.empty() || out.chunks.size() > kMaxChunks) in.fail("its size is out of range");
  for (Hash32& chunk : out.chunks) chunk = in.array<32>();
  in.expect_end();
  return out;
}

bool is_signed(const Checkpoint& checkpoint, const Checkpoint::Signature& signature,
               const ControlState& state) {
  const EnrolledDevice* device = state.device(signature.device);
  bool was_in = device && (!device->revoked || device->revoked->position >= checkpoint.records);
  return was_in && verify(device->sign, kSignCheckpoint, state.vault(),
                          checkpoint_message(checkpoint), signature.signature);
}

bool counts(const Checkpoint& checkpoint, const ControlState& state,
            const std::optional<Id16>& reader) {
  // Taken out by the recovery that let the reader in: nobody else can vouch for what was before.
  const EnrolledDevice* self = reader ? state.device(*reader) : nullptr;
  auto was_recovered = [&](const EnrolledDevice& device) {
    return device.revoked && self && self->position == device.revoked->position &&
           state.was_recovery_key(device.revoked->by) &&
           checkpoint.position <= device.revoked->through.position;
  };
  std::set<Id16> signers;
  bool is_vouched_for = false;
  for (const Checkpoint::Signature& signature : checkpoint.signatures) {
    bool is_new = signers.insert(signature.device).second;
    if (!is_new || !is_signed(checkpoint, signature, state)) return false;
    const EnrolledDevice& device = *state.device(signature.device);
    is_vouched_for = is_vouched_for || !device.revoked || was_recovered(device);
  }
  if (!is_vouched_for) return false;
  if (signers.size() >= 2) return true;
  // One signature is enough where there was nobody else to sign.
  return std::none_of(state.devices().begin(), state.devices().end(), [&](const auto& entry) {
    bool is_another = signers.count(entry.first) == 0 && entry.first != reader;
    return is_another && (!entry.second.revoked || was_recovered(entry.second));
  });
}

Hash32 history_start() { return chain_start({}); }

Hash32 history_next(const Hash32& history, std::uint64_t position, const Hash32& leaf) {
  return chain_next(history, position, leaf);
}

Bytes encode(const StubPage& page) {
  base::Writer out;
  out.raw(page.log_id);
  out.u64(page.after);
  out.varint(page.stubs.size());
  for (const Stub& stub : page.stubs) {
    out.raw(stub.batch);
    out.raw(stub.device);
    out.raw(stub.leaf);
  }
  return out.take();
}

Bytes encode(const StubRestore& restore) {
  base::Writer out;
  out.sized(encode(restore.checkpoint));
  out.raw(encode(restore.page));
  return out.take();
}

StubRestore decode_stub_restore(ByteView bytes) {
  base::Reader in(bytes, "what a relay has lost");
  StubRestore out;
  out.checkpoint = decode_checkpoint(in.sized());
  out.page = decode_stub_page(in.rest());
  return out;
}

StubPage decode_stub_page(ByteView bytes) {
  base::Reader in(bytes, "a list of batches");
  StubPage page;
  page.log_id = in.array<16>();
  page.after = in.u64();
  page.stubs.resize(in.count(64));
  if (page.stubs.size() > kMaxStubs) in.fail("it is too long");
  for (Stub& stub : page.stubs) {
    stub.batch = in.array<16>();
    stub.device = in.array<16>();
    stub.leaf = in.array<32>();
  }
  in.expect_end();
  return page;
}

}  // namespace holdfast::wire
