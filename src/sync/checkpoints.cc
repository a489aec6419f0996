#include "src/sync/checkpoints.h"

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"
#include "src/store/state_stream.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/claims.h"
#include "src/sync/outbox.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr std::size_t kBlockBytes = 512 * 1024;  // of the stream, in one chunk
constexpr std::uint64_t kBatchWeight = 4096;
constexpr const char* kOfLog = "checkpoint_of_log";
constexpr std::size_t kChangesKept = 4096;  // of each device, by their hashes

// The parts of the state, one behind the other, cut into blocks that are sealed.
class Sealer {
 public:
  Sealer(store::Engine& engine, const Membership& membership, std::uint64_t position,
         std::uint32_t epoch)
      : engine_(engine),
        membership_(membership),
        position_(position),
        key_(chunk_key(membership, epoch)) {}
  void add(ByteView part) {
    base::Writer size;
    size.u32(static_cast<std::uint32_t>(part.size()));
    block_.insert(block_.end(), size.bytes().begin(), size.bytes().end());
    while (!part.empty()) {
      std::size_t room = std::min(part.size(), kBlockBytes - std::min(kBlockBytes, block_.size()));
      block_.insert(block_.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(room));
      part = part.subspan(room);
      if (block_.size() >= kBlockBytes) close();
    }
  }
  std::vector<base::Hash32> finish() {
    if (!block_.empty()) close();
    return std::move(hashes_);
  }

 private:
  void close() {
    Bytes plain = packed(block_);
    plain.resize(wire::padded_size(plain.size() + crypto::kCommittingOverhead) -
                 crypto::kCommittingOverhead);
    Bytes sealed =
        crypto::seal_committing(key_.view(), chunk_context(membership_, position_, hashes_.size()),
                                plain, *engine_.environment().random);
    Statement(engine_.database().connection().prepare(
                  "INSERT OR REPLACE INTO checkpoint_chunk VALUES(?, ?, ?)"))
        .bind(position_)
        .bind(std::uint64_t{hashes_.size()})
        .bind(sealed)
        .run();
    hashes_.push_back(base::sha256({sealed}));
    block_.clear();
  }
  store::Engine& engine_;
  const Membership& membership_;
  std::uint64_t position_;
  crypto::Secret key_;
  Bytes block_;
  std::vector<base::Hash32> hashes_;
};

bool any(store::Engine& engine, const char* sql) {
  std::lock_guard lock(engine.mutex());
  Statement query(engine.database().connection().prepare(sql));
  query.step();
  return query.integer(0) != 0;
}

}  // namespace

bool Checkpoints::is_quiet() const {
  std::lock_guard lock(engine_.mutex());
  if (!membership_.log() || membership_.log()->position == 0 || is_beginning_again(engine_)) {
    return false;
  }
  return !any(engine_,
              "SELECT EXISTS(SELECT 1 FROM change) OR EXISTS(SELECT 1 FROM outbox) OR "
              "EXISTS(SELECT 1 FROM lost) OR EXISTS(SELECT 1 FROM loose) OR EXISTS(SELECT 1 FROM "
              "log WHERE held > 0) OR EXISTS(SELECT 1 FROM claim WHERE sent = 0)");
}

bool Checkpoints::is_due(std::uint64_t after, std::uint64_t part) const {
  std::lock_guard lock(engine_.mutex());
  store::Connection& db = engine_.database().connection();
  Statement grown(
      db.prepare("SELECT count(*) * ? + coalesce(sum(length(body)), 0) FROM log WHERE position > "
                 "?"));
  grown.bind(kBatchWeight).bind(after);
  grown.step();
  std::uint64_t weight = static_cast<std::uint64_t>(grown.integer(0)) * part;
  if (weight < engine_.checkpoint_bytes()) return false;
  Statement size(
      db.prepare("SELECT coalesce(sum(length(body)), 0) FROM checkpoint_chunk WHERE position = "
                 "(SELECT max(position) FROM checkpoint WHERE complete = 1)"));
  size.step();
  return weight >= static_cast<std::uint64_t>(size.integer(0)) / 2;
}

CheckpointHeader Checkpoints::header_here() const {
  std::lock_guard lock(engine_.mutex());
  store::Connection& db = engine_.database().connection();
  CheckpointHeader out;
  out.waiting = engine_.count_waiting();
  for (const auto& [device, sequence] : engine_.seen().entries()) {
    if (sequence > 0) out.devices[device].seen = sequence;
  }
  Statement waiting(db.prepare("SELECT DISTINCT device FROM waiting"));
  while (waiting.step()) {
    out.devices[base::Reader(waiting.blob(0), "a device id").array<16>()];
  }
  for (auto& [device, written] : out.devices) {
    written.changes = changes_in_log(engine_, membership_, device, 0);
    while (written.changes.size() > kChangesKept) written.changes.erase(written.changes.begin());
  }
  Statement last(
      db.prepare("SELECT b.device, b.last, min(b.position) FROM batch b JOIN (SELECT device, "
                 "max(last) AS last FROM batch WHERE last > 0 GROUP BY device) m ON m.device = "
                 "b.device AND m.last = b.last GROUP BY b.device, b.last"));
  while (last.step()) {
    auto found = out.devices.find(base::Reader(last.blob(0), "a device id").array<16>());
    if (found == out.devices.end()) continue;
    found->second.last = static_cast<std::uint64_t>(last.integer(1));
    found->second.position = static_cast<std::uint64_t>(last.integer(2));
  }
  Statement claims(
      db.prepare("SELECT device, sequence, hash FROM claim ORDER BY device, sequence, hash"));
  while (claims.step()) {
    out.claims.push_back({base::Reader(claims.blob(0), "a device id").array<16>(),
                          static_cast<std::uint64_t>(claims.integer(1)),
                          base::Reader(claims.blob(2), "a hash").array<16>()});
  }
  return out;
}

std::optional<base::Hash32> Checkpoints::history_at(std::uint64_t position) const {
  std::lock_guard lock(engine_.mutex());
  base::Hash32 history = wire::history_start();
  std::uint64_t at = 0;
  Statement query(engine_.database().connection().prepare(
      "SELECT leaf FROM log WHERE position <= ? ORDER BY position"));
  query.bind(position);
  while (query.step()) {
    ++at;
    history = wire::history_next(history, at, base::Reader(query.blob(0), "a leaf").array<32>());
  }
  if (at != position) return std::nullopt;
  return history;
}

// Counted over the whole log once, and after that known by the log's chain at that place.
bool Checkpoints::is_of_log(const wire::Checkpoint& checkpoint) const {
  std::lock_guard lock(engine_.mutex());
  base::Writer known;
  {
    Statement query(
        engine_.database().connection().prepare("SELECT chain FROM log WHERE position = ?"));
    query.bind(checkpoint.position);
    if (!query.step()) return false;
    known.raw(query.blob(0));
    known.raw(checkpoint.history);
  }
  std::optional<Bytes> stored = engine_.database().meta(kOfLog);
  if (stored && *stored == base::to_bytes(known.bytes())) return true;
  if (history_at(checkpoint.position) != checkpoint.history) return false;
  store::Engine::Transaction transaction(engine_);
  engine_.database().set_meta(kOfLog, known.bytes());
  transaction.commit();
  return true;
}

// The last one goes last.
bool Checkpoints::is_trimmed(const wire::Checkpoint& checkpoint) const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare(
      "SELECT 1 FROM log WHERE position = ? AND body = x''"));
  query.bind(checkpoint.position);
  return query.step();
}

wire::Checkpoint Checkpoints::describe(bool keeps_chunks) {
  wire::Checkpoint out;
  out.position = membership_.log()->position;
  out.history = history_at(out.position).value();
  out.records = membership_.control().count();
  out.epoch = membership_.control().epoch();
  Statement leaves(engine_.database().connection().prepare(
      "SELECT id, leaf FROM device WHERE leaf IS NOT NULL ORDER BY id"));
  while (leaves.step()) {
    auto leaf = base::Reader(leaves.blob(1), "a leaf").array<32>();
    if (leaf == base::Hash32{}) continue;
    out.leaves.emplace_back(base::Reader(leaves.blob(0), "a device id").array<16>(), leaf);
  }
  Bytes head = header_here().encode();
  std::optional<Sealer> sealer;
  std::function<void(ByteView)> visit;
  if (keeps_chunks) {
    Statement(
        engine_.database().connection().prepare("DELETE FROM checkpoint_chunk WHERE position = ?"))
        .bind(out.position)
        .run();
    sealer.emplace(engine_, membership_, out.position, out.epoch);
    sealer->add(head);
    visit = [&](ByteView part) { sealer->add(part); };
  }
  base::Hash32 state = state_start(head);
  engine_.visit_waiting([&](const store::Engine::Waiting& one) {
    Bytes part = encode(one);
    state = state_next(state, part);
    if (visit) visit(part);
  });
  out.state = store::write_state(engine_, state, visit);
  if (sealer) out.chunks = sealer->finish();
  return out;
}

wire::Checkpoint Checkpoints::make() {
  store::Engine::Transaction transaction(engine_);
  wire::Checkpoint out = describe(true);
  out.signatures = {sign(out)};
  keep(out, true);
  transaction.commit();
  return out;
}

bool Checkpoints::agrees(const wire::Checkpoint& other) {
  store::Engine::Transaction transaction(engine_);
  wire::Checkpoint here = describe(true);
  here.records = other.records;  // of the list each knows what it knows
  if (wire::checkpoint_message(here) != wire::checkpoint_message(other)) return false;
  here.signatures = other.signatures;
  keep(here, true);
  transaction.commit();
  return true;
}

wire::Checkpoint::Signature Checkpoints::sign(const wire::Checkpoint& checkpoint) const {
  const store::Identity& identity = engine_.identity();
  return {identity.id,
          identity.sign.sign(wire::signed_message(wire::kSignCheckpoint, membership_.vault(),
                                                  wire::checkpoint_message(checkpoint)))};
}

std::optional<wire::Checkpoint> Checkpoints::kept(std::uint64_t upto) const {
  std::lock_guard lock(engine_.mutex());
  Statement query(
      engine_.database().connection().prepare("SELECT body FROM checkpoint WHERE complete = 1 AND "
                                              "position <= ? ORDER BY position DESC LIMIT 1"));
  query.bind(upto);
  if (!query.step()) return std::nullopt;
  return wire::decode_checkpoint(query.blob(0));
}

Bytes Checkpoints::chunk(std::uint64_t position, std::size_t number) const {
  std::lock_guard lock(engine_.mutex());
  Statement query(engine_.database().connection().prepare(
      "SELECT body FROM checkpoint_chunk WHERE position = ? AND num = ?"));
  query.bind(position).bind(std::uint64_t{number});
  return query.step() ? base::to_bytes(query.blob(0)) : Bytes();
}

void Checkpoints::keep(const wire::Checkpoint& checkpoint, bool complete) {
  store::Engine::Transaction transaction(engine_);
  store::Connection& db = engine_.database().connection();
  if (!complete) {  // one at a time is fetched
    Statement(db.prepare("DELETE FROM checkpoint_chunk WHERE position <> ? AND position NOT IN "
                         "(SELECT position FROM checkpoint WHERE complete = 1)"))
        .bind(checkpoint.position)
        .run();
    Statement(db.prepare("DELETE FROM checkpoint WHERE complete = 0")).run();
  }
  if (!complete) {
    Statement whole(db.prepare("SELECT 1 FROM checkpoint WHERE position = ? AND complete = 1"));
    whole.bind(checkpoint.position);
    if (whole.step()) {
      throw Error(ErrorCode::protocol,
                  "the relay shows another checkpoint of a place than the one that is kept here: "
                  "nothing was taken. Do not trust this relay");
    }
  }
  Bytes body = wire::encode(checkpoint);
  Statement(db.prepare("INSERT OR REPLACE INTO checkpoint VALUES(?, ?, ?)"))
      .bind(checkpoint.position)
      .bind(complete)
      .bind(body)
      .run();
  transaction.commit();
}

void Checkpoints::keep_chunk(const wire::Checkpoint& checkpoint, std::size_t number,
                             ByteView body) {
  if (base::sha256({body}) != checkpoint.chunks.at(number)) {
    throw Error(ErrorCode::protocol,
                "the relay gives another part of the vault's checkpoint than that names: nothing "
                "was taken");
  }
  store::Engine::Transaction transaction(engine_);
  Statement(engine_.database().connection().prepare(
                "INSERT OR REPLACE INTO checkpoint_chunk VALUES(?, ?, ?)"))
      .bind(checkpoint.position)
      .bind(std::uint64_t{number})
      .bind(body)
      .run();
  transaction.commit();
}

std::uint64_t Checkpoints::stubs_upto() const {
  std::lock_guard lock(engine_.mutex());
  Statement query(
      engine_.database().connection().prepare("SELECT coalesce(max(position), 0) FROM stub"));
  query.step();
  return std::max(static_cast<std::uint64_t>(query.integer(0)), membership_.log()->position);
}

void Checkpoints::keep_stubs(const std::vector<wire::Stub>& stubs) {
  store::Engine::Transaction transaction(engine_);
  std::uint64_t position = stubs_upto();
  for (const wire::Stub& stub : stubs) {
    Statement(engine_.database().connection().prepare("INSERT INTO stub VALUES(?, ?, ?, ?)"))
        .bind(++position)
        .bind(ByteView(stub.batch))
        .bind(ByteView(stub.device))
        .bind(ByteView(stub.leaf))
        .run();
  }
  transaction.commit();
}

void Checkpoints::trim(const wire::Checkpoint& checkpoint) {
  store::Engine::Transaction transaction(engine_);
  store::Connection& db = engine_.database().connection();
  for (std::int64_t position = 0;;) {
    Bytes head;
    {
      Statement query(
          db.prepare("SELECT position, substr(body, 1, ?) FROM log WHERE position > ? AND position "
                     "<= ? AND body <> x'' ORDER BY position LIMIT 1"));
      query.bind(std::uint64_t{wire::BatchHeader::kSize}).bind(position).bind(checkpoint.position);
      if (!query.step()) break;
      position = query.integer(0);
      head = base::to_bytes(query.blob(1));
    }
    // version, vault, then its id
    Statement(db.prepare("UPDATE log SET batch = ?, body = x'' WHERE position = ?"))
        .bind(ByteView(head).subspan(33, 16))
        .bind(position)
        .run();
  }
  for (const char* sql : {"DELETE FROM checkpoint WHERE position < ?",
                          "DELETE FROM checkpoint_chunk WHERE position < ?"}) {
    Statement(db.prepare(sql)).bind(checkpoint.position).run();
  }
  transaction.commit();
}

}  // namespace holdfast::sync
