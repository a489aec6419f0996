#include "src/sync/acknowledgements.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/model/purge.h"

namespace holdfast::sync {
namespace {

using store::Statement;

constexpr std::int64_t kAcknowledgeAfterMs = 24 * 60 * 60 * 1000;
constexpr std::int64_t kAcknowledgeAfterBatches = 100;
constexpr std::size_t kPurgedAtOnce = 2000;  // records; the rest when more is known, or next time
constexpr const char* kPurgedAt = "purged_at";
constexpr const char* kUnacknowledgedSince = "unacknowledged_since";

std::uint64_t number(store::Engine& engine, const char* name) {
  std::optional<Bytes> value = engine.database().meta(name);
  return value && value->size() == 8 ? base::Reader(*value, "a number").u64() : 0;
}

void set_number(store::Engine& engine, const char* name, std::uint64_t value) {
  base::Writer out;
  out.u64(value);
  engine.database().set_meta(name, out.bytes());
}

}  // namespace

void Acknowledgements::note(std::uint64_t position, const base::Id16& device, std::uint64_t last,
                            std::uint64_t acknowledged) {
  Statement(
      engine_.database().connection().prepare("INSERT OR REPLACE INTO batch VALUES(?, ?, ?, ?)"))
      .bind(position)
      .bind(ByteView(device))
      .bind(last)
      .bind(acknowledged)
      .run();
}

void Acknowledgements::forget_behind(std::uint64_t position) {
  if (number(engine_, kPurgedAt) > position) set_number(engine_, kPurgedAt, position);
  // The outbox goes as it is; what it says is of a log that is gone.
  Statement(engine_.database().connection().prepare("UPDATE outbox SET acknowledged = 0")).run();
}

std::uint64_t Acknowledgements::acknowledged_by_all() const {
  std::lock_guard lock(engine_.mutex());
  std::map<model::DeviceId, std::uint64_t> by;
  Statement query(engine_.database().connection().prepare(
      "SELECT device, max(acknowledged) FROM batch GROUP BY device"));
  while (query.step()) {
    by[base::Reader(query.blob(0), "a device id").array<16>()] =
        static_cast<std::uint64_t>(query.integer(1));
  }
  std::uint64_t least = UINT64_MAX;
  if (base::planted(base::Plant::purges_before_all_have_it)) return membership_.log()->position;
  for (const auto& [device, enrolled] : membership_.control().members()) {
    least = std::min(least, by[device]);
  }
  return least == UINT64_MAX ? 0 : least;
}

model::VersionVector Acknowledgements::known_to_all() const {
  std::lock_guard lock(engine_.mutex());
  model::VersionVector known;
  Statement query(engine_.database().connection().prepare(
      "SELECT device, max(last) FROM batch WHERE position <= ? GROUP BY device"));
  query.bind(acknowledged_by_all());
  while (query.step()) {
    known.set(base::Reader(query.blob(0), "a device id").array<16>(),
              static_cast<std::uint64_t>(query.integer(1)));
  }
  return known;
}

void Acknowledgements::purge() {
  store::Engine::Transaction transaction(engine_);
  std::uint64_t position = acknowledged_by_all();
  if (position > number(engine_, kPurgedAt)) {
    model::VersionVector known = known_to_all();
    std::size_t purged = 0;
    store::Records& records = engine_.records();
    for (const store::Records::Name& name : records.with_hidden()) {
      if (purged == kPurgedAtOnce) break;
      auto row = records.load(name.collection, name.id);
      std::vector<model::Op> ops = model::purge_ops(records.decode(*row), known);
      if (ops.empty()) continue;
      ++purged;
      engine_.write(Key(name.collection, name.id), std::move(ops));
    }
    if (purged < kPurgedAtOnce) set_number(engine_, kPurgedAt, position);
  }
  transaction.commit();
}

bool Acknowledgements::is_due() {
  store::Engine::Transaction transaction(engine_);
  Statement query(engine_.database().connection().prepare(
      "SELECT count(*) FROM batch WHERE last > 0 AND device <> ?1 AND position > "
      "max((SELECT coalesce(max(acknowledged), 0) FROM batch WHERE device = ?1),"
      " (SELECT coalesce(max(acknowledged), 0) FROM outbox))"));
  query.bind(ByteView(engine_.identity().id));
  query.step();
  std::int64_t batches = query.integer(0);
  auto now = static_cast<std::uint64_t>(engine_.environment().clock->now_ms());
  std::uint64_t since = number(engine_, kUnacknowledgedSince);
  bool due = false;
  if (batches == 0) {
    if (since > 0) set_number(engine_, kUnacknowledgedSince, 0);
  } else if (since == 0) {
    set_number(engine_, kUnacknowledgedSince, now);
  } else {
    due = batches >= kAcknowledgeAfterBatches || now >= since + kAcknowledgeAfterMs;
  }
  if (due) set_number(engine_, kUnacknowledgedSince, 0);
  transaction.commit();
  return due;
}

}  // namespace holdfast::sync
