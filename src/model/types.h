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
  Hlc hlc;  // of the write; of an automatic resolution, of the value that it picked
  std::int64_t priority = 0;
  bool automatic = false;  // a resolution that no user wrote: ranks below every user's write
  auto operator<=>(const Stamp&) const = default;
};

enum class OpKind : std::uint8_t {
  set = 1,     // the field at `path` is `value`; an object stands for its leaves. At "": creates
  unset = 2,   // the field at `path` is gone
  remove = 3,  // the record is deleted
  keep = 4,    // the record is kept in spite of a concurrent delete
  whole = 5,   // the record is `value`, which stays one register (record granularity)
  drop = 6,    // what it supersedes at `path` and below goes without a trace
  edit = 7,    // changes the sequence at `path`: text, or the order of a list
  purge = 8,   // forgets what all devices know is gone: not an edit of anybody
  fold = 9,    // forgets how the sequence at `path` came to be, up to the writes it lists
};

// Which of the live writes at its place an op takes away.
enum class Supersedes : std::uint8_t {
  covered,  // all that the context covers
  listed,   // exactly those in `writes`
  own,      // this device's own: a counter's total
};

struct Op {
  OpKind kind = OpKind::set;
  std::string collection;
  std::string record;
  std::string path;  // RFC 6901; "" is the whole document
  Json value;        // of `set` and `whole`; of `edit`, see sequence_ops.h
  std::int64_t priority = 0;
  bool automatic = false;
  Hlc picked;  // of an automatic op: when the value that it picked was written
  Supersedes supersedes = Supersedes::covered;
  std::vector<Dot> writes;  // of `listed` and `fold`: sorted
  Dot sequence;             // of `edit` and `fold`: the write that began the sequence
};

// What one transaction of a device changed. Its dot is (device, sequence); `context` is what the
// writer knew.
struct ChangeSet {
  DeviceId device{};
  std::uint64_t sequence = 0;
  Hlc hlc;
  VersionVector context;
  std::vector<Op> ops;
  Dot dot() const { return {device, sequence}; }
};

}  // namespace holdfast::model
