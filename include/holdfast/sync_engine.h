#pragma once

#include <condition_variable>
#include <random>

#include "holdfast/incremental_sync.h"

namespace holdfast {

// What the app knows of the network and of the device, as it changes: see
// SyncEngine::set_conditions.
struct SyncConditions {
  std::string network = "unknown";  // "wifi", "cellular", "ethernet", …; "none": nothing is tried
  bool metered = false;      // bytes cost money: not watched, and looked up four times as rarely
  bool saves_power = false;  // the battery is low: likewise, and edits are collected for longer
};

struct SyncEngineOptions {
  // How long edits are collected before they are sent: spares the radio, and hides the rhythm of
  // typing. Counted from the first one.
  std::int64_t coalesce_ms = 3'000;
  // How often the relay is asked where nothing else is a reason to.
  std::int64_t interval_ms = 15 * 60'000;
  // Whether run() waits at the relay for what other devices send, and syncs as soon as there is
  // something.
  bool watch = true;
};

struct SyncEvent {
  enum class Kind {
    state,      // `state` has changed
    progress,   // of the sync that is under way
    conflicts,  // conflicts that wait for the user and are new
    warning,    // what the user should know: `warning` says it, and what to do
  } kind = Kind::state;
  SyncMetadata state;
  SyncProgress progress;
  std::vector<Conflict> conflicts;
  std::string warning;
};

// Keeps a store in sync while the app runs: sends edits a little after they were made, takes what
// others send, tries again when the network is back. It starts no thread: call run() on one of the
// app's, or step() from the app's own loop. All other methods may be called from any thread.
// Observers are called on the thread that caused the event, without a lock held; they must not
// call run() or step(), nor destroy the engine. The store must outlive it. Destroying it waits for
// what it does on the threads of writers.
class SyncEngine {
 public:
  using Observer = std::function<void(const SyncEvent&)>;

  explicit SyncEngine(EncryptedLocalStore& store, const SyncEngineOptions& options = {});
  ~SyncEngine();
  SyncEngine(const SyncEngine&) = delete;
  SyncEngine& operator=(const SyncEngine&) = delete;

  // Syncs when it is time to, until stop(). Throws what IncrementalSync::sync throws.
  void run();
  // Does what is due now, a whole sync at most, and returns after how many milliseconds something
  // is due again, unless an edit or a call below makes it sooner: see on_due(). Does not watch.
  std::int64_t step();
  // Called whenever step() should be called sooner than it said; from any thread, and quickly.
  void on_due(std::function<void()> callback);

  void sync_now();
  void set_conditions(const SyncConditions& conditions);
  // Ends run(), and a sync or a wait that is under way; step() does nothing from then on.
  void stop();

  int subscribe(Observer observer);
  void unsubscribe(int subscription);  // waits for calls of it on other threads
  IncrementalSync& sync() { return sync_; }

 private:
  void edited();
  void wake();
  void tell(const SyncEvent& event);
  std::int64_t due_in(std::int64_t now);
  void sync_once();
  bool may_watch();
  void watch(std::int64_t ms);
  std::int64_t watch_after_ms_ = 0;  // by the monotonic clock: a relay that does not wait is let be

  EncryptedLocalStore* store_;
  SyncEngineOptions options_;
  IncrementalSync sync_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> stops_watching_{false};
  std::mutex mutex_;
  std::condition_variable woken_;
  bool is_woken_ = false;
  bool is_wanted_ = true;  // a sync, at once
  std::optional<std::int64_t> edited_at_;
  std::optional<std::int64_t> synced_at_;
  std::optional<std::int64_t> retry_at_;
  int failures_ = 0;  // since it last worked
  SyncConditions conditions_;
  Observers<const SyncEvent&> observers_;
  std::function<void()> on_due_;
  int edits_ = 0;  // subscriptions
  int states_ = 0;
  int conflicts_ = 0;
};

}  // namespace holdfast
