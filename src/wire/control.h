#pragma once

// The control log: who is in the vault. A chain of signed records that the relay stores and every
// device verifies whole; the relay can add nobody. What people read is sealed inside.

#include <map>
#include <set>

#include "src/wire/control_record.h"

namespace holdfast::wire {

constexpr std::size_t kMaxDevices = 100;  // in a vault at once, so that a record has room for boxes

struct EnrolledDevice {
  Hash32 sign{};
  Hash32 box{};
  SealedName name;
  std::uint64_t position = 0;  // of the record that added it
  Hash32 added_by{};           // the device, or the recovery key, that let it in
  enum class Way { genesis, ticket, device, recovery } way = Way::genesis;

  // Of a device that was taken out.
  struct Revocation {
    std::uint64_t position = 0;       // of its record
    Hash32 by{};                      // signer of its record
    LogPosition through;              // the device's batches count up to here
    std::optional<Hash32> last_leaf;  // of the last of them; zero: none. Not said before version 3
  };
  std::optional<Revocation> revoked;
};

// What a verified control log says.
class ControlState {
 public:
  // `stored`: the record was verified when it came, and lay in the device's sealed store since.
  enum class Origin { received, stored };
  // Verifies and adds the next record, and returns it. Throws Error(protocol) where it does not
  // follow from the log so far, malformed or newer_version where it cannot be read; the state is
  // then as before.
  ControlRecord append(ByteView bytes, Origin origin = Origin::received);

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  const Hash32& head() const { return head_; }
  const Hash32& vault() const { return vault_; }
  // Whether a record with this hash is in the log.
  bool holds(const Hash32& hash) const { return hashes_.count(hash) != 0; }

  // All that ever were in, and those that are.
  const std::map<Id16, EnrolledDevice>& devices() const { return devices_; }
  std::map<Id16, const EnrolledDevice*> members() const;
  const EnrolledDevice* device(const Id16& id) const;  // null: never was in
  const EnrolledDevice* member(const Id16& id) const;  // null: is not in

  struct Epoch {
    Hash32 hash{};
    Hash32 by{};                 // signer of the record that started it
    std::uint64_t position = 0;  // of that record
  };
  std::uint32_t epoch() const { return static_cast<std::uint32_t>(epochs_.size()) - 1; }
  const std::vector<Epoch>& epochs() const { return epochs_; }
  // Whom the next epoch's key is boxed to once `without` are out, in the order of the boxes.
  std::set<Hash32> receivers(const std::set<Id16>& without, const Hash32& recovery_box) const;

  const RecoveryKey& recovery() const { return recovery_; }
  const Hash32& recovery_set_by() const { return recovery_set_by_; }
  // Whether that device is in, and replaced the code that counts now: it may know it.
  bool knows_recovery(const Id16& device) const;
  bool was_recovery_key(const Hash32& sign) const { return recovery_keys_.count(sign) != 0; }
  // Whether this key has signed for this vault; that of a vault from before version 2 has not.
  bool recovery_is_proved(const Hash32& sign) const;

  // The record of a ticket that is not spent and not void: a new epoch voids them all.
  struct OpenTicket {
    std::uint64_t position = 0;
    Hash32 by{};                    // the device that made it
    std::uint64_t lifetime_ms = 0;  // from when the relay received it, by the relay's clock
  };
  std::optional<OpenTicket> open_ticket(const Hash32& sign) const;

 private:
  void check_signer(const ControlRecord& record) const;
  void check_newcomer(const ControlRecord& record) const;
  void check_epoch(const ControlRecord& record) const;
  void check_recovery(const ControlRecord& record) const;
  void check_revoked(const ControlRecord& record) const;
  void check_leaves(const ControlRecord& record) const;
  void check(const ControlRecord& record) const;
  void apply(const ControlRecord& record, const Hash32& hash);
  void enrol(const ControlRecord& record, EnrolledDevice::Way way, const Hash32& by);
  void revoke(const Id16& id, const ControlRecord& record);
  void start_epoch(const ControlRecord& record);
  std::set<Id16> taken_out(const ControlRecord& record) const;
  bool is_member(const Hash32& sign) const;

  std::uint64_t count_ = 0;
  Hash32 head_{};
  Hash32 vault_{};
  std::vector<Epoch> epochs_;
  std::map<Id16, EnrolledDevice> devices_;
  std::size_t members_ = 0;
  RecoveryKey recovery_;
  Hash32 recovery_set_by_{};
  std::map<Hash32, bool> recovery_keys_;  // all that ever were, and whether they are proved
  std::set<Hash32> hashes_;
  std::map<Hash32, OpenTicket> tickets_;
};

}  // namespace holdfast::wire
