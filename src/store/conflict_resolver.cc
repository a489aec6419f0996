#include "holdfast/conflict_resolver.h"

#include <algorithm>

#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast {

std::vector<Conflict> ConflictResolver::conflicts(bool pending_only) const {
  store::Engine& engine = store_->engine();
  std::lock_guard lock(engine.mutex());
  std::vector<Conflict> all = engine.records().conflicts();
  if (pending_only) std::erase_if(all, [](const Conflict& conflict) { return !conflict.pending; });
  for (Conflict& conflict : all) {
    auto now = engine.get({conflict.collection, conflict.id});
    if (now) conflict.version = now->version;
  }
  return all;
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
  write(conflict, conflict.candidates[candidate].value, conflict.candidates);
}

void ConflictResolver::resolve(const Conflict& conflict, const nlohmann::json& value) {
  write(conflict, value, conflict.candidates);
}

void ConflictResolver::write(const Conflict& conflict, const std::optional<nlohmann::json>& value,
                             const std::vector<Candidate>& superseded) {
  store::Engine& engine = store_->engine();
  std::string path = model::parse_path(conflict.path);
  if (value && path.empty()) {
    model::check_document(*value);
  } else if (value) {
    model::check_field(*value, path);
  }
  // Exactly these, and no other write of the same devices.
  std::vector<Dot> resolves;
  for (const Candidate& candidate : superseded) {
    resolves.insert(resolves.end(), candidate.dots.begin(), candidate.dots.end());
  }
  std::sort(resolves.begin(), resolves.end());
  resolves.erase(std::unique(resolves.begin(), resolves.end()), resolves.end());
  store::Engine::Transaction transaction(engine);
  bool known = std::all_of(resolves.begin(), resolves.end(),
                           [&](const Dot& dot) { return engine.seen().covers(dot); });
  if (!known || resolves.empty()) {
    throw Error(ErrorCode::invalid_argument, "the conflict is not of this store: list them again");
  }
  Key key(conflict.collection, conflict.id);
  std::vector<model::Op> ops(1);
  ops[0].path = path;
  ops[0].resolves = std::move(resolves);
  if (!path.empty()) {
    ops[0].kind = value ? model::OpKind::set : model::OpKind::unset;
    if (value) ops[0].value = *value;
  } else {
    ops[0].kind = value ? model::OpKind::keep : model::OpKind::remove;
  }
  engine.write(key, std::move(ops), nullptr);
  if (path.empty() && value) {
    // Keeping the record is one thing, what it says another: only a value of the user's own changes
    // it, and only what the user had seen.
    bool offered = std::any_of(superseded.begin(), superseded.end(),
                               [&](const Candidate& side) { return side.value == value; });
    if (!offered) engine.put(key, *value, conflict.version, {});
  }
  transaction.commit();
}

void ConflictResolver::set_policy(const Policy& policy) {
  model::check_name(policy.collection, "a collection's name");
  if (policy.collection[0] == '_') {
    throw Error(ErrorCode::invalid_argument,
                "collections whose names start with '_' have no policies");
  }
  std::string path = model::display_path(model::parse_path(policy.path));
  nlohmann::json document = {{"collection", policy.collection},
                             {"path", path},
                             {"strategy", strategy_name(policy.strategy)}};
  Key key(std::string(store::kPolicyCollection), policy.collection + " " + path);
  model::check_name(key.id, "a policy's collection and path together");
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  if (engine.get_document(key) != document) {
    std::vector<model::Op> ops(1);
    ops[0].value = std::move(document);
    engine.write(key, std::move(ops), nullptr);
  }
  transaction.commit();
}

std::vector<Policy> ConflictResolver::policies() const {
  std::vector<Policy> out;
  store_->engine().for_each(
      std::string(store::kPolicyCollection), [&](const std::string&, const nlohmann::json& doc) {
        auto strategy = strategy_from_name(doc.value("strategy", ""));
        if (strategy)
          out.push_back({doc.value("collection", ""), doc.value("path", ""), *strategy});
        return true;
      });
  return out;
}

}  // namespace holdfast
