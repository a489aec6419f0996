#include "src/sync/checkpoint_header.h"

#include "holdfast/error.h"

namespace holdfast::sync {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kWithWaiting = 2;  // where something waits: else one that all can read

}  // namespace

Bytes CheckpointHeader::encode() const {
  base::Writer out;
  out.u8(waiting == 0 ? kVersion : kWithWaiting);
  out.varint(devices.size());
  for (const auto& [device, written] : devices) {
    out.raw(device);
    out.varint(written.seen);
    out.varint(written.last);
    out.varint(written.position);
    out.varint(written.changes.size());
    for (const auto& [sequence, hash] : written.changes) {
      out.varint(sequence);
      out.raw(hash);
    }
  }
  out.varint(claims.size());
  for (const Claim& claim : claims) {
    out.raw(claim.device);
    out.varint(claim.sequence);
    out.raw(claim.hash);
  }
  if (waiting > 0) out.varint(waiting);
  return out.take();
}

Bytes encode(const store::Engine::Waiting& waiting) {
  base::Writer out;
  out.raw(waiting.device);
  out.varint(waiting.sequence);
  out.sized(waiting.body);
  return out.take();
}

store::Engine::Waiting decode_waiting(ByteView bytes) {
  base::Reader in(bytes, "a checkpoint");
  store::Engine::Waiting out;
  out.device = in.array<16>();
  out.sequence = in.varint();
  out.body = base::to_bytes(in.sized());
  in.expect_end();
  return out;
}

CheckpointHeader CheckpointHeader::decode(ByteView bytes) {
  base::Reader in(bytes, "a checkpoint");
  std::uint8_t version = in.u8();
  if (version != kVersion && version != kWithWaiting) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault runs a newer version of the app: update this one");
  }
  CheckpointHeader out;
  for (std::size_t n = in.count(20); n > 0; --n) {
    Written& written = out.devices[in.array<16>()];
    written.seen = in.varint();
    written.last = in.varint();
    written.position = in.varint();
    bool is_seen = written.seen > 0 || version == kWithWaiting;  // or all of it may wait
    if (!is_seen || written.seen > static_cast<std::uint64_t>(INT64_MAX)) {
      in.fail("a number is out of range");
    }
    for (std::size_t m = in.count(17); m > 0; --m) {
      std::uint64_t sequence = in.varint();
      written.changes[sequence] = in.array<16>();
    }
  }
  out.claims.resize(in.count(33));
  for (Claim& claim : out.claims) {
    claim.device = in.array<16>();
    claim.sequence = in.varint();
    claim.hash = in.array<16>();
  }
  if (version == kWithWaiting) {
    out.waiting = in.varint();
    if (out.waiting == 0) in.fail("a number is out of range");
  }
  in.expect_end();
  return out;
}

}  // namespace holdfast::sync
