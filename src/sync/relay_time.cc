// The session's part that has to do with this device's clock.

#include <cstdlib>

#include "holdfast/error.h"
#include "src/sync/session.h"

namespace holdfast::sync {
namespace {

constexpr std::int64_t kClockToleranceMs = 2 * 60'000;
constexpr std::int64_t kLatestMs = 1LL << 47;  // as far as times of changes go
constexpr std::int64_t kClockBoundMs = 24 * 3'600'000LL;

}  // namespace

// A clock that is off is put right by the relay's, for what is not sealed yet and from now on: but
// not by more than a day without the user, for then either may be the wrong one.
void Session::note_relay_time(std::int64_t relay_ms) {
  bool is_time = relay_ms > 0 && relay_ms < kLatestMs;
  if (scope_ == Scope::receive || !is_time) return;
  std::int64_t offset = relay_ms - engine_.environment().clock->now_ms();
  if (std::abs(offset) < kClockToleranceMs) offset = 0;
  if (std::abs(offset - engine_.clock_offset()) < kClockToleranceMs) return;
  std::optional<Bytes> trusted;
  {
    std::lock_guard lock(engine_.mutex());
    trusted = engine_.database().meta(kTrustsRelayTime);
  }
  bool is_trusted = trusted && !trusted->empty();
  std::string by =
      std::to_string(std::abs(offset) / 60'000) + " minutes " + (offset > 0 ? "slow" : "fast");
  if (std::abs(offset) > kClockBoundMs && !is_trusted) {
    counts_.notices.push_back(
        "by the relay, this device's clock is " + by +
        ": set the clock right, or say that the relay is right ('holdfast sync "
        "--trust-relay-time'). Until then its edits carry this clock's time");
    return;
  }
  engine_.correct_clock(offset, kTrustsRelayTime);
  if (offset != 0) {
    counts_.notices.push_back("this device's clock is " + by +
                              ": its unsent edits, and those to come, have the relay's time");
  }
}

}  // namespace holdfast::sync
