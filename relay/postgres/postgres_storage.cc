#include "relay/postgres/postgres_storage.h"

#include "holdfast/error.h"
#include "relay/postgres/schema.h"

namespace holdfast::relay {
namespace {

constexpr const char* kVaultToRead =
    "SELECT log_id, head, chain, control_head, control_count, floor, bytes, quota, changes, "
    "checkpoints, healing_ms, anew_ms, reserved_ms, reserved_by FROM vault WHERE vault_id = $1";
constexpr const char* kVaultToWrite =
    "SELECT log_id, head, chain, control_head, control_count, floor, bytes, quota, changes, "
    "checkpoints, healing_ms, anew_ms, reserved_ms, reserved_by FROM vault WHERE vault_id = $1 "
    "FOR UPDATE";
constexpr const char* kPlaces =
    "SELECT batch_id, position, leaf FROM batch WHERE vault_id = $1 AND batch_id = "
    "ANY($2::bytea[])";
constexpr const char* kLeaf = "SELECT leaf FROM device WHERE vault_id = $1 AND device = $2";
constexpr const char* kChain = "SELECT chain FROM batch WHERE vault_id = $1 AND position = $2";
// One after another, as long as they fit and are there: no batch behind the page is touched.
constexpr const char* kPage =
    "WITH RECURSIVE page AS (SELECT position, body, octet_length(body)::bigint AS total FROM batch "
    "WHERE vault_id = $1 AND position = $2::bigint + 1 AND body IS NOT NULL UNION ALL "
    "SELECT b.position, b.body, p.total + octet_length(b.body) FROM page p JOIN batch b ON "
    "b.vault_id = $1 AND b.position = p.position + 1 AND b.body IS NOT NULL AND "
    "p.total + octet_length(b.body) <= $3::bigint) SELECT body FROM page ORDER BY position";

template <std::size_t N>
std::array<std::uint8_t, N> array_of(ByteView bytes) {
  return base::Reader(bytes, "a stored value").array<N>();
}

std::optional<Vault> vault_of(const PgRows& rows) {
  if (rows.size() == 0) return std::nullopt;
  return Vault{array_of<16>(rows.bytes(0, 0)),
               rows.number(0, 1),
               array_of<32>(rows.bytes(0, 2)),
               array_of<32>(rows.bytes(0, 3)),
               rows.number(0, 4),
               rows.number(0, 5),
               rows.number(0, 6),
               rows.number(0, 7),
               rows.number(0, 8),
               rows.number(0, 9),
               rows.integer(0, 10),
               rows.integer(0, 11),
               rows.integer(0, 12),
               array_of<32>(rows.bytes(0, 13))};
}

std::optional<Hash32> hash_of(const PgRows& rows) {
  if (rows.size() == 0) return std::nullopt;
  return array_of<32>(rows.bytes(0, 0));
}

std::vector<Bytes> all_of(const PgRows& rows) {
  std::vector<Bytes> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) out.push_back(base::to_bytes(rows.bytes(i, 0)));
  return out;
}

}  // namespace

PostgresStorage::PostgresStorage(const std::string& where) : db_(where) {
  db_.begin(true);
  std::int64_t version =
      db_.query("SELECT count(*) FROM pg_tables WHERE tablename = 'relay_schema'").integer(0, 0);
  if (version > 0) {
    version = db_.query("SELECT coalesce(max(version), 0)::bigint FROM relay_schema").integer(0, 0);
  }
  db_.commit();
  if (version == kPostgresVersion) return;
  throw Error(ErrorCode::newer_version,
              "the database has tables of version " + std::to_string(version) +
                  ", this relay those of version " + std::to_string(kPostgresVersion) +
                  (version < kPostgresVersion ? ": run 'holdfast-relay migrate' first"
                                              : ": run that version"));
}

void PostgresStorage::transaction(const std::function<void()>& work) {
  if (!in_group_) return group(Access::write, work);
  try {
    work();
  } catch (...) {
    failed_ = true;
    throw;
  }
}

void PostgresStorage::group(Access access, const std::function<void()>& work) {
  writes_ = access == Access::write;
  failed_ = false;
  forget();
  recoveries_.clear();
  db_.begin(!writes_);
  in_group_ = true;
  try {
    work();
    if (failed_) {
      throw Error(ErrorCode::io, "a part of what was to be stored together failed: try again");
    }
    write_vaults();
    write_recoveries();
    db_.commit();
    in_group_ = false;
    forget();
  } catch (...) {
    in_group_ = false;
    db_.rollback();
    throw;
  }
}

void PostgresStorage::forget() {
  vaults_.clear();
  places_.clear();
  leaves_.clear();
  pages_.clear();
}

// All questions first, then all answers: one round trip.
void PostgresStorage::expect(const std::vector<Expected>& expected) {
  std::set<Hash32> vaults;
  std::map<Hash32, std::vector<Id16>> places;
  std::set<InVault> leaves;
  for (const Expected& one : expected) {
    if (one.vault == Hash32{}) continue;
    vaults.insert(one.vault);
    for (const auto& [batch, device] : one.batches) {
      places[one.vault].push_back(batch);
      places_[InVault(one.vault, batch)] = std::nullopt;  // until it is answered
      leaves.emplace(one.vault, device);
    }
    if (one.log_after) expect_page(one.vault, *one.log_after, one.log_bytes);
  }
  if (vaults.empty()) return;
  for (const Hash32& vault : vaults) db_.ask(writes_ ? kVaultToWrite : kVaultToRead, {vault});
  for (const auto& [vault, ids] : places) db_.ask(kPlaces, {vault, PgValue::list(ids)});
  for (const auto& [vault, device] : leaves) db_.ask(kLeaf, {vault, device});
  for (const auto& [vault, pages] : pages_) {
    for (const Page& page : pages) {
      if (page.after > 0) db_.ask(kChain, {vault, page.after});
      if (page.bytes > 0) db_.ask(kPage, {vault, page.after, std::uint64_t{page.bytes}});
    }
  }
  for (const Hash32& vault : vaults) {
    Row& row = vaults_[vault];
    row.vault = vault_of(db_.answer());
    row.is_new = !row.vault;
  }
  for (const auto& [vault, ids] : places) note_places(vault, db_.answer());
  for (const InVault& leaf : leaves) leaves_[leaf] = hash_of(db_.answer()).value_or(Hash32{});
  for (auto& [vault, pages] : pages_) {
    for (Page& page : pages) {
      if (page.after > 0) page.chain = hash_of(db_.answer());
      if (page.bytes > 0) page.batches = all_of(db_.answer());
    }
  }
}

void PostgresStorage::expect_page(const Hash32& vault, std::uint64_t after, std::size_t bytes) {
  for (const Page& page : pages_[vault]) {
    if (page.after == after && page.bytes == bytes) return;
  }
  pages_[vault].push_back({after, bytes, {}, {}});
}

std::optional<Vault> PostgresStorage::vault(const Hash32& id) {
  auto [found, is_unknown] = vaults_.try_emplace(id);
  Row& row = found->second;
  if (is_unknown) {
    row.vault = vault_of(db_.query(writes_ ? kVaultToWrite : kVaultToRead, {id}));
    row.is_new = !row.vault;
  }
  return row.vault;
}

// Written once, at the end of the group.
void PostgresStorage::put_vault(const Hash32& id, const Vault& vault) {
  PostgresStorage::vault(id);
  Row& row = vaults_.at(id);
  row.vault = vault;
  ++row.vault->changes;
  row.is_changed = true;
}

void PostgresStorage::write_vaults() {
  constexpr const char* kInsert =
      "INSERT INTO vault VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
  constexpr const char* kUpdate =
      "UPDATE vault SET log_id = $2, head = $3, chain = $4, control_head = $5, control_count = $6, "
      "floor = $7, bytes = $8, quota = $9, changes = $10, checkpoints = $11, healing_ms = $12, "
      "anew_ms = $13, reserved_ms = $14, reserved_by = $15 WHERE vault_id = $1";
  for (auto& [id, row] : vaults_) {
    if (!row.is_changed || !row.vault) continue;
    const Vault& vault = *row.vault;
    db_.run(row.is_new ? kInsert : kUpdate,
            {id, vault.log_id, vault.head, vault.chain, vault.control_head, vault.control_count,
             vault.floor, vault.bytes, vault.quota, vault.changes, vault.checkpoints,
             vault.healing_ms, vault.anew_ms, vault.reserved_ms, vault.reserved_by});
    row.is_changed = row.is_new = false;
  }
}

std::vector<Hash32> PostgresStorage::vaults(const Hash32& after, std::size_t limit) {
  write_vaults();
  PgRows rows =
      db_.query("SELECT vault_id FROM vault WHERE vault_id > $1 ORDER BY vault_id LIMIT $2",
                {after, std::uint64_t{limit}});
  std::vector<Hash32> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) out.push_back(array_of<32>(rows.bytes(i, 0)));
  return out;
}

std::optional<Storage::Stored> PostgresStorage::batch_place(const Hash32& vault,
                                                            const Id16& batch) {
  auto found = places_.find(InVault(vault, batch));
  if (found != places_.end()) return found->second;
  std::map<Id16, Stored> here = batch_places(vault, {batch});
  if (here.empty()) return places_[InVault(vault, batch)];
  return here.begin()->second;
}

std::map<Id16, Storage::Stored> PostgresStorage::batch_places(const Hash32& vault,
                                                              const std::vector<Id16>& batches) {
  return note_places(vault, db_.query(kPlaces, {vault, PgValue::list(batches)}));
}

std::map<Id16, Storage::Stored> PostgresStorage::note_places(const Hash32& vault,
                                                             const PgRows& rows) {
  std::map<Id16, Stored> out;
  for (int i = 0; i < rows.size(); ++i) {
    auto id = array_of<16>(rows.bytes(i, 0));
    Stored place(rows.number(i, 1), array_of<32>(rows.bytes(i, 2)));
    places_[InVault(vault, id)] = place;
    out.emplace(id, place);
  }
  return out;
}

void PostgresStorage::add_batch(const Hash32& vault, const Place& place, const wire::Stub& stub,
                                ByteView body) {
  PgValue bytes = body.empty() ? PgValue(nullptr) : PgValue(body);
  db_.run("INSERT INTO batch VALUES($1, $2, $3, $4, $5, $6, $7, $8)",
          {vault, place.position, stub.batch, stub.device, stub.leaf, place.chain, place.now_ms,
           std::move(bytes)});
  places_[InVault(vault, stub.batch)] = std::pair(place.position, stub.leaf);
  pages_.erase(vault);
}

Storage::Dropped PostgresStorage::drop_bodies(const Hash32& vault, std::uint64_t upto,
                                              std::int64_t before_ms) {
  Dropped out;
  out.upto = db_.query(
                    "SELECT coalesce(max(position), 0)::bigint FROM batch WHERE vault_id = $1 AND "
                    "position <= $2 AND received_ms < $3",
                    {vault, upto, before_ms})
                 .number(0, 0);
  out.bytes = db_.query(
                     "WITH gone AS (SELECT position, octet_length(body) AS size FROM batch WHERE "
                     "vault_id = $1 AND position <= $2 AND body IS NOT NULL), done AS (UPDATE "
                     "batch SET body = NULL WHERE vault_id = $1 AND position <= $2 AND body IS NOT "
                     "NULL) SELECT coalesce(sum(size), 0)::bigint FROM gone",
                     {vault, out.upto})
                  .number(0, 0);
  pages_.erase(vault);
  return out;
}

std::vector<wire::Stub> PostgresStorage::stubs(const Hash32& vault, std::uint64_t after) {
  PgRows rows = db_.query(
      "SELECT batch_id, device, leaf FROM batch WHERE vault_id = $1 AND position > $2 ORDER BY "
      "position LIMIT $3",
      {vault, after, std::uint64_t{wire::kMaxStubs}});
  std::vector<wire::Stub> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    out.push_back({array_of<16>(rows.bytes(i, 0)), array_of<16>(rows.bytes(i, 1)),
                   array_of<32>(rows.bytes(i, 2))});
  }
  return out;
}

Hash32 PostgresStorage::rechain(const Hash32& vault, const Hash32& start) {
  Hash32 chain = start;
  std::uint64_t position = 0;
  for (;;) {
    PgRows rows = db_.query(
        "SELECT leaf FROM batch WHERE vault_id = $1 AND position > $2 ORDER BY position LIMIT "
        "10000",
        {vault, position});
    if (rows.size() == 0) return chain;
    for (int i = 0; i < rows.size(); ++i) {
      chain = wire::chain_next(chain, ++position, array_of<32>(rows.bytes(i, 0)));
      db_.run("UPDATE batch SET chain = $3 WHERE vault_id = $1 AND position = $2",
              {vault, position, chain});
    }
    pages_.erase(vault);
  }
}

std::vector<Bytes> PostgresStorage::batches(const Hash32& vault, std::uint64_t after,
                                            std::size_t bytes) {
  for (Page& page : pages_[vault]) {
    if (page.after == after && page.bytes == bytes) return page.batches;
  }
  return all_of(db_.query(kPage, {vault, after, std::uint64_t{bytes}}));
}

std::optional<Hash32> PostgresStorage::chain_at(const Hash32& vault, std::uint64_t position) {
  for (Page& page : pages_[vault]) {
    if (page.after == position && position > 0) return page.chain;
  }
  return hash_of(db_.query(kChain, {vault, position}));
}

Hash32 PostgresStorage::device_leaf(const Hash32& vault, const Id16& device) {
  auto [found, is_unknown] = leaves_.try_emplace(InVault(vault, device));
  if (is_unknown) found->second = hash_of(db_.query(kLeaf, {vault, device})).value_or(Hash32{});
  return found->second;
}

void PostgresStorage::set_device_leaf(const Hash32& vault, const Id16& device, const Hash32& leaf) {
  db_.run(
      "INSERT INTO device VALUES($1, $2, $3) ON CONFLICT(vault_id, device) DO UPDATE SET leaf = "
      "excluded.leaf",
      {vault, device, leaf});
  leaves_[InVault(vault, device)] = leaf;
}

void PostgresStorage::add_control(const Hash32& vault, std::uint64_t position, ByteView record,
                                  std::int64_t now_ms) {
  db_.run("INSERT INTO control VALUES($1, $2, $3, $4)", {vault, position, record, now_ms});
}

std::optional<std::int64_t> PostgresStorage::control_time(const Hash32& vault,
                                                          std::uint64_t position) {
  PgRows rows = db_.query("SELECT received_ms FROM control WHERE vault_id = $1 AND position = $2",
                          {vault, position});
  if (rows.size() == 0) return std::nullopt;
  return rows.integer(0, 0);
}

std::vector<Bytes> PostgresStorage::control(const Hash32& vault, std::uint64_t from,
                                            std::size_t limit) {
  return all_of(
      db_.query("SELECT record FROM control WHERE vault_id = $1 AND position >= $2 ORDER BY "
                "position LIMIT $3",
                {vault, from, std::uint64_t{limit}}));
}

}  // namespace holdfast::relay
