#include "src/sync/session.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/sync/acknowledgements.h"

namespace holdfast::sync {
namespace {

constexpr int kAttempts = 4;
constexpr int kListRefreshes = 3;
constexpr std::int64_t kFirstBackoffMs = 300;
constexpr std::int64_t kMaxBackoffMs = 30'000;
constexpr std::size_t kPushBytes = 3 << 20;  // of batches in one request
constexpr std::size_t kPullBytes = 2 << 20;  // and in one answer
constexpr std::int64_t kWaitStepMs = 100;    // how soon a wait notices that it is cancelled

}  // namespace

Session::Session(store::Engine& engine, const std::string& relay_url, base::Random& random,
                 Scope scope)
    : engine_(engine),
      random_(random),
      scope_(scope),
      membership_(engine),
      outbox_(engine, membership_),
      inbox_(engine, membership_, outbox_, scope == Scope::all),
      beginning_(engine, membership_),
      client_(relay_url),
      push_bytes_(kPushBytes) {
  membership_.require();
  client_.set_vault(membership_.vault());
  try {
    // Nothing that a relay says would change it; a store that is about to be another device is in.
    if (!beginning_.is_enrolled()) membership_.require_not_revoked();
  } catch (const Error& error) {
    failure_ = error;
    phase_ = Phase::done;
  }
  inbox_.set_only_keeping(beginning_.is_under_way());
}

Session::Next Session::next() {
  if (phase_ == Phase::done) return Next::done;
  if (wait_ms_ > 0) return Next::wait;
  if (!prepared_) prepare();
  return phase_ == Phase::done ? Next::done : Next::request;
}

void Session::enter(Phase phase) {
  phase_ = phase;
  prepared_ = false;
  attempts_ = 0;
}

void Session::prepare() {
  prepared_ = true;
  switch (phase_) {
    case Phase::challenge: request_ = client_.challenge(); break;
    case Phase::login: prepare_login(); break;
    case Phase::control: request_ = client_.get_control(membership_.control().count()); break;
    case Phase::enrol: prepare_enrolment(); break;
    case Phase::relist:
      request_ = client_.restore_control(relist_at_, membership_.record_at(relist_at_));
      break;
    case Phase::pull: request_ = client_.get_log(membership_.log()->position, kPullBytes); break;
    case Phase::restart:
      request_ = client_.restart(relay_log_, *membership_.log(), membership_.control().count());
      break;
    case Phase::compare: request_ = client_.get_log(common_->next().value(), 0); break;
    case Phase::restore: prepare_restore(); break;
    case Phase::push: prepare_push(); break;
    case Phase::done: break;
  }
}

void Session::prepare_push() {
  if (scope_ == Scope::receive) return enter(Phase::done);
  // First what follows from what has just come.
  if (!settled_) {
    settled_ = true;
    engine_.settle();
    Acknowledgements acknowledgements(engine_, membership_);
    try {
      acknowledgements.purge();
    } catch (const Error& error) {  // it can wait; what the user wrote cannot
      if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
    }
    outbox_.seal();
    if (acknowledgements.is_due()) outbox_.seal_acknowledgement();
  }
  outbox_.seal();
  sent_ = outbox_.list(push_bytes_);
  if (sent_.empty()) return enter(Phase::done);
  std::vector<Bytes> bodies;
  bodies.reserve(sent_.size());
  for (const OutboxBatch& batch : sent_) bodies.push_back(batch.body);
  request_ = client_.push(bodies);
}

void Session::deliver(const base::HttpResponse& response) {
  try {
    // A session that ran out is renewed once; a device that is refused for good stays refused.
    if (response.status == 401 && client_.signed_in() && !renewed_) {
      renewed_ = true;
      client_.forget_token();
      return enter(Phase::challenge);
    }
    if (response.status == 409 && phase_ == Phase::enrol && refreshed_ < kListRefreshes) {
      return look_again();  // the list has changed meanwhile
    }
    // A relay that lost the end of its list may not know this device.
    if (response.status == 403 && phase_ == Phase::login && rewinds_++ == 0) return heal_list();
    if (response.status == 409 && phase_ == Phase::relist && client_.signed_in() && !told_loss_) {
      told_loss_ = true;  // it does not know yet that it lost something
      is_relisting_ = false;
      return enter(Phase::restart);
    }
    if (response.status == 409 && phase_ == Phase::relist && !client_.signed_in()) {
      throw Error(
          ErrorCode::refused,
          "the relay does not know this device, and has not lost anything that it knows of: "
          "sync a device that has been in the vault for longer, or have the relay started "
          "with --restored");
    }
    // It may have been taken out of the vault: the device list says so, and who did it.
    if (response.status == 403 && phase_ >= Phase::pull && refreshed_ < kListRefreshes) {
      return look_again();
    }
    if (response.status == 404 && phase_ == Phase::login) {
      throw Error(
          ErrorCode::not_found,
          "the relay does not hold the vault (any more): nothing here is deleted. 'holdfast "
          "relay URL' puts all of it there again");
    }
    check_answer(response);
    bytes_ += response.body.size() + request_.body.size();
    handle(response.body);
  } catch (const MustBeginAgain& found) {
    begin_again(found.why);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
    retry_or_fail(error, response.retry_after_ms);
  }
}

// Full jitter over a capped exponential back-off: devices that failed together do not return
// together.
void Session::retry_or_fail(const Error& error, std::int64_t retry_after_ms) {
  if (!worth_retrying(error) || ++attempts_ >= kAttempts) {
    failure_ = error;
    phase_ = Phase::done;
    return;
  }
  std::int64_t cap = std::min(kMaxBackoffMs, kFirstBackoffMs << (attempts_ - 1));
  std::int64_t jitter =
      static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(cap))) + 1;
  wait_ms_ = std::max(jitter, std::min(retry_after_ms, kMaxBackoffMs));
  push_bytes_ /= 4;  // a slow link may carry less at a time; one batch always goes
  prepared_ = false;
}

void Session::cancel() {
  failure_ = Error(ErrorCode::cancelled, "the sync was cancelled; the next one goes on from here");
  phase_ = Phase::done;
}

void Session::look_again() {
  ++refreshed_;
  enter(Phase::control);
}

void Session::handle(ByteView body) {
  switch (phase_) {
    case Phase::challenge:
      if (body.size() > 4096)
        throw Error(ErrorCode::protocol, "the relay's challenge is too large");
      nonce_ = base::to_bytes(body);
      return enter(Phase::login);
    case Phase::login: client_.accept_session(body); return enter(Phase::control);
    case Phase::control: return on_control(body);
    case Phase::enrol: return enter(Phase::control);
    case Phase::relist: return on_relisted(body);
    case Phase::pull: return on_page(body);
    case Phase::restart: return on_restarted(body);
    case Phase::compare: return on_compared(body);
    case Phase::restore: return on_restored(body);
    case Phase::push: return on_push(body);
    case Phase::done: return;
  }
}

void Session::on_control(ByteView body) {
  std::vector<Bytes> records = wire::decode_list(body);
  if (records.empty()) {
    if (!beginning_.is_enrolled()) membership_.require_not_revoked();
    if (is_relisting_) return heal_list();
    if (scope_ == Scope::all) membership_.require_current_key();
    if (beginning_.is_under_way() && !beginning_.is_enrolled()) return enter(Phase::enrol);
    inbox_.retry_held(counts_);
    return enter(Phase::pull);
  }
  store::Engine::Transaction transaction(engine_);
  for (const Bytes& record : records) membership_.append_control(record);
  transaction.commit();
  enter(Phase::control);
}

void Session::on_page(ByteView body) {
  wire::LogPage page = wire::decode_log_page(body);
  // A device may have entered since the list was fetched: its batches need the newer list.
  relay_log_ = page.log_id;
  if (!fits(page)) return heal_log(page);
  if (page.control_head != membership_.control().head()) {
    if (refreshed_ >= kListRefreshes) {
      throw Error(
          ErrorCode::fork,
          "the relay shows another list of the vault's devices than this device has seen: "
          "nothing was taken from it. If it lost data, another device went on from an older "
          "list: make a backup of this store, restore it as a new one, and join with that");
    }
    is_relisting_ = membership_.control().holds(page.control_head);
    return look_again();
  }
  membership_.check_revocations(0);
  if (page.head < promised_) {
    throw Error(ErrorCode::protocol, "the relay does not hold what it said that it had stored");
  }
  inbox_.take_page(page, counts_);
  if (!page.batches.empty()) {
    renewed_ = false;
    refreshed_ = 0;
  }
  to_receive_ = counts_.batches + (page.head - membership_.log()->position);
  if (page.head > membership_.log()->position) return enter(Phase::pull);
  if (beginning_.is_under_way()) return finish_beginning();
  enter(Phase::restore);
}

void Session::on_push(ByteView body) {
  using wire::PushStatus;
  wire::PushAnswer answer = wire::decode_push_answer(body);
  if (answer.items.size() != sent_.size()) {
    throw Error(ErrorCode::protocol, "the relay's answer to a push does not fit it");
  }
  if (answer.log_id != membership_.log()->log_id) return look_at_new_log();
  std::uint64_t before = membership_.log()->position;
  inbox_.take_confirmed(answer, sent_, counts_);
  std::uint64_t confirmed = membership_.log()->position - before;
  pushed_ += confirmed;
  if (confirmed > 0) renewed_ = false;
  if (confirmed == sent_.size()) return enter(Phase::push);
  switch (answer.items[confirmed].status) {
    case PushStatus::ok:
    case PushStatus::duplicate: return pull_to(answer.head);
    case PushStatus::epoch_stale: return on_stale(sent_[confirmed]);
    case PushStatus::device_fork:
      // The log shows whose changes those are; a copy finds them there.
      if (looked_for_others_) {
        throw Error(ErrorCode::protocol,
                    "the relay says that it holds other changes of this device, and does not show "
                    "them: nothing was sent");
      }
      looked_for_others_ = true;
      return enter(Phase::pull);
    case PushStatus::refused:
      throw Error(ErrorCode::refused, "the relay refuses a batch of this device");
  }
}

// Others' batches came in between.
void Session::pull_to(std::uint64_t head) {
  if (head <= membership_.log()->position) {
    throw Error(ErrorCode::protocol, "the relay says that it stored what its log does not hold");
  }
  promised_ = head;
  enter(Phase::pull);
}

// The vault's key was changed after this was sealed. What the relay has refused for good, and it
// alone, is sealed anew: sent twice under two names it would be there twice.
void Session::on_stale(const OutboxBatch& refused) {
  if (wire::decode_batch_header(refused.body).epoch < membership_.control().epoch()) {
    outbox_.seal_again(refused.batch);
    return enter(Phase::push);
  }
  if (refreshed_ >= kListRefreshes) {
    throw Error(ErrorCode::protocol,
                "the relay says that the vault's key was changed, and does not show by whom: "
                "nothing was sent");
  }
  look_again();
}

SyncProgress Session::progress() const {
  SyncProgress out;
  out.bytes = bytes_;
  if (phase_ == Phase::pull) {
    out.phase = SyncProgress::Phase::receiving;
    out.items = counts_.batches;
    out.total = to_receive_;
  } else if (phase_ == Phase::push || phase_ == Phase::done) {
    out.phase = SyncProgress::Phase::sending;
    out.items = pushed_;
    out.total = pushed_ + outbox_.count_batches();
  }
  return out;
}

void drive(Session& session, const base::Environment& world, const std::atomic<bool>* cancelled,
           const std::function<void(const SyncProgress&)>& progress) {
  auto is_cancelled = [&] { return cancelled && *cancelled; };
  for (;;) {
    if (is_cancelled()) session.cancel();
    Session::Next next = session.next();
    if (next == Session::Next::done) return;
    if (next == Session::Next::wait) {
      std::int64_t until = world.clock->monotonic_ms() + session.wait_ms();
      while (!is_cancelled() && world.clock->monotonic_ms() < until) {
        world.clock->sleep_ms(std::min(kWaitStepMs, until - world.clock->monotonic_ms()));
      }
      session.waited();
      continue;
    }
    base::HttpRequest request = session.request();
    request.cancelled = cancelled;
    base::HttpResponse response = world.network->perform(request);
    if (is_cancelled()) continue;
    session.deliver(response);
    if (progress) progress(session.progress());
  }
}

}  // namespace holdfast::sync
