#pragma once

// A policy as it was read: see PrivacyPolicy.

#include <array>

#include "holdfast/privacy_policy.h"
#include "src/crypto/hpke.h"
#include "src/privacy/field_rules.h"

namespace holdfast::privacy {

struct DestinationKey {
  std::string id;
  base::Hash32 public_key{};
  std::int64_t not_before_ms = 0;  // UTC, milliseconds since 1970; the first that counts
  std::int64_t not_after_ms = 0;   // the first that does not count any more
};

struct Destination {
  std::string id, controller, contact, jurisdiction, url;
  crypto::HpkeAead aead = crypto::HpkeAead::aes_256_gcm;
  std::vector<DestinationKey> keys;
  // The key to seal to: of those that are valid now, the one that is so for longest. Null: none.
  const DestinationKey* key_at(std::int64_t now_ms) const;
  const DestinationKey* key(const std::string& key_id) const;
};

struct Purpose {
  std::string id, text, term;
};

struct DataType {
  std::string id, text;
  bool linked = false;  // to who the user is
  FieldRules fields;
};

// What noise may cost, in millionths of epsilon.
struct Budget {
  std::int64_t per_day = 0;
  std::int64_t lifetime = 0;
  std::int64_t devices = 1;  // among how many of the vault's devices it is shared out
};

struct Use {
  std::string data_type, purpose, destination;
  std::optional<Budget> budget;
};

struct Policy {
  std::int64_t version = 0;
  std::string hash;
  std::map<std::string, Destination> destinations;
  std::map<std::string, Purpose> purposes;
  std::map<std::string, DataType> data_types;
  std::vector<Use> uses;
  std::vector<std::string> phone_regions;

  // Null where the policy does not provide for it.
  const Use* use(const std::string& data_type, const std::string& purpose,
                 const std::string& destination) const;
  // What the user is asked for, in full: all that a grant is bound to.
  Json terms(const Use& use) const;
};

// Whether terms under a later policy let out no more, and to nobody else, than those that a grant
// was given for.
bool within(const Json& now, const Json& granted);

}  // namespace holdfast::privacy
