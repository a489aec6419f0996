#pragma once

// The user's decisions, as records of the vault: `_grant` for what was answered, `_revocation` for
// what was taken back. A grant counts where it knows every revocation of the same kind: so a
// revocation beats whatever was granted elsewhere meanwhile, and no clock has a say in it.

#include "holdfast/privacy_first_sync.h"
#include "src/privacy/policy.h"
#include "src/store/engine.h"

namespace holdfast::privacy {

constexpr std::int64_t kDayMs = 24 * 3'600'000;
constexpr const char* kGrantCollection = "_grant";
constexpr const char* kRevocationCollection = "_revocation";
constexpr const char* kPrivacyCollection = "_privacy";
constexpr const char* kNoBudget = "no_budget";

struct HeldGrant {
  Grant grant;
  Json document;              // as it is stored
  std::int64_t ended_ms = 0;  // when it was taken back or expired; 0: it was not, or nobody knows
};

// Everything in the caller's transaction.
class Grants {
 public:
  Grants(store::Engine& engine, const Policy& policy) : engine_(engine), policy_(policy) {}

  // Now, but never earlier than it ever was: a clock that is set back ends nothing later.
  std::int64_t now_ms();
  // All decisions with their state, the latest first.
  std::vector<HeldGrant> all();
  // Those that have ended since they were last asked for, and so for good.
  std::vector<HeldGrant> take_ended();
  std::optional<HeldGrant> in_force(const Use& use);
  // The one that was given last, whatever became of it.
  std::optional<HeldGrant> latest(const Use& use);
  std::optional<HeldGrant> by_id(const std::string& id);

  // Ids of the revocations that are known for this kind.
  std::vector<std::string> revocations(const Use& use);
  // Keeps an answer that was given knowing of `after`. Returns its id.
  std::string add(const Use& use, bool granted, std::int64_t lifetime_ms,
                  const std::vector<std::string>& after);
  void revoke(const Use& use, const char* reason);

 private:
  void begin_time_again(std::int64_t now);
  Grant::State state_of(const Json& document, const Grant& grant,
                        const std::vector<std::string>& revocations, std::int64_t now);

  store::Engine& engine_;
  const Policy& policy_;
};

// A decision as a record of ISO/IEC TS 27560.
Json consent_record(const HeldGrant& held, const Policy& policy);

// In a store that was restored: what was taken back since the backup is not known here, so
// everything is. In the caller's transaction.
void revoke_restored(store::Engine& engine);

}  // namespace holdfast::privacy
