// The engine's other half: local edits collected into change sets, and change sets of other
// devices.

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/model/change_codec.h"
#include "src/store/engine.h"

namespace holdfast::store {
namespace {

constexpr std::size_t kChangeBytes =
    256 * 1024;  // beyond, a transaction goes on in another change set
constexpr std::size_t kChangeOps = 2000;
constexpr std::uint8_t kVoidSpan =
    0;  // starts a waiting row that is no change set, but the end of a void span
constexpr std::size_t kMaxChangeBytes = 1'000'000;  // of one change set: it must fit into a batch

}  // namespace

void Engine::open_change() {
  bool room = building_ && building_bytes_ < kChangeBytes && building_->ops.size() < kChangeOps;
  if (room) return;
  close_change();
  building_.emplace();
  building_->device = identity_->id;
  building_->sequence = seen_.at(identity_->id) + 1;
  building_->hlc = as_of_ ? *as_of_ : clock_.tick(now_ms());
  building_->context = seen_;
  building_bytes_ = 0;
}

void Engine::close_change() {
  if (!building_) return;
  model::ChangeSet change = std::move(*building_);
  building_.reset();
  if (change.ops.empty()) return;
  Bytes body = model::encode_changes({change});
  if (body.size() > kMaxChangeBytes) {
    throw Error(ErrorCode::too_large,
                "the change is too large to be sent: make it in smaller parts");
  }
  try {  // by the reader's own rules, before anything is acknowledged
    model::decode_changes(body, change.device);
  } catch (const Error& error) {
    throw Error(ErrorCode::too_large, std::string("the change could not be sent: ") + error.what());
  }
  Statement(database_.connection().prepare("INSERT INTO change VALUES(?, ?)"))
      .bind(change.sequence)
      .bind(body)
      .run();
  set_seen(change.device, change.sequence);
  wrote_ = true;
}

void Engine::save_clock() {
  if (clock_.last() == saved_clock_) return;
  base::Writer last;
  last.u64(clock_.last().value);
  database_.set_meta("clock", last.bytes());
  saved_clock_ = clock_.last();
}

void Engine::set_seen(const model::DeviceId& device, std::uint64_t sequence) {
  records_.index_of(device);
  seen_.set(device, sequence);
  seen_changed_.insert(device);
}

void Engine::save_seen() {
  if (base::planted(base::Plant::engine_does_not_save_what_it_has_seen)) return;
  for (const model::DeviceId& device : std::exchange(seen_changed_, {})) {
    Statement(database_.connection().prepare("UPDATE device SET seen = ? WHERE num = ?"))
        .bind(seen_.at(device))
        .bind(records_.index_of(device))
        .run();
  }
}

void Engine::apply(const model::ChangeSet& change) {
  // Ops on one record are applied together: it is read and rendered once.
  for (std::size_t i = 0; i < change.ops.size();) {
    std::size_t end = i + 1;
    while (end < change.ops.size() && change.ops[end].record == change.ops[i].record &&
           change.ops[end].collection == change.ops[i].collection) {
      ++end;
    }
    records_.apply(change, change.ops.data() + i, change.ops.data() + end);
    i = end;
  }
  clock_.observe(change.hlc, now_ms());
  set_seen(change.device, change.sequence);
}

void Engine::write_all_again() {
  if (records_.count_pending() > 0) {
    throw Error(ErrorCode::invalid_argument,
                "conflicts are pending in this restored store: settle them first");
  }
  std::vector<Key> keys;
  Connection& db = database_.connection();
  {
    Statement query(
        db.prepare("SELECT c.name, r.id FROM record r JOIN collection c "
                   "ON c.num = r.collection WHERE r.alive = 1 ORDER BY r.num"));
    while (query.step()) keys.emplace_back(std::string(query.text(0)), std::string(query.text(1)));
  }
  // Nobody in a new vault has seen what came before, so nothing may build on it.
  db.execute("DELETE FROM record WHERE alive = 0; DELETE FROM change; DELETE FROM device");
  building_.reset();
  load();
  for (const Key& key : keys) {
    model::Op op;
    op.value = parse_stored(records_.load(key.collection, key.id).value().doc);
    Statement(db.prepare("DELETE FROM record WHERE id = ? AND collection = "
                         "(SELECT num FROM collection WHERE name = ?)"))
        .bind(key.id)
        .bind(key.collection)
        .run();
    write(key, {std::move(op)});
  }
}

ReceivedCounts Engine::receive(const std::vector<model::ChangeSet>& changes) {
  Transaction transaction(*this);
  ReceivedCounts counts;
  records_.begin_batch();
  for (const model::ChangeSet& change : changes) {
    bool known = change.sequence <= seen_.at(change.device);
    if (known && !base::planted(base::Plant::engine_applies_twice)) continue;
    auto closed = closed_.find(change.device);
    if (closed != closed_.end() && change.sequence > closed->second) continue;
    if ((known || change.sequence == seen_.at(change.device) + 1) && !lacks(change)) {
      apply(change);
      if (!waiting_.empty()) apply_waiting();
      ++counts.applied;
      continue;
    }
    if (base::planted(base::Plant::engine_forgets_what_waits)) continue;
    Bytes body = model::encode_changes({change});
    Statement(database_.connection().prepare("INSERT OR IGNORE INTO waiting VALUES(?, ?, ?)"))
        .bind(ByteView(change.device))
        .bind(change.sequence)
        .bind(body)
        .run();
    note_waiting(change.device, change.sequence);
    ++counts.waiting;
  }
  records_.end_batch();
  transaction.commit();
  return counts;
}

void Engine::skip(const model::DeviceId& device, std::uint64_t first, std::uint64_t last) {
  Transaction transaction(*this);
  if (seen_.at(device) + 1 >= first) {
    if (seen_.at(device) < last) set_seen(device, last);
  } else {  // once those before it are here
    base::Writer span;
    span.u8(kVoidSpan);
    span.u64(last);
    Statement(database_.connection().prepare("INSERT OR REPLACE INTO waiting VALUES(?, ?, ?)"))
        .bind(ByteView(device))
        .bind(first)
        .bind(span.bytes())
        .run();
    note_waiting(device, first);
  }
  apply_waiting();
  transaction.commit();
}

bool Engine::waits_for(const Dot& place) const {
  auto closed = closed_.find(place.device);
  bool counts = closed == closed_.end() || seen_.at(place.device) < closed->second;
  return seen_.at(place.device) < place.sequence && counts;
}

std::optional<Dot> Engine::lacks(const model::ChangeSet& change) const {
  if (base::planted(base::Plant::engine_waits_for_nothing)) return std::nullopt;
  for (const auto& [device, sequence] : change.context.entries()) {
    if (waits_for({device, sequence})) return Dot{device, sequence};
  }
  return std::nullopt;
}

// What it comes before may have been known to wait for it.
void Engine::note_waiting(const model::DeviceId& device, std::uint64_t sequence) {
  std::optional<Dot>& lacked = waiting_[device];
  if (lacked && lacked->device == device && sequence <= lacked->sequence) lacked.reset();
}

void Engine::close_device(const model::DeviceId& device, std::uint64_t last) {
  std::uint64_t num = records_.index_of(device);
  Connection& db = database_.connection();
  Statement(db.prepare("UPDATE device SET closed = ? WHERE num = ?"))
      .bind(last + 1)
      .bind(num)
      .run();
  Statement(db.prepare("DELETE FROM waiting WHERE device = ? AND sequence > ?"))
      .bind(ByteView(device))
      .bind(last)
      .run();
  closed_[device] = last;
  apply_waiting();
}

// The first of a device's waiting ones, where its turn has come.
struct Engine::Next {
  std::optional<model::ChangeSet> change;
  std::uint64_t void_until = 0;
};

Engine::Next Engine::next_waiting(const model::DeviceId& device) {
  Next next;
  Statement query(
      database_.connection().prepare("SELECT body FROM waiting WHERE device = ? AND sequence = ?"));
  query.bind(ByteView(device)).bind(seen_.at(device) + 1);
  if (!query.step()) return next;
  base::Reader row(query.blob(0), "a waiting change set");
  if (query.blob(0)[0] == kVoidSpan) {
    row.u8();
    next.void_until = row.u64();
  } else {
    next.change = model::decode_changes(query.blob(0), device).front();
  }
  return next;
}

// Looks at a device's only where what they wait for has come: that may be never, and they long.
void Engine::apply_waiting() {
  Connection& db = database_.connection();
  for (bool progress = true; progress;) {
    progress = false;
    for (auto entry = waiting_.begin(); entry != waiting_.end();) {
      const model::DeviceId& device = entry->first;
      std::optional<Dot>& lacked = entry->second;
      if (lacked && waits_for(*lacked)) {
        ++entry;
        continue;
      }
      Next next = next_waiting(device);
      lacked = next.change ? lacks(*next.change) : std::nullopt;
      if (lacked) {
        ++entry;
        continue;
      }
      if (next.change || next.void_until > 0) {
        next.change ? apply(*next.change) : set_seen(device, next.void_until);
        progress = true;
        continue;  // its next one, at once
      }
      Statement(db.prepare("DELETE FROM waiting WHERE device = ? AND sequence <= ?"))
          .bind(ByteView(device))
          .bind(seen_.at(device))
          .run();
      Statement rest(db.prepare("SELECT sequence FROM waiting WHERE device = ? ORDER BY sequence"));
      rest.bind(ByteView(device));
      if (rest.step()) {
        lacked = Dot{device, static_cast<std::uint64_t>(rest.integer(0)) - 1};
        ++entry;
      } else {
        entry = waiting_.erase(entry);
      }
    }
  }
}

void Engine::visit_waiting(const std::function<void(const Waiting&)>& visit) {
  std::lock_guard lock(mutex_);
  Statement query(database_.connection().prepare(
      "SELECT device, sequence, body FROM waiting ORDER BY device, sequence"));
  while (query.step()) {
    visit({base::Reader(query.blob(0), "a device id").array<16>(),
           static_cast<std::uint64_t>(query.integer(1)), base::to_bytes(query.blob(2))});
  }
}

void Engine::add_waiting(const Waiting& waiting) {
  base::Reader in(waiting.body, "a waiting change set");
  bool is_span = in.u8() == kVoidSpan;
  if (is_span) {
    bool is_ahead = in.u64() >= waiting.sequence;
    in.expect_end();
    if (!is_ahead) in.fail("a number is out of range");
  } else {
    std::vector<model::ChangeSet> changes = model::decode_changes(waiting.body, waiting.device);
    if (changes.size() != 1 || changes[0].sequence != waiting.sequence) {
      in.fail("it is another one");
    }
  }
  if (waiting.sequence <= seen_.at(waiting.device)) return;
  Statement(database_.connection().prepare("INSERT OR REPLACE INTO waiting VALUES(?, ?, ?)"))
      .bind(ByteView(waiting.device))
      .bind(waiting.sequence)
      .bind(waiting.body)
      .run();
  note_waiting(waiting.device, waiting.sequence);
}

std::uint64_t Engine::count_waiting() {
  std::lock_guard lock(mutex_);
  Statement query(database_.connection().prepare("SELECT count(*) FROM waiting"));
  query.step();
  return static_cast<std::uint64_t>(query.integer(0));
}

}  // namespace holdfast::store
