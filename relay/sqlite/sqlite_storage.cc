#include "relay/sqlite/sqlite_storage.h"

#include "holdfast/error.h"

namespace holdfast::relay {
namespace {

using base::Statement;

constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS vault(vault_id BLOB PRIMARY KEY, log_id BLOB NOT NULL,
  head INTEGER NOT NULL, chain BLOB NOT NULL, control_head BLOB NOT NULL,
  control_count INTEGER NOT NULL, floor INTEGER NOT NULL, bytes INTEGER NOT NULL,
  quota INTEGER NOT NULL, changes INTEGER NOT NULL, checkpoints INTEGER NOT NULL,
  healing_ms INTEGER NOT NULL, anew_ms INTEGER NOT NULL, reserved_ms INTEGER NOT NULL,
  reserved_by BLOB NOT NULL) WITHOUT ROWID;
-- body: NULL where only the checkpoint has what it said
CREATE TABLE IF NOT EXISTS batch(vault_id BLOB NOT NULL, position INTEGER NOT NULL,
  batch_id BLOB NOT NULL, device BLOB NOT NULL, leaf BLOB NOT NULL, chain BLOB NOT NULL,
  received_ms INTEGER NOT NULL, body BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS batch_by_position ON batch(vault_id, position);
CREATE UNIQUE INDEX IF NOT EXISTS batch_by_id ON batch(vault_id, batch_id);
CREATE TABLE IF NOT EXISTS device(vault_id BLOB, device BLOB, leaf BLOB NOT NULL,
  PRIMARY KEY(vault_id, device)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS control(vault_id BLOB, position INTEGER, record BLOB NOT NULL,
  received_ms INTEGER NOT NULL, PRIMARY KEY(vault_id, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint(vault_id BLOB, proposed INTEGER, body BLOB NOT NULL,
  PRIMARY KEY(vault_id, proposed)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob(vault_id BLOB NOT NULL, hash BLOB NOT NULL,
  received_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS blob_by_hash ON blob(vault_id, hash);
CREATE TABLE IF NOT EXISTS reservation(vault_id BLOB, signer BLOB, again_ms INTEGER NOT NULL,
  PRIMARY KEY(vault_id, signer)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased(vault_id BLOB PRIMARY KEY, request BLOB NOT NULL,
  received_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS invite(code BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL,
  vault_id BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mailbox(slot BLOB PRIMARY KEY, body BLOB NOT NULL,
  expires_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mailbox_by_time ON mailbox(expires_ms);
CREATE TABLE IF NOT EXISTS recovery(sign BLOB PRIMARY KEY, vault_id BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recovery_by_vault ON recovery(vault_id);
CREATE TABLE IF NOT EXISTS secret(value BLOB NOT NULL);
)sql";

template <std::size_t N>
std::array<std::uint8_t, N> array_of(ByteView bytes) {
  return base::Reader(bytes, "a stored value").array<N>();
}

}  // namespace

SqliteStorage::SqliteStorage(const std::string& path)
    : db_(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr, nullptr) {
  sqlite3_busy_timeout(db_.handle(), 5000);
  db_.execute("PRAGMA journal_mode = WAL");
  db_.execute("PRAGMA synchronous = FULL");
  db_.execute("PRAGMA secure_delete = ON");  // what is erased is overwritten
  check_version();
  db_.execute(kSchema);
}

// Data of a version before the first release is refused, and not guessed at.
void SqliteStorage::check_version() {
  constexpr std::int64_t kVersion = 4;
  auto number = [&](const char* sql) {
    Statement query(db_.prepare(sql));
    query.step();
    return query.integer(0);
  };
  std::int64_t version = number("PRAGMA user_version");
  bool fresh = number("SELECT count(*) FROM sqlite_schema") == 0;
  if (!fresh && version != kVersion) {
    throw Error(ErrorCode::newer_version, "the relay's data was written by another version (" +
                                              std::to_string(version) +
                                              "): start that one, or give another --data");
  }
  if (fresh) db_.execute("PRAGMA user_version = 4");
}

void SqliteStorage::transaction(const std::function<void()>& work) {
  if (!in_group_) return group(Access::write, work);
  try {
    work();
  } catch (...) {
    failed_ = true;
    throw;
  }
}

void SqliteStorage::group(Access access, const std::function<void()>& work) {
  db_.execute(access == Access::write ? "BEGIN IMMEDIATE" : "BEGIN");
  in_group_ = true;
  failed_ = false;
  try {
    work();
    if (failed_ || sqlite3_get_autocommit(db_.handle())) {
      throw Error(ErrorCode::io, "a part of what was to be stored together failed: try again");
    }
    in_group_ = false;
    db_.execute("COMMIT");
  } catch (...) {
    in_group_ = false;
    if (!sqlite3_get_autocommit(db_.handle())) db_.execute("ROLLBACK");
    throw;
  }
}

std::optional<Vault> SqliteStorage::vault(const Hash32& id) {
  Statement query(db_.prepare(
      "SELECT log_id, head, chain, control_head, control_count, floor, bytes, quota, changes, "
      "checkpoints, healing_ms, anew_ms, reserved_ms, reserved_by FROM vault WHERE vault_id = ?"));
  query.bind(ByteView(id));
  if (!query.step()) return std::nullopt;
  auto number = [&](int column) { return static_cast<std::uint64_t>(query.integer(column)); };
  return Vault{array_of<16>(query.blob(0)),
               number(1),
               array_of<32>(query.blob(2)),
               array_of<32>(query.blob(3)),
               number(4),
               number(5),
               number(6),
               number(7),
               number(8),
               number(9),
               query.integer(10),
               query.integer(11),
               query.integer(12),
               array_of<32>(query.blob(13))};
}

std::vector<Hash32> SqliteStorage::vaults(const Hash32& after, std::size_t limit) {
  std::vector<Hash32> out;
  Statement query(
      db_.prepare("SELECT vault_id FROM vault WHERE vault_id > ? ORDER BY vault_id LIMIT ?"));
  query.bind(ByteView(after)).bind(std::uint64_t{limit});
  while (query.step()) out.push_back(array_of<32>(query.blob(0)));
  return out;
}

void SqliteStorage::put_vault(const Hash32& id, const Vault& vault) {
  Statement(db_.prepare("INSERT OR REPLACE INTO vault VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                        "?, ?, ?)"))
      .bind(ByteView(id))
      .bind(ByteView(vault.log_id))
      .bind(vault.head)
      .bind(ByteView(vault.chain))
      .bind(ByteView(vault.control_head))
      .bind(vault.control_count)
      .bind(vault.floor)
      .bind(vault.bytes)
      .bind(vault.quota)
      .bind(vault.changes + 1)
      .bind(vault.checkpoints)
      .bind(vault.healing_ms)
      .bind(vault.anew_ms)
      .bind(vault.reserved_ms)
      .bind(ByteView(vault.reserved_by))
      .run();
}

std::optional<Storage::Stored> SqliteStorage::batch_place(const Hash32& vault, const Id16& batch) {
  Statement query(
      db_.prepare("SELECT position, leaf FROM batch WHERE vault_id = ? AND batch_id = ?"));
  query.bind(ByteView(vault)).bind(ByteView(batch));
  if (!query.step()) return std::nullopt;
  return std::pair(static_cast<std::uint64_t>(query.integer(0)), array_of<32>(query.blob(1)));
}

std::map<Id16, Storage::Stored> SqliteStorage::batch_places(const Hash32& vault,
                                                            const std::vector<Id16>& batches) {
  std::map<Id16, Stored> out;
  for (const Id16& batch : batches) {
    if (std::optional<Stored> place = batch_place(vault, batch)) out.emplace(batch, *place);
  }
  return out;
}

void SqliteStorage::add_batch(const Hash32& vault, const Place& place, const wire::Stub& stub,
                              ByteView body) {
  Statement insert(db_.prepare("INSERT INTO batch VALUES(?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(ByteView(vault)).bind(place.position).bind(ByteView(stub.batch));
  insert.bind(ByteView(stub.device)).bind(ByteView(stub.leaf)).bind(ByteView(place.chain));
  insert.bind(place.now_ms);
  if (body.empty()) {
    insert.bind(nullptr).run();
  } else {
    insert.bind(body).run();
  }
}

Storage::Dropped SqliteStorage::drop_bodies(const Hash32& vault, std::uint64_t upto,
                                            std::int64_t before_ms) {
  Dropped dropped;
  {
    Statement query(
        db_.prepare("SELECT coalesce(max(position), 0) FROM batch WHERE vault_id = ? AND position "
                    "<= ? AND received_ms < ?"));
    query.bind(ByteView(vault)).bind(upto).bind(before_ms);
    query.step();
    dropped.upto = static_cast<std::uint64_t>(query.integer(0));
  }
  {
    Statement query(
        db_.prepare("SELECT coalesce(sum(length(body)), 0) FROM batch WHERE vault_id = ? AND "
                    "position <= ? AND body IS NOT NULL"));
    query.bind(ByteView(vault)).bind(dropped.upto);
    query.step();
    dropped.bytes = static_cast<std::uint64_t>(query.integer(0));
  }
  Statement(db_.prepare("UPDATE batch SET body = NULL WHERE vault_id = ? AND position <= ? AND "
                        "body IS NOT NULL"))
      .bind(ByteView(vault))
      .bind(dropped.upto)
      .run();
  return dropped;
}

std::vector<wire::Stub> SqliteStorage::stubs(const Hash32& vault, std::uint64_t after) {
  std::vector<wire::Stub> out;
  Statement query(
      db_.prepare("SELECT batch_id, device, leaf FROM batch WHERE vault_id = ? AND position > ? "
                  "ORDER BY position LIMIT ?"));
  query.bind(ByteView(vault)).bind(after).bind(std::uint64_t{wire::kMaxStubs});
  while (query.step()) {
    out.push_back(
        {array_of<16>(query.blob(0)), array_of<16>(query.blob(1)), array_of<32>(query.blob(2))});
  }
  return out;
}

Bytes SqliteStorage::checkpoint(const Hash32& vault, Checkpoint which) {
  Statement query(db_.prepare("SELECT body FROM checkpoint WHERE vault_id = ? AND proposed = ?"));
  query.bind(ByteView(vault)).bind(which == Checkpoint::proposed ? 1 : 0);
  return query.step() ? base::to_bytes(query.blob(0)) : Bytes();
}

void SqliteStorage::put_checkpoint(const Hash32& vault, Checkpoint which, ByteView bytes) {
  int proposed = which == Checkpoint::proposed ? 1 : 0;
  Statement(db_.prepare("DELETE FROM checkpoint WHERE vault_id = ? AND proposed = ?"))
      .bind(ByteView(vault))
      .bind(proposed)
      .run();
  if (bytes.empty()) return;
  Statement(db_.prepare("INSERT INTO checkpoint VALUES(?, ?, ?)"))
      .bind(ByteView(vault))
      .bind(proposed)
      .bind(bytes)
      .run();
}

std::optional<Bytes> SqliteStorage::blob(const Hash32& vault, const Hash32& hash) {
  Statement query(db_.prepare("SELECT body FROM blob WHERE vault_id = ? AND hash = ?"));
  query.bind(ByteView(vault)).bind(ByteView(hash));
  if (!query.step()) return std::nullopt;
  return base::to_bytes(query.blob(0));
}

std::set<Hash32> SqliteStorage::blobs_of(const Hash32& vault, const std::vector<Hash32>& hashes) {
  std::set<Hash32> out;
  for (const Hash32& hash : hashes) {
    Statement query(db_.prepare("SELECT 1 FROM blob WHERE vault_id = ? AND hash = ?"));
    query.bind(ByteView(vault)).bind(ByteView(hash));
    if (query.step()) out.insert(hash);
  }
  return out;
}

bool SqliteStorage::put_blob(const Hash32& vault, const Hash32& hash, ByteView body,
                             std::int64_t now_ms) {
  Statement(db_.prepare("INSERT OR IGNORE INTO blob VALUES(?, ?, ?, ?)"))
      .bind(ByteView(vault))
      .bind(ByteView(hash))
      .bind(now_ms)
      .bind(body)
      .run();
  return db_.changes() > 0;
}

std::uint64_t SqliteStorage::drop_blobs(const Hash32& vault, const std::set<Hash32>& kept,
                                        std::int64_t before_ms) {
  std::vector<Hash32> dropped;
  std::uint64_t bytes = 0;
  {
    Statement query(
        db_.prepare("SELECT hash, length(body) FROM blob WHERE vault_id = ? AND received_ms < ?"));
    query.bind(ByteView(vault)).bind(before_ms);
    while (query.step()) {
      auto hash = array_of<32>(query.blob(0));
      if (kept.count(hash)) continue;
      dropped.push_back(hash);
      bytes += static_cast<std::uint64_t>(query.integer(1));
    }
  }
  for (const Hash32& hash : dropped) {
    Statement(db_.prepare("DELETE FROM blob WHERE vault_id = ? AND hash = ?"))
        .bind(ByteView(vault))
        .bind(ByteView(hash))
        .run();
  }
  return bytes;
}

Hash32 SqliteStorage::rechain(const Hash32& vault, const Hash32& start) {
  Hash32 chain = start;
  std::uint64_t position = 0;
  for (;;) {
    std::vector<Hash32> leaves;
    {
      Statement query(
          db_.prepare("SELECT leaf FROM batch WHERE vault_id = ? AND position > ? "
                      "ORDER BY position LIMIT 10000"));
      query.bind(ByteView(vault)).bind(position);
      while (query.step()) leaves.push_back(array_of<32>(query.blob(0)));
    }
    if (leaves.empty()) return chain;
    for (const Hash32& leaf : leaves) {
      chain = wire::chain_next(chain, ++position, leaf);
      Statement(db_.prepare("UPDATE batch SET chain = ? WHERE vault_id = ? AND position = ?"))
          .bind(ByteView(chain))
          .bind(ByteView(vault))
          .bind(position)
          .run();
    }
  }
}

std::vector<Bytes> SqliteStorage::batches(const Hash32& vault, std::uint64_t after,
                                          std::size_t bytes) {
  std::vector<Bytes> out;
  std::size_t total = 0;
  Statement query(
      db_.prepare("SELECT body FROM batch WHERE vault_id = ? AND position > ? ORDER BY position"));
  query.bind(ByteView(vault)).bind(after);
  while (query.step() && !query.is_null(0)) {
    ByteView body = query.blob(0);
    if (!out.empty() && total + body.size() > bytes) break;
    total += body.size();
    out.push_back(base::to_bytes(body));
  }
  return out;
}

std::optional<Hash32> SqliteStorage::chain_at(const Hash32& vault, std::uint64_t position) {
  Statement query(db_.prepare("SELECT chain FROM batch WHERE vault_id = ? AND position = ?"));
  query.bind(ByteView(vault)).bind(position);
  if (!query.step()) return std::nullopt;
  return array_of<32>(query.blob(0));
}

Hash32 SqliteStorage::device_leaf(const Hash32& vault, const Id16& device) {
  Statement query(db_.prepare("SELECT leaf FROM device WHERE vault_id = ? AND device = ?"));
  query.bind(ByteView(vault)).bind(ByteView(device));
  return query.step() ? array_of<32>(query.blob(0)) : Hash32{};
}

void SqliteStorage::set_device_leaf(const Hash32& vault, const Id16& device, const Hash32& leaf) {
  Statement(db_.prepare("INSERT INTO device VALUES(?, ?, ?) ON CONFLICT(vault_id, device) DO "
                        "UPDATE SET leaf = excluded.leaf"))
      .bind(ByteView(vault))
      .bind(ByteView(device))
      .bind(ByteView(leaf))
      .run();
}

void SqliteStorage::add_control(const Hash32& vault, std::uint64_t position, ByteView record,
                                std::int64_t now_ms) {
  Statement(db_.prepare("INSERT INTO control VALUES(?, ?, ?, ?)"))
      .bind(ByteView(vault))
      .bind(position)
      .bind(record)
      .bind(now_ms)
      .run();
}

std::optional<std::int64_t> SqliteStorage::control_time(const Hash32& vault,
                                                        std::uint64_t position) {
  Statement query(
      db_.prepare("SELECT received_ms FROM control WHERE vault_id = ? AND position = ?"));
  query.bind(ByteView(vault)).bind(position);
  if (!query.step()) return std::nullopt;
  return query.integer(0);
}

std::vector<Bytes> SqliteStorage::control(const Hash32& vault, std::uint64_t from,
                                          std::size_t limit) {
  std::vector<Bytes> out;
  Statement query(
      db_.prepare("SELECT record FROM control WHERE vault_id = ? AND position >= ? ORDER BY "
                  "position LIMIT ?"));
  query.bind(ByteView(vault)).bind(from).bind(std::uint64_t{limit});
  while (query.step()) out.push_back(base::to_bytes(query.blob(0)));
  return out;
}

}  // namespace holdfast::relay
