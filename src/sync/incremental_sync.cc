#include "holdfast/incremental_sync.h"

#include <cstdlib>

#include "holdfast/conflict_resolver.h"
#include "src/model/change_codec.h"
#include "src/model/path.h"
#include "src/sync/session.h"

namespace holdfast {
namespace {

constexpr std::int64_t kClockJumpMs = 60'000;
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

IncrementalSync::IncrementalSync(EncryptedLocalStore& store)
    : store_(&store), states_(store), latest_(std::make_shared<sync::LatestProgress>()) {}

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

SyncProgress IncrementalSync::progress() const { return latest_->get(); }

SyncResult IncrementalSync::run(const std::string& relay,
                                const std::function<void(const SyncProgress&)>& progress) {
  store::Engine& engine = store_->engine();
  const base::Environment& world = engine.environment();
  std::string token;
  std::int64_t epoch_ms = world.clock->now_ms() - world.clock->monotonic_ms();
  {
    // Where the clock was set meanwhile, the relay is asked for the time.
    std::lock_guard lock(token_mutex_);
    bool is_same = token_relay_ == relay && std::abs(epoch_ms - epoch_ms_) < kClockJumpMs;
    if (is_same) token = token_;
  }
  sync::Session session(engine, relay, *world.random, sync::Session::Scope::all, token);
  sync::drive(session, world, &cancelled_, progress, latest_.get());
  {
    std::lock_guard lock(token_mutex_);
    token_ = session.failure() ? "" : session.token();
    token_relay_ = relay;
    epoch_ms_ = epoch_ms;
  }
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

IncrementalSync::News IncrementalSync::wait_for_news(std::int64_t ms,
                                                     const std::atomic<bool>* stopped) {
  store::Engine& engine = store_->engine();
  const base::Environment& world = engine.environment();
  sync::Membership membership(engine);
  std::optional<std::string> relay = membership.relay();
  std::string token;
  {
    std::lock_guard lock(token_mutex_);
    if (token_relay_ == relay) token = token_;
  }
  bool can = membership.in_vault() && membership.log() && relay && world.network && !token.empty();
  if (!can) return News::unknown;
  sync::RelayClient client(*relay);
  client.set_vault(membership.vault());
  client.set_token(token);
  base::HttpRequest request = client.get_log(membership.log()->position, 0, ms);
  request.cancelled = stopped;
  base::HttpResponse response = world.network->perform(request);
  if (stopped && *stopped) return News::none;
  if (response.status == 401) {
    std::lock_guard lock(token_mutex_);
    if (token_ == token) token_.clear();
  }
  if (response.status != 200) return News::unknown;
  try {
    wire::LogPage page = wire::decode_log_page(response.body);
    bool same = page.log_id == membership.log()->log_id &&
                page.head == membership.log()->position &&
                page.control_head == membership.control().head();
    return same ? News::none : News::some;
  } catch (const Error&) {
    return News::unknown;
  }
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

const char* batch_problem_name(BatchProblem::Kind kind) noexcept {
  switch (kind) {
    case BatchProblem::Kind::not_taken: return "not_taken";
    case BatchProblem::Kind::is_void: return "void";
    case BatchProblem::Kind::ignored: return "ignored";
  }
  return "unknown";
}

void IncrementalSync::trust_relay_time() {
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  engine.database().set_meta(sync::kTrustsRelayTime, Bytes{1});
  transaction.commit();
  std::lock_guard lock(token_mutex_);
  token_.clear();  // the next sync asks for the time
}

std::vector<BatchProblem> IncrementalSync::problems() const {
  store::Engine& engine = store_->engine();
  std::lock_guard lock(engine.mutex());
  sync::Membership membership(engine);
  std::vector<BatchProblem> out;
  store::Statement query(engine.database().connection().prepare(
      "SELECT position, device, held, reason FROM log WHERE held <> 0 OR reason <> '' "
      "ORDER BY position"));
  while (query.step()) {
    using Kind = BatchProblem::Kind;
    std::int64_t held = query.integer(2);
    if (held == 2) continue;
    BatchProblem problem;
    problem.kind = held < 0 ? Kind::ignored : held > 0 ? Kind::not_taken : Kind::is_void;
    problem.position = static_cast<std::uint64_t>(query.integer(0));
    problem.device =
        membership.device_name(base::Reader(query.blob(1), "a device id").array<16>()).name;
    problem.reason = std::string(query.text(3));
    if (held < 0) problem.reason = "its author was taken out of the vault before it";
    out.push_back(std::move(problem));
  }
  return out;
}

std::uint64_t IncrementalSync::count_pending() const {
  store::Engine& engine = store_->engine();
  sync::Membership membership(engine);
  return sync::Outbox(engine, membership).count_changes();
}

}  // namespace holdfast
