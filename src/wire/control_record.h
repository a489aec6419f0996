#pragma once

// One record of the control log: a signed statement about who is in the vault and under which key
// it is sealed. Grammar: docs/formats.md.

#include "src/wire/log.h"

namespace holdfast::wire {

using base::device_id_of;

constexpr std::size_t kMaxControlRecord = 16 * 1024;
constexpr std::size_t kMaxSealedName = 512;
constexpr std::size_t kMaxPreviousKeys = 4096;  // bytes, sealed
constexpr std::size_t kKeyBox = 32 + 48;        // bytes of a key, boxed
constexpr std::uint64_t kMaxTicketMs = 60 * 60 * 1000;

enum class ControlType : std::uint8_t {
  genesis = 1,       // makes the vault, by its first device
  ticket = 2,        // lets the holder of a one-time key enrol one device
  enrol = 3,         // adds a device, signed by one that is in or by an unspent ticket
  revoke = 4,        // takes devices out, and starts an epoch for the others; may do as 7 does
  epoch = 6,         // starts an epoch; 5 was never written
  recovery_key = 7,  // puts a new recovery key in the place of the old, and starts an epoch
  rename = 8,
  recover = 9,  // by the recovery key: adds a device, takes out all others, and does as 7 does
};

// An epoch key boxed to one receiver.
struct KeyBox {
  Hash32 receiver{};  // its X25519 key
  Bytes box;
};

// A generation of the vault's key.
struct EpochStart {
  std::uint32_t number = 0;   // one more than the epoch before
  Hash32 hash{};              // of the key, so that no two devices can be given different ones
  Bytes previous_keys;        // sealed under it: the key before, and those that it does not lead to
  std::vector<KeyBox> boxes;  // for each device that is in and for the recovery key, by receiver
};

// What a person reads of a device, sealed under an epoch's key.
struct SealedName {
  std::uint32_t epoch = 0;
  Bytes sealed;
};

struct RecoveryKey {
  Hash32 sign{};
  Hash32 box{};
  // By `sign`, over the record it comes in (see proof_message): whoever can recover a vault by a
  // code knows that the code's holder meant this vault.
  std::array<std::uint8_t, 64> proof{};
};

struct ControlRecord {
  // 1 had no proof in a genesis, and the first epoch's names alone; 2 had no last leaves
  std::uint8_t version = 3;
  ControlType type = ControlType::genesis;
  Hash32 previous{};  // hash of the record before; zero for genesis

  Hash32 device_sign{};  // genesis, enrol, recover
  Hash32 device_box{};
  SealedName name;                 // those, and rename
  Hash32 nonce{};                  // genesis
  RecoveryKey recovery;            // genesis, recovery_key, recover, some of revoke
  bool replaces_recovery = false;  // of revoke: whether it has one
  EpochStart epoch;                // genesis, revoke, epoch, recovery_key, recover
  Hash32 ticket_sign{};            // ticket
  std::uint64_t lifetime_ms = 0;
  std::vector<Id16> revoked;  // revoke, ascending; of recover it is everybody
  LogPosition through;        // revoke, recover: their batches count up to here; the log's head
  // Of each device taken out, ascending: the leaf of its last batch that counts, and zero where it
  // never sent any. It says the same as `through` where a relay had to begin its log anew.
  std::vector<std::pair<Id16, Hash32>> last_leaves;
  Id16 device{};  // rename

  Hash32 signer{};
  std::array<std::uint8_t, 64> signature{};
};

// Everything but the signature: what is signed (under kSignControl; a genesis with the zero vault
// id).
Bytes encode_unsigned(const ControlRecord& record);
Bytes encode(const ControlRecord& record);
// What RecoveryKey::proof covers (under kSignRecovery; in a genesis with the zero vault id).
Bytes proof_message(const ControlRecord& record);
// Throws Error(malformed), newer_version.
ControlRecord decode_control(ByteView bytes);

}  // namespace holdfast::wire
