// The session's other half: a relay that has lost a part of what it held gets it back, and a store
// that is a copy becomes a device of its own.

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/sync/session.h"

namespace holdfast::sync {
namespace {

constexpr int kRewinds = 3;  // in one sync
constexpr std::size_t kRestoreBytes = 3 << 20;

}  // namespace

// From the last record back to the first that the relay lacks, and on again from there.
void Session::heal_list() {
  if (base::planted(base::Plant::lists_are_not_healed)) {
    throw Error(ErrorCode::protocol, "the relay's list is another");
  }
  is_relisting_ = true;
  relist_at_ = membership_.control().count() - 1;
  enter(Phase::relist);
}

void Session::on_relisted(ByteView body) {
  base::Reader in(body, "the relay's answer");
  std::uint64_t there = in.u64();
  in.expect_end();
  std::uint64_t here = membership_.control().count();
  if (there == here) {
    is_relisting_ = false;
    counts_.notices.emplace_back(
        "the relay had lost a part of the vault's device list: this device brought it back");
    return enter(client_.signed_in() ? Phase::control : Phase::challenge);
  }
  bool goes_on = there < here && relisted_++ < here + 1;
  if (!goes_on) {
    throw Error(ErrorCode::protocol,
                "the relay does not take back what it lost of the device list");
  }
  relist_at_ = there;
  enter(Phase::relist);
}

bool Session::fits(const wire::LogPage& page) const {
  if (base::planted(base::Plant::logs_are_not_healed)) return true;
  const LogPosition& log = *membership_.log();
  return page.log_id == log.log_id && page.head >= log.position && page.start_chain == log.chain;
}

void Session::heal_log(const wire::LogPage& page) {
  if (rewinds_++ >= kRewinds) {
    throw Error(ErrorCode::protocol,
                "the relay's history does not fit what this device saw, again and again. Nothing "
                "was lost here; tell whoever runs the relay");
  }
  promised_ = 0;
  // Under a name that was used before, what batches say of it might be of its other continuation.
  bool used = page.log_id == membership_.log()->log_id || is_former_log(engine_, page.log_id);
  if (used) return enter(Phase::restart);
  start_comparing(page.log_id, page.head);
}

void Session::on_restarted(ByteView body) {
  base::Reader in(body, "the relay's answer");
  in.array<16>();  // the log's new id: the next page has it as well
  in.expect_end();
  enter(Phase::pull);
}

void Session::start_comparing(const base::Id16& log_id, std::uint64_t head) {
  common_.emplace(engine_, log_id, head);
  enter(Phase::compare);
}

void Session::on_compared(ByteView body) {
  wire::LogPage page = wire::decode_log_page(body);
  if (page.log_id != common_->log_id()) return enter(Phase::pull);  // it began anew once more
  common_->answer(common_->next().value(), page.start_chain);
  if (!common_->is_sane()) {
    throw Error(
        ErrorCode::protocol,
        "the relay's history does not fit its own name: nothing was taken. Nothing was lost "
        "here; tell whoever runs the relay");
  }
  if (common_->next()) return enter(Phase::compare);
  std::uint64_t lost = rewind(engine_, membership_, common_->found());
  if (lost > 0) {
    counts_.notices.push_back("the relay has lost recent data, or another relay is used: " +
                              std::to_string(lost) + " batches are brought back from this device");
  }
  common_.reset();
  enter(Phase::pull);
}

void Session::begin_again(const std::string& why) {
  if (scope_ == Scope::receive || beginning_.is_under_way() || beginnings_++ > 0) {
    failure_ = Error(ErrorCode::fork, why + ": sync first, then try again");
    phase_ = Phase::done;
    return;
  }
  membership_.reload();  // what showed it was not taken
  beginning_.begin(why);
  inbox_.set_only_keeping(true);
  enter(Phase::control);
}

// Signed in as the device that it is about to be, where that one is in the vault already.
void Session::prepare_login() {
  if (beginning_.is_under_way() && beginning_.is_enrolled()) {
    request_ = client_.session(engine_.next_identity().value().sign, nonce_);
  } else {
    request_ = client_.session(engine_.identity().sign, nonce_);
  }
}

void Session::look_at_new_log() {
  if (rewinds_++ >= kRewinds) {
    throw Error(ErrorCode::protocol,
                "the relay's log begins anew again and again: nothing was sent");
  }
  enter(Phase::pull);
}

void Session::prepare_enrolment() {
  wire::ControlRecord record;
  const crypto::SigningKey& key = engine_.identity().sign;
  record.previous = membership_.control().head();
  record.signer = key.public_key();
  beginning_.fill_enrolment(record);
  record.signature = key.sign(wire::signed_message(
      wire::kSignControl, membership_.control().vault(), wire::encode_unsigned(record)));
  request_ = client_.post_control(record.previous, wire::encode(record));
}

void Session::finish_beginning() {
  if (scope_ == Scope::receive) return begin_again("this store is about to begin again");
  beginning_.finish(inbox_, counts_, work_step_);
  inbox_.set_only_keeping(false);
  client_.forget_token();
  enter(Phase::challenge);
}

void Session::prepare_restore() {
  LostBatches lost(engine_);
  given_back_ = lost.list(std::min(kRestoreBytes, push_bytes_));
  if (given_back_.empty()) {
    enter(Phase::push);
    return prepare();
  }
  if (given_back_[0].body.empty()) return prepare_places();
  std::erase_if(given_back_, [](const LostBatch& batch) { return batch.body.empty(); });
  std::vector<Bytes> bodies;
  bodies.reserve(given_back_.size());
  for (const LostBatch& batch : given_back_) bodies.push_back(batch.body);
  request_ = client_.push(bodies, true);
}

// Those of which a checkpoint has what they said go back as their places, and the checkpoint with
// them.
void Session::prepare_places() {
  wire::StubRestore restore;
  std::optional<wire::Checkpoint> kept = Checkpoints(engine_, membership_).kept();
  restore.page = lost_places(engine_);
  restore.page.log_id = membership_.log()->log_id;
  if (!kept || restore.page.stubs.empty() || restore.page.stubs.size() > wire::kMaxStubs) {
    throw Error(ErrorCode::refused,
                "the relay has lost batches that this device has no longer: nothing is lost here. "
                "Sync a device that has been in the vault for longer");
  }
  if (!gave_chunks_) {
    gave_chunks_ = true;
    exchange_.start_giving_back(*kept);
    exchange_checkpoint(Phase::restore);
    return prepare();
  }
  gave_chunks_ = false;
  restore.checkpoint = *kept;
  if (!wire::counts(*kept, membership_.control())) {  // who signed it may be out: this one is in
    auto own = Checkpoints(engine_, membership_).sign(*kept);
    auto& signatures = restore.checkpoint.signatures;
    std::erase_if(signatures, [&](const auto& one) { return one.device == own.device; });
    signatures.push_back(own);
    if (!wire::counts(restore.checkpoint, membership_.control())) {
      throw Error(ErrorCode::refused,
                  "the relay has lost what only this device can vouch for: take out the devices "
                  "that have not synced yet ('holdfast device ls'), sync, and let them join again");
    }
  }
  given_back_.clear();
  for (const wire::Stub& stub : restore.page.stubs) {
    LostBatch place = LostBatches(engine_).find(stub.leaf).value_or(LostBatch{});
    place.batch = stub.batch;
    place.device = stub.device;
    place.leaf = stub.leaf;
    place.body.clear();
    given_back_.push_back(std::move(place));
  }
  request_ = client_.restore_stubs(restore);
}

void Session::on_restored(ByteView body) {
  using wire::PushStatus;
  wire::PushAnswer answer = wire::decode_push_answer(body);
  if (answer.items.size() != given_back_.size()) {
    throw Error(ErrorCode::protocol, "the relay's answer to a push does not fit it");
  }
  if (answer.log_id != membership_.log()->log_id) return look_at_new_log();
  std::uint64_t before = membership_.log()->position;
  inbox_.take_restored(answer, given_back_);
  std::uint64_t stored = membership_.log()->position - before;
  if (stored == given_back_.size()) return enter(Phase::restore);
  if (given_back_[0].body.empty()) {
    if (refreshed_++ < kRewinds) return enter(Phase::pull);
    throw Error(ErrorCode::protocol, "the relay does not take back what it lost of its log");
  }
  const wire::PushAnswer::Item& item = answer.items[stored];
  bool is_stored = item.status == PushStatus::ok || item.status == PushStatus::duplicate;
  if (is_stored && item.position > membership_.log()->position) return pull_to(answer.head);
  // Somebody may have been quicker.
  bool is_behind = answer.head > membership_.log()->position;
  if (is_behind && refreshed_++ < kRewinds) return enter(Phase::pull);
  if (scope_ == Scope::receive) return enter(Phase::push);  // it can wait
  // It came back under another key, when its author had to seal it again.
  if (LostBatches(engine_).drop_repeated(membership_, given_back_[stored])) {
    return enter(Phase::restore);
  }
  base::Id16 author = given_back_[stored].device;
  throw MustBeginAgain{"the relay lost changes of '" + membership_.device_name(author).name +
                       "', and the vault went on without them before they came back; this store "
                       "had to begin again"};
}

}  // namespace holdfast::sync
