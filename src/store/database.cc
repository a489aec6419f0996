#include "src/store/database.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

constexpr std::uint64_t kSchemaVersion = 1;
constexpr std::int64_t kLockWaitMs = 5000;
constexpr std::int64_t kLockPollMs = 20;

// Tables are in the order of the data's way: records, then what is still to be sent, then the
// vault's log.
constexpr const char* kSchema = R"sql(
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE collection(num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE device(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
  seen INTEGER NOT NULL DEFAULT 0,  -- how many of its change sets are applied here
  leaf BLOB);                       -- of its last batch in the vault's log
CREATE TABLE record(num INTEGER PRIMARY KEY, collection INTEGER NOT NULL, id TEXT NOT NULL,
  alive INTEGER NOT NULL, doc TEXT NOT NULL, created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, conflicts INTEGER NOT NULL, pending INTEGER NOT NULL,
  state BLOB NOT NULL);
CREATE UNIQUE INDEX record_by_id ON record(collection, id);
CREATE INDEX record_in_conflict ON record(collection) WHERE conflicts > 0;
CREATE TABLE change(sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);  -- own, not sealed yet
CREATE TABLE outbox(num INTEGER PRIMARY KEY, batch_id BLOB NOT NULL UNIQUE,
  delivered INTEGER NOT NULL DEFAULT 0,  -- by the app; the relay is still to have it
  first INTEGER NOT NULL, last INTEGER NOT NULL, body BLOB NOT NULL);   -- sealed, not confirmed yet
CREATE TABLE waiting(device BLOB, sequence INTEGER, body BLOB NOT NULL,
  PRIMARY KEY(device, sequence)) WITHOUT ROWID;                         -- for what they build on
CREATE TABLE log(position INTEGER PRIMARY KEY, device BLOB NOT NULL, chain BLOB NOT NULL,
  held INTEGER NOT NULL,   -- not applied, and `reason` says why
  reason TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX log_held ON log(position) WHERE held > 0;
CREATE TABLE control(position INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE epoch(num INTEGER PRIMARY KEY, key BLOB NOT NULL);
)sql";

std::unique_ptr<base::File> open_locked(const std::string& path, base::FileSystem::Mode mode,
                                        const base::Environment& environment) {
  std::unique_ptr<base::File> file = environment.files->open(path, mode);
  if (!file) throw Error(ErrorCode::not_found, "there is no store at " + path);
  std::int64_t deadline = environment.clock->monotonic_ms() + kLockWaitMs;
  while (!file->try_lock()) {
    if (environment.clock->monotonic_ms() >= deadline) {
      throw Error(ErrorCode::in_use,
                  path + " is in use by another process: close it there, then try again");
    }
    environment.clock->sleep_ms(kLockPollMs);
  }
  return file;
}

// Temporary tables stay in memory: a file of theirs would not be sealed (the VFS refuses it, too).
// Connection forbids ATTACH and VACUUM INTO, whose files would not be either.
std::unique_ptr<Connection> connect(StoreVfs& vfs, int flags) {
  vfs.forget_last_error();
  auto connection = std::make_unique<Connection>(vfs.path(), flags, vfs.name().c_str(),
                                                 [&vfs] { vfs.rethrow_last_error(); });
  connection->execute("PRAGMA temp_store = MEMORY");
  return connection;
}

std::size_t cache_kib(std::size_t cache_mib) {
  if (cache_mib > 0) return cache_mib * 1024;
  auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  std::uint64_t memory_mib = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) >> 20;
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(memory_mib / 64, 2, 64)) * 1024;
}

Bytes as_bytes(std::uint64_t value) {
  base::Writer out;
  out.u64(value);
  return out.take();
}

}  // namespace

Database::Database(const std::string& given_path, const UserKey& key, const StoreOptions& options,
                   const base::Environment& environment)
    : random_(environment.random) {
  std::string path = environment.files->canonical(given_path);
  bool exists = environment.files->exists(path);
  if (exists && options.open == StoreOptions::Open::create) {
    throw Error(ErrorCode::exists, path + " exists already: choose another name");
  }
  if (!exists && options.open != StoreOptions::Open::existing) {
    bool made = create(path, key, options, environment);
    if (!made && options.open == StoreOptions::Open::create) {
      throw Error(ErrorCode::exists, path + " was made by another process meanwhile");
    }
  }
  auto file = open_locked(path, base::FileSystem::Mode::existing, environment);
  std::uint64_t size = file->size();
  Unlocked unlocked = unlock(*file, key, path);
  if (size < (kHeaderPages * kHeaderPage) + kPageSize) {
    throw Error(ErrorCode::corrupt, path + " was cut short: restore a backup");
  }
  secrets_key_ = crypto::hkdf_sha256(unlocked.data_key.view(), unlocked.header.database_id,
                                     base::view("holdfast store secrets v1"), 32);
  vfs_ = std::make_unique<StoreVfs>(path, std::move(file), unlocked.data_key.view(),
                                    unlocked.header.database_id, environment);
  connection_ = connect(*vfs_, SQLITE_OPEN_READWRITE);
  std::string cache = "PRAGMA cache_size = -" + std::to_string(cache_kib(options.cache_mib));
  connection_->execute(cache.c_str());
  connection_->execute(options.durability == StoreOptions::Durability::full
                           ? "PRAGMA synchronous = FULL"
                           : "PRAGMA synchronous = NORMAL");
  Statement tables(connection_->prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"));
  if (!tables.step() || tables.integer(0) != 1) {
    throw Error(ErrorCode::corrupt, path + " has lost its tables: restore a backup");
  }
  std::optional<Bytes> version = meta("schema");
  if (!version || version->size() != 8) {
    throw Error(ErrorCode::corrupt, path + " has lost its schema version: restore a backup");
  }
  if (base::Reader(*version, "the schema version").u64() > kSchemaVersion) {
    throw Error(ErrorCode::newer_version,
                path + " was written by a newer version of Holdfast: update this app");
  }
}

// Makes the store aside and renames it into place, so that there is never half a store at `path`.
bool Database::create(const std::string& path, const UserKey& key, const StoreOptions& options,
                      const base::Environment& environment) {
  crypto::Argon2Cost cost;
  constexpr std::uint32_t kMib = 1024;
  if (options.passphrase_memory_mib < crypto::kArgon2Floor.memory_kib / kMib ||
      options.passphrase_memory_mib > crypto::kArgon2Ceiling.memory_kib / kMib) {
    throw Error(ErrorCode::invalid_argument, "passphrase_memory_mib must be 64 to 1024");
  }
  cost.memory_kib = options.passphrase_memory_mib * kMib;
  std::string aside = path + ".new";
  auto file = open_locked(aside, base::FileSystem::Mode::create, environment);
  // Whoever held the lock may have renamed this very file to `path`: then it is not ours to write.
  if (environment.files->exists(path)) return false;
  environment.files->remove(aside + "-wal");
  file->truncate(0);

  crypto::Secret data_key(32);
  environment.random->fill(data_key.span());
  Header header;
  header.database_id = environment.random->array<16>();
  header.generation = 1;
  header.slots.push_back(
      make_slot(key, header.database_id, data_key.view(), cost, *environment.random));
  write_header(*file, header, data_key.view());

  StoreVfs vfs(aside, std::move(file), data_key.view(), header.database_id, environment);
  {
    auto owned = connect(vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    Connection& connection = *owned;
    int reserved = static_cast<int>(kReserved);
    connection.execute("PRAGMA page_size = 4096");
    if (sqlite3_file_control(connection.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved) !=
        SQLITE_OK) {
      throw Error(ErrorCode::io, "this SQLite cannot reserve room for the seal of a page");
    }
    connection.execute("PRAGMA journal_mode = MEMORY");
    connection.execute("PRAGMA synchronous = FULL");
    connection.execute("BEGIN");
    connection.execute(kSchema);
    Bytes version = as_bytes(kSchemaVersion);
    Statement(connection.prepare("INSERT INTO meta VALUES('schema', ?)")).bind(version).run();
    connection.execute("COMMIT");
    connection.execute("PRAGMA journal_mode = WAL");
  }
  // The log of a store that somebody deleted without it would not open under the new key.
  if (!environment.files->exists(path)) environment.files->remove(path + "-wal");
  if (environment.files->rename_new(aside, path)) return true;
  environment.files->remove(aside);
  return false;
}

Bytes Database::seal_secret(std::string_view name, ByteView secret) {
  return crypto::seal_committing(secrets_key_.view(), name, secret, *random_);
}

crypto::Secret Database::open_secret(std::string_view name, ByteView sealed) {
  std::optional<crypto::Secret> secret = crypto::open_committing(secrets_key_.view(), name, sealed);
  if (!secret) throw Error(ErrorCode::corrupt, "a key in the store is damaged: restore a backup");
  return std::move(*secret);
}

std::optional<Bytes> Database::meta(std::string_view name) {
  Statement query(connection_->prepare("SELECT value FROM meta WHERE name = ?"));
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return base::to_bytes(query.blob(0));
}

void Database::set_meta(std::string_view name, ByteView value) {
  Statement(connection_->prepare("INSERT INTO meta VALUES(?, ?) "
                                 "ON CONFLICT(name) DO UPDATE SET value = excluded.value"))
      .bind(name)
      .bind(value)
      .run();
}

void Database::verify() {
  connection_->execute("PRAGMA wal_checkpoint(PASSIVE)");
  vfs_->verify_pages();  // SQLite's own check passes over pages that it holds in memory or does not
                         // use
  Statement check(connection_->prepare("PRAGMA integrity_check(1)"));
  if (!check.step() || check.text(0) != "ok") {
    throw Error(ErrorCode::corrupt, "the store's structure is damaged: restore a backup");
  }
}

}  // namespace holdfast::store
