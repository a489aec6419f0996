#pragma once

#include <algorithm>

#include "src/model/types.h"

namespace holdfast::model {

// A hybrid logical clock (Kulkarni and others, 2014): follows the wall clock, never goes back, and
// is ahead of every time it has seen, except those further in the future than kBoundMs, which are
// kept as they are but do not drag this clock along.
class HybridClock {
 public:
  static constexpr std::int64_t kBoundMs = 5 * 60 * 1000;

  explicit HybridClock(Hlc last = {}) : last_(last) {}
  Hlc last() const { return last_; }

  Hlc tick(std::int64_t now_ms) {
    last_.value = std::max(from_ms(now_ms).value, last_.value + 1);
    return last_;
  }
  void observe(Hlc remote, std::int64_t now_ms) {
    if (remote.ms() <= now_ms + kBoundMs) last_ = std::max(last_, remote);
  }

 private:
  static Hlc from_ms(std::int64_t ms) {
    return {static_cast<std::uint64_t>(std::clamp<std::int64_t>(ms, 0, (1LL << 48) - 1)) << 16};
  }
  Hlc last_;
};

}  // namespace holdfast::model
