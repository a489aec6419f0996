#pragma once

#include "src/store/engine.h"
#include "src/wire/control.h"

namespace holdfast::sync {

// Where this store stands in the vault's log. A cache: the chain is the truth.
struct LogPosition {
  base::Id16 log_id{};
  std::uint64_t position = 0;
  base::Hash32 chain{};
};

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

  // Verifies and keeps the next record of the device list.
  void append_control(ByteView record);
  crypto::Secret epoch_key(std::uint32_t epoch) const;
  void set_epoch_key(std::uint32_t epoch, ByteView key);

  const std::optional<LogPosition>& log() const {
    return log_;
  }  // nothing: no relay knows the vault
  void set_log(const LogPosition& log);
  // What the inviter had seen of the log: it must turn out so here.
  const std::optional<LogPosition>& anchor() const { return anchor_; }
  void set_anchor(const LogPosition& anchor);
  std::optional<std::string> relay() const;
  void set_relay(const std::string& url);

  std::string device_name(const base::Id16& device) const;
  Bytes seal_name(const std::string& name, ByteView epoch_key);

 private:
  store::Engine& engine_;
  wire::ControlState control_;
  std::optional<LogPosition> log_;
  std::optional<LogPosition> anchor_;
};

// The hash of an epoch key that the control log carries.
base::Hash32 epoch_hash(ByteView key);

}  // namespace holdfast::sync
