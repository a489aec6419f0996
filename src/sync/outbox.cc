#include "src/sync/outbox.h"

#include "src/base/planted.h"
#include "src/model/change_codec.h"
#include "src/sync/claims.h"
#include "src/sync/rewind.h"

namespace holdfast::sync {
namespace {

using store::Statement;

// Of change sets: a link that is slow and often cut still carries what becomes of them in one go.
constexpr std::size_t kBatchBytes = 256 * 1024;
constexpr std::size_t kBatchChanges = 10'000;
constexpr std::size_t kBatchListed = model::kMaxResolvesPerBatch / 4;
constexpr std::size_t kBatchNames = model::kMaxNamesPerBatch / 2;  // the last one may add a quarter

OutboxBatch row_of(const Statement& query) {
  OutboxBatch out;
  out.batch = base::Reader(query.blob(0), "a batch id").array<16>();
  out.first = static_cast<std::uint64_t>(query.integer(1));
  out.last = static_cast<std::uint64_t>(query.integer(2));
  out.body = base::to_bytes(query.blob(3));
  out.acknowledged = static_cast<std::uint64_t>(query.integer(4));
  return out;
}

}  // namespace

base::Hash32 device_leaf(store::Engine& engine, const base::Id16& device) {
  std::lock_guard lock(engine.mutex());
  Statement query(engine.database().connection().prepare("SELECT leaf FROM device WHERE id = ?"));
  query.bind(ByteView(device));
  if (!query.step() || query.is_null(0)) return {};
  return base::Reader(query.blob(0), "a leaf").array<32>();
}

void set_device_leaf(store::Engine& engine, const base::Id16& device, const base::Hash32& leaf) {
  std::uint64_t num = engine.records().index_of(device);
  Statement(engine.database().connection().prepare("UPDATE device SET leaf = ? WHERE num = ?"))
      .bind(ByteView(leaf))
      .bind(num)
      .run();
}

void Outbox::seal() {
  while (seal_one()) {
  }
}

bool Outbox::seal_one() {
  store::Engine::Transaction transaction(engine_);
  store::Connection& db = engine_.database().connection();
  std::vector<model::ChangeSet> changes;
  {
    Statement query(db.prepare("SELECT body FROM change ORDER BY sequence"));
    std::size_t total = 0;
    std::size_t names = 0;
    std::size_t listed = 0;
    while (changes.size() < kBatchChanges && names < kBatchNames && listed < kBatchListed &&
           query.step()) {
      ByteView body = query.blob(0);
      if (!changes.empty() && total + body.size() > kBatchBytes) break;
      total += body.size();
      changes.push_back(model::decode_changes(body, engine_.identity().id).front());
      for (const model::Op& op : changes.back().ops) {
        names += op.collection.size() + op.record.size() + op.path.size();
        listed += op.writes.size();
      }
    }
  }
  if (!changes.empty()) seal_batch_of(changes);
  transaction.commit();
  return !changes.empty();
}

void Outbox::seal_acknowledgement() {
  store::Engine::Transaction transaction(engine_);
  seal_batch_of({});
  transaction.commit();
}

bool Outbox::seal_claims() {
  store::Engine::Transaction transaction(engine_);
  bool some = !Claims(engine_).to_send().empty();
  if (some) seal_batch_of({});
  transaction.commit();
  return some;
}

void Outbox::seal_again(const base::Id16& batch) {
  store::Engine::Transaction transaction(engine_);
  store::Connection& db = engine_.database().connection();
  std::vector<Bytes> bodies;
  {
    Statement query(
        db.prepare("SELECT body FROM outbox WHERE num >= (SELECT num FROM outbox WHERE batch_id = "
                   "?) ORDER BY num"));
    query.bind(ByteView(batch));
    while (query.step()) bodies.push_back(base::to_bytes(query.blob(0)));
  }
  Statement(
      db.prepare("DELETE FROM outbox WHERE num >= (SELECT num FROM outbox WHERE batch_id = ?)"))
      .bind(ByteView(batch))
      .run();
  for (const Bytes& body : bodies) {
    if (base::planted(base::Plant::outbox_drops_what_it_seals_again)) break;
    for (const model::ChangeSet& change : open_batch(body, membership_).changes) {
      Bytes alone = model::encode_changes({change});
      Statement(db.prepare("INSERT INTO change VALUES(?, ?)"))
          .bind(change.sequence)
          .bind(alone)
          .run();
    }
  }
  seal();
  transaction.commit();
}

// Whether all that the log holds, as far as it is here, has been applied.
bool Outbox::has_everything() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare(
      "SELECT EXISTS(SELECT 1 FROM log WHERE held > 0) OR EXISTS(SELECT 1 FROM waiting)"));
  query.step();
  return query.integer(0) == 0;
}

void Outbox::seal_batch_of(const std::vector<model::ChangeSet>& changes) {
  store::Connection& db = engine_.database().connection();
  BatchContent content;
  content.first =
      changes.empty() ? engine_.seen().at(engine_.identity().id) + 1 : changes.front().sequence;
  content.last = changes.empty() ? content.first - 1 : changes.back().sequence;
  if (membership_.log()) content.seen = *membership_.log();
  content.control_head = membership_.control().head();
  content.sealed_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, engine_.now_ms()));
  if (!changes.empty()) content.changes = model::encode_changes(changes);
  content.claims = Claims(engine_).to_send();
  {
    Statement more(db.prepare("SELECT 1 FROM change WHERE sequence > ? LIMIT 1"));
    more.bind(content.last);
    if (!more.step() && has_everything()) content.acknowledged = content.seen.position;
  }
  Bytes body = seal_batch(content, last_leaf(), membership_, engine_.identity(),
                          *engine_.environment().random);
  base::Id16 id = wire::decode_batch_header(body).batch;
  Statement(db.prepare("INSERT INTO outbox(batch_id, first, last, body, acknowledged) "
                       "VALUES(?, ?, ?, ?, ?)"))
      .bind(ByteView(id))
      .bind(content.first)
      .bind(content.last)
      .bind(body)
      .bind(content.acknowledged)
      .run();
  Statement(db.prepare("DELETE FROM change WHERE sequence <= ?")).bind(content.last).run();
}

base::Hash32 Outbox::last_leaf() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(
      engine_.database().connection().prepare("SELECT body FROM outbox ORDER BY num DESC LIMIT 1"));
  if (query.step()) return wire::leaf_of(query.blob(0));
  const base::Id16& self = engine_.identity().id;
  std::optional<base::Hash32> lost = LostBatches(engine_).last_leaf(self);
  if (base::planted(base::Plant::outbox_seals_out_of_order)) lost.reset();
  return lost ? *lost : device_leaf(engine_, self);
}

std::vector<OutboxBatch> Outbox::list(std::size_t bytes, bool undelivered_only) const {
  std::lock_guard lock(engine_.mutex());
  std::vector<OutboxBatch> out;
  std::size_t total = 0;
  Statement query(
      engine_.database().connection().prepare("SELECT batch_id, first, last, body, acknowledged "
                                              "FROM outbox WHERE delivered <= ? ORDER BY num"));
  query.bind(undelivered_only ? 0 : 1);
  while (query.step()) {
    OutboxBatch batch = row_of(query);
    if (!out.empty() && total + batch.body.size() > bytes) break;
    total += batch.body.size();
    out.push_back(std::move(batch));
  }
  return out;
}

std::uint64_t Outbox::count_batches() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare("SELECT count(*) FROM outbox"));
  query.step();
  return static_cast<std::uint64_t>(query.integer(0));
}

std::uint64_t Outbox::count_changes() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(
      engine_.database().connection().prepare("SELECT (SELECT count(*) FROM change) + (SELECT "
                                              "coalesce(sum(last - first + 1), 0) FROM outbox)"));
  query.step();
  return static_cast<std::uint64_t>(query.integer(0));
}

void Outbox::mark_delivered(const base::Id16& batch) {
  Statement(
      engine_.database().connection().prepare("UPDATE outbox SET delivered = 1 WHERE batch_id = ?"))
      .bind(ByteView(batch))
      .run();
}

std::optional<OutboxBatch> Outbox::confirm_leaf(const base::Hash32& leaf) {
  // The next one, if any: they are sent in their order.
  std::vector<OutboxBatch> next = list(1);
  if (next.empty() || wire::leaf_of(next[0].body) != leaf) return std::nullopt;
  return confirm(next[0].batch);
}

std::optional<OutboxBatch> Outbox::confirm(const base::Id16& batch) {
  store::Connection& db = engine_.database().connection();
  std::optional<OutboxBatch> out;
  {
    Statement query(db.prepare(
        "SELECT batch_id, first, last, body, acknowledged FROM outbox WHERE batch_id = ?"));
    query.bind(ByteView(batch));
    if (query.step()) out = row_of(query);
  }
  if (out) {
    Statement(db.prepare("DELETE FROM outbox WHERE batch_id = ?")).bind(ByteView(batch)).run();
    Claims claims(engine_);
    if (!claims.to_send().empty()) {
      claims.mark_sent(open_batch(out->body, membership_).content.claims);
    }
  }
  return out;
}

}  // namespace holdfast::sync
