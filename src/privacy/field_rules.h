#pragma once

// What a policy says about one field, and what is said about the usual sensitive ones where it says
// nothing. The words of the JSON form are in docs/privacy.md.

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/privacy/exact.h"

namespace holdfast::privacy {

using Json = nlohmann::json;

enum class Action { drop, keep, pseudonym, generalise, randomise, custom };
enum class Grain { cell, band, hour, day, bucket };
enum class Mechanism { response, laplace, gaussian };

const char* action_name(Action action);

struct FieldRule {
  Action action = Action::drop;
  std::string sensitivity = "personal";  // "none", "personal" or "sensitive"; for people to read
  bool scan = true;                      // keep: texts without what the scanner finds
  std::int64_t epoch_days = 30;          // pseudonym: after so long it is another one
  Grain to = Grain::bucket;              // generalise
  std::int64_t size = 0;                 // of a cell in km, of a band or bucket
  Mechanism mechanism = Mechanism::response;
  Rational epsilon;        // randomise
  Rational delta;          // gaussian
  std::int64_t least = 0;  // laplace, gaussian: values beyond are taken for these
  std::int64_t most = 0;
  std::vector<Json> values;  // response: what the field may say; anything else counts as the first
  std::string function;      // custom: the name under which the app gave it

  // Throws Error(invalid_argument) that names the place, `where` and the member in it.
  static FieldRule parse(const Json& rule, const std::string& where);
  Json to_json() const;  // parse() of which gives the same rule
};

// Whether what `now` lets out of a field is no more than what `before` does. Where that is not
// plain, it is not so.
bool discloses_no_more(const FieldRule& now, const FieldRule& before);

// The rules of a data type, by pointers (RFC 6901) in which "*" stands for any member or element. A
// rule for an object or list is one for all that it holds, except what a more exact one names.
class FieldRules {
 public:
  // Throws as FieldRule::parse, also for a pointer that is none.
  static FieldRules parse(const Json& fields, const std::string& where);
  Json to_json() const;

  struct Match {
    const FieldRule* rule = nullptr;
    bool named = false;  // the field itself by its own name, not by "*" or as part of another
  };
  // The rule whose pattern is as long as `path`; the one with more names wins. Null: none.
  Match at(const std::vector<std::string>& path) const;
  // Whether something inside of what is at `path` has a rule of its own.
  bool reach_below(const std::vector<std::string>& path) const;
  // Whether a rule that lets something out names the last member of `path` by its name: then that
  // name is the app's own, and tells nothing.
  bool spell_out(const std::vector<std::string>& path) const;
  // The rule in force at `path`, from there or from above; drop where there is none.
  const FieldRule& effective(const std::vector<std::string>& path) const;
  const std::map<std::vector<std::string>, FieldRule>& all() const { return rules_; }
  void add(std::vector<std::string> pattern, FieldRule rule) {
    rules_.insert_or_assign(std::move(pattern), std::move(rule));
  }

 private:
  std::map<std::vector<std::string>, FieldRule> rules_;
};

// Whether `now` discloses no more of any field than `before`.
bool disclose_no_more(const FieldRules& now, const FieldRules& before);

// The rule for a field of that name by itself ("userEmail", "phone_number"): null for a name that
// tells nothing.
const FieldRule* sensitive_rule(const std::string& name);

std::string pointer_text(const std::vector<std::string>& path);

}  // namespace holdfast::privacy
