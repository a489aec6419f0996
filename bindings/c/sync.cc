#include "bindings/c/shapes.h"
#include "bindings/c/sync_objects.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class StatesObject : public Object {
 public:
  static constexpr const char* kName = "states";
  StatesObject(std::shared_ptr<StoreObject> in, std::shared_ptr<SyncStateManager> given)
      : store(std::move(in)), states(std::move(given)) {}
  const char* name() const override { return kName; }
  const std::shared_ptr<StoreObject> store;
  const std::shared_ptr<SyncStateManager> states;
};

using UseSync = Use<SyncObject>;
using UseStates = Use<StatesObject>;

SyncState state_of(const std::string& name) {
  for (SyncState state : {SyncState::offline, SyncState::syncing, SyncState::conflict,
                          SyncState::up_to_date, SyncState::error}) {
    if (name == sync_state_name(state)) return state;
  }
  throw Error(ErrorCode::invalid_argument,
              "there is no state " + name + ": offline, syncing, conflict, up_to_date or error");
}

const char* name_of(IncrementalSync::News news) {
  switch (news) {
    case IncrementalSync::News::none: return "none";
    case IncrementalSync::News::some: return "some";
    default: return "unknown";
  }
}

}  // namespace

extern "C" {

hf_code hf_sync_open(hf_store* store, hf_sync** out) {
  return run([&] {
    c::out(out);
    UseStore use(store);
    auto sync = std::make_shared<IncrementalSync>(use->store);
    give_handle(out, std::make_shared<SyncObject>(use.shared(), std::move(sync)), store);
  });
}
hf_code hf_sync_close(hf_sync* sync) {
  return run([&] { close(sync, SyncObject::kName); });
}

hf_code hf_sync_run(hf_sync* sync, hf_sync_observe observe, void* user, char** result) {
  return run([&] {
    out(result);
    UseSync use(sync);
    auto progress = [&](const SyncProgress& at) {
      if (use->is_closing) use->sync->cancel();
      if (!observe) return;
      observe(user, sync_phase_name(at.phase), at.items, at.total, at.bytes,
              at.remaining_ms.value_or(-1));
    };
    *result = give_json(to_json(use->sync->sync(progress)));
  });
}
hf_code hf_sync_cancel(hf_sync* sync) {
  return run([&] { UseSync(sync)->sync->cancel(); });
}
hf_code hf_sync_progress(hf_sync* sync, char** progress) {
  return run([&] { out(progress) = give_json(to_json(UseSync(sync)->sync->progress())); });
}
hf_code hf_sync_wait_for_news(hf_sync* sync, int64_t ms, hf_cancel* cancel, const char** news) {
  return run([&] {
    out(news);
    UseSync use(sync);
    Cancellation cancellation(cancel, use->closing);
    *news = name_of(use->sync->wait_for_news(ms, cancellation.flag()));
  });
}

hf_code hf_sync_prepare_package(hf_sync* sync, char** package) {
  return run([&] {
    out(package) = give_json(package_to_json(UseSync(sync)->sync->prepare_sync_package()));
  });
}
hf_code hf_sync_mark_delivered(hf_sync* sync, const char* package) {
  return run([&] { UseSync(sync)->sync->mark_delivered(package_of(text(package))); });
}
hf_code hf_sync_apply_package(hf_sync* sync, const char* package, char** result) {
  return run([&] {
    out(result);
    UseSync use(sync);
    *result = give_json(to_json(use->sync->apply_remote_changes(package_of(text(package)))));
  });
}
hf_code hf_sync_local_changes(hf_sync* sync, uint64_t since, char** changes) {
  return run([&] {
    out(changes) = give_json(all_to_json(UseSync(sync)->sync->get_local_changes(since)));
  });
}
hf_code hf_sync_count_pending(hf_sync* sync, uint64_t* count) {
  return run([&] { out(count) = UseSync(sync)->sync->count_pending(); });
}
hf_code hf_sync_trust_relay_time(hf_sync* sync) {
  return run([&] { UseSync(sync)->sync->trust_relay_time(); });
}
hf_code hf_sync_problems(hf_sync* sync, char** problems) {
  return run([&] { out(problems) = give_json(all_to_json(UseSync(sync)->sync->problems())); });
}

hf_code hf_states_open(hf_store* store, hf_states** out) {
  return run([&] {
    c::out(out);
    UseStore use(store);
    auto states = std::make_shared<SyncStateManager>(use->store);
    give_handle(out, std::make_shared<StatesObject>(use.shared(), std::move(states)), store);
  });
}
hf_code hf_sync_states(hf_sync* sync, hf_states** out) {
  return run([&] {
    c::out(out);
    UseSync use(sync);
    std::shared_ptr<SyncStateManager> states(use->sync, &use->sync->states());
    give_handle(out, std::make_shared<StatesObject>(use->shared_store(), std::move(states)), sync);
  });
}
hf_code hf_states_close(hf_states* states) {
  return run([&] { close(states, StatesObject::kName); });
}
hf_code hf_states_metadata(hf_states* states, char** metadata) {
  return run([&] { out(metadata) = give_json(to_json(UseStates(states)->states->metadata())); });
}
hf_code hf_states_is_legal(const char* from, const char* to, bool* legal) {
  return run(
      [&] { out(legal) = SyncStateManager::is_legal(state_of(text(from)), state_of(text(to))); });
}
hf_code hf_states_transition(hf_states* states, const char* to, const char* metadata) {
  return run([&] {
    UseStates use(states);
    SyncMetadata next = use->states->metadata();
    read_metadata(
        parse_object(metadata, {"last_sync_timestamp", "items_synced", "conflicts_resolved",
                                "sync_duration_ms", "error_message", "network_type"}),
        next);
    SyncState state = state_of(text(to));
    try {
      use->states->transition(state, next);
    } catch (const std::logic_error& error) {
      throw IllegalState(error.what());
    }
  });
}
hf_code hf_states_set_network(hf_states* states, const char* type) {
  return run([&] { UseStates(states)->states->set_network_type(utf8(type)); });
}
hf_code hf_states_count_resolved(hf_states* states) {
  return run([&] { UseStates(states)->states->count_resolved(); });
}
hf_code hf_states_subscribe(hf_states* states, hf_observe observer, void* user,
                            hf_subscription** out) {
  return run([&] {
    c::out(out);
    function(observer);
    UseStates use(states);
    int number = use->states->subscribe([=](const SyncMetadata& state) {
      observer(user, to_json(state).dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    });
    auto end = [number, owner = use->states] { owner->unsubscribe(number); };
    give_handle(out, std::make_shared<SubscriptionObject>(use->store, end), states);
  });
}

}  // extern "C"
