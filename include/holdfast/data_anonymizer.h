#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/privacy_policy.h"

namespace holdfast {

namespace base {
struct Environment;
}

// An app's own action: what leaves in a field's place. Null drops the field. What it throws ends
// the call that anonymises. Must give the same for the same.
using CustomAction = std::function<nlohmann::json(const nlohmann::json& value)>;

// What anonymising did to one field.
struct FieldChange {
  std::string path;    // JSON pointer into the document
  std::string action;  // "drop", "keep", "pseudonym", "generalise", "randomise" or "custom"
  nlohmann::json before;
  std::optional<nlohmann::json> after;  // nothing: it was dropped
};

struct AnonymizedDocument {
  nlohmann::json document;
  std::vector<FieldChange> changes;  // of every field that holds a value, in order
};

// Takes out of a document what identifies somebody. By itself, nothing is sent: this class is for
// an app's own use and for looking at what a policy does. PrivacyFirstSync anonymises by itself
// what it sends, with pseudonyms that last and a budget for noise.
//
// One thread at a time.
class DataAnonymizer {
 public:
  // The rules for the usual sensitive fields, by their names, at any depth: email, phone, name,
  // address, biometric and secrets are dropped, ids of devices and users become pseudonyms,
  // locations become cells of about 10 km; texts are kept without what the scanner finds in them.
  DataAnonymizer();
  // The rules of a data type of this policy: what it does not name is dropped. Throws
  // Error(not_found) where the policy has no such type.
  DataAnonymizer(const PrivacyPolicy& policy, const std::string& data_type);
  ~DataAnonymizer();
  DataAnonymizer(DataAnonymizer&&) noexcept;
  DataAnonymizer& operator=(DataAnonymizer&&) noexcept;

  // For rules of a policy with "action": "custom" and this name.
  void set_custom(const std::string& name, CustomAction action);

  // The document as it may be shown. Pseudonyms are of this object alone; noise is drawn anew each
  // time. Throws Error: invalid_argument (a custom action was not set), too_large (more than 512
  // KiB or 100 levels).
  nlohmann::json anonymize(const nlohmann::json& document) const;
  // The same, with each field before and after.
  AnonymizedDocument preview(const nlohmann::json& document) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
