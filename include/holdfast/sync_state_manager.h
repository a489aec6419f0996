#pragma once

#include <functional>
#include <mutex>

#include "holdfast/encrypted_local_store.h"
#include "holdfast/observers.h"

namespace holdfast {

enum class SyncState { offline, syncing, conflict, up_to_date, error };
const char* sync_state_name(SyncState state) noexcept;

// What is known of the last sync; kept across restarts.
struct SyncMetadata {
  SyncState state = SyncState::offline;
  std::int64_t last_sync_timestamp = 0;  // UTC milliseconds of the last that succeeded; 0: never
  std::uint64_t items_synced = 0;        // change sets sent and received, in all
  std::uint64_t conflicts_resolved = 0;  // by the user on this device, in all
  std::int64_t sync_duration_ms = 0;     // of the last sync
  std::string error_message;             // of the last sync; empty where it succeeded
  std::string network_type = "unknown";  // as the app last said
};

// The state of sync, for a user interface. Thread-safe; observers are called on the thread that
// caused the change, without a lock held. Use the one of your IncrementalSync: another object sees
// what was kept when it was made. The store must outlive it.
class SyncStateManager {
 public:
  using Observer = std::function<void(const SyncMetadata&)>;

  // Reads what was kept. A sync that was under way when the process ended counts as offline.
  explicit SyncStateManager(EncryptedLocalStore& store);

  SyncState state() const;
  SyncMetadata metadata() const;
  static bool is_legal(SyncState from, SyncState to) noexcept;

  // Moves on and keeps `metadata` (its state becomes `to`). An illegal transition is a bug in the
  // caller: std::logic_error. Throws Error(io).
  void transition(SyncState to, SyncMetadata metadata);
  void transition(SyncState to) { transition(to, metadata()); }

  void set_network_type(const std::string& type);  // "wifi", "cellular", "ethernet", …
  void count_resolved();                           // the user resolved a conflict

  int subscribe(Observer observer);
  void unsubscribe(int subscription);  // waits for calls of it on other threads

 private:
  void keep(const SyncMetadata& metadata);
  EncryptedLocalStore* store_;
  mutable std::mutex mutex_;
  SyncMetadata metadata_;
  Observers<const SyncMetadata&> observers_;
};

}  // namespace holdfast
