#pragma once

#include "holdfast/error.h"
#include "src/sync/outbox.h"
#include "src/sync/rewind.h"
#include "src/wire/messages.h"

namespace holdfast::sync {

struct InboxCounts {
  std::uint64_t applied = 0;  // change sets
  std::uint64_t waiting = 0;
  std::uint64_t batches = 0;
  std::uint64_t confirmed = 0;  // own change sets found in the log
  std::vector<std::string> rejected;
  std::vector<std::string> notices;  // worth telling, and nothing wrong
};

// Errors that mean that a batch cannot be taken, now or ever, and the rest can.
bool is_about_the_batch(const Error& error);

// Takes batches in: from the relay's log, whose chain it recomputes, or from a package.
class Inbox {
 public:
  // `tells`: whether somebody reads the notices.
  Inbox(store::Engine& engine, Membership& membership, Outbox& outbox, bool tells = true)
      : engine_(engine), membership_(membership), outbox_(outbox), tells_(tells) {}

  // A page of the log, all of it and the new place in one transaction. Throws Error(protocol) where
  // it does not continue what is here, Error(fork) where histories have split, MustBeginAgain.
  void take_page(const wire::LogPage& page, InboxCounts& counts);
  // Own batches that the relay stored right behind our place: no need to fetch them back.
  void take_confirmed(const wire::PushAnswer& answer, const std::vector<OutboxBatch>& sent,
                      InboxCounts& counts);
  // All up to the checkpoint's place, whose chunks and batches are here, and what this store alone
  // has on top of it. In one transaction. Throws Error(protocol), MustBeginAgain.
  void take_checkpoint(const wire::Checkpoint& checkpoint, InboxCounts& counts,
                       const WorkStep& step);
  // The next batches, as far as this store has applied them and the relay had lost them. Whether
  // there were any.
  bool take_known_stubs(InboxCounts& counts);
  // Lost batches that the relay has stored again, likewise.
  void take_restored(const wire::PushAnswer& answer, const std::vector<LostBatch>& sent);
  // A batch outside the log.
  void take_loose(ByteView batch, InboxCounts& counts);
  // A batch that is in the log, for a store that begins again.
  void take_again(std::uint64_t position, ByteView batch, InboxCounts& counts);
  // A batch that came past the log, where it can be read.
  void apply_loose(ByteView batch, InboxCounts& counts);
  // Whether all that counts of this device is here, since it was taken out.
  bool is_after_revocation(const base::Id16& device) const;
  // Nobody waits any more for more of devices that were taken out, and all of which is here; `now`:
  // whether or not it is. Throws MustBeginAgain where this store holds more of one than the log.
  void close_revoked(bool now = false);
  // From now on batches are kept without being applied: see NewBeginning.
  void set_only_keeping(bool only_keeping) { only_keeping_ = only_keeping; }
  // Tries again what could not be taken when it came.
  void retry_held(InboxCounts& counts);

 private:
  void note_first_pull(bool complete);
  bool leads_to_end(const base::Id16& device, ByteView batch) const;
  void require_leads_to_end(const base::Id16& device, ByteView batch) const;
  bool is_at_end(const wire::EnrolledDevice& device, const base::Id16& id) const;
  void note_seen(const base::Id16& device, std::uint64_t sealed_ms);
  void take_next(ByteView batch, InboxCounts& counts);
  // A batch's place in the log, and what it tells of its author.
  struct Told {
    std::uint64_t last = 0;
    std::uint64_t acknowledged = 0;
    std::string held_for;     // why it could not be applied
    std::string void_for;     // why it does nothing, on any device
    bool is_ignored = false;  // it counts for nothing, for good
    bool is_kept = false;     // it was not applied, and is to be when this store begins again
  };
  static int held_value(const Told& told);  // as the table has it
  bool is_stored_next(const wire::PushAnswer::Item& item) const;
  void check_head(const wire::PushAnswer& answer) const;
  void keep_loose(ByteView batch);
  bool is_in_log(ByteView batch) const;
  Told keep_only(const wire::BatchHeader& header, ByteView batch);
  Told take_own(const wire::BatchHeader& header, ByteView batch, InboxCounts& counts);
  Told told(const OpenedBatch& batch) const;
  void require_signed(ByteView batch, const wire::BatchHeader& header) const;
  bool is_behind_end(const base::Id16& device, std::int64_t position) const;
  void skip_gap(const OpenedBatch& batch, std::uint64_t position);
  void apply(const OpenedBatch& batch, InboxCounts& counts);
  void check_views(const OpenedBatch& batch, std::uint64_t position, InboxCounts& counts) const;
  void advance(const base::Id16& device, ByteView batch, const Told& told);
  void advance_by(const wire::Stub& stub, ByteView body, const Told& told);
  void take_stubs(std::uint64_t upto, InboxCounts& counts);
  void replay_own(InboxCounts& counts);
  void require_own_end(const wire::Checkpoint& checkpoint) const;

  store::Engine& engine_;
  Membership& membership_;
  Outbox& outbox_;
  bool tells_;
  bool only_keeping_ = false;
  base::Hash32 own_end_{};  // of this device's last batch, as take_checkpoint() finds it
};

}  // namespace holdfast::sync
