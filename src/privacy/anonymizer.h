#pragma once

// The way of a document through the rules of its data type: no state, no store, no network.

#include "holdfast/data_anonymizer.h"
#include "src/base/environment.h"
#include "src/privacy/field_rules.h"
#include "src/privacy/text_scanner.h"

namespace holdfast::privacy {

// What it takes from outside. All three must give the same for the same.
struct AnonymizingMeans {
  std::function<std::string(const FieldRule&, const std::string& value)> pseudonym;
  // `path`: the field's own pointer.
  std::function<Json(const std::string& path, const FieldRule&, const Json& truth)> randomise;
  std::map<std::string, CustomAction> custom = {};
};

// Throws Error as DataAnonymizer does, and what the means throw.
AnonymizedDocument anonymize(const Json& document, const FieldRules& rules,
                             const TextScanner& scanner, const AnonymizingMeans& means);

// A value as coarse as the rule says; nothing where it is not of the kind that the rule is for.
std::optional<Json> generalise(const FieldRule& rule, const Json& value);
// A value with noise, in the rule's own steps; nothing where it is not of that kind.
std::optional<Json> add_noise(const FieldRule& rule, const Json& value, base::Random& random);

// What is kept where there is no policy: everything but what sensitive_rule() says.
const FieldRules& default_rules();

}  // namespace holdfast::privacy
