// The engine's part for a store that has to begin again from its vault's log, with what it alone
// knows on top.

#include "holdfast/error.h"
#include "src/model/change_codec.h"
#include "src/store/engine.h"

namespace holdfast::store {

void Engine::make_next_identity() {
  Transaction transaction(*this);
  std::optional<Bytes> made = database_.meta("next_sign_seed");
  if (!made || made->empty()) {
    crypto::Secret sign(32);
    crypto::Secret box(32);
    environment_.random->fill(sign.span());
    environment_.random->fill(box.span());
    database_.set_meta("next_sign_seed", database_.seal_secret("sign_seed", sign.view()));
    database_.set_meta("next_box_secret", database_.seal_secret("box_secret", box.view()));
  }
  transaction.commit();
}

std::optional<Identity> Engine::next_identity() {
  std::lock_guard lock(mutex_);
  std::optional<Bytes> sign = database_.meta("next_sign_seed");
  std::optional<Bytes> box = database_.meta("next_box_secret");
  if (!sign || sign->empty() || !box || box->empty()) return std::nullopt;
  crypto::SigningKey signing(database_.open_secret("sign_seed", *sign).view());
  model::DeviceId id = base::device_id_of(signing.public_key());
  return Identity{std::move(signing),
                  crypto::BoxKey(database_.open_secret("box_secret", *box).view()), id};
}

void Engine::try_out(const std::function<void()>& work) {
  require_intact();
  save_clock();
  save_seen();
  database_.connection().execute("SAVEPOINT tried");
  work();
  database_.connection().execute("ROLLBACK TO tried; RELEASE tried");
  load();
}

void Engine::observe_time(std::int64_t ms) {
  clock_.observe({static_cast<std::uint64_t>(std::max<std::int64_t>(ms, 0)) << 16 | 0xffff},
                 now_ms());
}

void Engine::forget_records() {
  save_clock();
  database_.connection().execute(
      "DELETE FROM record; DELETE FROM pending; DELETE FROM history; DELETE FROM waiting;"
      "UPDATE device SET seen = 0, closed = 0");
  load();
}

void Engine::apply_unsealed() {
  std::vector<Bytes> bodies;
  {
    Statement query(database_.connection().prepare("SELECT body FROM change ORDER BY sequence"));
    while (query.step()) bodies.push_back(base::to_bytes(query.blob(0)));
  }
  for (const Bytes& body : bodies) receive(model::decode_changes(body, identity().id));
}

// One transaction, of which history keeps nothing: nothing of it is new.
void Engine::without_history(const std::function<void()>& work) {
  std::lock_guard lock(mutex_);
  int history_days = records_.history_days();
  try {
    Transaction transaction(*this);
    close_change();
    records_.set_history_days(0);
    work();
    records_.set_history_days(history_days);
    transaction.commit();
  } catch (...) {
    records_.set_history_days(history_days);
    throw;
  }
}

void Engine::replace_records(const std::function<void()>& work) {
  without_history([&] {
    forget_records();
    work();
  });
}

void Engine::rebuild(const std::function<void()>& before, const std::function<void()>& work) {
  std::lock_guard lock(mutex_);  // nobody else sees a device that did not come to be
  try {
    without_history([&] {
      before();
      forget_records();
      database_.connection().execute("DELETE FROM change; DELETE FROM outbox");
      for (const char* name : {"sign_seed", "box_secret"}) {
        std::string next = std::string("next_") + name;
        database_.set_meta(name, database_.meta(next).value());
        database_.set_meta(next, {});
      }
      load_identity();
      work();
    });
  } catch (...) {
    load_identity();  // the transaction is rolled back by now
    throw;
  }
}

}  // namespace holdfast::store
