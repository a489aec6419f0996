#include "src/store/database.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "holdfast/error.h"
#include "src/store/schema.h"

namespace holdfast::store {
namespace {

constexpr std::int64_t kLockWaitMs = 5000;
constexpr std::int64_t kLockPollMs = 20;

// Temporary tables stay in memory: a file of theirs would not be sealed (the VFS refuses it, too).
// Connection forbids ATTACH and VACUUM INTO, whose files would not be either.
std::unique_ptr<Connection> connect(StoreVfs& vfs, int flags) {
  vfs.forget_last_error();
  auto connection = std::make_unique<Connection>(vfs.path(), flags, vfs.name().c_str(),
                                                 [&vfs] { vfs.rethrow_last_error(); });
  connection->execute("PRAGMA temp_store = MEMORY");
  // The schema is authentic, and SQLite 3.40 allows `->>` in an index only of a trusted one.
  sqlite3_db_config(connection->handle(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, nullptr);
  return connection;
}

std::size_t cache_kib(std::size_t cache_mib) {
  if (cache_mib > 0) return cache_mib * 1024;
  auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  std::uint64_t memory_mib = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) >> 20;
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(memory_mib / 64, 2, 64)) * 1024;
}

std::string cache_pragma(const StoreOptions& options) {
  return "PRAGMA cache_size = -" + std::to_string(cache_kib(options.cache_mib));
}

}  // namespace

std::unique_ptr<base::File> lock_store(const std::string& path, base::FileSystem::Mode mode,
                                       const base::Environment& environment) {
  std::int64_t deadline = environment.clock->monotonic_ms() + kLockWaitMs;
  for (;;) {
    std::unique_ptr<base::File> file = environment.files->open(path, mode);
    if (!file) throw Error(ErrorCode::not_found, "there is no store at " + path);
    while (!file->try_lock()) {
      if (environment.clock->monotonic_ms() >= deadline) {
        throw Error(ErrorCode::in_use,
                    path + " is in use by another process: close it there, then try again");
      }
      environment.clock->sleep_ms(kLockPollMs);
    }
    // Whoever held it may have put another file in its place.
    if (file->is_at(path)) return file;
  }
}

Database::Database(const std::string& given_path, const UserKey& key, const StoreOptions& options,
                   const base::Environment& environment)
    : environment_(environment),
      options_(options),
      path_(environment.files->canonical(given_path)) {
  if (options.anchor.save && options.durability != StoreOptions::Durability::full) {
    throw Error(ErrorCode::invalid_argument,
                "an anchor needs Durability::full: a power cut would look like a rollback");
  }
  bool exists = environment.files->exists(path_);
  if (exists && options.open == StoreOptions::Open::create) {
    throw Error(ErrorCode::exists, path_ + " exists already: choose another name");
  }
  if (!exists && options.open != StoreOptions::Open::existing) {
    bool made = create(path_, key, options, environment);
    if (!made && options.open == StoreOptions::Open::create) {
      throw Error(ErrorCode::exists, path_ + " was made by another process meanwhile");
    }
  }
  open(key);
}

Database::~Database() {
  try {
    readers_.stop(true);
  } catch (const Error&) {
    // Destroyed from within a query of its own: a fault of the caller that cannot be mended here.
  }
}

void Database::open(const UserKey& key, MigrationReport* only_check) {
  auto file = lock_store(path_, base::FileSystem::Mode::existing, environment_);
  std::uint64_t size = file->size();
  Unlocked unlocked = unlock(*file, key, path_);
  if (size < kHeaderPages * kHeaderPage + kPageSize) {
    throw Error(ErrorCode::corrupt, path_ + " was cut short: restore a backup");
  }
  std::optional<std::size_t> slot = unlocked.slot;
  bool rewrite = unlocked.uneven;
  std::vector<KeySlot> slots = unlocked.header.slots;
  if (slot && !slots[*slot].boxed.empty()) {
    slots[*slot] = settle_slot(slots[*slot], key, unlocked.header.database_id,
                               unlocked.data_key.view(), *environment_.random);
    rewrite = true;
  }
  bool replaced_another = unlocked.header.replaced_another;
  try {
    connect_all(std::move(file), std::move(unlocked));
    if (rewrite && !replaced_another) vfs_->set_slots(std::move(slots));
    for (const char* end : {".rekey", ".rekey-wal", "-wal.new", ".new"}) {
      if (environment_.files->exists(path_ + end)) environment_.files->remove(path_ + end);
    }
    upgrade_schema(only_check);
    check_anchor();
  } catch (...) {
    close();
    throw;
  }
}

void Database::connect_all(std::unique_ptr<base::File> file, Unlocked unlocked) {
  data_key_ = unlocked.data_key.copy();
  bool replaced_another = unlocked.header.replaced_another;
  if (replaced_another) environment_.files->remove(path_ + "-wal");
  vfs_ = std::make_unique<StoreVfs>(path_, std::move(file), unlocked, environment_);
  if (replaced_another) vfs_->set_replaced_another(false);
  connection_ = connect(*vfs_, SQLITE_OPEN_READWRITE);
  connection_->set_guard(guard_);
  scope_ = {};
  install_authorizer(*connection_, scope_);
  connection_->execute(cache_pragma(options_).c_str());
  connection_->execute(options_.durability == StoreOptions::Durability::full
                           ? "PRAGMA synchronous = FULL"
                           : "PRAGMA synchronous = NORMAL");
  std::uint64_t version = schema_version(*connection_);
  if (version > kSchemaVersion) {
    throw Error(ErrorCode::newer_version,
                path_ + " was written by a newer version of Holdfast: update this app");
  }
  std::optional<crypto::Secret> secrets =
      crypto::open_committing(data_key_.view(), kSecretsKeyContext, unlocked.header.secrets_key);
  if (!secrets) throw Error(ErrorCode::corrupt, "the store's header is damaged: restore a backup");
  secrets_key_ = std::move(*secrets);
  start_readers();
}

void Database::start_readers() {
  StoreVfs* vfs = vfs_.get();
  readers_.start([vfs, cache = cache_pragma(options_)] {
    auto connection = connect(*vfs, SQLITE_OPEN_READWRITE);
    connection->execute(cache.c_str());
    return std::make_unique<Reader>(std::move(connection));
  });
}

void Database::upgrade_schema(MigrationReport* only_check) {
  std::uint64_t version = schema_version(*connection_);
  if (only_check) {
    only_check->from = static_cast<std::uint32_t>(version);
    only_check->to = static_cast<std::uint32_t>(kSchemaVersion);
  }
  if (version == kSchemaVersion) return;
  connection_->execute("BEGIN IMMEDIATE");
  try {
    std::vector<std::string> steps = upgrade(*connection_, version);
    if (only_check) {
      only_check->steps = std::move(steps);
      Statement check(connection_->prepare("PRAGMA integrity_check(1)"));
      if (!check.step() || check.text(0) != "ok") {
        throw Error(ErrorCode::corrupt, "the upgrade would not leave a sound store");
      }
    }
    connection_->execute(only_check ? "ROLLBACK" : "COMMIT");
  } catch (...) {
    if (!sqlite3_get_autocommit(connection_->handle())) connection_->execute("ROLLBACK");
    throw;
  }
}

void Database::check_upgrade(const std::string& path, const UserKey& key,
                             const StoreOptions& options, const base::Environment& environment,
                             MigrationReport& report) {
  Database database(options, environment, environment.files->canonical(path));
  database.open(key, &report);
}

void Database::write_log_into_pages() {
  Statement checkpoint(connection_->prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
  if (!checkpoint.step() || checkpoint.integer(0) != 0) {
    throw Error(ErrorCode::io, "the log could not be written into the pages: try again");
  }
  checkpoint.run();
}

void Database::close() {
  readers_.stop(true);
  connection_.reset();
  vfs_.reset();
  data_key_ = {};
  secrets_key_ = {};
}

void Database::set_guard(const base::OwnedMutex* mutex) {
  guard_ = mutex;
  if (connection_) connection_->set_guard(mutex);
}

Connection& Database::connection() {
  if (!connection_) throw Error(ErrorCode::locked, "the store is locked: unlock it first");
  return *connection_;
}

void Database::check_anchor() {
  anchored_.reset();
  std::optional<StorePosition> anchor;
  if (options_.anchor.load) anchor = options_.anchor.load();
  Position here = vfs_->position();
  if (anchor && (here.commits < anchor->commits ||
                 (here.commits == anchor->commits && here.root != anchor->root))) {
    throw Error(ErrorCode::rolled_back,
                path_ +
                    " is an older copy than this device last wrote, or another's: restore the "
                    "newest backup, or reset the anchor if you put it there yourself");
  }
  if (anchor) anchored_ = Position{anchor->commits, anchor->root};
  this->anchor();
}

void Database::anchor() {
  if (!options_.anchor.save) return;
  Position here = vfs_->position();
  if (anchored_ == here) return;
  options_.anchor.save({here.commits, here.root});
  anchored_ = here;
}

crypto::Argon2Cost Database::passphrase_cost(const StoreOptions& options, UserKey::Kind kind,
                                             const base::Environment& environment) {
  crypto::Argon2Cost cost;
  constexpr std::uint32_t kMib = 1024;
  std::uint32_t given = options.passphrase_memory_mib;
  if (given == 0) {
    if (kind == UserKey::Kind::passphrase) return crypto::calibrate_argon2(*environment.clock);
    return cost;
  }
  if (given < crypto::kArgon2Floor.memory_kib / kMib ||
      given > crypto::kArgon2Ceiling.memory_kib / kMib) {
    throw Error(ErrorCode::invalid_argument, "passphrase_memory_mib must be 0, or 64 to 1024");
  }
  cost.memory_kib = given * kMib;
  return cost;
}

// Makes the store aside and renames it into place, so that there is never half a store at `path`.
bool Database::create(const std::string& path, const UserKey& key, const StoreOptions& options,
                      const base::Environment& environment) {
  crypto::Argon2Cost cost = passphrase_cost(options, key.kind(), environment);
  std::string aside = path + ".new";
  auto file = lock_store(aside, base::FileSystem::Mode::create, environment);
  // Whoever held the lock may have renamed this very file to `path`: then it is not ours to write.
  if (environment.files->exists(path)) return false;
  environment.files->remove(aside + "-wal");
  file->truncate(0);

  base::Random& random = *environment.random;
  Unlocked fresh;
  fresh.data_key = crypto::Secret(32);
  random.fill(fresh.data_key.span());
  fresh.header.database_id = random.array<16>();
  // Room to count up; random, so that no two stores' logs are alike.
  fresh.header.checkpoint.log_generation = base::Reader(random.array<8>(), "random").u64() >> 8;
  random.fill(fresh.header.checkpoint.position.root);
  crypto::Secret secrets_key(32);
  random.fill(secrets_key.span());
  fresh.header.secrets_key = crypto::seal_committing(fresh.data_key.view(), kSecretsKeyContext,
                                                     secrets_key.view(), random);
  KeySlot slot = make_slot(1, key, fresh.header.database_id, fresh.data_key.view(), cost,
                           environment.clock->now_ms(), random);
  HeaderPages(*file, fresh.header, fresh.data_key.view(), 0).set_slots({slot});
  fresh.header.slots = {slot};
  fresh.header.generation = 1;
  StoreVfs vfs(aside, std::move(file), fresh, environment);  // holds the lock until all is done
  write_tables(vfs);
  // The log of a store that somebody deleted without it would not open under the new key.
  if (!environment.files->exists(path)) environment.files->remove(path + "-wal");
  if (environment.files->rename_new(aside, path)) return true;
  environment.files->remove(aside);
  return false;
}

// The empty tables of a store whose header is written.
void Database::write_tables(StoreVfs& vfs) {
  auto connection = connect(vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  int reserved = static_cast<int>(kReserved);
  connection->execute("PRAGMA page_size = 4096");
  if (sqlite3_file_control(connection->handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved) !=
      SQLITE_OK) {
    throw Error(ErrorCode::io, "this SQLite cannot reserve room for the seal of a page");
  }
  connection->execute("PRAGMA journal_mode = MEMORY");
  connection->execute("PRAGMA synchronous = FULL");
  connection->execute("BEGIN");
  create_tables(*connection);
  connection->execute("COMMIT");
  connection->execute("PRAGMA journal_mode = WAL");
  connection.reset();
  vfs.file().sync();  // the second header, too
}

Bytes Database::seal_secret(std::string_view name, ByteView secret) {
  return crypto::seal_committing(secrets_key_.view(), name, secret, *environment_.random);
}

crypto::Secret Database::open_secret(std::string_view name, ByteView sealed) {
  std::optional<crypto::Secret> secret = crypto::open_committing(secrets_key_.view(), name, sealed);
  if (!secret) throw Error(ErrorCode::corrupt, "a key in the store is damaged: restore a backup");
  return std::move(*secret);
}

std::optional<Bytes> Database::meta(std::string_view name) {
  Statement query(connection().prepare("SELECT value FROM meta WHERE name = ?"));
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return base::to_bytes(query.blob(0));
}

void Database::set_meta(std::string_view name, ByteView value) {
  Statement(connection().prepare("INSERT INTO meta VALUES(?, ?) "
                                 "ON CONFLICT(name) DO UPDATE SET value = excluded.value"))
      .bind(name)
      .bind(value)
      .run();
}

void Database::verify(const Progress& progress) {
  connection().execute("PRAGMA wal_checkpoint(PASSIVE)");
  // SQLite's own check passes over pages that it holds in memory or does not use.
  vfs_->verify_pages([&](std::uint64_t done, std::uint64_t total) {
    if (progress && !progress({"verifying", done, total})) {
      throw Error(ErrorCode::cancelled, "verifying was cancelled");
    }
  });
  // SQLite tells of a disk that cannot be read, and of memory that is short, as a finding, too.
  for (int attempt = 0; attempt < 2; ++attempt) {
    vfs_->forget_last_error();
    Statement check(connection_->prepare("PRAGMA integrity_check(1)"));
    if (check.step() && check.text(0) == "ok") return;
    vfs_->rethrow_last_error();
  }
  throw Error(ErrorCode::corrupt, "the store's structure is damaged: restore a backup");
}

}  // namespace holdfast::store
