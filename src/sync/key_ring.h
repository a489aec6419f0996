#pragma once

// The vault's keys, by epoch: which of them somebody has, and how one leads to those before it.

#include <functional>

#include "src/base/environment.h"
#include "src/crypto/secret.h"
#include "src/wire/control.h"

namespace holdfast::sync {

using EpochKeys = std::map<std::uint32_t, crypto::Secret>;

// The hash of an epoch key that the device list carries.
base::Hash32 epoch_hash(ByteView key);
// Sealed under an epoch's key: so that one key opens all earlier ones.
Bytes seal_previous(ByteView key, const EpochKeys& previous, base::Random& random);

class KeyRing {
 public:
  // `record` gives a record of the list by its position. Epochs that are `known` elsewhere are not
  // opened again.
  using RecordAt = std::function<Bytes(std::uint64_t position)>;
  using IsKnown = std::function<bool(std::uint32_t epoch)>;
  KeyRing(const wire::ControlState& list, RecordAt record, IsKnown known = nullptr)
      : list_(list), record_(std::move(record)), known_(std::move(known)) {}

  // Takes a key where it is the one that the list names, and all that it leads to. False where it
  // is another.
  bool add(std::uint32_t epoch, ByteView key);
  const EpochKeys& keys() const { return keys_; }
  // What a new epoch's record passes on of the keys that are `held`: the newest, and those that no
  // newer one leads to.
  using KeyOf = std::function<crypto::Secret(std::uint32_t epoch)>;
  static EpochKeys to_pass_on(const wire::ControlState& list, const RecordAt& record,
                              const std::set<std::uint32_t>& held, const KeyOf& key_of);

 private:
  bool is_right(std::uint32_t epoch, ByteView key) const;
  // What an epoch's record holds of those before it; nothing that the list names otherwise.
  EpochKeys previous_of(std::uint32_t epoch, ByteView key) const;

  const wire::ControlState& list_;
  RecordAt record_;
  IsKnown known_;
  EpochKeys keys_;
};

}  // namespace holdfast::sync
