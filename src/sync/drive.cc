// How a session is driven over a network, and what it tells of its progress meanwhile.

#include <algorithm>

#include "holdfast/error.h"
#include "src/sync/session.h"

namespace holdfast {

const char* sync_phase_name(SyncProgress::Phase phase) noexcept {
  switch (phase) {
    case SyncProgress::Phase::connecting: return "connecting";
    case SyncProgress::Phase::receiving: return "receiving";
    case SyncProgress::Phase::applying: return "applying";
    case SyncProgress::Phase::sending: return "sending";
  }
  return "unknown";
}

namespace sync {
namespace {

constexpr std::int64_t kWaitStepMs = 100;  // how soon a wait notices that it is cancelled

// How long a phase will go on, by its pace.
class Estimate {
 public:
  explicit Estimate(base::Clock& clock) : clock_(clock) {}
  std::optional<std::int64_t> of(const SyncProgress& progress) {
    std::int64_t now = clock_.monotonic_ms();
    if (!began_ || progress.phase != phase_ || progress.items < began_items_) {
      began_ = now;
      began_items_ = progress.items;
      phase_ = progress.phase;
    }
    std::uint64_t done = progress.items - began_items_;
    if (done == 0 || progress.total < progress.items) return std::nullopt;
    double pace = static_cast<double>(now - *began_) / static_cast<double>(done);
    return static_cast<std::int64_t>(pace * static_cast<double>(progress.total - progress.items));
  }

 private:
  base::Clock& clock_;
  std::optional<std::int64_t> began_;
  std::uint64_t began_items_ = 0;
  SyncProgress::Phase phase_ = SyncProgress::Phase::connecting;
};

}  // namespace

SyncProgress Session::progress() const {
  using ProgressPhase = SyncProgress::Phase;
  SyncProgress out;
  out.bytes = bytes_;
  if (parts_ > 0) {
    out.phase = ProgressPhase::applying;
    out.items = parts_done_;
    out.total = parts_;
  } else if (phase_ == Phase::pull) {
    out.phase = ProgressPhase::receiving;
    out.items = counts_.batches;
    out.total = to_receive_;
  } else if (phase_ == Phase::push || phase_ == Phase::done) {
    out.phase = ProgressPhase::sending;
    out.items = pushed_;
    out.total = pushed_ + outbox_.count_batches();
  } else if (phase_ == Phase::checkpoint && exchange_.is_about_to_apply()) {
    out.phase = ProgressPhase::applying;
    out.total = exchange_.chunks().second;
  } else if (phase_ == Phase::checkpoint) {
    out.phase = exchange_.is_loading() ? ProgressPhase::receiving : ProgressPhase::sending;
    std::tie(out.items, out.total) = exchange_.chunks();
  }
  return out;
}

void Session::set_during(std::function<void()> during) {
  work_step_ = [this, during = std::move(during)](std::size_t done, std::size_t all) {
    parts_done_ = done;
    parts_ = all;
    during();
  };
}

void drive(Session& session, const base::Environment& world, const std::atomic<bool>* cancelled,
           const std::function<void(const SyncProgress&)>& progress, LatestProgress* latest) {
  auto is_cancelled = [&] { return cancelled && *cancelled; };
  Estimate estimate(*world.clock);
  auto note = [&] {
    SyncProgress now = session.progress();
    now.remaining_ms = estimate.of(now);
    if (latest) latest->set(now);
    return now;
  };
  auto report = [&] {
    SyncProgress now = note();
    if (progress) progress(now);
  };
  // In the middle of a transaction: nobody else's code may run there.
  session.set_during([&] {
    note();
    if (is_cancelled()) throw Session::cancellation();
  });
  for (;;) {
    note();
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
    report();
  }
}

}  // namespace sync
}  // namespace holdfast
