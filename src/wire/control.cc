#include "src/wire/control.h"

#include <sodium.h>

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

[[noreturn]] void broken(const char* why) {
  throw Error(ErrorCode::protocol,
              std::string("the vault's device list does not hold together: ") + why);
}

bool starts_epoch(ControlType type) {
  switch (type) {
    case ControlType::genesis:
    case ControlType::revoke:
    case ControlType::epoch:
    case ControlType::recovery_key:
    case ControlType::recover: return true;
    case ControlType::ticket:
    case ControlType::enrol:
    case ControlType::rename: return false;
  }
  return false;
}

bool sets_recovery(const ControlRecord& record) {
  return record.type == ControlType::genesis || record.type == ControlType::recovery_key ||
         record.type == ControlType::recover || record.replaces_recovery;
}

// Nothing can be boxed to a point of low order, and every epoch's key is boxed to everybody.
bool is_usable(const Hash32& box_key) {
  static constexpr std::uint8_t kScalar[32] = {8};
  std::uint8_t point[32];
  return crypto_scalarmult(point, kScalar, box_key.data()) == 0;
}

bool adds_device(ControlType type) {
  return type == ControlType::genesis || type == ControlType::enrol || type == ControlType::recover;
}

}  // namespace

ControlRecord ControlState::append(ByteView bytes, Origin origin) {
  ControlRecord record = decode_control(bytes);
  if ((record.type == ControlType::genesis) != empty()) {
    broken("it does not start with its genesis");
  }
  if (record.previous != head_) broken("a record does not follow the one before it");
  if (origin == Origin::received) {
    if (!verify(record.signer, kSignControl, vault_, encode_unsigned(record), record.signature)) {
      broken("a signature is not valid");
    }
    check(record);
  }
  apply(record, sha256({bytes}));
  return record;
}

void ControlState::check(const ControlRecord& record) const {
  check_signer(record);
  if (adds_device(record.type)) check_newcomer(record);
  if (record.type == ControlType::revoke) check_revoked(record);
  if (record.version > 2) check_leaves(record);
  if (record.type == ControlType::rename && !member(record.device)) {
    broken("a device was renamed that is not in the vault");
  }
  if (sets_recovery(record)) check_recovery(record);
  if (starts_epoch(record.type)) check_epoch(record);
}

void ControlState::check_signer(const ControlRecord& record) const {
  switch (record.type) {
    case ControlType::genesis:
      if (record.signer != record.device_sign) broken("its genesis is not by the first device");
      return;
    case ControlType::enrol:
      if (!open_ticket(record.signer) && !is_member(record.signer)) {
        broken("a device was added without a ticket");
      }
      return;
    case ControlType::recover:
      if (record.signer != recovery_.sign) {
        broken("it was recovered by a code that is not the vault's");
      }
      return;
    default:
      if (!is_member(record.signer)) broken("a record is not by a device of the vault");
  }
}

void ControlState::check_newcomer(const ControlRecord& record) const {
  if (device(device_id_of(record.device_sign))) broken("a device was added twice");
  if (!is_usable(record.device_box)) broken("a device has a key to which nothing can be boxed");
  if (record.type == ControlType::enrol && members_ >= kMaxDevices) {
    broken("it has too many devices");
  }
}

void ControlState::check_revoked(const ControlRecord& record) const {
  if (record.revoked.empty()) broken("a record takes out nobody");
  for (std::size_t i = 0; i < record.revoked.size(); ++i) {
    if (i > 0 && !(record.revoked[i - 1] < record.revoked[i])) broken("a record is out of order");
    if (!member(record.revoked[i])) broken("a device was taken out that is not in the vault");
    if (record.revoked[i] == device_id_of(record.signer)) broken("a device took itself out");
    if (knows_recovery(record.revoked[i]) && !record.replaces_recovery) {
      broken("a device was taken out that may know the recovery code");
    }
  }
}

void ControlState::check_leaves(const ControlRecord& record) const {
  std::set<Id16> out = taken_out(record);
  bool same =
      std::equal(record.last_leaves.begin(), record.last_leaves.end(), out.begin(), out.end(),
                 [](const auto& last, const Id16& id) { return last.first == id; });
  if (!same) broken("a record does not say up to where a device's batches count");
}

void ControlState::check_recovery(const ControlRecord& record) const {
  if (!is_usable(record.recovery.box)) broken("nothing can be boxed to its recovery key");
  if (record.version == 1) return;
  if (!verify(record.recovery.sign, kSignRecovery, vault_, proof_message(record),
              record.recovery.proof)) {
    broken("its recovery key is not vouched for");
  }
  if (was_recovery_key(record.recovery.sign)) broken("an old recovery key was put back");
}

std::set<Id16> ControlState::taken_out(const ControlRecord& record) const {
  std::set<Id16> out(record.revoked.begin(), record.revoked.end());
  if (record.type == ControlType::recover) {
    for (const auto& [id, device] : members()) out.insert(id);
  }
  return out;
}

// Whoever is in gets the key, and nobody else: a device that was left out would be shut out.
void ControlState::check_epoch(const ControlRecord& record) const {
  if (record.version == 1) return;
  const EpochStart& start = record.epoch;
  if (start.number != epochs_.size()) broken("an epoch does not follow the one before it");
  std::set<Hash32> wanted =
      receivers(taken_out(record), sets_recovery(record) ? record.recovery.box : recovery_.box);
  if (record.type == ControlType::genesis || record.type == ControlType::recover) {
    wanted.insert(record.device_box);
  }
  bool same = std::equal(start.boxes.begin(), start.boxes.end(), wanted.begin(), wanted.end(),
                         [](const KeyBox& box, const Hash32& key) { return box.receiver == key; });
  if (!same) broken("an epoch's key is not for the devices of the vault");
}

std::set<Hash32> ControlState::receivers(const std::set<Id16>& without,
                                         const Hash32& recovery_box) const {
  std::set<Hash32> out = {recovery_box};
  for (const auto& [id, device] : devices_) {
    if (!device.revoked && !without.count(id)) out.insert(device.box);
  }
  return out;
}

void ControlState::apply(const ControlRecord& record, const Hash32& hash) {
  using Way = EnrolledDevice::Way;
  switch (record.type) {
    case ControlType::genesis:
      vault_ = hash;
      enrol(record, Way::genesis, record.signer);
      break;
    case ControlType::ticket:
      tickets_[record.ticket_sign] = {count_, record.signer, record.lifetime_ms};
      break;
    case ControlType::enrol:
      if (auto ticket = open_ticket(record.signer)) {
        enrol(record, Way::ticket, ticket->by);
        tickets_.erase(record.signer);
      } else {
        enrol(record, Way::device, record.signer);
      }
      break;
    case ControlType::rename: devices_.at(record.device).name = record.name; break;
    case ControlType::revoke:
    case ControlType::epoch:
    case ControlType::recovery_key:
    case ControlType::recover: break;
  }
  for (const Id16& id : taken_out(record)) revoke(id, record);
  if (record.type == ControlType::recover) enrol(record, Way::recovery, record.signer);
  if (sets_recovery(record)) {
    recovery_ = record.recovery;
    recovery_set_by_ = record.signer;
    recovery_keys_[record.recovery.sign] = record.version > 1;
  }
  if (starts_epoch(record.type)) start_epoch(record);
  head_ = hash;
  hashes_.insert(hash);
  ++count_;
}

void ControlState::enrol(const ControlRecord& record, EnrolledDevice::Way way, const Hash32& by) {
  EnrolledDevice& device = devices_[device_id_of(record.device_sign)];
  device.sign = record.device_sign;
  device.box = record.device_box;
  device.name = record.name;
  device.position = count_;
  device.added_by = by;
  device.way = way;
  ++members_;
}

void ControlState::revoke(const Id16& id, const ControlRecord& record) {
  EnrolledDevice::Revocation revocation{count_, record.signer, record.through, std::nullopt};
  for (const auto& [device, leaf] : record.last_leaves) {
    if (device == id) revocation.last_leaf = leaf;
  }
  devices_.at(id).revoked = revocation;
  --members_;
}

// Tickets carry a key of the epoch they were made in, and may be by somebody who is out now.
void ControlState::start_epoch(const ControlRecord& record) {
  epochs_.push_back({record.epoch.hash, record.signer, count_});
  tickets_.clear();
}

std::map<Id16, const EnrolledDevice*> ControlState::members() const {
  std::map<Id16, const EnrolledDevice*> out;
  for (const auto& [id, device] : devices_) {
    if (!device.revoked) out[id] = &device;
  }
  return out;
}

const EnrolledDevice* ControlState::device(const Id16& id) const {
  auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : &found->second;
}

const EnrolledDevice* ControlState::member(const Id16& id) const {
  const EnrolledDevice* found = device(id);
  return found && !found->revoked ? found : nullptr;
}

bool ControlState::is_member(const Hash32& sign) const {
  const EnrolledDevice* found = member(device_id_of(sign));
  return found && found->sign == sign;
}

// The one from the vault's beginning is on the user's paper alone.
bool ControlState::knows_recovery(const Id16& id) const {
  const EnrolledDevice* found = member(id);
  return found && found->sign == recovery_set_by_ && recovery_keys_.size() > 1;
}

bool ControlState::recovery_is_proved(const Hash32& sign) const {
  auto found = recovery_keys_.find(sign);
  return found != recovery_keys_.end() && found->second;
}

std::optional<ControlState::OpenTicket> ControlState::open_ticket(const Hash32& sign) const {
  auto found = tickets_.find(sign);
  if (found == tickets_.end()) return std::nullopt;
  return found->second;
}

}  // namespace holdfast::wire
