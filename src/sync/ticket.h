#pragma once

#include "src/sync/joining.h"

namespace holdfast::sync {

// The code that one device shows and another types or pastes: where the parcel lies, and what opens
// it.
struct Ticket {
  std::string relay;
  base::Id16 slot{};
  base::Id16 secret{};
};
std::string to_text(const Ticket& ticket);
bool is_ticket(const std::string& text);
// Throws Error(malformed).
Ticket parse_ticket(const std::string& text);

// What lies in the relay's mailbox, sealed under the ticket's secret.
struct Parcel {
  Welcome welcome;
  crypto::Secret ticket_seed;  // of the one-time key that signs the newcomer in
};
Bytes seal_parcel(const Parcel& parcel, const Ticket& ticket, base::Random& random);
// Throws Error(malformed) where the secret does not open it.
Parcel open_parcel(ByteView sealed, const Ticket& ticket);

std::string invite_by_ticket(store::Engine& engine, std::int64_t lifetime_ms);
void join_by_ticket(store::Engine& engine, const std::string& text, const DeviceLabel& name);

}  // namespace holdfast::sync
