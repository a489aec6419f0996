// The engine's clock: what it does where the device's own turns out to be wrong.

#include <algorithm>

#include "src/model/change_codec.h"
#include "src/store/engine.h"

namespace holdfast::store {

std::int64_t Engine::clock_offset() {
  std::lock_guard lock(mutex_);
  return offset_ms_;
}

// What is sealed stays as it is. Changes keep their order, and none is in the future.
void Engine::correct_clock(std::int64_t offset_ms, const char* spent) {
  Transaction transaction(*this);
  close_change();
  Connection& db = database_.connection();
  std::int64_t moved = offset_ms - offset_ms_;
  offset_ms_ = offset_ms;
  base::Writer kept;
  kept.u64(static_cast<std::uint64_t>(offset_ms));
  database_.set_meta(kClockOffset, kept.bytes());
  database_.set_meta(spent, {});
  std::int64_t now = now_ms();
  std::vector<model::ChangeSet> changes;
  {
    Statement query(db.prepare("SELECT body FROM change ORDER BY sequence"));
    while (query.step()) {
      changes.push_back(model::decode_changes(query.blob(0), identity().id).front());
    }
  }
  model::Hlc last;
  std::map<std::uint64_t, model::Hlc> times;
  std::set<Records::Name> names;
  for (model::ChangeSet& change : changes) {
    auto ms = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(change.hlc.ms() + moved, 0, std::max<std::int64_t>(now, 0)));
    last.value = std::max(ms << 16 | (change.hlc.value & 0xffff), last.value + 1);
    change.hlc = times[change.sequence] = last;
    for (const model::Op& op : change.ops) names.insert({op.collection, op.record});
    Bytes body = model::encode_changes({change});
    Statement(db.prepare("UPDATE change SET body = ? WHERE sequence = ?"))
        .bind(body)
        .bind(change.sequence)
        .run();
  }
  for (const Records::Name& name : names) records_.restamp(name, identity().id, times);
  // What was ahead is not followed any more.
  bool ahead = clock_.last().ms() > now + model::HybridClock::kBoundMs;
  if (ahead) clock_ = model::HybridClock(last);
  transaction.commit();
}

}  // namespace holdfast::store
