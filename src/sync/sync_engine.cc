#include "holdfast/sync_engine.h"

#include <algorithm>

#include "holdfast/conflict_resolver.h"
#include "src/store/engine.h"

namespace holdfast {
namespace {

constexpr std::int64_t kFirstRetryMs = 5'000;
constexpr std::int64_t kMaxRetryMs = 15 * 60'000;
constexpr std::int64_t kWatchMs = 50'000;   // at a time; networks drop what is silent for longer
constexpr std::int64_t kTooSoonMs = 1'000;  // an answer after less is no waiting
constexpr std::int64_t kPauseMs = 60'000;   // before it is tried again
constexpr int kSaving = 4;                  // how much rarer, where it costs money or power
constexpr int kCollecting = 10;             // how much longer edits are collected to save power

}  // namespace

SyncEngine::SyncEngine(EncryptedLocalStore& store, const SyncEngineOptions& options)
    : store_(&store), options_(options), sync_(store) {
  edits_ = store.engine().edit_observers().add([this] { edited(); });
  states_ = sync_.states().subscribe([this](const SyncMetadata& state) {
    SyncEvent event;
    event.state = state;
    tell(event);
  });
  conflicts_ =
      store.engine().conflict_observers().add([this](const std::vector<Conflict>& pending) {
        SyncEvent event;
        event.kind = SyncEvent::Kind::conflicts;
        event.conflicts = pending;
        tell(event);
      });
}

SyncEngine::~SyncEngine() {
  store_->engine().edit_observers().remove(edits_);
  store_->engine().conflict_observers().remove(conflicts_);
  sync_.states().unsubscribe(states_);
}

int SyncEngine::subscribe(Observer observer) { return observers_.add(std::move(observer)); }

void SyncEngine::unsubscribe(int subscription) { observers_.remove(subscription); }

void SyncEngine::on_due(std::function<void()> callback) {
  std::lock_guard lock(mutex_);
  on_due_ = std::move(callback);
}

void SyncEngine::tell(const SyncEvent& event) { observers_.tell(event); }

// What is being waited for is no longer the next thing.
void SyncEngine::wake() {
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    is_woken_ = true;
    callback = on_due_;
  }
  stops_watching_ = true;
  woken_.notify_all();
  if (callback) callback();
}

void SyncEngine::edited() {
  {
    std::lock_guard lock(mutex_);
    if (edited_at_) return;
    edited_at_ = store_->engine().environment().clock->monotonic_ms();
  }
  wake();
}

void SyncEngine::sync_now() {
  {
    std::lock_guard lock(mutex_);
    is_wanted_ = true;
  }
  wake();
}

void SyncEngine::set_conditions(const SyncConditions& conditions) {
  {
    std::lock_guard lock(mutex_);
    bool is_back = conditions_.network == "none" && conditions.network != "none";
    bool is_other = conditions.network != conditions_.network;
    if (is_back || (is_other && failures_ > 0)) is_wanted_ = true;
    conditions_ = conditions;
  }
  sync_.states().set_network_type(conditions.network);
  wake();
}

void SyncEngine::stop() {
  stopped_ = true;
  sync_.cancel();
  wake();
}

// 0: now.
std::int64_t SyncEngine::due_in(std::int64_t now) {
  std::lock_guard lock(mutex_);
  bool saves = conditions_.metered || conditions_.saves_power;
  std::int64_t interval = options_.interval_ms * (saves ? kSaving : 1);
  if (conditions_.network == "none") return interval;
  if (is_wanted_) return 0;
  if (retry_at_) return std::max<std::int64_t>(0, *retry_at_ - now);
  std::int64_t due = synced_at_.value_or(now) + interval;
  if (edited_at_) {
    std::int64_t collects = options_.coalesce_ms * (conditions_.saves_power ? kCollecting : 1);
    due = std::min(due, *edited_at_ + collects);
  }
  return std::max<std::int64_t>(0, due - now);
}

std::int64_t SyncEngine::step() {
  base::Clock& clock = *store_->engine().environment().clock;
  if (stopped_) return options_.interval_ms;
  if (due_in(clock.monotonic_ms()) == 0) sync_once();
  return due_in(clock.monotonic_ms());
}

void SyncEngine::sync_once() {
  std::optional<std::int64_t> edited;
  {
    std::lock_guard lock(mutex_);
    is_wanted_ = false;
    retry_at_.reset();
    edited = std::exchange(edited_at_, std::nullopt);
  }
  SyncResult result = sync_.sync([this](const SyncProgress& progress) {
    if (stopped_) sync_.cancel();
    SyncEvent event;
    event.kind = SyncEvent::Kind::progress;
    event.progress = progress;
    tell(event);
  });
  const base::Environment& world = store_->engine().environment();
  {
    std::lock_guard lock(mutex_);
    std::int64_t now = world.clock->monotonic_ms();
    synced_at_ = now;
    if (!result.error) {
      failures_ = 0;
      // What the sync itself has written is sent.
      if (sync_.count_pending() == 0) edited_at_.reset();
    } else {
      // Full jitter, so that devices that failed together do not come back together.
      std::int64_t cap = std::min(kMaxRetryMs, kFirstRetryMs << std::min(failures_, 10));
      ++failures_;
      retry_at_ =
          now + 1 + static_cast<std::int64_t>(world.random->below(static_cast<std::uint64_t>(cap)));
      if (!edited_at_) edited_at_ = edited;
    }
  }
  std::vector<std::string> warnings = std::move(result.notices);
  warnings.insert(warnings.end(), result.rejected.begin(), result.rejected.end());
  bool is_news = result.state == SyncState::error && warnings.empty();
  if (is_news) warnings.push_back(result.message);
  for (std::string& text : warnings) {
    SyncEvent event;
    event.kind = SyncEvent::Kind::warning;
    event.warning = std::move(text);
    tell(event);
  }
}

bool SyncEngine::may_watch() {
  std::lock_guard lock(mutex_);
  return options_.watch && !conditions_.metered && !conditions_.saves_power &&
         conditions_.network != "none" && failures_ == 0 && !edited_at_ && !is_woken_ &&
         store_->engine().environment().clock->monotonic_ms() >= watch_after_ms_;
}

void SyncEngine::watch(std::int64_t ms) {
  using News = IncrementalSync::News;
  base::Clock& clock = *store_->engine().environment().clock;
  std::int64_t start = clock.monotonic_ms();
  News news = sync_.wait_for_news(std::min(ms, kWatchMs), &stops_watching_);
  std::lock_guard lock(mutex_);
  std::int64_t now = clock.monotonic_ms();
  bool is_too_soon = news != News::some && !is_woken_ && now - start < kTooSoonMs;
  if (is_too_soon) watch_after_ms_ = now + kPauseMs;
  if (news == News::none) return;
  is_wanted_ = true;  // the sync finds out what there is, or why it cannot be known
}

void SyncEngine::run() {
  while (!stopped_) {
    {
      std::lock_guard lock(mutex_);
      is_woken_ = false;
      stops_watching_ = false;
    }
    std::int64_t wait = step();
    if (stopped_) return;
    if (wait > 0 && may_watch()) {
      watch(wait);
      continue;
    }
    std::unique_lock lock(mutex_);
    if (options_.watch) wait = std::min(wait, kPauseMs);
    woken_.wait_for(lock, std::chrono::milliseconds(wait), [&] { return is_woken_; });
  }
}

}  // namespace holdfast
