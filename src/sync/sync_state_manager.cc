#include "holdfast/sync_state_manager.h"

#include <algorithm>
#include <stdexcept>

#include "src/store/engine.h"

namespace holdfast {
namespace {

using S = SyncState;

// Every legal step. A sync starts from any state at rest and ends in any; between syncs the user
// settles conflicts, or a package brings some.
constexpr std::pair<SyncState, SyncState> kTransitions[] = {
    {S::offline, S::syncing},     {S::up_to_date, S::syncing}, {S::conflict, S::syncing},
    {S::error, S::syncing},       {S::syncing, S::up_to_date}, {S::syncing, S::conflict},
    {S::syncing, S::offline},     {S::syncing, S::error},      {S::conflict, S::up_to_date},
    {S::up_to_date, S::conflict}, {S::conflict, S::offline},   {S::up_to_date, S::offline},
    {S::error, S::offline},
};

constexpr SyncState kStates[] = {S::offline, S::syncing, S::conflict, S::up_to_date, S::error};

SyncMetadata load(store::Engine& engine) {
  SyncMetadata out;
  std::lock_guard lock(engine.mutex());
  std::optional<Bytes> bytes = engine.database().meta("sync");
  if (!bytes) return out;
  nlohmann::json kept = nlohmann::json::parse(bytes->begin(), bytes->end(), nullptr, false);
  if (!kept.is_object()) throw Error(ErrorCode::corrupt, "the store's sync state is damaged");
  for (SyncState state : kStates) {
    if (kept.value("state", "") == sync_state_name(state)) out.state = state;
  }
  out.last_sync_timestamp = kept.value("last_sync_timestamp", std::int64_t{0});
  out.items_synced = kept.value("items_synced", std::uint64_t{0});
  out.conflicts_resolved = kept.value("conflicts_resolved", std::uint64_t{0});
  out.sync_duration_ms = kept.value("sync_duration_ms", std::int64_t{0});
  out.error_message = kept.value("error_message", "");
  out.network_type = kept.value("network_type", "unknown");
  if (out.state == SyncState::syncing) out.state = SyncState::offline;
  return out;
}

}  // namespace

const char* sync_state_name(SyncState state) noexcept {
  switch (state) {
    case SyncState::offline: return "offline";
    case SyncState::syncing: return "syncing";
    case SyncState::conflict: return "conflict";
    case SyncState::up_to_date: return "up_to_date";
    case SyncState::error: return "error";
  }
  return "unknown";
}

SyncStateManager::SyncStateManager(EncryptedLocalStore& store)
    : store_(&store), metadata_(load(store.engine())) {}

SyncState SyncStateManager::state() const { return metadata().state; }

SyncMetadata SyncStateManager::metadata() const {
  std::lock_guard lock(mutex_);
  return metadata_;
}

bool SyncStateManager::is_legal(SyncState from, SyncState to) noexcept {
  return std::find(std::begin(kTransitions), std::end(kTransitions), std::pair(from, to)) !=
         std::end(kTransitions);
}

void SyncStateManager::transition(SyncState to, SyncMetadata metadata) {
  SyncState from = state();
  if (!is_legal(from, to)) {
    throw std::logic_error(std::string("no sync goes from ") + sync_state_name(from) + " to " +
                           sync_state_name(to));
  }
  metadata.state = to;
  keep(metadata);
}

void SyncStateManager::set_network_type(const std::string& type) {
  SyncMetadata changed = metadata();
  changed.network_type = type;
  keep(changed);
}

void SyncStateManager::count_resolved() {
  SyncMetadata changed = metadata();
  ++changed.conflicts_resolved;
  std::size_t pending = 0;
  {
    std::lock_guard lock(store_->engine().mutex());
    pending = store_->engine().records().count_pending();
  }
  if (changed.state == SyncState::conflict && pending == 0) changed.state = SyncState::up_to_date;
  keep(changed);
}

void SyncStateManager::keep(const SyncMetadata& metadata) {
  nlohmann::json kept = {{"state", sync_state_name(metadata.state)},
                         {"last_sync_timestamp", metadata.last_sync_timestamp},
                         {"items_synced", metadata.items_synced},
                         {"conflicts_resolved", metadata.conflicts_resolved},
                         {"sync_duration_ms", metadata.sync_duration_ms},
                         {"error_message", metadata.error_message},
                         {"network_type", metadata.network_type}};
  std::string text = kept.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  {
    store::Engine::Transaction transaction(store_->engine());
    store_->engine().database().set_meta("sync", base::view(text));
    transaction.commit();
  }
  {
    std::lock_guard lock(mutex_);
    metadata_ = metadata;
  }
  observers_.tell(metadata);
}

int SyncStateManager::subscribe(Observer observer) { return observers_.add(std::move(observer)); }

void SyncStateManager::unsubscribe(int subscription) { observers_.remove(subscription); }

}  // namespace holdfast
