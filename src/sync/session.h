#pragma once

#include <functional>

#include "holdfast/incremental_sync.h"
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

  Session(store::Engine& engine, const std::string& relay_url, base::Random& random,
          Scope scope = Scope::all);

  Next next();
  const base::HttpRequest& request() const { return request_; }
  std::int64_t wait_ms() const { return wait_ms_; }
  void waited() { wait_ms_ = 0; }
  // Throws only what is wrong with the store itself (io, corrupt); the rest ends the session.
  void deliver(const base::HttpResponse& response);
  void cancel();

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
  void on_restored(ByteView body);
  void on_stale(const OutboxBatch& refused);
  void prepare_push();
  void look_again();
  void enter(Phase phase);
  void retry_or_fail(const Error& error, std::int64_t retry_after_ms);

  store::Engine& engine_;
  base::Random& random_;
  Scope scope_;
  Membership membership_;
  Outbox outbox_;
  Inbox inbox_;
  NewBeginning beginning_;
  RelayClient client_;
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
  std::size_t push_bytes_;      // of batches in one request; less after a failure
  std::optional<Error> failure_;
  InboxCounts counts_;
};

// Performs what the session asks for until it is done. `cancelled` and `progress` may be null.
void drive(Session& session, const base::Environment& world, const std::atomic<bool>* cancelled,
           const std::function<void(const SyncProgress&)>& progress);

}  // namespace holdfast::sync
