#include "holdfast/conflict_resolver.h"

#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast {

std::vector<Conflict> ConflictResolver::conflicts(bool pending_only) const {
  return store_->engine().conflicts(pending_only);
}

std::size_t ConflictResolver::count_pending() const {
  std::lock_guard lock(store_->engine().mutex());
  return store_->engine().records().count_pending();
}

void ConflictResolver::resolve(const Conflict& conflict, std::size_t candidate) {
  if (candidate >= conflict.candidates.size()) {
    throw Error(ErrorCode::invalid_argument, "the conflict has " +
                                                 std::to_string(conflict.candidates.size()) +
                                                 " candidates: choose one of them");
  }
  store_->engine().resolve(conflict, candidate, conflict.candidates[candidate].value);
}

void ConflictResolver::resolve(const Conflict& conflict, const nlohmann::json& value) {
  store_->engine().resolve(conflict, std::nullopt, value);
}

std::size_t ConflictResolver::settle() { return store_->engine().settle(); }

void ConflictResolver::set_custom(const std::string& collection, CustomStrategy function) {
  store_->engine().set_custom(collection, std::move(function));
}

int ConflictResolver::subscribe(Observer observer) {
  return store_->engine().conflict_observers().add(std::move(observer));
}

void ConflictResolver::unsubscribe(int subscription) {
  store_->engine().conflict_observers().remove(subscription);
}

void ConflictResolver::set_policy(const Policy& policy) {
  auto fail = [](const char* why) { throw Error(ErrorCode::invalid_argument, why); };
  model::check_name(policy.collection, "a collection's name");
  if (policy.collection[0] == '_') fail("collections whose names start with '_' have no policies");
  std::string pointer = model::parse_pattern(policy.path);
  std::string path = model::display_pattern(pointer);
  if (pointer.empty() && policy.type != FieldType::value) {
    fail("a type is declared for a field, not for the whole record: give its path");
  }
  if (!pointer.empty() && (policy.whole_records || policy.delete_wins)) {
    fail("whole_records and delete_wins are for the whole collection: give the path $");
  }
  if (policy.deadline_ms < 0) fail("a deadline is not negative");
  if (policy.fallback == Strategy::user_choice || policy.fallback == Strategy::custom) {
    fail("the fallback is timestamp, priority or merge");
  }
  nlohmann::json document = {{"collection", policy.collection},
                             {"path", path},
                             {"strategy", strategy_name(policy.strategy)},
                             {"type", field_type_name(policy.type)},
                             {"critical", policy.critical},
                             {"deadline_ms", policy.deadline_ms},
                             {"fallback", strategy_name(policy.fallback)},
                             {"whole_records", policy.whole_records},
                             {"delete_wins", policy.delete_wins}};
  Key key(std::string(store::kPolicyCollection), policy.collection + " " + path);
  model::check_name(key.id, "a policy's collection and path together");
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  if (engine.get_document(key) != document) engine.put_own(key, std::move(document));
  transaction.commit();
}

std::vector<Policy> ConflictResolver::policies() const {
  std::vector<Policy> out;
  auto text = [](const nlohmann::json& doc, const char* name) {
    auto found = doc.find(name);
    return found != doc.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  store_->engine().for_each(
      std::string(store::kPolicyCollection), [&](const std::string&, const nlohmann::json& doc) {
        std::optional<model::FieldRule> rule = store::rule_of(doc);
        if (!rule) return true;
        out.push_back({text(doc, "collection"), text(doc, "path"), rule->strategy, rule->type,
                       rule->critical, rule->deadline_ms, rule->fallback, rule->whole,
                       rule->delete_wins});
        return true;
      });
  return out;
}

}  // namespace holdfast
