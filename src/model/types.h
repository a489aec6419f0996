#pragma once

// The words of the model: who wrote what, when, knowing what. See docs/architecture.md.

#include <map>
#include <nlohmann/json.hpp>

#include "holdfast/conflict.h"
#include "src/base/bytes.h"

namespace holdfast::model {

using Json = nlohmann::json;
using DeviceId = base::Id16;

// A hybrid logical time: 48 bits of UTC milliseconds, then a 16-bit counter.
struct Hlc {
  std::uint64_t value = 0;
  std::int64_t ms() const { return static_cast<std::int64_t>(value >> 16); }
  auto operator<=>(const Hlc&) const = default;
};

// For each device, how many of its change sets are known. An absent device stands for 0.
class VersionVector {
 public:
  std::uint64_t at(const DeviceId& device) const {
    auto found = seen_.find(device);
    return found == seen_.end() ? 0 : found->second;
  }
  void set(const DeviceId& device, std::uint64_t sequence) {
    if (sequence == 0) {
      seen_.erase(device);
    } else {
      seen_[device] = sequence;
    }
  }
  bool covers(const Dot& dot) const { return at(dot.device) >= dot.sequence; }
  bool covers(const VersionVector& other) const {
    for (const auto& [device, sequence] : other.seen_) {
      if (at(device) < sequence) return false;
    }
    return true;
  }
  const std::map<DeviceId, std::uint64_t>& entries() const { return seen_; }
  bool operator==(const VersionVector&) const = default;

 private:
  std::map<DeviceId, std::uint64_t> seen_;
};

// Who wrote a live value, and how it ranks beside others.
struct Stamp {
  Dot dot;
  Hlc hlc;
  std::int64_t priority = 0;
  bool automatic = false;  // a resolution that no user wrote: ranks below every user's write
  auto operator<=>(const Stamp&) const = default;
};

enum class OpKind : std::uint8_t {
  set = 1,     // the field at `path` is `value`; an object stands for its leaves
  unset = 2,   // the field at `path` is gone
  remove = 3,  // the record is deleted
  keep = 4,    // the record is kept in spite of a concurrent delete
};

struct Op {
  OpKind kind = OpKind::set;
  std::string collection;
  std::string record;
  std::string path;  // RFC 6901; "" is the whole document
  Json value;        // of `set`
  std::int64_t priority = 0;
  bool automatic = false;
  // Of a resolution: exactly the writes that it supersedes, sorted, in place of all that the
  // context covers. Empty for every other op.
  std::vector<Dot> resolves;
};

// What one transaction of a device changed. Its dot is (device, sequence); `context` is what the
// writer's base contained, and so what these ops supersede.
struct ChangeSet {
  DeviceId device{};
  std::uint64_t sequence = 0;
  Hlc hlc;
  VersionVector context;
  std::vector<Op> ops;
  Dot dot() const { return {device, sequence}; }
};

}  // namespace holdfast::model
