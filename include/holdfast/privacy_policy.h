#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace holdfast {

namespace privacy {
struct Policy;
}

// What may leave for whom, and in what form: destinations, purposes, data types with a rule for
// each field, and which of them go together. Ships with the app as JSON (docs/privacy.md, and
// docs/privacy-policy.schema.json for editors). Immutable; copies are cheap; thread-safe.
class PrivacyPolicy {
 public:
  // Throws Error: malformed (no JSON), invalid_argument (it breaks the rules; the message names the
  // place as a JSON pointer), too_large.
  static PrivacyPolicy parse(std::string_view text);
  static PrivacyPolicy from_json(const nlohmann::json& policy);

  // Provides for nothing: enough to take permissions back.
  static PrivacyPolicy none();

  std::int64_t version() const;     // the app's own count
  const std::string& hash() const;  // SHA-256 of its canonical JSON, in hex

  // What an app store's privacy form asks for: for each data type what is collected, whether it is
  // linked to the user, to whom it goes and for which purposes.
  nlohmann::json app_store_report() const;

  const privacy::Policy& rules() const { return *rules_; }  // for the other classes of Holdfast

 private:
  explicit PrivacyPolicy(std::shared_ptr<const privacy::Policy> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const privacy::Policy> rules_;
};

}  // namespace holdfast
