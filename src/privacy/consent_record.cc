// A decision in the words of ISO/IEC TS 27560:2023 (consent record), purposes in those of the W3C's
// Data Privacy Vocabulary where the policy gives one.

#include <cstdio>
#include <ctime>

#include "holdfast/error.h"
#include "src/privacy/grants.h"

namespace holdfast::privacy {
namespace {

std::string time_text(std::int64_t ms) {
  std::time_t seconds = ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char out[40];
  std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return out;
}

const char* event_state(Grant::State ended) {
  if (ended == Grant::State::expired) return "consent_expired";
  return ended == Grant::State::revoked ? "consent_withdrawn" : "consent_invalidated";
}

}  // namespace

Json consent_record(const HeldGrant& held, const Policy& policy) try {
  const Grant& grant = held.grant;
  Json terms = held.document.value("terms", Json::object());
  Json to = terms.value("destination", Json::object());
  Json purpose = terms.value("purpose", Json::object());
  Json type = terms.value("data_type", Json::object());
  Json fields = type.value("fields", Json::object());
  Json information = Json::array();
  for (const auto& [pattern, rule] : fields.items()) {
    if (rule.value("action", "drop") == "drop") continue;
    information.push_back({{"pii_type", grant.data_type},
                           {"pii_attribute_id", pattern},
                           {"pii_optional", true},
                           {"sensitive_pii_category", rule.value("sensitivity", "") == "sensitive"},
                           {"processing", rule}});
  }
  std::string term = purpose.value("term", "");
  Json party = {{"party_id", to.value("id", "")},
                {"party_name", to.value("controller", "")},
                {"party_url", to.value("url", "")},
                {"party_contact", held.document.value("contact", "")},
                {"party_role", "pii_controller"}};
  bool denied = grant.state == Grant::State::denied;
  Json events = {{{"event_time", time_text(grant.given_ms)},
                  {"entity_id", grant.device},
                  {"event_type", "explicit"},
                  {"event_state", denied ? "consent_refused" : "consent_given"}}};
  if (!denied) events[0]["validity_duration"] = {{"until", time_text(grant.until_ms)}};
  if (!denied && grant.state != Grant::State::in_force) {
    events.push_back({{"event_type", "explicit"}, {"event_state", event_state(grant.state)}});
    if (held.ended_ms != 0) events.back()["event_time"] = time_text(held.ended_ms);
  }
  return {
      {"schema_version", "ISO/IEC TS 27560:2023"},
      {"record_id", grant.id},
      {"pii_principal_id", grant.device},
      {"pii_processing",
       {{"privacy_notice", "policy " + std::to_string(held.document.value("policy_version", 0)) +
                               ", SHA-256 " + grant.policy_hash},
        {"purposes",
         {{{"purpose", purpose.value("text", "")},
           {"purpose_type", term.empty() ? purpose.value("id", "") : term},
           {"lawful_basis", "consent"},
           {"pii_information", information},
           {"pii_controllers", {grant.destination}},
           {"jurisdictions", {to.value("jurisdiction", "")}},
           {"withdrawal_method",
            "revoke() in the app, or 'holdfast consent revoke " + grant.data_type + "'"}}}}}},
      {"party_identification", {party}},
      {"event", events},
      {"current_policy", policy.hash}};
} catch (const Json::exception&) {  // by another version, or by a device that means harm
  throw Error(ErrorCode::malformed, "this decision is not in a form that is known here");
}

}  // namespace holdfast::privacy
