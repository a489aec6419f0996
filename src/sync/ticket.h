#pragma once

#include "src/base/environment.h"
#include "src/crypto/keys.h"
#include "src/sync/membership.h"

namespace holdfast::sync {

// The code that one device shows and another types or pastes: where the parcel lies, and what opens
// it.
struct Ticket {
  std::string relay;
  base::Id16 slot{};
  base::Id16 secret{};
};
std::string to_text(const Ticket& ticket);
// Throws Error(malformed).
Ticket parse_ticket(const std::string& text);

// What lies in the relay's mailbox, sealed under the ticket's secret: the vault's keys, what the
// device list looked like, and the one-time key that signs the newcomer in.
struct Parcel {
  base::Hash32 vault{};
  std::uint64_t anchor_count = 0;
  base::Hash32 anchor_head{};
  LogPosition log;  // as the inviter knew it: the newcomer's must be its continuation
  crypto::Secret ticket_seed;
  crypto::Secret epoch_key;
};
Bytes seal_parcel(const Parcel& parcel, const Ticket& ticket, base::Random& random);
// Throws Error(malformed) where the secret does not open it.
Parcel open_parcel(ByteView sealed, const Ticket& ticket);

// From the secret of a recovery code.
struct RecoveryKeys {
  crypto::SigningKey sign;
  crypto::BoxKey box;
};
RecoveryKeys recovery_keys(ByteView secret16);

}  // namespace holdfast::sync
