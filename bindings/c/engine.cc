#include <cstddef>

#include "bindings/c/shapes.h"
#include "bindings/c/sync_objects.h"
#include "holdfast/sync_engine.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class EngineObject : public Object {
 public:
  static constexpr const char* kName = "engine";
  EngineObject(std::shared_ptr<StoreObject> given, const SyncEngineOptions& options)
      : store(std::move(given)), engine(std::make_shared<SyncEngine>(store->store, options)) {}
  const char* name() const override { return kName; }
  void interrupt() noexcept override { engine->stop(); }
  const std::shared_ptr<StoreObject> store;
  const std::shared_ptr<SyncEngine> engine;
};

using UseEngine = Use<EngineObject>;

json to_json_of(const SyncEvent& event) {
  switch (event.kind) {
    case SyncEvent::Kind::state: return {{"kind", "state"}, {"state", c::to_json(event.state)}};
    case SyncEvent::Kind::progress:
      return {{"kind", "progress"}, {"progress", c::to_json(event.progress)}};
    case SyncEvent::Kind::conflicts:
      return {{"kind", "conflicts"}, {"conflicts", all_to_json(event.conflicts)}};
    default: return {{"kind", "warning"}, {"warning", event.warning}};
  }
}

SyncEngineOptions engine_options_of(const hf_engine_options* given) {
  hf_engine_options options = HF_ENGINE_OPTIONS;
  if (given) {
    if (given->size < sizeof options || given->size > 4096) {  // later versions: the first one's
      throw Misuse("the options' size is wrong: start with HF_ENGINE_OPTIONS");
    }
    options = *given;
  }
  SyncEngineOptions out;
  out.coalesce_ms = options.coalesce_ms;
  out.interval_ms = options.interval_ms;
  out.watch = options.watch;
  if (out.coalesce_ms < 0 || out.interval_ms < 1) {
    throw Error(ErrorCode::invalid_argument, "the engine's times must be positive");
  }
  return out;
}

}  // namespace

extern "C" {

hf_code hf_engine_open(hf_store* store, const hf_engine_options* options, hf_engine** out) {
  return run([&] {
    c::out(out);
    UseStore use(store);
    give_handle(out, std::make_shared<EngineObject>(use.shared(), engine_options_of(options)),
                store);
  });
}
hf_code hf_engine_close(hf_engine* engine) {
  return run([&] { close(engine, EngineObject::kName); });
}
hf_code hf_engine_run(hf_engine* engine) {
  return run([&] { UseEngine(engine)->engine->run(); });
}
hf_code hf_engine_step(hf_engine* engine, int64_t* due_ms) {
  return run([&] { out(due_ms) = UseEngine(engine)->engine->step(); });
}
hf_code hf_engine_on_due(hf_engine* engine, void (*due)(void* user), void* user) {
  return run([&] {
    std::function<void()> callback;
    if (due) callback = [=] { due(user); };
    UseEngine(engine)->engine->on_due(std::move(callback));
  });
}
hf_code hf_engine_sync_now(hf_engine* engine) {
  return run([&] { UseEngine(engine)->engine->sync_now(); });
}
hf_code hf_engine_set_conditions(hf_engine* engine, const char* network, bool metered,
                                 bool saves_power) {
  return run(
      [&] { UseEngine(engine)->engine->set_conditions({utf8(network), metered, saves_power}); });
}
hf_code hf_engine_stop(hf_engine* engine) {
  return run([&] { UseEngine(engine)->engine->stop(); });
}
hf_code hf_engine_subscribe(hf_engine* engine, hf_observe observer, void* user,
                            hf_subscription** out) {
  return run([&] {
    c::out(out);
    function(observer);
    UseEngine use(engine);
    int number = use->engine->subscribe([=](const SyncEvent& event) {
      observer(user,
               to_json_of(event).dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    });
    auto end = [number, owner = use->engine] { owner->unsubscribe(number); };
    give_handle(out, std::make_shared<SubscriptionObject>(use->store, end), engine);
  });
}
hf_code hf_engine_sync(hf_engine* engine, hf_sync** out) {
  return run([&] {
    c::out(out);
    UseEngine use(engine);
    std::shared_ptr<IncrementalSync> sync(use->engine, &use->engine->sync());
    give_handle(out, std::make_shared<SyncObject>(use->store, std::move(sync)), engine);
  });
}

}  // extern "C"
