#pragma once

#include <atomic>

#include "holdfast/conflict.h"
#include "holdfast/sync_state_manager.h"

namespace holdfast {

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
  enum class Phase { connecting, receiving, sending } phase = Phase::connecting;
  std::uint64_t items = 0;  // batches done in this phase
  std::uint64_t total = 0;  // batches to do, as far as known
  std::uint64_t bytes = 0;  // of sealed batches, both ways
};

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

  SyncStateManager& states() { return states_; }

 private:
  SyncResult run(const std::string& relay,
                 const std::function<void(const SyncProgress&)>& progress);
  EncryptedLocalStore* store_;
  SyncStateManager states_;

  std::atomic<bool> cancelled_{false};
};

}  // namespace holdfast
