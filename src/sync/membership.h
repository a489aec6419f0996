#pragma once

#include "holdfast/vault.h"
#include "src/store/engine.h"
#include "src/sync/key_ring.h"
#include "src/wire/control.h"

namespace holdfast::sync {

using wire::LogPosition;

// This store holds what the vault does not, and cannot go on: see NewBeginning. `why` is for the
// user.
struct MustBeginAgain {
  std::string why;
};
// Called now and then in long work in the store; where it throws, that is rolled back.
using WorkStep = std::function<void(std::size_t done, std::size_t all)>;
// Whether it is about to: what would show that it must is known already.
bool is_beginning_again(store::Engine& engine);

Bytes encode(const LogPosition& log);
LogPosition decode_position(ByteView bytes);

// The store's place in its vault: the verified device list, the epoch keys, the relay. Everything
// is read from the store when constructed; changes are written through, in the caller's
// transaction.
class Membership {
 public:
  explicit Membership(store::Engine& engine);

  bool in_vault() const { return !control_.empty(); }
  void require() const;  // throws Error(no_vault)
  const wire::ControlState& control() const { return control_; }
  const base::Hash32& vault() const { return control_.vault(); }

  // Whether this device was taken out of the vault; and throws Error(revoked) where it was.
  bool is_revoked() const;
  void require_not_revoked() const;

  // Verifies and keeps the next record of the device list, with the key that it may bring. Throws
  // as ControlState::append, and Error(fork) where the record does not fit the log that is here.
  void append_control(ByteView record);
  Bytes record_at(std::uint64_t position) const;  // of those that are here
  bool has_epoch_key(std::uint32_t epoch) const;
  crypto::Secret epoch_key(std::uint32_t epoch) const;  // throws Error(protocol) without it
  // Keeps a key that came another way than boxed in the list, and those before it, which it opens.
  // Throws Error(protocol) where it is not the one that the list names.
  void set_epoch_key(std::uint32_t epoch, ByteView key);
  // What a new epoch's record passes on of the keys that are here.
  EpochKeys keys_to_pass_on() const;
  // Throws Error(protocol) where this device was not given the key that counts now.
  void require_current_key() const;
  // Where removals of devices name places of this log from `from` on: throws Error(fork) where
  // another history led there.
  void check_revocations(std::uint64_t from) const;

  const std::optional<LogPosition>& log() const {
    return log_;
  }  // nothing: no relay knows the vault
  void set_log(const LogPosition& log);
  void reload();  // after a transaction that was rolled back
  // What the inviter had seen of the log: it must turn out so here.
  const std::optional<LogPosition>& anchor() const { return anchor_; }
  void set_anchor(const LogPosition& anchor);
  std::optional<std::string> relay() const;
  void set_relay(const std::string& url);

  // A device's name and kind; "device 01234567" where they cannot be read.
  DeviceLabel device_name(const base::Id16& device) const;
  // Under the epoch's key as given: a newcomer does not have it in its store yet.
  wire::SealedName seal_name(const DeviceLabel& name, std::uint32_t epoch, ByteView key) const;

 private:
  void learn_key(const wire::ControlRecord& record);
  bool keep_key(std::uint32_t epoch, ByteView key);
  void check_against_log(const wire::ControlRecord& record) const;
  void kept_revocation(const base::Id16& device) const;
  std::optional<base::Hash32> chain_at(std::uint64_t position) const;

  store::Engine& engine_;
  wire::ControlState control_;
  std::optional<LogPosition> log_;
  std::optional<LogPosition> anchor_;
};

}  // namespace holdfast::sync
