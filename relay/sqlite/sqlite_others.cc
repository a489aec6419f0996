// What stands beside the vaults' logs: erasure, reservations, invitations, mailbox, recovery keys.

#include "holdfast/error.h"
#include "relay/sqlite/sqlite_storage.h"

namespace holdfast::relay {
namespace {

using base::Statement;

Hash32 hash_of(ByteView bytes) { return base::Reader(bytes, "a stored value").array<32>(); }

constexpr std::int64_t kMaxMail = 100'000;  // slots at once

}  // namespace

std::map<Hash32, std::uint64_t> SqliteStorage::changes(const std::vector<Hash32>& vaults) {
  std::map<Hash32, std::uint64_t> out;
  for (const Hash32& id : vaults) {
    Statement query(db_.prepare("SELECT changes FROM vault WHERE vault_id = ?"));
    query.bind(ByteView(id));
    if (query.step()) out[id] = static_cast<std::uint64_t>(query.integer(0));
  }
  return out;
}

void SqliteStorage::change(const char* sql, const Hash32& vault) {
  Statement(db_.prepare(sql)).bind(ByteView(vault)).run();
}

void SqliteStorage::erase(const Hash32& vault, ByteView request, std::int64_t now_ms) {
  change("DELETE FROM batch WHERE vault_id = ?", vault);
  change("DELETE FROM device WHERE vault_id = ?", vault);
  change("DELETE FROM control WHERE vault_id = ?", vault);
  change("DELETE FROM checkpoint WHERE vault_id = ?", vault);
  change("DELETE FROM blob WHERE vault_id = ?", vault);
  change("DELETE FROM reservation WHERE vault_id = ?", vault);
  change("DELETE FROM recovery WHERE vault_id = ?", vault);
  change("DELETE FROM vault WHERE vault_id = ?", vault);
  Statement(db_.prepare("INSERT OR IGNORE INTO erased VALUES(?, ?, ?)"))
      .bind(ByteView(vault))
      .bind(request)
      .bind(now_ms)
      .run();
}

std::optional<Bytes> SqliteStorage::erased(const Hash32& vault) {
  Statement query(db_.prepare("SELECT request FROM erased WHERE vault_id = ?"));
  query.bind(ByteView(vault));
  if (!query.step()) return std::nullopt;
  return base::to_bytes(query.blob(0));
}

std::int64_t SqliteStorage::reserve_again(const Hash32& vault, const Hash32& signer) {
  Statement query(
      db_.prepare("SELECT again_ms FROM reservation WHERE vault_id = ? AND signer = ?"));
  query.bind(ByteView(vault)).bind(ByteView(signer));
  return query.step() ? query.integer(0) : 0;
}

void SqliteStorage::set_reserve_again(const Hash32& vault, const Hash32& signer, std::int64_t ms) {
  Statement(db_.prepare("INSERT OR REPLACE INTO reservation VALUES(?, ?, ?)"))
      .bind(ByteView(vault))
      .bind(ByteView(signer))
      .bind(ms)
      .run();
}

void SqliteStorage::add_invite(const Hash32& code, std::int64_t expires_ms) {
  Statement(db_.prepare("INSERT OR IGNORE INTO invite VALUES(?, ?, NULL)"))
      .bind(ByteView(code))
      .bind(expires_ms)
      .run();
}

bool SqliteStorage::spend_invite(const Hash32& code, const Hash32& vault, std::int64_t now_ms) {
  Statement(db_.prepare("UPDATE invite SET vault_id = ?1 WHERE code = ?2 AND expires_ms > ?3 AND "
                        "(vault_id IS NULL OR vault_id = ?1)"))
      .bind(ByteView(vault))
      .bind(ByteView(code))
      .bind(now_ms)
      .run();
  return db_.changes() > 0;
}

std::optional<Bytes> SqliteStorage::mail(const Id16& slot, std::int64_t now_ms) {
  Statement query(db_.prepare("SELECT body FROM mailbox WHERE slot = ? AND expires_ms > ?"));
  query.bind(ByteView(slot)).bind(now_ms);
  if (!query.step()) return std::nullopt;
  return base::to_bytes(query.blob(0));
}

Storage::Mail SqliteStorage::put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                                      std::int64_t expires_ms) {
  Statement(db_.prepare("DELETE FROM mailbox WHERE expires_ms <= ?")).bind(now_ms).run();
  if (std::optional<Bytes> there = mail(slot, now_ms)) {
    return *there == base::to_bytes(body) ? Mail::stored : Mail::taken;
  }
  Statement count(db_.prepare("SELECT count(*) FROM mailbox"));
  if (!count.step() || count.integer(0) >= kMaxMail) return Mail::full;
  Statement(db_.prepare("INSERT INTO mailbox VALUES(?, ?, ?)"))
      .bind(ByteView(slot))
      .bind(body)
      .bind(expires_ms)
      .run();
  return Mail::stored;
}

std::optional<Hash32> SqliteStorage::vault_of_recovery(const Hash32& sign) {
  Statement query(db_.prepare("SELECT vault_id FROM recovery WHERE sign = ?"));
  query.bind(ByteView(sign));
  if (!query.step()) return std::nullopt;
  return hash_of(query.blob(0));
}

void SqliteStorage::set_vault_of_recovery(const Hash32& sign, const Hash32& vault) {
  Statement(db_.prepare("INSERT OR IGNORE INTO recovery VALUES(?, ?)"))
      .bind(ByteView(sign))
      .bind(ByteView(vault))
      .run();
}

void SqliteStorage::expire(std::int64_t now_ms) {
  for (const char* sql :
       {"DELETE FROM mailbox WHERE expires_ms <= ?", "DELETE FROM invite WHERE expires_ms <= ?",
        "DELETE FROM reservation WHERE again_ms <= ?"}) {
    Statement(db_.prepare(sql)).bind(now_ms).run();
  }
}

std::vector<Hash32> SqliteStorage::erased_vaults(const Hash32& after, std::size_t limit) {
  std::vector<Hash32> out;
  Statement query(
      db_.prepare("SELECT vault_id FROM erased WHERE vault_id > ? ORDER BY vault_id LIMIT ?"));
  query.bind(ByteView(after)).bind(std::uint64_t{limit});
  while (query.step()) out.push_back(base::Reader(query.blob(0), "a stored value").array<32>());
  return out;
}

std::vector<std::string> SqliteStorage::damage() {
  std::vector<std::string> out;
  try {
    Statement query(db_.prepare("PRAGMA integrity_check(10)"));
    while (query.step()) {
      if (query.text(0) != "ok") out.emplace_back(query.text(0));
    }
  } catch (const Error& error) {
    out.emplace_back(error.what());  // some damage ends the check itself
  }
  return out;
}

void SqliteStorage::back_up(const std::string& path) {
  base::Connection copy(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr, nullptr);
  sqlite3_backup* backup = sqlite3_backup_init(copy.handle(), "main", db_.handle(), "main");
  if (!backup) copy.fail(sqlite3_errcode(copy.handle()));
  int code = sqlite3_backup_step(backup, -1);
  sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) copy.fail(code);
  Statement check(copy.prepare("PRAGMA integrity_check(1)"));
  if (!check.step() || check.text(0) != "ok") {
    throw Error(ErrorCode::corrupt,
                "the relay's data is damaged, and so is this copy: keep earlier ones, and start "
                "the relay on a copy of the last good one with --restored");
  }
}

Bytes SqliteStorage::secret(const std::function<Bytes()>& make) {
  {
    Statement query(db_.prepare("SELECT value FROM secret"));
    if (query.step()) return base::to_bytes(query.blob(0));
  }
  Bytes value = make();
  Statement(db_.prepare("INSERT INTO secret VALUES(?)")).bind(value).run();
  return value;
}

}  // namespace holdfast::relay
