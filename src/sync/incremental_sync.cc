#include "holdfast/incremental_sync.h"

#include "holdfast/conflict_resolver.h"
#include "src/model/change_codec.h"
#include "src/model/path.h"
#include "src/sync/session.h"

namespace holdfast {
namespace {

constexpr std::size_t kPackageBytes = 64u << 20;  // of one prepare_sync_package

const char* kind_name(model::OpKind kind) {
  switch (kind) {
    case model::OpKind::set: return "set";
    case model::OpKind::unset: return "unset";
    case model::OpKind::remove: return "remove";
    case model::OpKind::keep: return "keep";
    case model::OpKind::whole: return "set";
    case model::OpKind::drop: return "unset";
    case model::OpKind::edit: return "edit";
    case model::OpKind::purge:
    case model::OpKind::fold: return "purge";
  }
  return "unknown";
}

}  // namespace

IncrementalSync::IncrementalSync(EncryptedLocalStore& store) : store_(&store), states_(store) {}

SyncResult IncrementalSync::sync(const std::function<void(const SyncProgress&)>& progress) {
  store::Engine& engine = store_->engine();
  engine.require_no_transaction();
  cancelled_ = false;
  std::lock_guard running(engine.sync_mutex());
  sync::Membership membership(engine);
  membership.require();
  std::optional<std::string> relay = membership.relay();
  if (!relay || !membership.log()) {
    throw Error(ErrorCode::invalid_argument,
                "no relay is chosen yet: choose one first ('holdfast relay URL')");
  }
  if (!engine.environment().network) {
    throw Error(ErrorCode::invalid_argument, "this store was opened without a network");
  }
  std::int64_t start = engine.environment().clock->monotonic_ms();
  SyncMetadata before = states_.metadata();
  states_.transition(SyncState::syncing, before);
  SyncResult result;
  try {
    result = run(*relay, progress);
  } catch (const std::exception& error) {
    SyncMetadata failed = states_.metadata();
    failed.error_message = error.what();
    try {
      states_.transition(SyncState::error, failed);
    } catch (const Error&) {
      // The store is what failed: the first error says why.
    }
    throw;
  }
  result.duration_ms = engine.environment().clock->monotonic_ms() - start;
  SyncMetadata after = states_.metadata();
  after.items_synced += result.applied + result.sent;
  after.sync_duration_ms = result.duration_ms;
  after.error_message = result.message;
  if (!result.error) after.last_sync_timestamp = engine.environment().clock->now_ms();
  states_.transition(result.state, after);
  return result;
}

SyncResult IncrementalSync::run(const std::string& relay,
                                const std::function<void(const SyncProgress&)>& progress) {
  store::Engine& engine = store_->engine();
  const base::Environment& world = engine.environment();
  sync::Session session(engine, relay, *world.random);
  sync::drive(session, world, &cancelled_, progress);
  SyncResult result;
  result.applied = session.counts().applied;
  result.sent = session.counts().confirmed;
  result.rejected = session.counts().rejected;
  result.notices = session.counts().notices;
  result.waiting = engine.count_waiting();
  result.conflicts_pending = ConflictResolver(*store_).count_pending();
  if (session.failure()) {
    result.error = session.failure()->code();
    result.message = session.failure()->what();
    bool offline =
        sync::worth_retrying(*session.failure()) || *result.error == ErrorCode::cancelled;
    result.state = offline ? SyncState::offline : SyncState::error;
  } else if (!result.rejected.empty()) {
    // Taken as far as it goes, but this device does not show all that the vault holds.
    result.state = SyncState::error;
    result.error = ErrorCode::malformed;
    result.message =
        std::to_string(result.rejected.size()) +
        " batches could not be taken; the rest is here. Update the app, or look at the device "
        "that wrote them";
  } else {
    result.state = result.conflicts_pending > 0 ? SyncState::conflict : SyncState::up_to_date;
  }
  return result;
}

SyncPackage IncrementalSync::prepare_sync_package() {
  store::Engine& engine = store_->engine();
  engine.require_no_transaction();
  std::lock_guard running(engine.sync_mutex());
  sync::Membership membership(engine);
  membership.require();
  membership.require_not_revoked();
  membership.require_current_key();
  sync::Outbox outbox(engine, membership);
  outbox.seal();
  SyncPackage package;
  for (sync::OutboxBatch& batch : outbox.list(kPackageBytes, true)) {
    package.push_back(std::move(batch.body));
  }
  return package;
}

void IncrementalSync::mark_delivered(const SyncPackage& package) {
  store::Engine& engine = store_->engine();
  sync::Membership membership(engine);
  sync::Outbox outbox(engine, membership);
  store::Engine::Transaction transaction(engine);
  for (const Bytes& batch : package) outbox.mark_delivered(wire::decode_batch_header(batch).batch);
  transaction.commit();
}

ApplyResult IncrementalSync::apply_remote_changes(const SyncPackage& package) {
  store::Engine& engine = store_->engine();
  engine.require_no_transaction();
  std::lock_guard running(engine.sync_mutex());
  sync::Membership membership(engine);
  membership.require();
  sync::Outbox outbox(engine, membership);
  sync::Inbox inbox(engine, membership, outbox);
  sync::InboxCounts counts;
  for (const Bytes& batch : package) inbox.take_loose(batch, counts);
  ApplyResult result;
  result.applied = counts.applied;
  result.waiting = counts.waiting;
  result.rejected = std::move(counts.rejected);
  result.conflicts = ConflictResolver(*store_).conflicts(true);
  if (states_.state() == SyncState::up_to_date && !result.conflicts.empty()) {
    states_.transition(SyncState::conflict);
  }
  return result;
}

std::vector<LocalChange> IncrementalSync::get_local_changes(std::uint64_t since) const {
  store::Engine& engine = store_->engine();
  std::lock_guard lock(engine.mutex());
  sync::Membership membership(engine);
  std::vector<LocalChange> out;
  auto add = [&](const model::ChangeSet& change) {
    if (change.sequence <= since) return;
    for (const model::Op& op : change.ops) {
      out.push_back({change.sequence, change.hlc.ms(), op.collection, op.record,
                     model::display_path(op.path), kind_name(op.kind)});
    }
  };
  if (membership.in_vault()) {
    for (const sync::OutboxBatch& batch : sync::Outbox(engine, membership).list(SIZE_MAX, false)) {
      if (batch.last <= since) continue;
      for (const model::ChangeSet& change : sync::open_batch(batch.body, membership).changes) {
        add(change);
      }
    }
  }
  store::Statement query(engine.database().connection().prepare(
      "SELECT body FROM change WHERE sequence > ? ORDER BY sequence"));
  query.bind(since);
  while (query.step()) {
    add(model::decode_changes(query.blob(0), engine.identity().id).front());
  }
  return out;
}

std::uint64_t IncrementalSync::count_pending() const {
  store::Engine& engine = store_->engine();
  sync::Membership membership(engine);
  return sync::Outbox(engine, membership).count_changes();
}

}  // namespace holdfast
