#pragma once

#include "src/sync/checkpoints.h"
#include "src/sync/inbox.h"
#include "src/sync/relay_client.h"

namespace holdfast::sync {

// The session's part that has to do with checkpoints: it fetches one where the relay has let go of
// what this device lacks, signs what another device proposes where it finds the same, and proposes
// one once the log has grown. Like the session it says what to ask, and is given the answers.
class CheckpointExchange {
 public:
  CheckpointExchange(store::Engine& engine, Membership& membership, Inbox& inbox,
                     const RelayClient& client, const WorkStep& step)
      : engine_(engine),
        membership_(membership),
        inbox_(inbox),
        client_(client),
        work_step_(step),
        checkpoints_(engine, membership) {}

  // What the relay has, as a page of its log says.
  void note(const wire::LogPage& page);
  // Whether the log has grown so much since the newest that it is time for another, by what is
  // known.
  bool is_due() const;
  // Whether this device can go on with that checkpoint only, or soonest.
  bool must_load() const;
  // Where another device's proposal can be verified, if this store gets there with nothing of its
  // own; 0: nowhere.
  std::uint64_t place_to_verify() const;

  void start_loading();
  void start_verifying();
  // Its chunks, which the relay may have lost with the batches that it stands for.
  void start_giving_back(wire::Checkpoint checkpoint);
  void start_upkeep();  // once all is received and sent
  // What to ask next; nothing where it is done.
  // What was fetched is put into the store at the call behind the last answer. Throws what
  // Inbox::take_checkpoint does.
  std::optional<base::HttpRequest> next(InboxCounts& counts);
  void deliver(ByteView body, InboxCounts& counts);
  // The relay does not take or have it (any more). False where the sync cannot go on without.
  bool give_up();
  // Chunks done of those to be done, for progress.
  std::pair<std::size_t, std::size_t> chunks() const;
  bool is_loading() const { return is_loading_; }
  bool is_about_to_apply() const { return step_ == Step::apply; }

 private:
  enum class Step {
    done,
    known_stubs,
    get_counted,
    stubs,
    chunks,
    apply,
    get_proposed,
    verify,
    get_signed,  // the one that is kept, as it counts now
    missing,
    upload,
    propose,
  };
  [[noreturn]] static void lacks();
  void on_counted(ByteView body);
  bool take_stubs(ByteView body, std::uint64_t upto);
  void on_stubs(ByteView body);
  void on_known_stubs(ByteView body, InboxCounts& counts);
  void on_proposed(ByteView body, InboxCounts& counts);
  void on_signed(ByteView body);
  void on_missing(ByteView body);
  Step behind_upload();
  void find_missing();
  void finish_loading(InboxCounts& counts);
  bool is_same_as_kept(const wire::Checkpoint& other) const;
  bool is_to_verify() const;
  void offer(wire::Checkpoint checkpoint);
  enum class Verdict : std::uint8_t { own, refused };
  std::optional<Verdict> verdict() const;  // on what is proposed
  void judge(Verdict verdict);
  void forget_stubs();
  void trim();

  store::Engine& engine_;
  Membership& membership_;
  Inbox& inbox_;
  const RelayClient& client_;
  const WorkStep& work_step_;
  Checkpoints checkpoints_;
  Step step_ = Step::done;
  bool is_loading_ = false;
  bool is_giving_back_ = false;
  int reloads_ = 0;
  base::Hash32 unusable_{};   // one that does not count
  base::Hash32 attempted_{};  // a proposal that was looked at in this sync
  wire::CheckpointHead counted_;
  wire::CheckpointHead proposed_;
  std::uint64_t floor_ = 0;
  bool lacks_next_ = false;  // the relay has let go of the next batch
  wire::Checkpoint at_hand_;
  std::size_t chunk_ = 0;               // the next one to fetch
  std::vector<std::uint32_t> missing_;  // chunks to be uploaded, the next one last
};

}  // namespace holdfast::sync
