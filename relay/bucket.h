#pragma once

#include <algorithm>
#include <cstdint>

namespace holdfast::relay {

// How much was asked for lately: a leaky bucket.
class Bucket {
 public:
  // False where `most` would be passed; what is in it runs out at `per_s`.
  bool take(double per_s, double most, std::int64_t now_ms) {
    double passed = static_cast<double>(std::max<std::int64_t>(0, now_ms - at_ms_)) / 1000;
    used_ = std::max(0.0, used_ - passed * per_s);
    at_ms_ = now_ms;
    if (used_ + 1 > most) return false;
    used_ += 1;
    return true;
  }
  bool is_full(double per_s, double most, std::int64_t now_ms) const {
    return Bucket(*this).take(per_s, most, now_ms) == false;
  }
  void add(double used) { used_ += used; }       // it was more than it seemed
  std::int64_t at_ms() const { return at_ms_; }  // when it was asked last

 private:
  double used_ = 0;
  std::int64_t at_ms_ = 0;
};

}  // namespace holdfast::relay
