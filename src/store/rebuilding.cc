// The engine's part for a store that has to begin again from its vault's log, with what it alone
// knows on top.

#include "holdfast/error.h"
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

void Engine::rebuild(const std::function<void()>& before, const std::function<void()>& work) {
  std::lock_guard lock(mutex_);  // nobody else sees a device that did not come to be
  int history_days = records_.history_days();
  try {
    Transaction transaction(*this);
    close_change();
    before();
    database_.connection().execute(
        "DELETE FROM record; DELETE FROM pending; DELETE FROM history; DELETE FROM waiting;"
        "DELETE FROM change; DELETE FROM outbox; UPDATE device SET seen = 0, closed = 0");
    load();
    for (const char* name : {"sign_seed", "box_secret"}) {
      std::string next = std::string("next_") + name;
      database_.set_meta(name, database_.meta(next).value());
      database_.set_meta(next, {});
    }
    load_identity();
    records_.set_history_days(0);  // nothing of it is new
    work();
    records_.set_history_days(history_days);
    transaction.commit();
  } catch (...) {
    records_.set_history_days(history_days);
    load_identity();  // the transaction is rolled back by now
    throw;
  }
}

}  // namespace holdfast::store
