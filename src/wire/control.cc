#include "src/wire/control.h"

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

constexpr std::uint8_t kVersion = 1;

[[noreturn]] void broken(const char* why) {
  throw Error(ErrorCode::protocol,
              std::string("the vault's device list does not hold together: ") + why);
}

}  // namespace

Bytes encode_unsigned(const ControlRecord& record) {
  base::Writer body;
  switch (record.type) {
    case ControlType::genesis:
      body.raw(record.nonce);
      body.raw(record.device_sign);
      body.raw(record.device_box);
      body.raw(record.recovery_sign);
      body.raw(record.recovery_box);
      body.raw(record.epoch_hash);
      body.varint(record.boxes.size());
      for (const KeyBox& box : record.boxes) {
        body.raw(box.receiver);
        body.sized(box.box);
      }
      body.sized(record.sealed_name);
      break;
    case ControlType::ticket:
      body.raw(record.ticket_sign);
      body.u64(record.lifetime_ms);
      break;
    case ControlType::enrol:
      body.raw(record.device_sign);
      body.raw(record.device_box);
      body.sized(record.sealed_name);
      break;
  }
  base::Writer out;
  out.u8(kVersion);
  out.u8(static_cast<std::uint8_t>(record.type));
  out.raw(record.previous);
  out.sized(body.bytes());
  out.raw(record.signer);
  return out.take();
}

Bytes encode(const ControlRecord& record) {
  Bytes out = encode_unsigned(record);
  out.insert(out.end(), record.signature.begin(), record.signature.end());
  return out;
}

ControlRecord decode_control(ByteView bytes) {
  base::Reader in(bytes, "a record of the device list");
  if (bytes.size() > kMaxControlRecord) in.fail("it is too large");
  std::uint8_t version = in.u8();
  std::uint8_t type = in.u8();
  if (version > kVersion || type > static_cast<std::uint8_t>(ControlType::enrol)) {
    throw Error(ErrorCode::newer_version,
                "the vault's device list was written by a newer version: update the app");
  }
  if (version != kVersion || type == 0) in.fail("its version or type is unknown");
  ControlRecord record;
  record.type = static_cast<ControlType>(type);
  record.previous = in.array<32>();
  base::Reader body(in.sized(), "a record of the device list");
  switch (record.type) {
    case ControlType::genesis: {
      record.nonce = body.array<32>();
      record.device_sign = body.array<32>();
      record.device_box = body.array<32>();
      record.recovery_sign = body.array<32>();
      record.recovery_box = body.array<32>();
      record.epoch_hash = body.array<32>();
      record.boxes.resize(body.count(33));
      for (KeyBox& box : record.boxes) {
        box.receiver = body.array<32>();
        box.box = base::to_bytes(body.sized());
      }
      record.sealed_name = base::to_bytes(body.sized());
      break;
    }
    case ControlType::ticket:
      record.ticket_sign = body.array<32>();
      record.lifetime_ms = body.u64();
      if (record.lifetime_ms > kMaxTicketMs) body.fail("a ticket lives too long");
      break;
    case ControlType::enrol:
      record.device_sign = body.array<32>();
      record.device_box = body.array<32>();
      record.sealed_name = base::to_bytes(body.sized());
      break;
  }
  body.expect_end();
  record.signer = in.array<32>();
  record.signature = in.array<64>();
  in.expect_end();
  return record;
}

void ControlState::append(ByteView bytes) {
  ControlRecord record = decode_control(bytes);
  bool genesis = record.type == ControlType::genesis;
  if (genesis != empty()) broken("it does not start with its genesis");
  if (record.previous != head_) broken("a record does not follow the one before it");
  if (!verify(record.signer, kSignControl, vault_, encode_unsigned(record), record.signature)) {
    broken("a signature is not valid");
  }
  Hash32 hash = sha256({bytes});
  switch (record.type) {
    case ControlType::genesis:
      if (record.signer != record.device_sign) broken("its genesis is not by the first device");
      vault_ = hash;
      epoch_hash_ = record.epoch_hash;
      enrol(record);
      break;
    case ControlType::ticket: {
      const EnrolledDevice* signer = device(device_id_of(record.signer));
      if (!signer || signer->sign != record.signer)
        broken("a ticket is not by a device of the vault");
      tickets_[record.ticket_sign] = {count_, record.lifetime_ms};
      break;
    }
    case ControlType::enrol:
      if (!open_ticket(record.signer)) broken("a device was added without a ticket");
      if (device(device_id_of(record.device_sign))) broken("a device was added twice");
      tickets_.erase(record.signer);
      enrol(record);
      break;
  }
  head_ = hash;
  hashes_.insert(hash);
  ++count_;
}

void ControlState::enrol(const ControlRecord& record) {
  devices_[device_id_of(record.device_sign)] = {record.device_sign, record.device_box,
                                                record.sealed_name, count_, record.signer};
}

const EnrolledDevice* ControlState::device(const Id16& id) const {
  auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : &found->second;
}

std::optional<ControlState::OpenTicket> ControlState::open_ticket(const Hash32& sign) const {
  auto found = tickets_.find(sign);
  if (found == tickets_.end()) return std::nullopt;
  return found->second;
}

}  // namespace holdfast::wire
