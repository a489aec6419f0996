#include "src/sync/checkpoint_exchange.h"

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr int kReloads = 3;
constexpr std::uint64_t kPassed = 4;
constexpr const char* kNewest = "newest_checkpoint";
constexpr const char* kJudged = "judged_checkpoint";

}  // namespace

void CheckpointExchange::note(const wire::LogPage& page) {
  counted_ = page.checkpoint;
  proposed_ = page.proposed;
  floor_ = page.floor;
  base::Writer newest;
  newest.u64(std::max(counted_.position, proposed_.position));
  std::lock_guard lock(engine_.mutex());
  std::optional<Bytes> known = engine_.database().meta(kNewest);
  if (!known || *known != base::to_bytes(newest.bytes())) {
    store::Engine::Transaction transaction(engine_);
    engine_.database().set_meta(kNewest, newest.bytes());
    transaction.commit();
  }
  lacks_next_ = page.batches.empty() && page.head > membership_.log()->position;
}

bool CheckpointExchange::is_due() const {
  std::lock_guard lock(engine_.mutex());
  std::optional<Bytes> newest = engine_.database().meta(kNewest);
  return checkpoints_.is_due(newest ? base::Reader(*newest, "a place").u64() : 0);
}

bool CheckpointExchange::must_load() const {
  std::uint64_t here = membership_.log()->position;
  return (here < floor_ && lacks_next_) ||
         (here == 0 && counted_.position > 0 && counted_.hash != unusable_);
}

// Not one of its own, nor one that it has looked at.
bool CheckpointExchange::is_to_verify() const {
  return proposed_.position > 0 && proposed_.hash != attempted_ && !verdict();
}

std::optional<CheckpointExchange::Verdict> CheckpointExchange::verdict() const {
  std::lock_guard lock(engine_.mutex());
  std::optional<Bytes> judged = engine_.database().meta(kJudged);
  if (!judged || judged->size() != 33) return std::nullopt;
  if (!std::equal(proposed_.hash.begin(), proposed_.hash.end(), judged->begin())) {
    return std::nullopt;
  }
  return static_cast<Verdict>(judged->back());
}

std::uint64_t CheckpointExchange::place_to_verify() const {
  bool is_ahead = proposed_.position >= membership_.log()->position;
  return is_ahead && is_to_verify() ? proposed_.position : 0;
}

void CheckpointExchange::forget_stubs() {
  store::Engine::Transaction transaction(engine_);
  engine_.database().connection().execute("DELETE FROM stub");
  transaction.commit();
}

void CheckpointExchange::start_loading() {
  is_loading_ = true;
  forget_stubs();
  bool may_know = membership_.log()->position < floor_ && LostBatches(engine_).count() > 0;
  step_ = may_know ? Step::known_stubs : Step::get_counted;
}

void CheckpointExchange::start_verifying() { step_ = Step::get_proposed; }

void CheckpointExchange::start_giving_back(wire::Checkpoint checkpoint) {
  at_hand_ = std::move(checkpoint);
  is_giving_back_ = true;
  step_ = Step::missing;
}

void CheckpointExchange::start_upkeep() {
  step_ = Step::done;
  std::uint64_t here = membership_.log()->position;
  std::optional<wire::Checkpoint> kept = checkpoints_.kept();
  // What was found to be wrong may be replaced.
  bool is_wrong = verdict() == Verdict::refused;
  std::uint64_t counted = counted_.counts ? counted_.position : 0;
  std::uint64_t newest = std::max(counted, is_wrong ? 0 : proposed_.position);
  if (kept && !checkpoints_.is_of_log(*kept)) kept.reset();
  if (kept) {
    bool counts = wire::counts(*kept, membership_.control(), engine_.identity().id);
    bool is_own = kept->signatures[0].device == engine_.identity().id;
    bool is_known_to_count = counts && counted_.counts;
    if (!is_known_to_count && counted_.position == kept->position && counted_.hash != attempted_) {
      step_ = Step::get_signed;
      return;
    }
    if (counts && counted >= kept->position && !checkpoints_.is_trimmed(*kept)) trim();
    if (counts && proposed_.position == kept->position && is_to_verify()) {
      step_ = Step::get_proposed;
      return;
    }
    // One whose upload was cut off, or that the relay has lost.
    bool counts_for_all = wire::counts(*kept, membership_.control());
    bool is_there = counts_for_all ? kept->position <= counted
                                   : kept->position <= newest || kept->position < here;
    if (!is_there && (counts_for_all || is_own)) return offer(std::move(*kept));
  }
  // One that this device came past with edits of its own it cannot verify: in time it proposes
  // another, or devices that never meet without edits would wait for each other for ever.
  bool is_passed = proposed_.position > counted && verdict() != Verdict::own &&
                   checkpoints_.is_due(counted) && checkpoints_.is_due(newest, kPassed);
  bool is_wanted = floor_ > newest || is_passed || checkpoints_.is_due(newest);
  if (is_wanted && here > newest && checkpoints_.is_quiet()) {
    offer(checkpoints_.make());
  }
}

void CheckpointExchange::offer(wire::Checkpoint checkpoint) {
  if (!wire::counts(checkpoint, membership_.control())) {
    checkpoint.records = membership_.control().count();
    checkpoint.signatures = {checkpoints_.sign(checkpoint)};
  }
  at_hand_ = std::move(checkpoint);
  step_ = Step::missing;
}

std::optional<base::HttpRequest> CheckpointExchange::next(InboxCounts& counts) {
  if (step_ == Step::apply) {
    step_ = Step::done;
    finish_loading(counts);
  }
  switch (step_) {
    case Step::apply:
    case Step::done: return std::nullopt;
    case Step::get_counted:
    case Step::get_signed: return client_.get_checkpoint(false);
    case Step::get_proposed: return client_.get_checkpoint(true);
    case Step::known_stubs:
    case Step::stubs: return client_.get_stubs(checkpoints_.stubs_upto());
    case Step::chunks: return client_.get_blob(at_hand_.chunks.at(chunk_));
    case Step::verify:
      return client_.verify_checkpoint(proposed_.hash, checkpoints_.sign(at_hand_).signature);
    case Step::missing: return client_.missing_blobs(at_hand_.chunks);
    case Step::upload:
      return client_.put_blob(at_hand_.chunks.at(missing_.back()),
                              checkpoints_.chunk(at_hand_.position, missing_.back()));
    case Step::propose: return client_.propose_checkpoint(proposed_.hash, at_hand_);
  }
  return std::nullopt;
}

void CheckpointExchange::deliver(ByteView body, InboxCounts& counts) {
  switch (step_) {
    case Step::apply:
    case Step::done: return;
    case Step::get_counted: return on_counted(body);  // and if it does not count, on without it
    case Step::get_signed: return on_signed(body);
    case Step::get_proposed: return on_proposed(body, counts);
    case Step::known_stubs: return on_known_stubs(body, counts);
    case Step::stubs: on_stubs(body); break;
    case Step::chunks:
      checkpoints_.keep_chunk(at_hand_, chunk_++, body);
      find_missing();
      break;
    case Step::missing: return on_missing(body);
    case Step::upload:
      missing_.pop_back();
      if (missing_.empty()) step_ = behind_upload();
      return;
    case Step::verify:
    case Step::propose: step_ = Step::done; return;
  }
}

bool CheckpointExchange::give_up() {
  if (step_ == Step::get_counted && counted_.position < floor_) lacks();
  bool can_wait = !is_loading_;
  if (is_loading_ && reloads_++ < kReloads) {  // a newer one has taken its place
    step_ = Step::get_counted;
    return true;
  }
  attempted_ = proposed_.hash;
  step_ = Step::done;
  is_loading_ = false;
  is_giving_back_ = false;
  return can_wait;
}

void CheckpointExchange::lacks() {
  throw Error(ErrorCode::not_found,
              "the relay has let go of what this device lacks, and has no checkpoint of it that "
              "counts: sync two other devices of the vault first, then try again");
}

void CheckpointExchange::on_counted(ByteView body) {
  at_hand_ = wire::decode_checkpoint(body);
  if (!wire::counts(at_hand_, membership_.control(), engine_.identity().id)) {
    unusable_ = counted_.hash;
    step_ = Step::done;
    is_loading_ = false;
    if (membership_.log()->position < floor_) lacks();
    return;
  }
  if (at_hand_.position <= membership_.log()->position || at_hand_.position < floor_) {
    throw Error(ErrorCode::protocol, "the relay shows an older checkpoint than it has said");
  }
  forget_stubs();
  // One that is here in whole stays as it is: it may be all that is left of the batches.
  std::optional<wire::Checkpoint> kept = checkpoints_.kept(at_hand_.position);
  bool is_here = kept && kept->position == at_hand_.position && is_same_as_kept(at_hand_);
  if (is_here) {
    at_hand_ = *kept;
  } else {
    checkpoints_.keep(at_hand_, false);
  }
  chunk_ = 0;
  step_ = Step::stubs;
}

// False until all up to that place are here.
bool CheckpointExchange::take_stubs(ByteView body, std::uint64_t place) {
  wire::StubPage page = wire::decode_stub_page(body);
  std::uint64_t upto = checkpoints_.stubs_upto();
  bool fits = page.log_id == membership_.log()->log_id && page.after == upto && !page.stubs.empty();
  if (!fits) {
    throw Error(ErrorCode::protocol,
                "the relay's log is shorter than the checkpoint that it shows");
  }
  page.stubs.resize(std::min<std::size_t>(page.stubs.size(), place - upto));
  checkpoints_.keep_stubs(page.stubs);
  return checkpoints_.stubs_upto() == place;
}

void CheckpointExchange::on_stubs(ByteView body) {
  if (take_stubs(body, at_hand_.position)) find_missing();
}

// Another device was quicker to bring back what the relay had lost.
void CheckpointExchange::on_known_stubs(ByteView body, InboxCounts& counts) {
  take_stubs(body, floor_);
  bool took_some = inbox_.take_known_stubs(counts);
  step_ = took_some ? Step::done : Step::get_counted;
  is_loading_ = !took_some;
}

void CheckpointExchange::find_missing() {
  while (chunk_ < at_hand_.chunks.size()) {
    Bytes here = checkpoints_.chunk(at_hand_.position, chunk_);
    if (here.empty() || base::sha256({here}) != at_hand_.chunks[chunk_]) break;
    ++chunk_;
  }
  step_ = chunk_ < at_hand_.chunks.size() ? Step::chunks : Step::apply;
}

void CheckpointExchange::finish_loading(InboxCounts& counts) {
  is_loading_ = false;
  try {
    inbox_.take_checkpoint(at_hand_, counts, work_step_);
  } catch (const Error& error) {
    bool is_about_it = error.code() != ErrorCode::io && error.code() != ErrorCode::corrupt &&
                       error.code() != ErrorCode::cancelled;
    if (!is_about_it) throw;
    bool is_needed = lacks_next_ && membership_.log()->position < floor_;
    if (is_needed) throw Error(ErrorCode::protocol, error.what());
    unusable_ = counted_.hash;  // the log has it all, too
    counts.notices.emplace_back(error.what());
  }
}

bool CheckpointExchange::is_same_as_kept(const wire::Checkpoint& other) const {
  std::optional<wire::Checkpoint> kept = checkpoints_.kept();
  return kept && kept->position == other.position && kept->history == other.history &&
         kept->state == other.state && kept->leaves == other.leaves &&
         wire::counts(*kept, membership_.control(), engine_.identity().id);
}

void CheckpointExchange::on_proposed(ByteView body, InboxCounts& counts) {
  step_ = Step::done;
  base::Hash32 hash = base::sha256({body});
  attempted_ = proposed_.hash;
  at_hand_ = wire::decode_checkpoint(body);
  const auto& by = at_hand_.signatures[0];
  bool valid = hash == proposed_.hash && at_hand_.position == proposed_.position &&
               wire::is_signed(at_hand_, by, membership_.control());
  if (!valid) return;
  if (by.device == engine_.identity().id) return judge(Verdict::own);
  bool is_here = at_hand_.position == membership_.log()->position && checkpoints_.is_quiet();
  if (is_same_as_kept(at_hand_) || (is_here && checkpoints_.agrees(at_hand_))) {
    step_ = Step::verify;
    return;
  }
  if (!is_here) return;
  judge(Verdict::refused);
  const wire::EnrolledDevice* proposer = membership_.control().device(by.device);
  // Who did not know that a device was taken out counted edits that do not count, if only its own.
  bool did_not_know = !proposer || proposer->revoked;
  for (const auto& [id, device] : membership_.control().devices()) {
    did_not_know |= device.revoked && device.revoked->position >= at_hand_.records;
  }
  if (did_not_know) return;
  counts.notices.push_back("'" + membership_.device_name(by.device).name +
                           "' proposes a checkpoint of the vault that is not what this device "
                           "holds: it does not count, and nothing is lost");
}

void CheckpointExchange::judge(Verdict verdict) {
  Bytes judged = base::to_bytes(proposed_.hash);
  judged.push_back(static_cast<std::uint8_t>(verdict));
  store::Engine::Transaction transaction(engine_);
  engine_.database().set_meta(kJudged, judged);
  transaction.commit();
}

// The signatures of the one that is kept; its chunks stay as they are here.
void CheckpointExchange::on_signed(ByteView body) {
  step_ = Step::done;
  wire::Checkpoint signed_one = wire::decode_checkpoint(body);
  attempted_ = counted_.hash;
  std::optional<wire::Checkpoint> kept = checkpoints_.kept(counted_.position);
  if (!kept || base::sha256({body}) != counted_.hash) return;
  kept->records = signed_one.records;
  kept->signatures = signed_one.signatures;
  bool same = wire::checkpoint_message(*kept) == wire::checkpoint_message(signed_one);
  if (!same) return;
  if (wire::counts(*kept, membership_.control())) {
    checkpoints_.keep(*kept, true);
    return start_upkeep();
  }
  // Those who signed it were taken out since: this device vouches for it.
  bool is_own = std::any_of(kept->signatures.begin(), kept->signatures.end(),
                            [&](const auto& one) { return one.device == engine_.identity().id; });
  if (is_own) return start_upkeep();  // another one is needed
  at_hand_ = *kept;
  proposed_.hash = counted_.hash;
  step_ = Step::verify;
}

// What could not be applied here stays, to be tried again.
void CheckpointExchange::trim() {
  std::lock_guard lock(engine_.mutex());
  Statement held(
      engine_.database().connection().prepare("SELECT 1 FROM log WHERE held > 0 LIMIT 1"));
  if (held.step() || is_beginning_again(engine_)) return;
  if (std::optional<wire::Checkpoint> kept = checkpoints_.kept()) checkpoints_.trim(*kept);
}

// What is given back goes with the places that it stands for.
CheckpointExchange::Step CheckpointExchange::behind_upload() {
  return std::exchange(is_giving_back_, false) ? Step::done : Step::propose;
}

void CheckpointExchange::on_missing(ByteView body) {
  base::Reader in(body, "the relay's answer");
  missing_.clear();
  while (!in.empty()) {
    missing_.push_back(in.u32());
    if (missing_.back() >= at_hand_.chunks.size()) in.fail("it lacks what does not exist");
  }
  step_ = missing_.empty() ? behind_upload() : Step::upload;
}

std::pair<std::size_t, std::size_t> CheckpointExchange::chunks() const {
  std::size_t all = at_hand_.chunks.size();
  return {step_ == Step::upload ? all - missing_.size() : std::min(chunk_, all), all};
}

}  // namespace holdfast::sync
