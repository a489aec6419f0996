// The stored form of a sequence's log: see docs/formats.md.

#include "src/model/record.h"
#include "src/model/sequence.h"

namespace holdfast::model {
namespace {

constexpr std::uint8_t kEach = 1;
constexpr std::uint8_t kErases = 2;
constexpr std::uint8_t kBackwards = 4;
constexpr std::uint8_t kLinear = 8;
constexpr std::uint8_t kOne = 16;      // of one event
constexpr std::uint8_t kFollows = 32;  // its change set is the device's next one here
constexpr std::uint8_t kSameDevice = 64;
constexpr std::uint64_t kMaxPlace = 1u << 30;

std::uint64_t last_change(const SequenceRun& run) {
  return run.change + (run.each ? run.count - 1 : 0);
}
// Where the cursor is behind it.
std::uint64_t end_of(const SequenceRun& run) {
  if (!run.erases) return run.at + run.count;
  return run.backwards ? run.at - std::min<std::uint64_t>(run.at, run.count - 1) : run.at;
}

}  // namespace

void Sequence::encode_log(base::Writer& out, DeviceTable& devices) const {
  settle();
  out.varint(devices_.size());
  for (const DeviceId& device : devices_) {
    out.varint(devices.index_of(device));
    out.varint(folded_.at(device));
  }
  std::vector<std::uint64_t> last(devices_.size());
  for (std::size_t i = 0; i < devices_.size(); ++i) last[i] = folded_.at(devices_[i]);
  out.varint(runs_.size());
  std::uint64_t place = 0;
  std::uint32_t device = 0;
  for (const SequenceRun& run : runs_) {
    bool follows = run.change == last[run.device] + 1;
    out.u8(static_cast<std::uint8_t>((run.each ? kEach : 0) | (run.erases ? kErases : 0) |
                                     (run.backwards ? kBackwards : 0) | (run.linear ? kLinear : 0) |
                                     (run.count == 1 ? kOne : 0) | (follows ? kFollows : 0) |
                                     (run.device == device ? kSameDevice : 0)));
    if (run.device != device) out.varint(run.device);
    if (!follows) out.varint(run.change - last[run.device]);
    out.zigzag(static_cast<std::int64_t>(run.at - place));
    if (run.count != 1) out.varint(run.count);
    if (!run.linear) {
      out.varint(run.parents.size());
      for (std::uint32_t parent : run.parents) out.varint(run.first - parent);
    }
    last[run.device] = last_change(run);
    device = run.device;
    place = end_of(run);
  }
}

Sequence Sequence::decode(base::Reader& in, Units content, DeviceTable& devices) {
  Sequence out(std::move(content));
  std::size_t count = in.count(2);
  for (std::size_t i = 0; i < count; ++i) {
    const DeviceId& id = devices.id_of(in.varint());
    if (out.device_index(id) != i) in.fail("a device is listed twice");
    std::uint64_t folded = in.varint();
    out.folded_.set(id, folded);
    out.seen_[i] = folded;
  }
  std::vector<bool> followed;
  std::uint64_t place = 0;
  std::uint32_t device = 0;
  for (std::size_t n = in.count(2); n > 0; --n) {
    SequenceRun run;
    std::uint8_t flags = in.u8();
    if (flags & 0x80) in.fail("a run is of an unknown kind");
    run.each = flags & kEach;
    run.erases = flags & kErases;
    run.backwards = flags & kBackwards;
    run.linear = flags & kLinear;
    if (!(flags & kSameDevice)) device = static_cast<std::uint32_t>(in.varint());
    if (device >= count) in.fail("a run is by nobody");
    run.device = device;
    std::uint64_t last = out.seen_[device];
    run.change = last + (flags & kFollows ? 1 : in.varint());
    run.at = place + static_cast<std::uint64_t>(in.zigzag());
    std::uint64_t events = flags & kOne ? 1 : in.varint();
    if (events == 0 || events > kMaxEvents - out.events_ || run.change < last ||
        run.change > static_cast<std::uint64_t>(INT64_MAX) || run.at > kMaxPlace) {
      in.fail("a run is out of range");
    }
    run.count = static_cast<std::uint32_t>(events);
    run.first = out.events_;
    if (run.backwards && (!run.erases || run.at + 1 < run.count)) in.fail("a run is out of range");
    if (run.linear && run.first == 0) in.fail("a run follows nothing");
    if (!run.linear) {
      for (std::size_t m = in.count(1); m > 0; --m) {
        std::uint64_t back = in.varint();
        if (back == 0 || back > run.first) in.fail("a run follows what is not there");
        auto parent = static_cast<std::uint32_t>(run.first - back);
        if (!run.parents.empty() && run.parents.back() >= parent) in.fail("a run is out of order");
        run.parents.push_back(parent);
      }
    }
    for (std::uint32_t parent : out.parents_of(run)) {
      std::erase(out.tips_, parent);
    }
    out.events_ += run.count;
    out.tips_.push_back(out.events_ - 1);
    out.seen_[device] = last_change(run);
    place = end_of(run);
    out.runs_of_[device].push_back(static_cast<std::uint32_t>(out.runs_.size()));
    out.runs_.push_back(std::move(run));
  }
  out.applied_ = out.events_;
  return out;
}

}  // namespace holdfast::model
