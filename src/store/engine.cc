#include "src/store/engine.h"

#include "holdfast/error.h"
#include "src/model/json.h"

namespace holdfast {

namespace store {

void check_key(const Key& key) {
  model::check_name(key.id, "a record's id");
  model::check_name(key.collection, "a collection's name");
  if (key.collection[0] == '_') {
    throw Error(ErrorCode::invalid_argument,
                "collections whose names start with '_' belong to Holdfast: choose another name");
  }
}

Engine::Engine(const std::string& path, const UserKey& key, const StoreOptions& options)
    : environment_(options.environment ? *options.environment : base::system_environment()),
      checkpoint_bytes_(options.checkpoint_bytes),
      database_(path, key, options, environment_),
      records_(database_, *environment_.clock) {
  records_.set_history_days(options.history_days);
  open();
  database_.set_guard(&mutex_);
}

void Engine::open() {
  anchor_failed_ = false;
  if (!database_.meta("sign_seed")) make_identity();
  load_identity();
  load();
}

const Identity& Engine::identity() const {
  if (!identity_) throw Error(ErrorCode::locked, "the store is locked: unlock it first");
  return *identity_;
}

void Engine::make_identity() {
  crypto::Secret sign(32);
  crypto::Secret box(32);
  environment_.random->fill(sign.span());
  environment_.random->fill(box.span());
  database_.connection().execute("BEGIN IMMEDIATE");
  database_.set_meta("box_secret", database_.seal_secret("box_secret", box.view()));
  database_.set_meta("sign_seed", database_.seal_secret("sign_seed", sign.view()));
  database_.connection().execute("COMMIT");
  database_.anchor();
}

// Once: references to it are handed out.
void Engine::load_identity() {
  std::optional<Bytes> sign = database_.meta("sign_seed");
  std::optional<Bytes> box = database_.meta("box_secret");
  if (!sign || !box) {
    throw Error(ErrorCode::corrupt, "the store has lost its device's keys: restore a backup");
  }
  crypto::SigningKey signing(database_.open_secret("sign_seed", *sign).view());
  model::DeviceId id = base::device_id_of(signing.public_key());
  identity_.emplace(Identity{std::move(signing),
                             crypto::BoxKey(database_.open_secret("box_secret", *box).view()), id});
}

// What is kept in memory of the store; after a rollback it must be read again before anything else.
void Engine::load() {
  stale_ = true;
  as_of_.reset();
  records_.forget_caches();
  std::optional<Bytes> last = database_.meta("clock");
  saved_clock_ = {last ? base::Reader(*last, "the clock").u64() : 0};
  clock_ = model::HybridClock(saved_clock_);
  std::optional<Bytes> offset = database_.meta(kClockOffset);
  offset_ms_ = offset ? static_cast<std::int64_t>(base::Reader(*offset, "a clock").u64()) : 0;
  seen_ = {};
  seen_changed_.clear();
  closed_.clear();
  Statement devices(database_.connection().prepare("SELECT id, seen, closed FROM device"));
  while (devices.step()) {
    model::DeviceId id = base::Reader(devices.blob(0), "a device id").array<16>();
    seen_.set(id, static_cast<std::uint64_t>(devices.integer(1)));
    if (devices.integer(2) != 0) closed_[id] = static_cast<std::uint64_t>(devices.integer(2)) - 1;
  }
  std::optional<Bytes> partly = database_.meta("partly_received");
  partly_received_ = partly && !partly->empty();
  waiting_.clear();
  Statement waiting(database_.connection().prepare("SELECT DISTINCT device FROM waiting"));
  while (waiting.step()) {
    waiting_[base::Reader(waiting.blob(0), "a device id").array<16>()] = std::nullopt;
  }
  stale_ = false;
}

// What a transaction did that observers want to know.
struct Engine::Transaction::News {
  std::set<std::string> changed;
  std::vector<Conflict> pending;
  bool wrote = false;
};

Engine::Transaction::Transaction(Engine& engine) : engine_(engine), lock_(engine.mutex_) {
  if (engine_.rekeying_) {
    throw Error(ErrorCode::invalid_argument,
                "the store cannot be used from within the progress of its own rekey");
  }
  if (engine_.depth_ == 0) {
    if (engine_.anchor_failed_) {
      throw Error(ErrorCode::io,
                  "the store's anchor could not be advanced: close the store and open it again");
    }
    if (engine_.stale_) engine_.load();
    engine_.failed_ = false;
    engine_.wrote_ = false;
    engine_.database_.connection().execute("BEGIN IMMEDIATE");
    engine_.transaction_thread_ = std::this_thread::get_id();
  } else {
    engine_.require_intact();
  }
  ++engine_.depth_;
}

void Engine::Transaction::commit() {
  engine_.require_intact();
  if (engine_.depth_ > 1) {
    --engine_.depth_;
    done_ = true;
    return;
  }
  engine_.finish_change();
  engine_.save_clock();
  engine_.save_seen();
  engine_.database_.connection().execute("COMMIT");
  --engine_.depth_;
  done_ = true;
  engine_.transaction_thread_ = std::thread::id();
  auto news = std::make_unique<News>();
  news->changed = engine_.records_.take_changed();
  news->pending = engine_.records_.take_new_pending();
  news->wrote = std::exchange(engine_.wrote_, false);
  try {
    engine_.database_.anchor();
  } catch (...) {
    engine_.anchor_failed_ = true;
    throw;
  }
  news_ = std::move(news);
  // A statement that outlived the lock would be reset in the middle of another thread's write.
  if (!engine_.database_.connection().has_statements()) let_go();
}

void Engine::Transaction::let_go() {
  lock_.unlock();
  std::unique_ptr<News> news = std::move(news_);
  if (!news->changed.empty() && !engine_.live_.empty()) engine_.live_.notify(news->changed);
  if (!news->pending.empty()) engine_.conflict_observers_.tell(news->pending);
  if (news->wrote) engine_.edit_observers_.tell();
}

Engine::Transaction::~Transaction() {
  try {
    if (news_) let_go();
  } catch (...) {
    // What was done is done; what observers could not be told is part of the next change.
  }
  if (done_) return;
  engine_.failed_ = true;
  if (--engine_.depth_ > 0) return;
  engine_.transaction_thread_ = std::thread::id();
  engine_.building_.reset();
  engine_.stale_ = true;
  try {
    if (!sqlite3_get_autocommit(engine_.database_.connection().handle())) {
      engine_.database_.connection().execute("ROLLBACK");
    }
    engine_.load();
  } catch (...) {
    // Stale: the next use of the store loads, or reports why it cannot.
  }
}

// SQLite rolls a transaction back by itself when the disk fails in it, on a read, too. What came
// after would then be stored without what came before.
void Engine::require_intact() {
  if (failed_ || sqlite3_get_autocommit(database_.connection().handle())) {
    failed_ = true;
    throw Error(
        ErrorCode::io,
        "an earlier part of this transaction failed, so none of it is kept: let its error out, "
        "then try again");
  }
}

void Engine::set_partly_received(bool partly) {
  if (partly == partly_received_) return;
  database_.set_meta("partly_received", partly ? Bytes{1} : Bytes{});
  partly_received_ = partly;
}

void Engine::require_no_transaction() {
  std::lock_guard lock(mutex_);
  if (depth_ > 0) {
    throw Error(ErrorCode::invalid_argument,
                "this cannot be part of a transaction: what is sent must be durable first");
  }
}

void Engine::finish_change() {
  close_change();
  records_.finish_history();
}

void Engine::with_database(const std::function<void(Database&)>& work) {
  std::lock_guard sync(sync_mutex_);
  std::lock_guard lock(mutex_);
  require_no_transaction();
  database_.connection();
  work(database_);
}

// Readers first, without the engine's lock: one that writes from within its query wants it.
void Engine::rekey(const Progress& progress) {
  std::lock_guard sync(sync_mutex_);
  require_no_transaction();
  Readers& readers = database_.readers();
  readers.stop(false);
  std::unique_lock lock(mutex_);
  try {
    require_no_transaction();
    database_.connection();
    rekeying_ = true;  // what is written meanwhile would stay in the old file
    database_.rekey(progress);
    rekeying_ = false;
  } catch (...) {
    rekeying_ = false;
    if (database_.is_open()) {
      readers.resume();
    } else {
      forget_everything();
    }
    throw;
  }
}

void Engine::lock() {
  std::lock_guard sync(sync_mutex_);
  require_no_transaction();
  database_.readers().stop(true);
  std::lock_guard lock(mutex_);
  if (!database_.is_open()) return;
  database_.close();
  forget_everything();
}

void Engine::forget_everything() {
  identity_.reset();
  records_.forget();
}

void Engine::unlock(const UserKey& key) {
  std::lock_guard lock(mutex_);
  if (database_.is_open()) return;
  database_.open(key);
  try {
    open();
  } catch (...) {
    database_.close();
    forget_everything();
    throw;
  }
}

bool Engine::is_locked() {
  std::lock_guard lock(mutex_);
  return !database_.is_open();
}

}  // namespace store
}  // namespace holdfast
