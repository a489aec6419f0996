#pragma once

#include <functional>

#include "holdfast/incremental_sync.h"
#include "src/sync/checkpoint_exchange.h"
#include "src/sync/new_beginning.h"
#include "src/sync/relay_client.h"

namespace holdfast::sync {

// One sync with the relay as a stepped state machine. It never blocks and sends nothing itself:
// whoever drives it asks next() what to do, does it, and delivers what came back. So it runs over
// libcurl, or by the thousand in one thread of a simulation.
//
//   next() == request   perform request(), then deliver() the response
//   next() == wait      let wait_ms() pass, then call waited() and ask again
//   next() == done      look at failure() and counts()
class Session {
 public:
  enum class Next { request, wait, done };
  enum class Scope { receive, all };  // receive: send nothing of this device's, and write nothing

  // `token`: of a session that the relay knows already, perhaps. Then what is to be sent is sent
  // first: where nobody else has written in between, that is all.
  Session(store::Engine& engine, const std::string& relay_url, base::Random& random,
          Scope scope = Scope::all, const std::string& token = "");
  const std::string& token() const { return client_.token(); }

  // Throws only what is wrong with the store itself (io, corrupt), as deliver() does.
  Next next();
  const base::HttpRequest& request() const { return request_; }
  std::int64_t wait_ms() const { return wait_ms_; }
  void waited() { wait_ms_ = 0; }
  // Throws only what is wrong with the store itself (io, corrupt); the rest ends the session.
  void deliver(const base::HttpResponse& response);
  void cancel();
  static Error cancellation();
  // Called now and then, in a transaction, while much is put into the store; where it throws,
  // nothing is.
  void set_during(std::function<void()> during);

  const std::optional<Error>& failure() const { return failure_; }
  const InboxCounts& counts() const { return counts_; }
  SyncProgress progress() const;

 private:
  enum class Phase {
    challenge,
    login,
    control,
    relist,  // give back what the relay lost of the device list
    enrol,   // this store is a copy, and is to be a device of its own
    pull,
    restart,  // the relay lost a part of its log: have it begin anew
    compare,  // find out which part
    restore,  // give it back
    push,
    checkpoint,  // see CheckpointExchange
    done,
  };

  void prepare();
  void handle(ByteView body);
  void on_control(ByteView body);
  void on_page(ByteView body);
  void on_push(ByteView body);
  void look_at_new_log();
  void prepare_login();
  void pull_to(std::uint64_t head);
  void note_relay_time(std::int64_t relay_ms);
  // What the relay has lost: see healing.cc.
  void heal_list();
  void on_relisted(ByteView body);
  bool fits(const wire::LogPage& page) const;
  void heal_log(const wire::LogPage& page);
  void on_restarted(ByteView body);
  void start_comparing(const base::Id16& log_id, std::uint64_t head);
  void on_compared(ByteView body);
  void begin_again(const std::string& why);
  void prepare_enrolment();
  void finish_beginning();
  void prepare_restore();
  void prepare_places();
  void exchange_checkpoint(Phase then);
  void require_few_exchanges();
  bool stop_where_to_verify(wire::LogPage& page) const;
  void on_restored(ByteView body);
  void on_stale(const OutboxBatch& refused);
  void prepare_push();
  void look_again();
  void enter(Phase phase);
  void retry_or_fail(const Error& error, const base::HttpResponse& response);

  store::Engine& engine_;
  base::Random& random_;
  Scope scope_;
  Membership membership_;
  Outbox outbox_;
  Inbox inbox_;
  NewBeginning beginning_;
  RelayClient client_;
  WorkStep work_step_;
  std::size_t parts_done_ = 0;  // of work in the store
  std::size_t parts_ = 0;       // 0: there is none at the moment
  CheckpointExchange exchange_;
  Phase after_exchange_ = Phase::done;
  bool kept_up_ = false;       // checkpoints were seen to
  bool is_token_old_ = false;  // another sync's, and no answer to it yet
  bool is_quick_ = false;      // nothing was asked for before sending
  Phase phase_ = Phase::challenge;
  bool prepared_ = false;
  bool settled_ = false;  // what was due is written
  base::HttpRequest request_;
  Bytes nonce_;
  std::vector<OutboxBatch> sent_;
  std::vector<LostBatch> given_back_;
  std::optional<CommonPrefix> common_;
  base::Id16 relay_log_{};       // what the relay's log goes by, where it is not this device's
  std::uint64_t relist_at_ = 0;  // the record to be given back
  bool is_relisting_ = false;    // the relay's list turned out to be shorter
  int rewinds_ = 0;
  int beginnings_ = 0;
  bool gave_chunks_ = false;        // of a checkpoint whose places are to be brought back
  bool told_loss_ = false;          // the relay knows that its list is short
  std::uint64_t relisted_ = 0;      // records given back
  bool looked_for_others_ = false;  // other changes of this device, that the relay speaks of
  std::int64_t wait_ms_ = 0;
  int attempts_ = 0;      // at the request in hand
  bool renewed_ = false;  // the session expired once already
  int refreshed_ = 0;     // how often the device list was fetched again without getting further
  std::uint64_t to_receive_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t pushed_ = 0;
  std::uint64_t promised_ = 0;  // the head that an answer to a push named: a page must reach it
  std::size_t push_bytes_;      // of batches in one request; less after the link broke
  std::size_t pull_bytes_;      // likewise in one answer
  int exchanges_ = 0;           // checkpoints loaded or verified in this sync
  std::optional<Error> failure_;
  InboxCounts counts_;
};

constexpr const char* kTrustsRelayTime = "trusts_relay_time";

// How far a sync is, for whoever asks from another thread.
class LatestProgress {
 public:
  void set(const SyncProgress& progress) {
    std::lock_guard lock(mutex_);
    now_ = progress;
  }
  SyncProgress get() const {
    std::lock_guard lock(mutex_);
    return now_;
  }

 private:
  mutable std::mutex mutex_;
  SyncProgress now_;
};

// Performs what the session asks for until it is done. All but the session and the world may be
// null. `progress` is called between requests, never within a transaction.
void drive(Session& session, const base::Environment& world, const std::atomic<bool>* cancelled,
           const std::function<void(const SyncProgress&)>& progress,
           LatestProgress* latest = nullptr);

}  // namespace holdfast::sync
