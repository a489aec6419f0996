#pragma once

// The control log: who is in the vault. A chain of signed records that the relay stores and every
// device verifies whole; the relay can add nobody. What people read is sealed inside.

#include <map>
#include <set>

#include "src/wire/log.h"

namespace holdfast::wire {

using base::device_id_of;

constexpr std::size_t kMaxControlRecord = 16 * 1024;
constexpr std::uint64_t kMaxTicketMs = 60 * 60 * 1000;

enum class ControlType : std::uint8_t {
  genesis = 1,  // makes the vault, by its first device
  ticket = 2,   // lets the holder of a one-time key enrol one device
  enrol = 3,    // adds a device, signed by an unspent ticket
  // 4 revoke, 5 retire, 6 epoch, 7 recovery, 8 rename: their bodies come with the versions that
  // write them
};

// An epoch key boxed to one receiver.
struct KeyBox {
  Hash32 receiver{};  // its X25519 key
  Bytes box;
};

struct ControlRecord {
  ControlType type = ControlType::genesis;
  Hash32 previous{};  // hash of the record before; zero for genesis

  // genesis and enrol
  Hash32 device_sign{};
  Hash32 device_box{};
  Bytes sealed_name;
  // genesis
  Hash32 nonce{};
  Hash32 recovery_sign{};
  Hash32 recovery_box{};
  Hash32 epoch_hash{};  // of epoch key 0, so that no two devices can be given different ones
  std::vector<KeyBox> boxes;
  // ticket
  Hash32 ticket_sign{};
  std::uint64_t lifetime_ms = 0;

  Hash32 signer{};
  std::array<std::uint8_t, 64> signature{};
};

// Everything but the signature: what is signed (under kSignControl; a genesis with the zero vault
// id).
Bytes encode_unsigned(const ControlRecord& record);
Bytes encode(const ControlRecord& record);
// Throws Error(malformed), newer_version.
ControlRecord decode_control(ByteView bytes);

struct EnrolledDevice {
  Hash32 sign{};
  Hash32 box{};
  Bytes sealed_name;
  std::uint64_t position = 0;  // of its record
  Hash32 added_by{};           // signer of its record
};

// What a verified control log says.
class ControlState {
 public:
  // Verifies and adds the next record. Throws Error(protocol) where it does not follow from the log
  // so far, malformed or newer_version where it cannot be read; the state is then as before.
  void append(ByteView bytes);

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  const Hash32& head() const { return head_; }
  const Hash32& vault() const { return vault_; }
  std::uint32_t epoch() const { return 0; }  // until epochs can be started
  const Hash32& epoch_hash() const { return epoch_hash_; }
  const std::map<Id16, EnrolledDevice>& devices() const { return devices_; }
  // Whether a record with this hash is in the log.
  bool holds(const Hash32& hash) const { return hashes_.count(hash) != 0; }
  const EnrolledDevice* device(const Id16& id) const;
  // The record of a ticket that is not spent.
  struct OpenTicket {
    std::uint64_t position = 0;
    std::uint64_t lifetime_ms = 0;  // from when the relay received it, by the relay's clock
  };
  std::optional<OpenTicket> open_ticket(const Hash32& sign) const;

 private:
  void enrol(const ControlRecord& record);

  std::uint64_t count_ = 0;
  Hash32 head_{};
  Hash32 vault_{};
  Hash32 epoch_hash_{};
  std::map<Id16, EnrolledDevice> devices_;
  std::set<Hash32> hashes_;
  std::map<Hash32, OpenTicket> tickets_;
};

}  // namespace holdfast::wire
