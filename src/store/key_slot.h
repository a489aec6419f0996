#pragma once

// Ways to open a store. A slot holds the data key under a key from one of the user's secrets.

#include "holdfast/user_key.h"
#include "src/base/environment.h"
#include "src/crypto/kdf.h"

namespace holdfast::store {

struct KeySlot {
  std::uint8_t number = 0;
  UserKey::Kind kind = UserKey::Kind::raw;
  std::int64_t created_ms = 0;
  base::Hash32 public_key{};  // from the user's secret: a new data key can be boxed to it
  base::Id16 id{};            // random: a passphrase's salt, the name for a platform's key store
  crypto::Argon2Cost cost;    // of a passphrase
  // Under the user's secret: the data key and the slot's token.
  Bytes own;
  // The token under the data key. Who knows it may box a new data key to this slot.
  Bytes token;
  // After a rekey, until the slot is next opened: the new data key, boxed to `public_key`, and a
  // MAC under the token; then the data key in `own` is the old one. Empty otherwise.
  Bytes boxed;
  // A slot of a kind that this version does not know is kept as it is, and only this is set.
  Bytes unknown;
};

Bytes encode(const KeySlot& slot);
KeySlot decode_slot(ByteView body);  // throws Error(malformed)

KeySlot make_slot(std::uint8_t number, const UserKey& key, const base::Id16& database_id,
                  ByteView data_key, crypto::Argon2Cost cost, std::int64_t now_ms,
                  base::Random& random);

// The data key; nothing where `key` is of another kind or does not open the slot. Throws
// Error(corrupt) for a cost outside the safe range.
std::optional<crypto::Secret> open_slot(const KeySlot& slot, const UserKey& key,
                                        const base::Id16& database_id);

// Boxes a new data key to a slot whose secret is not at hand. Throws Error(corrupt).
KeySlot box_slot(const KeySlot& slot, const base::Id16& database_id, ByteView old_data_key,
                 ByteView new_data_key, base::Random& random);
// Puts the data key of a slot that was opened just now back under the user's secret.
KeySlot settle_slot(const KeySlot& slot, const UserKey& key, const base::Id16& database_id,
                    ByteView data_key, base::Random& random);

}  // namespace holdfast::store
