#pragma once

#include <atomic>

#include "holdfast/conflict.h"
#include "holdfast/sync_state_manager.h"

namespace holdfast {

namespace sync {
class LatestProgress;
}

// Sealed batches, as they travel: opaque to everyone outside the vault. Carry them as you like.
using SyncPackage = std::vector<std::vector<std::uint8_t>>;

// One change of this device that the vault may not have yet.
struct LocalChange {
  std::uint64_t sequence = 0;  // of the change set it is part of
  std::int64_t time_ms = 0;
  std::string collection;
  std::string id;
  std::string path;  // "$.field"; "$" for the whole record
  // "set", "unset", "remove", "keep", "edit" (of a text or list), or "purge" (of what every device
  // knows is deleted)
  std::string kind;
};

struct SyncProgress {
  enum class Phase {
    connecting,
    receiving,
    applying,  // what was received is put into the store, in one transaction
    sending,
  } phase = Phase::connecting;
  std::uint64_t items = 0;  // batches, or parts of a checkpoint, done in this phase
  std::uint64_t total = 0;  // that are to be done, as far as known
  std::uint64_t bytes = 0;  // sent and received in this sync
  std::optional<std::int64_t> remaining_ms;  // of this phase, going by its pace so far
};
const char* sync_phase_name(SyncProgress::Phase phase) noexcept;

struct SyncResult {
  SyncState state = SyncState::offline;  // up_to_date, conflict, offline or error
  std::uint64_t applied = 0;             // change sets received
  std::uint64_t sent = 0;                // change sets confirmed by the relay
  std::size_t conflicts_pending = 0;
  std::int64_t duration_ms = 0;
  std::optional<ErrorCode> error;     // of offline and error
  std::string message;                // what to do about it
  std::uint64_t waiting = 0;          // change sets here that wait for others they build on
  std::vector<std::string> rejected;  // batches that could not be taken, and why; the rest was
  std::vector<std::string> notices;   // what the user should know, though nothing failed
};

// A batch of the vault's log that this device could not take, or that does nothing.
struct BatchProblem {
  enum class Kind {
    not_taken,  // it could not be read here; it is tried again at each sync
    is_void,    // it breaks a rule: its changes do nothing, on any device
    ignored,    // its author was taken out of the vault before it
  } kind = Kind::not_taken;
  std::uint64_t position = 0;  // in the log
  std::string device;          // the name of its author
  std::string reason;
};
const char* batch_problem_name(BatchProblem::Kind kind) noexcept;

struct ApplyResult {
  std::uint64_t applied = 0;          // change sets that are now in the store
  std::uint64_t waiting = 0;          // that wait, durably, for others they build on
  std::vector<Conflict> conflicts;    // pending ones, after it
  std::vector<std::string> rejected;  // batches that could not be taken, and why; the rest was
};

// Sends and receives what changed, by a relay or by packages that the app carries. State is kept in
// the store: a sync that is cut anywhere goes on from there. Syncs are serialised; other methods
// and the store may be used from other threads meanwhile. The store must outlive it.
// Not to be called from its own progress callback or an observer of its states, cancel() apart.
class IncrementalSync {
 public:
  explicit IncrementalSync(EncryptedLocalStore& store);

  // One sync with the vault's relay: receives, then sends. Retries what is worth retrying. Being
  // offline is a result, not an exception; so is a vault of which something could not be read
  // (state error, with the rest taken). Throws Error: no_vault, invalid_argument (no relay chosen,
  // or inside a transaction), io and corrupt of the store.
  SyncResult sync(const std::function<void(const SyncProgress&)>& progress = nullptr);
  // Waits at the relay, for `ms` at most, until it has something that this device does not have, or
  // until `stopped` is set. `unknown`: a sync has to find out, as before the first one, and where
  // the relay cannot be reached. From any thread; syncs may run meanwhile.
  enum class News { none, some, unknown };
  News wait_for_news(std::int64_t ms, const std::atomic<bool>* stopped = nullptr);
  // How far a running sync() is, the last one once it is over. From any thread, for a UI that
  // polls: while a large vault is put into the store, in one transaction, `progress` is not called.
  SyncProgress progress() const;
  // Makes a running sync() stop soon with Error(cancelled) in its result. From any thread.
  void cancel() { cancelled_ = true; }

  // Seals what has changed and returns all batches that are not delivered yet; the same bytes again
  // until mark_delivered, or a relay, confirms them. Throws Error(no_vault, revoked), protocol
  // (this device was not given the vault's key).
  SyncPackage prepare_sync_package();
  void mark_delivered(const SyncPackage& package);
  // Takes a package of another device of the vault; an empty one, too, and one taken before.
  ApplyResult apply_remote_changes(const SyncPackage& package);
  // This device's changes in change sets after `since` that no relay has confirmed.
  std::vector<LocalChange> get_local_changes(std::uint64_t since = 0) const;
  // How many change sets of this device no relay has confirmed.
  std::uint64_t count_pending() const;

  // A clock that is off by up to a day is put right by the relay's: edits that are not sent yet get
  // the time that they would have had. Beyond that the user decides: this says that the relay is
  // right, the next time that its time is another by more than that: once.
  void trust_relay_time();

  // What is wrong with the vault's log as far as it is here, in its order.
  std::vector<BatchProblem> problems() const;

  SyncStateManager& states() { return states_; }

 private:
  SyncResult run(const std::string& relay,
                 const std::function<void(const SyncProgress&)>& progress);
  EncryptedLocalStore* store_;
  SyncStateManager states_;

  std::atomic<bool> cancelled_{false};
  std::mutex token_mutex_;
  std::string token_;          // of the last sync's session with the relay
  std::string token_relay_;    // and which that is
  std::int64_t epoch_ms_ = 0;  // where the clocks put the monotonic one's zero then
  std::shared_ptr<sync::LatestProgress> latest_;
};

}  // namespace holdfast
