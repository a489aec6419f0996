#include "src/wire/control_record.h"

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

constexpr std::uint8_t kVersion = 3;
constexpr const char* kWhat = "a record of the device list";

void write_boxes(base::Writer& out, const std::vector<KeyBox>& boxes) {
  out.varint(boxes.size());
  for (const KeyBox& box : boxes) {
    out.raw(box.receiver);
    out.sized(box.box);
  }
}

std::vector<KeyBox> read_boxes(base::Reader& in) {
  std::vector<KeyBox> boxes(in.count(33));
  for (KeyBox& box : boxes) {
    box.receiver = in.array<32>();
    box.box = base::to_bytes(in.sized());
    if (box.box.size() != kKeyBox) in.fail("a boxed key has another size");
  }
  return boxes;
}

void write_epoch(base::Writer& out, const EpochStart& epoch) {
  out.u32(epoch.number);
  out.raw(epoch.hash);
  out.sized(epoch.previous_keys);
  write_boxes(out, epoch.boxes);
}

EpochStart read_epoch(base::Reader& in) {
  EpochStart epoch;
  epoch.number = in.u32();
  epoch.hash = in.array<32>();
  epoch.previous_keys = base::to_bytes(in.sized());
  if (epoch.previous_keys.size() > kMaxPreviousKeys) in.fail("it holds too many keys");
  epoch.boxes = read_boxes(in);
  return epoch;
}

void write_name(base::Writer& out, const ControlRecord& record) {
  if (record.version > 1) out.u32(record.name.epoch);
  out.sized(record.name.sealed);
}

void read_name(base::Reader& in, ControlRecord& record) {
  if (record.version > 1) record.name.epoch = in.u32();
  record.name.sealed = base::to_bytes(in.sized());
  if (record.name.sealed.size() > kMaxSealedName) in.fail("a name is too long");
}

void write_recovery(base::Writer& out, const RecoveryKey& key) {
  out.raw(key.sign);
  out.raw(key.box);
  out.raw(key.proof);
}

RecoveryKey read_recovery(base::Reader& in) {
  RecoveryKey key;
  key.sign = in.array<32>();
  key.box = in.array<32>();
  key.proof = in.array<64>();
  return key;
}

void write_leaves(base::Writer& out, const ControlRecord& record) {
  if (record.version < 3) return;
  out.varint(record.last_leaves.size());
  for (const auto& [device, leaf] : record.last_leaves) {
    out.raw(device);
    out.raw(leaf);
  }
}

void read_leaves(base::Reader& in, ControlRecord& record) {
  if (record.version < 3) return;
  record.last_leaves.resize(in.count(48));
  for (auto& [device, leaf] : record.last_leaves) {
    device = in.array<16>();
    leaf = in.array<32>();
  }
}

void write_genesis(base::Writer& body, const ControlRecord& record) {
  body.raw(record.nonce);
  body.raw(record.device_sign);
  body.raw(record.device_box);
  body.raw(record.recovery.sign);
  body.raw(record.recovery.box);
  body.raw(record.epoch.hash);
  write_boxes(body, record.epoch.boxes);
  body.sized(record.name.sealed);
  if (record.version > 1) body.raw(record.recovery.proof);
}

void read_genesis(base::Reader& body, ControlRecord& record) {
  record.nonce = body.array<32>();
  record.device_sign = body.array<32>();
  record.device_box = body.array<32>();
  record.recovery.sign = body.array<32>();
  record.recovery.box = body.array<32>();
  record.epoch.hash = body.array<32>();
  record.epoch.boxes = read_boxes(body);
  record.name.sealed = base::to_bytes(body.sized());
  if (record.name.sealed.size() > kMaxSealedName) body.fail("a name is too long");
  if (record.version > 1) record.recovery.proof = body.array<64>();
}

Bytes encode_body(const ControlRecord& record) {
  base::Writer body;
  switch (record.type) {
    case ControlType::genesis: write_genesis(body, record); break;
    case ControlType::ticket:
      body.raw(record.ticket_sign);
      body.u64(record.lifetime_ms);
      break;
    case ControlType::enrol:
      body.raw(record.device_sign);
      body.raw(record.device_box);
      write_name(body, record);
      break;
    case ControlType::revoke:
      body.varint(record.revoked.size());
      for (const Id16& id : record.revoked) body.raw(id);
      write(body, record.through);
      write_leaves(body, record);
      body.u8(record.replaces_recovery);
      if (record.replaces_recovery) write_recovery(body, record.recovery);
      write_epoch(body, record.epoch);
      break;
    case ControlType::epoch: write_epoch(body, record.epoch); break;
    case ControlType::recovery_key:
      write_recovery(body, record.recovery);
      write_epoch(body, record.epoch);
      break;
    case ControlType::rename:
      body.raw(record.device);
      write_name(body, record);
      break;
    case ControlType::recover:
      body.raw(record.device_sign);
      body.raw(record.device_box);
      write_name(body, record);
      write(body, record.through);
      write_leaves(body, record);
      write_recovery(body, record.recovery);
      write_epoch(body, record.epoch);
      break;
  }
  return body.take();
}

void decode_body(base::Reader& body, ControlRecord& record) {
  switch (record.type) {
    case ControlType::genesis: read_genesis(body, record); break;
    case ControlType::ticket:
      record.ticket_sign = body.array<32>();
      record.lifetime_ms = body.u64();
      if (record.lifetime_ms > kMaxTicketMs) body.fail("a ticket lives too long");
      break;
    case ControlType::enrol:
      record.device_sign = body.array<32>();
      record.device_box = body.array<32>();
      read_name(body, record);
      break;
    case ControlType::revoke:
      record.revoked.resize(body.count(16));
      for (Id16& id : record.revoked) id = body.array<16>();
      record.through = read_position(body);
      read_leaves(body, record);
      switch (body.u8()) {
        case 0: break;
        case 1:
          record.replaces_recovery = true;
          record.recovery = read_recovery(body);
          break;
        default: body.fail("a flag is unknown");
      }
      record.epoch = read_epoch(body);
      break;
    case ControlType::epoch: record.epoch = read_epoch(body); break;
    case ControlType::recovery_key:
      record.recovery = read_recovery(body);
      record.epoch = read_epoch(body);
      break;
    case ControlType::rename:
      record.device = body.array<16>();
      read_name(body, record);
      break;
    case ControlType::recover:
      record.device_sign = body.array<32>();
      record.device_box = body.array<32>();
      read_name(body, record);
      record.through = read_position(body);
      read_leaves(body, record);
      record.recovery = read_recovery(body);
      record.epoch = read_epoch(body);
      break;
  }
  body.expect_end();
}

bool is_known(std::uint8_t version, std::uint8_t type) {
  if (version == 1) return type >= 1 && type <= 3;
  return type >= 1 && type <= 9 && type != 5;
}

}  // namespace

Bytes encode_unsigned(const ControlRecord& record) {
  base::Writer out;
  out.u8(record.version);
  out.u8(static_cast<std::uint8_t>(record.type));
  out.raw(record.previous);
  out.sized(encode_body(record));
  out.raw(record.signer);
  return out.take();
}

Bytes encode(const ControlRecord& record) {
  Bytes out = encode_unsigned(record);
  out.insert(out.end(), record.signature.begin(), record.signature.end());
  return out;
}

Bytes proof_message(const ControlRecord& record) {
  base::Writer out;
  out.raw(record.previous);
  out.raw(record.signer);
  out.raw(record.recovery.box);
  out.raw(record.epoch.hash);
  return out.take();
}

ControlRecord decode_control(ByteView bytes) {
  base::Reader in(bytes, kWhat);
  if (bytes.size() > kMaxControlRecord) in.fail("it is too large");
  ControlRecord record;
  record.version = in.u8();
  std::uint8_t type = in.u8();
  if (record.version > kVersion || type > static_cast<std::uint8_t>(ControlType::recover)) {
    throw Error(ErrorCode::newer_version,
                "the vault's device list was written by a newer version: update the app");
  }
  if (!is_known(record.version, type)) in.fail("its version or type is unknown");
  record.type = static_cast<ControlType>(type);
  record.previous = in.array<32>();
  base::Reader body(in.sized(), kWhat);
  decode_body(body, record);
  record.signer = in.array<32>();
  record.signature = in.array<64>();
  in.expect_end();
  return record;
}

}  // namespace holdfast::wire
