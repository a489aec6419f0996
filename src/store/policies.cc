// Policies: records of the vault that say how fields are shown. Read into memory as rules.

#include "holdfast/error.h"
#include "src/model/path.h"
#include "src/store/records.h"

namespace holdfast::store {

std::optional<model::FieldRule> rule_of(const Json& doc) {
  model::FieldRule rule;
  auto text = [&](const char* name) {
    auto found = doc.find(name);
    return found != doc.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  auto flag = [&](const char* name) {
    auto found = doc.find(name);
    return found != doc.end() && found->is_boolean() && found->get<bool>();
  };
  std::optional<Strategy> strategy = strategy_from_name(text("strategy"));
  if (!strategy) return std::nullopt;
  rule.strategy = *strategy;
  rule.fallback = strategy_from_name(text("fallback")).value_or(Strategy::timestamp);
  rule.type = field_type_from_name(text("type")).value_or(FieldType::value);
  rule.critical = flag("critical");
  rule.whole = flag("whole_records");
  rule.delete_wins = flag("delete_wins");
  auto deadline = doc.find("deadline_ms");
  if (deadline != doc.end() && deadline->is_number_integer()) {
    rule.deadline_ms = std::max<std::int64_t>(deadline->get<std::int64_t>(), 0);
  }
  return rule;
}

void Records::set_cached_policies() {
  policies_.clear();
  auto num = collection_num(kPolicyCollection);
  if (!num) return;
  Statement query(database_.connection().prepare(
      "SELECT doc FROM record WHERE collection = ? AND alive = 1 ORDER BY id"));
  query.bind(*num);
  while (query.step()) {
    Json doc = Json::parse(query.text(0), nullptr, false);
    if (!doc.is_object()) continue;
    std::optional<model::FieldRule> rule = rule_of(doc);
    auto collection = doc.find("collection");
    auto path = doc.find("path");
    bool named = collection != doc.end() && collection->is_string() && path != doc.end() &&
                 path->is_string();
    if (!rule || !named) continue;
    try {
      policies_[collection->get<std::string>()].add(
          model::parse_pattern(path->get_ref<const std::string&>()), *rule);
    } catch (const Error&) {
      continue;
    }
  }
}

const model::Rules& Records::rules(const std::string& collection) const {
  static const model::Rules kNone;
  static const model::Rules kCounts = [] {
    model::Rules rules;
    model::FieldRule counter;
    counter.type = FieldType::counter;
    rules.add("/*", counter);
    return rules;
  }();
  if (collection == kChoiceCollection) return kCounts;
  auto found = policies_.find(collection);
  return found == policies_.end() ? kNone : found->second;
}

std::set<std::string> Records::policy_collections() const {
  std::set<std::string> out;
  for (const auto& [collection, rules] : policies_) out.insert(collection);
  return out;
}

}  // namespace holdfast::store
