#pragma once

// Pairing: two devices, side by side, agree on a key by a short or a scanned code, over mailbox
// slots of the relay that belong to no vault. docs/formats.md has the messages.

#include "holdfast/vault.h"
#include "src/crypto/cpace.h"
#include "src/sync/joining.h"

namespace holdfast::sync {

constexpr std::int64_t kPairingMs = 10 * 60 * 1000;
constexpr int kPairingTries = 3;

// What the inviting device shows. A typed code is "ABCD-EFGH-JKMN": 20 bits for the place, 30
// secret ones, 10 to notice a slip of the finger; it is good with a relay's URL. A scanned one
// carries that, and what names the vault's history.
struct PairingCode {
  Bytes place;                         // where the messages lie: public
  crypto::Secret secret;               // what CPace starts from
  std::string relay;                   // of a scanned one
  std::optional<base::Hash32> anchor;  // likewise: anchor_of the Welcome to come
};
PairingCode make_typed_code(base::Random& random);
std::string to_text(const PairingCode& code);
bool is_scanned_code(const std::string& text);
// As a person types it, or as it was scanned. Throws Error(malformed).
PairingCode parse_pairing_code(const std::string& text);

Device pair_as_inviter(store::Engine& engine, const InviteOptions& options);
void pair_as_joiner(store::Engine& engine, const PairingCode& code, const std::string& relay,
                    const DeviceLabel& name, const JoinOptions& options);

}  // namespace holdfast::sync
