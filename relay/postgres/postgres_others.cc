// What stands beside the vaults' logs: checkpoints, erasure, invitations, mailbox, recovery keys.

#include "holdfast/error.h"
#include "relay/postgres/postgres_storage.h"

namespace holdfast::relay {
namespace {

constexpr std::int64_t kMaxMail = 100'000;  // slots at once
// Waits for no other group that has one of them in hand.
constexpr const char* kExpireMail =
    "DELETE FROM mailbox WHERE slot IN (SELECT slot FROM mailbox WHERE expires_ms <= $1 FOR UPDATE "
    "SKIP LOCKED)";

Hash32 hash_of(ByteView bytes) { return base::Reader(bytes, "a stored value").array<32>(); }

}  // namespace

Bytes PostgresStorage::checkpoint(const Hash32& vault, Checkpoint which) {
  PgRows rows = db_.query("SELECT body FROM checkpoint WHERE vault_id = $1 AND proposed = $2",
                          {vault, which == Checkpoint::proposed ? 1 : 0});
  return rows.size() == 0 ? Bytes() : base::to_bytes(rows.bytes(0, 0));
}

void PostgresStorage::put_checkpoint(const Hash32& vault, Checkpoint which, ByteView bytes) {
  int proposed = which == Checkpoint::proposed ? 1 : 0;
  db_.run("DELETE FROM checkpoint WHERE vault_id = $1 AND proposed = $2", {vault, proposed});
  if (bytes.empty()) return;
  db_.run("INSERT INTO checkpoint VALUES($1, $2, $3)", {vault, proposed, bytes});
}

std::optional<Bytes> PostgresStorage::blob(const Hash32& vault, const Hash32& hash) {
  PgRows rows = db_.query("SELECT body FROM blob WHERE vault_id = $1 AND hash = $2", {vault, hash});
  if (rows.size() == 0) return std::nullopt;
  return base::to_bytes(rows.bytes(0, 0));
}

std::set<Hash32> PostgresStorage::blobs_of(const Hash32& vault, const std::vector<Hash32>& hashes) {
  PgRows rows = db_.query("SELECT hash FROM blob WHERE vault_id = $1 AND hash = ANY($2::bytea[])",
                          {vault, PgValue::list(hashes)});
  std::set<Hash32> out;
  for (int i = 0; i < rows.size(); ++i) out.insert(hash_of(rows.bytes(i, 0)));
  return out;
}

bool PostgresStorage::put_blob(const Hash32& vault, const Hash32& hash, ByteView body,
                               std::int64_t now_ms) {
  return db_.query(
                "INSERT INTO blob VALUES($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING "
                "received_ms",
                {vault, hash, now_ms, body})
             .size() > 0;
}

std::uint64_t PostgresStorage::drop_blobs(const Hash32& vault, const std::set<Hash32>& kept,
                                          std::int64_t before_ms) {
  std::vector<Hash32> list(kept.begin(), kept.end());
  return db_
      .query(
          "WITH gone AS (DELETE FROM blob WHERE vault_id = $1 AND received_ms < $2 AND NOT "
          "hash = ANY($3::bytea[]) RETURNING octet_length(body) AS size) SELECT "
          "coalesce(sum(size), 0)::bigint FROM gone",
          {vault, before_ms, PgValue::list(list)})
      .number(0, 0);
}

std::map<Hash32, std::uint64_t> PostgresStorage::changes(const std::vector<Hash32>& vaults) {
  PgRows rows = db_.query("SELECT vault_id, changes FROM vault WHERE vault_id = ANY($1::bytea[])",
                          {PgValue::list(vaults)});
  std::map<Hash32, std::uint64_t> out;
  for (int i = 0; i < rows.size(); ++i) out[hash_of(rows.bytes(i, 0))] = rows.number(i, 1);
  return out;
}

void PostgresStorage::change(const char* sql, const Hash32& vault) { db_.run(sql, {vault}); }

void PostgresStorage::erase(const Hash32& vault, ByteView request, std::int64_t now_ms) {
  write_vaults();
  change("DELETE FROM batch WHERE vault_id = $1", vault);
  change("DELETE FROM device WHERE vault_id = $1", vault);
  change("DELETE FROM control WHERE vault_id = $1", vault);
  change("DELETE FROM checkpoint WHERE vault_id = $1", vault);
  change("DELETE FROM blob WHERE vault_id = $1", vault);
  change("DELETE FROM reservation WHERE vault_id = $1", vault);
  change("DELETE FROM recovery WHERE vault_id = $1", vault);
  std::erase_if(recoveries_, [&](const auto& one) { return one.second == vault; });
  change("DELETE FROM vault WHERE vault_id = $1", vault);
  db_.run(
      "INSERT INTO erased VALUES($1, $2, $3) ON CONFLICT(vault_id) DO UPDATE SET received_ms = "
      "erased.received_ms",
      {vault, request, now_ms});
  forget();
}

std::optional<Bytes> PostgresStorage::erased(const Hash32& vault) {
  PgRows rows = db_.query("SELECT request FROM erased WHERE vault_id = $1", {vault});
  if (rows.size() == 0) return std::nullopt;
  return base::to_bytes(rows.bytes(0, 0));
}

std::vector<Hash32> PostgresStorage::erased_vaults(const Hash32& after, std::size_t limit) {
  PgRows rows =
      db_.query("SELECT vault_id FROM erased WHERE vault_id > $1 ORDER BY vault_id LIMIT $2",
                {after, std::uint64_t{limit}});
  std::vector<Hash32> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) out.push_back(hash_of(rows.bytes(i, 0)));
  return out;
}

std::int64_t PostgresStorage::reserve_again(const Hash32& vault, const Hash32& signer) {
  PgRows rows = db_.query("SELECT again_ms FROM reservation WHERE vault_id = $1 AND signer = $2",
                          {vault, signer});
  return rows.size() == 0 ? 0 : rows.integer(0, 0);
}

void PostgresStorage::set_reserve_again(const Hash32& vault, const Hash32& signer,
                                        std::int64_t ms) {
  db_.run(
      "INSERT INTO reservation VALUES($1, $2, $3) ON CONFLICT(vault_id, signer) DO UPDATE SET "
      "again_ms = excluded.again_ms",
      {vault, signer, ms});
}

void PostgresStorage::add_invite(const Hash32& code, std::int64_t expires_ms) {
  db_.run("INSERT INTO invite VALUES($1, $2, NULL) ON CONFLICT DO NOTHING", {code, expires_ms});
}

bool PostgresStorage::spend_invite(const Hash32& code, const Hash32& vault, std::int64_t now_ms) {
  return db_.query(
                "UPDATE invite SET vault_id = $1 WHERE code = $2 AND expires_ms > $3 AND "
                "(vault_id IS NULL OR vault_id = $1) RETURNING expires_ms",
                {vault, code, now_ms})
             .size() > 0;
}

std::optional<Bytes> PostgresStorage::mail(const Id16& slot, std::int64_t now_ms) {
  PgRows rows =
      db_.query("SELECT body FROM mailbox WHERE slot = $1 AND expires_ms > $2", {slot, now_ms});
  if (rows.size() == 0) return std::nullopt;
  return base::to_bytes(rows.bytes(0, 0));
}

Storage::Mail PostgresStorage::put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                                        std::int64_t expires_ms) {
  db_.run(kExpireMail, {now_ms});
  if (std::optional<Bytes> there = mail(slot, now_ms)) {
    if (*there != base::to_bytes(body)) return Mail::taken;
    // Written again, so that this answer, too, waits for what makes it durable.
    db_.run("UPDATE mailbox SET expires_ms = expires_ms WHERE slot = $1", {slot});
    return Mail::stored;
  }
  if (db_.query("SELECT count(*) FROM mailbox").integer(0, 0) >= kMaxMail) return Mail::full;
  db_.run("INSERT INTO mailbox VALUES($1, $2, $3)", {slot, body, expires_ms});
  return Mail::stored;
}

std::optional<Hash32> PostgresStorage::vault_of_recovery(const Hash32& sign) {
  PgRows rows = db_.query("SELECT vault_id FROM recovery WHERE sign = $1", {sign});
  if (rows.size() > 0) return hash_of(rows.bytes(0, 0));
  auto found = recoveries_.find(sign);
  return found == recoveries_.end() ? std::nullopt : std::optional(found->second);
}

void PostgresStorage::set_vault_of_recovery(const Hash32& sign, const Hash32& vault) {
  recoveries_.emplace(sign, vault);
}

void PostgresStorage::write_recoveries() {
  for (const auto& [sign, vault] : recoveries_) {
    db_.run("INSERT INTO recovery VALUES($1, $2) ON CONFLICT DO NOTHING", {sign, vault});
  }
}

void PostgresStorage::expire(std::int64_t now_ms) {
  db_.run(kExpireMail, {now_ms});
  db_.run("DELETE FROM invite WHERE expires_ms <= $1", {now_ms});
  db_.run("DELETE FROM reservation WHERE again_ms <= $1", {now_ms});
}

Bytes PostgresStorage::secret(const std::function<Bytes()>& make) {
  db_.run("INSERT INTO secret VALUES(1, $1) ON CONFLICT DO NOTHING", {PgValue(make())});
  PgRows rows = db_.query("SELECT value FROM secret WHERE one = 1");
  return base::to_bytes(rows.bytes(0, 0));
}

}  // namespace holdfast::relay
