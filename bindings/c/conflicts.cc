#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class ConflictsObject : public Object {
 public:
  static constexpr const char* kName = "list of conflicts";
  ConflictsObject(std::shared_ptr<StoreObject> store, std::vector<Conflict> conflicts)
      : store_(std::move(store)), conflicts_(std::move(conflicts)) {}
  const char* name() const override { return kName; }
  const Conflict& at(std::size_t index) const {
    if (index < conflicts_.size()) return conflicts_[index];
    throw Error(ErrorCode::invalid_argument, "the list has no conflict of this number");
  }
  ConflictResolver resolver() const { return ConflictResolver(store_->store); }

 private:
  std::shared_ptr<StoreObject> store_;
  std::vector<Conflict> conflicts_;
};

CustomStrategy strategy_of(hf_decide decide, void* user) {
  if (!decide) return {};
  return [=](const Conflict& conflict) -> std::optional<json> {
    ReplyHandle reply;
    if (decide(user, to_json(conflict).dump().c_str(), reply.get()) != 0) return std::nullopt;
    return reply.value();
  };
}

}  // namespace

extern "C" {

hf_code hf_conflicts_list(hf_store* store, bool pending_only, hf_conflicts** out, char** json) {
  return run([&] {
    c::out(out);
    c::out(json);
    UseStore use(store);
    std::vector<Conflict> all = ConflictResolver(use->store).conflicts(pending_only);
    std::unique_ptr<char, decltype(&hf_free)> shown(give_json(all_to_json(all)), hf_free);
    give_handle(out, std::make_shared<ConflictsObject>(use.shared(), std::move(all)), store);
    *json = shown.release();
  });
}
hf_code hf_conflicts_pick(hf_conflicts* conflicts, size_t index, size_t candidate) {
  return run([&] {
    Use<ConflictsObject> use(conflicts);
    use->resolver().resolve(use->at(index), candidate);
  });
}
hf_code hf_conflicts_resolve(hf_conflicts* conflicts, size_t index, const char* value) {
  return run([&] {
    Use<ConflictsObject> use(conflicts);
    use->resolver().resolve(use->at(index), parse(value));
  });
}
hf_code hf_conflicts_close(hf_conflicts* conflicts) {
  return run([&] { close(conflicts, ConflictsObject::kName); });
}

hf_code hf_conflicts_count_pending(hf_store* store, uint64_t* count) {
  return run([&] { out(count) = ConflictResolver(UseStore(store)->store).count_pending(); });
}
hf_code hf_conflicts_settle(hf_store* store, uint64_t* count) {
  return run([&] { out(count) = ConflictResolver(UseStore(store)->store).settle(); });
}
hf_code hf_conflicts_subscribe(hf_store* store, hf_observe observer, void* user,
                               hf_subscription** out) {
  return run([&] {
    c::out(out);
    function(observer);
    UseStore use(store);
    int number = ConflictResolver(use->store).subscribe([=](const std::vector<Conflict>& pending) {
      observer(user, all_to_json(pending).dump().c_str());
    });
    auto end = [number, owner = use.shared()] {
      ConflictResolver(owner->store).unsubscribe(number);
    };
    give_handle(out, std::make_shared<SubscriptionObject>(use.shared(), end), store);
  });
}
hf_code hf_conflicts_set_custom(hf_store* store, const char* collection, hf_decide decide,
                                void* user) {
  return run([&] {
    UseStore use(store);
    ConflictResolver(use->store).set_custom(collection_of(collection), strategy_of(decide, user));
  });
}

hf_code hf_policy_set(hf_store* store, const char* policy) {
  return run([&] {
    text(policy);
    ConflictResolver(UseStore(store)->store)
        .set_policy(policy_of(
            parse_object(policy, {"collection", "path", "strategy", "type", "critical",
                                  "deadline_ms", "fallback", "whole_records", "delete_wins"})));
  });
}
hf_code hf_policies(hf_store* store, char** policies) {
  return run([&] {
    out(policies);
    UseStore use(store);
    *policies = give_json(all_to_json(ConflictResolver(use->store).policies()));
  });
}

hf_code hf_resolve_conflict(const char* local, const char* remote, const char* context,
                            hf_decide decide, void* user, char** resolution) {
  return run([&] {
    out(resolution);
    json given = parse_object(context, {"strategy", "critical_paths"});
    ConflictContext how;
    std::string strategy = strategy_name(how.strategy);
    read(given, "strategy", strategy);
    auto found = strategy_from_name(strategy);
    if (!found) throw Error(ErrorCode::invalid_argument, "there is no strategy " + strategy);
    how.strategy = *found;
    how.custom = strategy_of(decide, user);
    if (how.strategy == Strategy::custom && !decide) {
      throw Error(ErrorCode::invalid_argument, "the strategy custom needs a function");
    }
    json paths = given.value("critical_paths", json::array());
    if (!paths.is_array()) {
      throw Error(ErrorCode::invalid_argument, "critical_paths is an array");
    }
    for (const json& path : paths) {
      if (!path.is_string()) throw Error(ErrorCode::invalid_argument, "a path must be a text");
      how.critical_paths.push_back(path.get<std::string>());
    }
    *resolution =
        give_json(to_json(ConflictResolver::resolve_conflict(parse(local), parse(remote), how)));
  });
}

}  // extern "C"
