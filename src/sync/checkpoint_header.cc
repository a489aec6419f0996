#include "src/sync/checkpoint_header.h"

#include "holdfast/error.h"

namespace holdfast::sync {
namespace {

constexpr std::uint8_t kVersion = 1;

}  // namespace

Bytes CheckpointHeader::encode() const {
  base::Writer out;
  out.u8(kVersion);
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
  return out.take();
}

CheckpointHeader CheckpointHeader::decode(ByteView bytes) {
  base::Reader in(bytes, "a checkpoint");
  if (in.u8() != kVersion) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault runs a newer version of the app: update this one");
  }
  CheckpointHeader out;
  for (std::size_t n = in.count(20); n > 0; --n) {
    Written& written = out.devices[in.array<16>()];
    written.seen = in.varint();
    written.last = in.varint();
    written.position = in.varint();
    if (written.seen == 0 || written.seen > static_cast<std::uint64_t>(INT64_MAX)) {
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
  in.expect_end();
  return out;
}

}  // namespace holdfast::sync
