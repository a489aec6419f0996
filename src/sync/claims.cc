#include "src/sync/claims.h"

#include <algorithm>

#include "src/model/change_codec.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr const char* kUpto = "written_anew_upto";

Claim row_of(const Statement& query) {
  return {base::Reader(query.blob(0), "a device id").array<16>(),
          static_cast<std::uint64_t>(query.integer(1)),
          base::Reader(query.blob(2), "a hash").array<16>()};
}

void insert(store::Engine& engine, const char* sql, const Claim& claim) {
  Statement(engine.database().connection().prepare(sql))
      .bind(ByteView(claim.device))
      .bind(claim.sequence)
      .bind(ByteView(claim.hash))
      .run();
}

}  // namespace

Claim Claims::of(const model::ChangeSet& change) {
  model::ChangeSet timeless = change;  // a clock that was put right makes it no other edit
  timeless.hlc = {};
  Bytes bytes = model::encode_changes({timeless});
  base::Hash32 hash = base::sha256({base::view("holdfast claim v1"), change.device, bytes});
  return {change.device, change.sequence, base::Reader(hash, "a hash").array<16>()};
}

bool Claims::is_own_unsent(const Claim& claim, const Membership& membership) const {
  std::lock_guard lock(engine_.mutex());
  store::Connection& db = engine_.database().connection();
  {
    Statement own(db.prepare(
        "SELECT 1 FROM claim WHERE device = ? AND sequence = ? AND hash = ? AND sent = 0"));
    own.bind(ByteView(claim.device)).bind(claim.sequence).bind(ByteView(claim.hash));
    if (own.step()) return true;
  }
  if (claim.device != engine_.identity().id) return false;
  {
    Statement change(db.prepare("SELECT body FROM change WHERE sequence = ?"));
    change.bind(claim.sequence);
    if (change.step()) {
      return of(model::decode_changes(change.blob(0), claim.device).front()) == claim;
    }
  }
  Statement sealed(db.prepare("SELECT body FROM outbox WHERE first <= ?1 AND last >= ?1"));
  sealed.bind(claim.sequence);
  if (!sealed.step()) return false;
  std::vector<model::ChangeSet> changes = open_batch(sealed.blob(0), membership).changes;
  return std::any_of(changes.begin(), changes.end(),
                     [&](const model::ChangeSet& change) { return of(change) == claim; });
}

void Claims::note(const OpenedBatch& batch, const Membership& membership) {
  if (batch.content.claims.empty() || batch.header.device == engine_.identity().id) return;
  for (const Claim& claim : batch.content.claims) {
    if (!is_beginning_again(engine_) && is_own_unsent(claim, membership)) {
      throw MustBeginAgain{
          "a copy of this store has sent changes of its own that this one was "
          "about to send"};
    }
    insert(engine_, "INSERT OR REPLACE INTO claim(device, sequence, hash, sent) VALUES(?, ?, ?, 1)",
           claim);
  }
}

std::vector<Claim> Claims::to_send() const {
  std::lock_guard lock(engine_.mutex());
  std::vector<Claim> out;
  Statement query(engine_.database().connection().prepare(
      "SELECT device, sequence, hash FROM claim WHERE sent = 0 ORDER BY device, sequence LIMIT ?"));
  query.bind(std::uint64_t{kMaxClaims});
  while (query.step()) out.push_back(row_of(query));
  return out;
}

void Claims::mark_sent(const std::vector<Claim>& claims) {
  for (const Claim& claim : claims) {
    insert(engine_, "INSERT OR REPLACE INTO claim(device, sequence, hash, sent) VALUES(?, ?, ?, 1)",
           claim);
  }
}

void Claims::add(const std::vector<model::ChangeSet>& changes, std::uint64_t upto) {
  for (const model::ChangeSet& change : changes) {
    Claim claim = of(change);
    Bytes body = model::encode_changes({change});
    Statement(engine_.database().connection().prepare(
                  "INSERT OR IGNORE INTO claim VALUES(?, ?, ?, 0, ?)"))
        .bind(ByteView(claim.device))
        .bind(claim.sequence)
        .bind(ByteView(claim.hash))
        .bind(body)
        .run();
  }
  base::Writer out;
  out.u64(upto);
  engine_.database().set_meta(kUpto, out.bytes());
}

std::vector<model::ChangeSet> Claims::written_anew() const {
  std::lock_guard lock(engine_.mutex());
  std::vector<model::ChangeSet> out;
  Statement query(engine_.database().connection().prepare(
      "SELECT device, body FROM claim WHERE sent = 0 AND body <> x'' ORDER BY device, sequence"));
  while (query.step()) {
    auto device = base::Reader(query.blob(0), "a device id").array<16>();
    out.push_back(model::decode_changes(query.blob(1), device).front());
  }
  return out;
}

std::uint64_t Claims::written_upto() const {
  std::lock_guard lock(engine_.mutex());
  std::optional<Bytes> written = engine_.database().meta(kUpto);
  return written ? base::Reader(*written, "a number").u64() : 0;
}

bool Claims::is_claimed(const model::ChangeSet& change, const std::set<Claim>& in_log) const {
  std::lock_guard lock(engine_.mutex());
  Claim claim = of(change);
  if (in_log.count(claim)) return true;
  Statement known(engine_.database().connection().prepare(
      "SELECT 1 FROM claim WHERE device = ? AND sequence = ? AND hash = ? AND sent = 1"));
  known.bind(ByteView(claim.device)).bind(claim.sequence).bind(ByteView(claim.hash));
  return known.step();
}

std::size_t Claims::count_claimed(const std::vector<model::ChangeSet>& changes,
                                  const std::set<Claim>& in_log) const {
  std::size_t count = 0;
  while (count < changes.size() && is_claimed(changes[count], in_log)) ++count;
  return count;
}

}  // namespace holdfast::sync
