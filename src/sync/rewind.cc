#include "src/sync/rewind.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/checkpoints.h"
#include "src/sync/claims.h"
#include "src/sync/outbox.h"

namespace holdfast::sync {

using store::Statement;

namespace {

LostBatch row_of(const Statement& query) {
  LostBatch out;
  out.device = base::Reader(query.blob(0), "a device id").array<16>();
  out.last = static_cast<std::uint64_t>(query.integer(1));
  out.held_for = std::string(query.text(2));
  out.body = base::to_bytes(query.blob(3));
  out.batch = out.body.empty() ? base::Reader(query.blob(4), "a batch id").array<16>()
                               : wire::decode_batch_header(out.body).batch;
  out.leaf = base::Reader(query.blob(5), "a leaf").array<32>();
  return out;
}

}  // namespace

CommonPrefix::CommonPrefix(store::Engine& engine, const base::Id16& log_id, std::uint64_t head)
    : log_id_(log_id), chains_{wire::chain_start(log_id)} {
  std::lock_guard lock(engine.mutex());
  Statement query(engine.database().connection().prepare(
      "SELECT leaf FROM log WHERE position <= ? ORDER BY position"));
  query.bind(std::min<std::uint64_t>(head, INT64_MAX));
  while (query.step()) {
    auto leaf = base::Reader(query.blob(0), "a leaf").array<32>();
    chains_.push_back(wire::chain_next(chains_.back(), chains_.size(), leaf));
  }
  other_ = chains_.size();
}

std::optional<std::uint64_t> CommonPrefix::next() const {
  if (!sane_) return std::nullopt;
  if (same_ + 1 < other_) return same_ + (other_ - same_) / 2;
  if (same_ == 0 && !asked_) return 0;
  return std::nullopt;
}

void CommonPrefix::answer(std::uint64_t position, const base::Hash32& chain) {
  bool same = chain == chains_.at(position);
  if (position == 0) {
    asked_ = true;
    sane_ = same;  // the start follows from the log id alone
  } else if (same) {
    same_ = position;
  } else {
    other_ = position;
  }
}

LogPosition CommonPrefix::found() const { return {log_id_, same_, chains_.at(same_)}; }

std::uint64_t LostBatches::count() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare("SELECT count(*) FROM lost"));
  query.step();
  return static_cast<std::uint64_t>(query.integer(0));
}

std::vector<LostBatch> LostBatches::list(std::size_t bytes) const {
  std::lock_guard lock(engine_.mutex());
  std::vector<LostBatch> out;
  std::size_t total = 0;
  Statement query(engine_.database().connection().prepare(
      "SELECT device, last, reason, body, batch, leaf FROM lost ORDER BY num"));
  while (query.step()) {
    LostBatch batch = row_of(query);
    if (!out.empty() && total + batch.body.size() > bytes) break;
    total += std::max(batch.body.size(), sizeof(wire::Stub));
    out.push_back(std::move(batch));
  }
  return out;
}

std::optional<LostBatch> LostBatches::find(const base::Hash32& leaf) const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare(
      "SELECT device, last, reason, body, batch, leaf FROM lost WHERE leaf = ?"));
  query.bind(ByteView(leaf));
  if (!query.step()) return std::nullopt;
  return row_of(query);
}

void LostBatches::forget(const base::Hash32& leaf) {
  Statement(engine_.database().connection().prepare("DELETE FROM lost WHERE leaf = ?"))
      .bind(ByteView(leaf))
      .run();
}

std::optional<base::Hash32> LostBatches::last_leaf(const base::Id16& device) const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare(
      "SELECT leaf FROM lost WHERE device = ? ORDER BY num DESC LIMIT 1"));
  query.bind(ByteView(device));
  if (!query.step()) return std::nullopt;
  return base::Reader(query.blob(0), "a leaf").array<32>();
}

base::Id16 hash_of(const model::ChangeSet& change) { return Claims::of(change).hash; }

ChangeHashes changes_in_log(store::Engine& engine, const Membership& membership,
                            const base::Id16& device, std::uint64_t after) {
  std::lock_guard lock(engine.mutex());
  ChangeHashes out = Checkpoints::changes_of(engine, membership, device);
  Statement query(engine.database().connection().prepare(
      "SELECT body FROM log WHERE device = ? AND position > ? AND held >= 0 AND body <> x'' "
      "ORDER BY position"));
  query.bind(ByteView(device)).bind(after);
  while (query.step()) {
    try {
      for (const model::ChangeSet& change : open_batch(query.blob(0), membership).changes) {
        out[change.sequence] = hash_of(change);
      }
    } catch (const Error& error) {  // what cannot be read holds nothing that is known here
      if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
    }
  }
  return out;
}

std::vector<Bytes> loose_of(store::Engine& engine, const base::Id16& device) {
  std::lock_guard lock(engine.mutex());
  std::vector<Bytes> out;
  Statement query(engine.database().connection().prepare(
      "SELECT body FROM loose WHERE leaf NOT IN (SELECT leaf FROM log) ORDER BY num"));
  while (query.step()) {
    if (wire::decode_batch_header(query.blob(0)).device != device) continue;
    out.push_back(base::to_bytes(query.blob(0)));
  }
  return out;
}

std::vector<Bytes> loose_beside(store::Engine& engine, const Membership& membership,
                                const base::Id16& device, const ChangeHashes& held) {
  std::vector<Bytes> out;
  for (Bytes& body : loose_of(engine, device)) {
    std::vector<model::ChangeSet> changes = open_batch(body, membership).changes;
    bool differs = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      auto found = held.find(change.sequence);
      return found != held.end() && found->second != hash_of(change);
    });
    if (differs) out.push_back(std::move(body));
  }
  return out;
}

void check_loose(store::Engine& engine, const Membership& membership, const OpenedBatch& batch) {
  Statement any(engine.database().connection().prepare("SELECT 1 FROM loose LIMIT 1"));
  if (!any.step()) return;
  ChangeHashes held;
  for (const model::ChangeSet& change : batch.changes) {
    held[change.sequence] = hash_of(change);
  }
  if (loose_beside(engine, membership, batch.header.device, held).empty()) return;
  throw MustBeginAgain{"a copy of '" + membership.device_name(batch.header.device).name +
                       "' gave this device other changes than that one sent to the vault; this "
                       "store had to begin again"};
}

bool LostBatches::drop_repeated(const Membership& membership, const LostBatch& batch) {
  store::Engine::Transaction transaction(engine_);
  if (!batch.held_for.empty()) {  // nothing of it is here, and nobody can make anything of it
    forget(batch.leaf);
    transaction.commit();
    return true;
  }
  if (batch.body.empty()) return false;
  auto held = changes_in_log(engine_, membership, batch.device, 0);
  for (const model::ChangeSet& change : open_batch(batch.body, membership).changes) {
    auto found = held.find(change.sequence);
    if (found == held.end() || found->second != hash_of(change)) return false;
  }
  forget(batch.leaf);
  transaction.commit();
  return true;
}

namespace {

// They come before those that were lost earlier and are not back yet.
std::uint64_t move_to_lost(store::Connection& db, std::uint64_t position) {
  Statement(
      db.prepare(
          "INSERT INTO lost(num, leaf, device, last, reason, body, batch) "
          "SELECT (SELECT coalesce(min(num), 0) FROM lost) - 1 "
          "  - ((SELECT max(position) FROM log) - l.position), "
          "l.leaf, l.device, coalesce(b.last, 0), "
          "CASE l.held WHEN 2 THEN 'it was not applied yet' ELSE l.reason END, l.body, l.batch "
          "FROM log l LEFT JOIN batch b ON b.position = l.position WHERE l.position > "
          "? AND l.held >= 0"))
      .bind(position)
      .run();
  std::uint64_t moved = 0;
  {
    Statement count(db.prepare("SELECT count(*) FROM log WHERE position > ? AND held >= 0"));
    count.bind(position);
    count.step();
    moved = static_cast<std::uint64_t>(count.integer(0));
  }
  for (const char* sql :
       {"DELETE FROM log WHERE position > ?", "DELETE FROM batch WHERE position > ?"}) {
    Statement(db.prepare(sql)).bind(position).run();
  }
  return moved;
}

// Of what a checkpoint stands for the relay gets the places again, all that it has lost at once:
// with those that it had lost before, and has not got back.
void keep_places(store::Connection& db, std::uint64_t position) {
  db.execute("DELETE FROM lost_place WHERE NOT EXISTS(SELECT 1 FROM lost WHERE body = x'')");
  // A checkpoint that stands for nothing else here, and that the log may not lead to any more.
  Statement(db.prepare("DELETE FROM checkpoint WHERE position > ? AND position > max("
                       "(SELECT coalesce(max(position), 0) FROM log WHERE body = x''), "
                       "(SELECT coalesce(max(position), 0) FROM lost_place))"))
      .bind(position)
      .run();
  Statement(
      db.prepare("INSERT INTO lost_place SELECT position, CASE WHEN body = x'' THEN batch ELSE "
                 "substr(body, 34, 16) END, device, leaf FROM log WHERE position > ?1 AND "
                 "position <= (SELECT max(position) FROM checkpoint WHERE complete = 1) AND "
                 "position < (SELECT coalesce(min(position), ?2) FROM lost_place) AND "
                 "(EXISTS(SELECT 1 FROM log WHERE position > ?1 AND body = x'') OR "
                 "EXISTS(SELECT 1 FROM lost_place))"))
      .bind(position)
      .bind(INT64_MAX)
      .run();
}

void rechain(store::Connection& db, const base::Id16& log_id) {
  base::Hash32 chain = wire::chain_start(log_id);
  for (std::uint64_t position = 1;; ++position) {
    {
      Statement query(db.prepare("SELECT leaf FROM log WHERE position = ?"));
      query.bind(position);
      if (!query.step()) return;
      auto leaf = base::Reader(query.blob(0), "a leaf").array<32>();
      chain = wire::chain_next(chain, position, leaf);
    }
    Statement(db.prepare("UPDATE log SET chain = ? WHERE position = ?"))
        .bind(ByteView(chain))
        .bind(position)
        .run();
  }
}

// What is fetched anew from there on was not known when it began.
void clamp_beginning(store::Engine& engine, std::uint64_t position) {
  Bytes begun = engine.database().meta("begin_again").value();
  base::Reader in(begun, "a place");
  base::Writer out;
  out.u64(std::min(in.u64(), position));
  out.raw(in.rest());
  engine.database().set_meta("begin_again", out.bytes());
}

}  // namespace

void set_leaves_again(store::Engine& engine) {
  store::Connection& db = engine.database().connection();
  db.execute(
      "UPDATE device SET leaf = (SELECT l.leaf FROM log l WHERE l.device = device.id "
      "AND l.held >= 0 "
      "ORDER BY l.position DESC LIMIT 1)");
}

std::uint64_t rewind(store::Engine& engine, Membership& membership, const LogPosition& common) {
  store::Engine::Transaction transaction(engine);
  store::Connection& db = engine.database().connection();
  keep_places(db, common.position);
  std::uint64_t moved = move_to_lost(db, common.position);
  const char* forgotten =
      base::planted(base::Plant::rewind_forgets_its_own)  ? "DELETE FROM lost WHERE device = ?"
      : base::planted(base::Plant::rewind_forgets_others) ? "DELETE FROM lost WHERE device <> ?"
                                                          : nullptr;
  if (forgotten) Statement(db.prepare(forgotten)).bind(ByteView(engine.identity().id)).run();
  if (!base::planted(base::Plant::rewind_keeps_leaves)) set_leaves_again(engine);
  const base::Id16 before = membership.log()->log_id;
  if (before != common.log_id) {
    Statement(db.prepare("INSERT OR IGNORE INTO former_log VALUES(?)"))
        .bind(ByteView(before))
        .run();
    rechain(db, common.log_id);
  }
  Acknowledgements(engine, membership).forget_behind(common.position);
  membership.set_log(common);
  if (is_beginning_again(engine)) clamp_beginning(engine, common.position);
  transaction.commit();
  return moved;
}

wire::StubPage lost_places(store::Engine& engine) {
  std::lock_guard lock(engine.mutex());
  wire::StubPage out;
  Statement query(engine.database().connection().prepare(
      "SELECT position, batch, device, leaf FROM lost_place ORDER BY position"));
  while (query.step()) {
    if (out.stubs.empty()) out.after = static_cast<std::uint64_t>(query.integer(0)) - 1;
    out.stubs.push_back({base::Reader(query.blob(1), "a batch id").array<16>(),
                         base::Reader(query.blob(2), "a device id").array<16>(),
                         base::Reader(query.blob(3), "a leaf").array<32>()});
  }
  return out;
}

bool is_former_log(store::Engine& engine, const base::Id16& log_id) {
  std::lock_guard lock(engine.mutex());
  Statement query(
      engine.database().connection().prepare("SELECT 1 FROM former_log WHERE log_id = ?"));
  query.bind(ByteView(log_id));
  return query.step();
}

}  // namespace holdfast::sync
