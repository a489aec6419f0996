#include "src/sync/session.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/control_client.h"

namespace holdfast::sync {
namespace {

constexpr int kAttempts = 4;
constexpr int kAttemptsCut = 10;  // where the relay is there, and the link breaks
constexpr int kListRefreshes = 3;
constexpr int kExchanges = 20;  // checkpoints loaded and verified in one sync
constexpr std::int64_t kFirstBackoffMs = 300;
constexpr std::int64_t kMaxBackoffMs = 30'000;
constexpr std::size_t kPushBytes = 3 << 20;  // of batches in one request
constexpr std::size_t kPullBytes = 2 << 20;  // and in one answer
constexpr std::size_t kLeastBytes = 16 << 10;

}  // namespace

Session::Session(store::Engine& engine, const std::string& relay_url, base::Random& random,
                 Scope scope, const std::string& token)
    : engine_(engine),
      random_(random),
      scope_(scope),
      membership_(engine),
      outbox_(engine, membership_),
      inbox_(engine, membership_, outbox_, scope == Scope::all),
      beginning_(engine, membership_),
      client_(relay_url),
      exchange_(engine, membership_, inbox_, client_, work_step_),
      push_bytes_(kPushBytes),
      pull_bytes_(kPullBytes) {
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
  if (token.empty() || phase_ == Phase::done) return;
  client_.set_token(token);
  is_token_old_ = true;
  is_quick_ = scope == Scope::all && membership_.log() && !beginning_.is_under_way() &&
              membership_.has_epoch_key(membership_.control().epoch()) &&
              outbox_.count_changes() > 0 && LostBatches(engine_).count() == 0 &&
              !exchange_.is_due();
  enter(is_quick_ ? Phase::push : Phase::control);
}

Session::Next Session::next() {
  if (phase_ == Phase::done) return Next::done;
  if (wait_ms_ > 0) return Next::wait;
  try {
    if (!prepared_) prepare();
  } catch (const MustBeginAgain& found) {
    begin_again(found.why);
    return next();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
    failure_ = error;
    phase_ = Phase::done;
  }
  return phase_ == Phase::done ? Next::done : Next::request;
}

void Session::enter(Phase phase) {
  if (phase == Phase::challenge || phase == Phase::control) is_quick_ = false;
  phase_ = phase;
  prepared_ = false;
  parts_ = 0;
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
    case Phase::pull: request_ = client_.get_log(membership_.log()->position, pull_bytes_); break;
    case Phase::restart:
      request_ = client_.restart(relay_log_, *membership_.log(), membership_.control().count());
      break;
    case Phase::compare: request_ = client_.get_log(common_->next().value(), 0); break;
    case Phase::restore: prepare_restore(); break;
    case Phase::push: prepare_push(); break;
    case Phase::checkpoint:
      if (std::optional<base::HttpRequest> request = exchange_.next(counts_)) {
        request_ = std::move(*request);
      } else {
        enter(after_exchange_);
        prepare();
      }
      break;
    case Phase::done: break;
  }
}

void Session::exchange_checkpoint(Phase then) {
  after_exchange_ = then;
  enter(Phase::checkpoint);
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
  if (sent_.empty() && outbox_.seal_claims()) sent_ = outbox_.list(push_bytes_);
  if (sent_.empty()) {
    if (std::exchange(kept_up_, true) || is_quick_) return enter(Phase::done);
    exchange_.start_upkeep();
    exchange_checkpoint(Phase::push);  // what was written meanwhile goes, too
    return prepare();
  }
  std::vector<Bytes> bodies;
  bodies.reserve(sent_.size());
  for (const OutboxBatch& batch : sent_) bodies.push_back(batch.body);
  request_ = client_.push(bodies);
}

void Session::deliver(const base::HttpResponse& response) {
  try {
    bool is_refused = response.status == 401 || response.status == 403 || response.status == 404;
    if (std::exchange(is_token_old_, is_token_old_ && response.status == 0) && is_refused) {
      client_.forget_token();
      return enter(Phase::challenge);
    }
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
    bool unavailable = response.status == 404 || response.status == 409;
    if (unavailable && phase_ == Phase::checkpoint && exchange_.give_up()) {
      prepared_ = false;
      return;
    }
    if (response.status == 410) throw erased(membership_, response.body);
    check_answer(response);
    bytes_ += response.body.size() + request_.body.size();
    push_bytes_ = std::min(kPushBytes, push_bytes_ + push_bytes_ / 8);
    pull_bytes_ = std::min(kPullBytes, pull_bytes_ + pull_bytes_ / 8);
    handle(response.body);
  } catch (const MustBeginAgain& found) {
    begin_again(found.why);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
    retry_or_fail(error, response);
  }
}

// Full jitter over a capped exponential back-off: devices that failed together do not return
// together.
void Session::retry_or_fail(const Error& error, const base::HttpResponse& response) {
  int most = response.was_cut ? kAttemptsCut : kAttempts;
  if (!worth_retrying(error) || ++attempts_ >= most) {
    failure_ = error;
    phase_ = Phase::done;
    return;
  }
  std::int64_t cap = kFirstBackoffMs;  // a link that is cut now and then is there again at once
  if (!response.was_cut) cap = std::min(kMaxBackoffMs, kFirstBackoffMs << (attempts_ - 1));
  std::int64_t jitter =
      static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(cap))) + 1;
  wait_ms_ = std::max(jitter, std::min(response.retry_after_ms, kMaxBackoffMs));
  // A bad link may carry less at a time, a proxy may not wait for more; one batch always goes.
  if (response.status == 0 || response.status == 502 || response.status == 504) {
    push_bytes_ = std::max(kLeastBytes, push_bytes_ / 4);
    pull_bytes_ = std::max(kLeastBytes, pull_bytes_ / 4);
  }
  prepared_ = false;
}

Error Session::cancellation() {
  return Error(ErrorCode::cancelled, "the sync was cancelled; the next one goes on from here");
}

void Session::cancel() {
  failure_ = cancellation();
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
    case Phase::login: note_relay_time(client_.accept_session(body)); return enter(Phase::control);
    case Phase::control: return on_control(body);
    case Phase::enrol: return enter(Phase::control);
    case Phase::relist: return on_relisted(body);
    case Phase::pull: return on_page(body);
    case Phase::restart: return on_restarted(body);
    case Phase::compare: return on_compared(body);
    case Phase::restore: return on_restored(body);
    case Phase::push: return on_push(body);
    case Phase::checkpoint: exchange_.deliver(body, counts_); return enter(Phase::checkpoint);
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
  exchange_.note(page);
  if (exchange_.must_load()) {
    require_few_exchanges();
    exchange_.start_loading();
    return exchange_checkpoint(Phase::pull);
  }
  bool verifies = exchanges_ < kExchanges && stop_where_to_verify(page);
  bool nothing = verifies && page.batches.empty();  // it is here already
  if (!nothing) inbox_.take_page(page, counts_);
  if (!page.batches.empty()) {
    renewed_ = false;
    refreshed_ = 0;
  }
  to_receive_ = counts_.batches + (page.head - membership_.log()->position);
  if (verifies) {
    ++exchanges_;
    exchange_.start_verifying();
    return exchange_checkpoint(Phase::pull);
  }
  if (page.head > membership_.log()->position) return enter(Phase::pull);
  if (beginning_.is_under_way()) return finish_beginning();
  enter(Phase::restore);
}

// A relay that shows another one each time would keep this device from its own work for ever.
void Session::require_few_exchanges() {
  if (exchanges_++ < kExchanges) return;
  throw Error(ErrorCode::protocol,
              "the relay shows one checkpoint after the other, and has none of them: nothing was "
              "lost here; tell whoever runs the relay");
}

// Another device's checkpoint can be verified only where this store holds the same: the page is
// taken up to there first.
bool Session::stop_where_to_verify(wire::LogPage& page) const {
  std::uint64_t place = exchange_.place_to_verify();
  std::uint64_t here = membership_.log()->position;
  bool can = scope_ == Scope::all && place >= here && place - here <= page.batches.size() &&
             place > 0 && outbox_.count_changes() == 0;
  if (!can) return false;
  if (place - here < page.batches.size()) {
    page.batches.resize(place - here);
    page.end_chain = page.start_chain;
    for (std::uint64_t i = 0; i < page.batches.size(); ++i) {
      page.end_chain =
          wire::chain_next(page.end_chain, here + i + 1, wire::leaf_of(page.batches[i]));
    }
  }
  return true;
}

void Session::on_push(ByteView body) {
  using wire::PushStatus;
  wire::PushAnswer answer = wire::decode_push_answer(body);
  if (answer.items.size() != sent_.size()) {
    throw Error(ErrorCode::protocol, "the relay's answer to a push does not fit it");
  }
  if (answer.log_id != membership_.log()->log_id) {
    return is_quick_ ? enter(Phase::control) : look_at_new_log();
  }
  std::uint64_t before = membership_.log()->position;
  inbox_.take_confirmed(answer, sent_, counts_);
  std::uint64_t confirmed = membership_.log()->position - before;
  pushed_ += confirmed;
  if (confirmed > 0) renewed_ = false;
  bool is_all = confirmed == sent_.size() && answer.head == membership_.log()->position;
  if (is_quick_ && !is_all) return enter(Phase::control);
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
    case PushStatus::quota:
      throw Error(ErrorCode::too_large,
                  "the vault's quota on this relay is used up: what it has no room for waits here, "
                  "and nothing is lost; ask whoever runs the relay for more");
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

}  // namespace holdfast::sync
