#include "src/model/change_codec.h"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <unordered_map>

#include "holdfast/error.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/model/sequence_ops.h"

namespace holdfast::model {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kKindMask = 0x0f;
constexpr std::uint8_t kHasPriority = 0x10;
constexpr std::uint8_t kAutomatic = 0x20;
constexpr std::uint8_t kListed = 0x40;
constexpr std::uint8_t kOwn = 0x80;
constexpr int kKinds = 9;

// Strings by the order of their first use.
class Dictionary {
 public:
  std::size_t index_of(const std::string& text) {
    auto [found, added] = index_.emplace(text, texts_.size());
    if (added) texts_.push_back(&found->first);
    return found->second;
  }
  void write(base::Writer& out) const {
    out.varint(texts_.size());
    for (const std::string* text : texts_) out.sized(*text);
  }

 private:
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<const std::string*> texts_;
};

// The same when reading: refuses repeats, disorder and what is never used, so that each batch of
// change sets has one encoding only.
class ReadDictionary {
 public:
  ReadDictionary(base::Reader& in, bool (*valid)(const std::string&)) : in_(in) {
    std::size_t count = in.count(1);
    texts_.reserve(count);
    std::unordered_map<std::string_view, bool> seen;
    for (std::size_t i = 0; i < count; ++i) {
      texts_.push_back(in.sized_text());
      if (!valid(texts_.back())) in.fail("a name breaks its rules");
    }
    for (const std::string& text : texts_) {
      if (!seen.emplace(text, true).second) in.fail("a name is listed twice");
    }
  }
  const std::string& next() {
    std::uint64_t index = in_.varint();
    if (index > used_ || index >= texts_.size()) in_.fail("a name is used out of order");
    if (index == used_) ++used_;
    return texts_[index];
  }
  std::size_t size() const { return texts_.size(); }
  void finish() const {
    if (used_ != texts_.size()) in_.fail("a name is never used");
  }

 private:
  base::Reader& in_;
  std::vector<std::string> texts_;
  std::size_t used_ = 0;
};

bool valid_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && name.find('\0') == name.npos &&
         valid_utf8(name);
}
bool valid_path(const std::string& path) { return path.size() <= kMaxPath && valid_pointer(path); }
bool valid_device(const std::string& id) { return id.size() == std::tuple_size_v<DeviceId>; }

std::string device_text(const DeviceId& id) { return std::string(base::text(id)); }
DeviceId device_id(const std::string& text) {
  DeviceId id;
  std::copy(text.begin(), text.end(), id.begin());
  return id;
}

// How a change set's context differs from the one before it, itself aside: that entry is stored as
// the distance to the sequence just before it, almost always 0.
void write_context(base::Writer& out, const ChangeSet& change, const VersionVector& before,
                   Dictionary& devices) {
  out.varint(change.sequence - 1 - change.context.at(change.device));
  std::map<DeviceId, std::int64_t> steps;
  for (const auto& [device, sequence] : before.entries()) {
    steps[device] = -static_cast<std::int64_t>(sequence);
  }
  for (const auto& [device, sequence] : change.context.entries()) {
    steps[device] += static_cast<std::int64_t>(sequence);
  }
  steps.erase(change.device);
  std::erase_if(steps, [](const auto& step) { return step.second == 0; });
  out.varint(steps.size());
  for (const auto& [device, step] : steps) {
    out.varint(devices.index_of(device_text(device)));
    out.zigzag(step);
  }
}

VersionVector read_context(base::Reader& in, const ChangeSet& change, const VersionVector& before,
                           ReadDictionary& devices) {
  VersionVector context = before;
  std::uint64_t lag = in.varint();
  if (lag > change.sequence - 1) in.fail("a context is out of range");
  context.set(change.device, change.sequence - 1 - lag);
  DeviceId last{};
  std::size_t count = in.count(2);
  for (std::size_t i = 0; i < count; ++i) {
    DeviceId device = device_id(devices.next());
    if (i > 0 && device <= last) in.fail("a context is out of order");
    last = device;
    std::int64_t step = in.zigzag();
    std::uint64_t value = before.at(device) + static_cast<std::uint64_t>(step);
    if (step == 0 || device == change.device || value > static_cast<std::uint64_t>(INT64_MAX)) {
      in.fail("a context is out of range");
    }
    context.set(device, value);
  }
  return context;
}

Dot read_dot(base::Reader& in, ReadDictionary& devices) {
  Dot dot;
  dot.device = device_id(devices.next());
  dot.sequence = in.varint();
  return dot;
}

std::vector<Dot> read_dots(base::Reader& in, ReadDictionary& devices, const ChangeSet& change) {
  std::vector<Dot> dots(in.count(2));
  for (Dot& dot : dots) {
    dot = read_dot(in, devices);
    if (!change.context.covers(dot)) in.fail("it supersedes what its author had not seen");
  }
  if (std::adjacent_find(dots.begin(), dots.end(), std::greater_equal<>()) != dots.end()) {
    in.fail("what it supersedes is out of order");
  }
  return dots;
}

bool has_value(const Op& op) {
  return op.kind == OpKind::set || op.kind == OpKind::whole || op.kind == OpKind::edit;
}
bool has_sequence(const Op& op) { return op.kind == OpKind::edit || op.kind == OpKind::fold; }

void write_op(base::Writer& out, const ChangeSet& change, const Op& op, Dictionary& devices,
              Dictionary& collections, Dictionary& records, Dictionary& paths) {
  out.u8(static_cast<std::uint8_t>(
      static_cast<std::uint8_t>(op.kind) | (op.priority != 0 ? kHasPriority : 0) |
      (op.automatic ? kAutomatic : 0) | (op.supersedes == Supersedes::listed ? kListed : 0) |
      (op.supersedes == Supersedes::own ? kOwn : 0)));
  out.varint(collections.index_of(op.collection));
  out.varint(records.index_of(op.record));
  out.varint(paths.index_of(op.path));
  if (op.priority != 0) out.zigzag(op.priority);
  if (op.automatic) out.zigzag(static_cast<std::int64_t>(change.hlc.value - op.picked.value));
  auto put_dot = [&](const Dot& dot) {
    out.varint(devices.index_of(device_text(dot.device)));
    out.varint(dot.sequence);
  };
  if (op.supersedes == Supersedes::listed) {
    out.varint(op.writes.size());
    for (const Dot& dot : op.writes) put_dot(dot);
  }
  if (has_sequence(op)) put_dot(op.sequence);
}

// The first rule that an op breaks.
const char* broken_rule(const Op& op, const ChangeSet& change) {
  bool whole_record =
      op.kind == OpKind::remove || op.kind == OpKind::keep || op.kind == OpKind::whole;
  bool one_field = op.kind == OpKind::unset || op.kind == OpKind::drop || op.kind == OpKind::edit ||
                   op.kind == OpKind::fold;
  if (whole_record && !op.path.empty()) return "an op on a record names a field";
  if (one_field && op.path.empty()) return "an op on a field names none";
  bool forgets = op.kind == OpKind::purge || op.kind == OpKind::fold;
  if (forgets && op.supersedes != Supersedes::listed) return "it forgets without a list";
  if (op.supersedes == Supersedes::own && op.kind != OpKind::set) return "an op replaces its own";
  if (op.supersedes == Supersedes::own && op.path.empty()) return "an op replaces its own";
  bool knows = change.context.covers(op.sequence) || op.sequence == change.dot();
  if (has_sequence(op) && !knows) return "it edits what its author had not seen";
  return nullptr;
}

Op read_op(base::Reader& in, const ChangeSet& change, ReadDictionary& devices,
           ReadDictionary& collections, ReadDictionary& records, ReadDictionary& paths) {
  std::uint8_t head = in.u8();
  int kind = head & kKindMask;
  if (kind < 1 || kind > kKinds) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault writes a kind of change that this version does not know: "
                "update the app");
  }
  Op op;
  op.kind = static_cast<OpKind>(kind);
  op.automatic = (head & kAutomatic) != 0;
  op.collection = collections.next();
  op.record = records.next();
  op.path = paths.next();
  if (head & kHasPriority) op.priority = in.zigzag();
  if ((head & kHasPriority) && op.priority == 0) in.fail("a priority is not needed");
  if (op.automatic) op.picked.value = change.hlc.value - static_cast<std::uint64_t>(in.zigzag());
  if ((head & kListed) && (head & kOwn)) in.fail("an op supersedes in two ways");
  if (head & kListed) op.supersedes = Supersedes::listed;
  if (head & kOwn) op.supersedes = Supersedes::own;
  if (head & kListed) op.writes = read_dots(in, devices, change);
  if (has_sequence(op)) op.sequence = read_dot(in, devices);
  if (const char* rule = broken_rule(op, change)) in.fail(rule);
  return op;
}

void read_value(base::Reader& in, Op& op) {
  op.value = from_cbor(in.sized());
  try {
    auto steps = static_cast<int>(std::count(op.path.begin(), op.path.end(), '/'));
    check_value(op.value, kMaxDepth - steps, op.path.size());
    if (op.kind == OpKind::edit) check_edit(op.value);
  } catch (const Error& error) {
    in.fail(error.what());
  }
  if (op.path.empty() && !op.value.is_object()) in.fail("a document is not an object");
}

}  // namespace

Bytes encode_changes(const std::vector<ChangeSet>& changes) {
  if (changes.empty()) throw std::logic_error("no change sets to encode");
  Dictionary devices, collections, records, paths;
  base::Writer heads, ops, values;
  std::uint64_t hlc = 0;
  VersionVector before;
  for (const ChangeSet& change : changes) {
    heads.zigzag(static_cast<std::int64_t>(change.hlc.value - hlc));
    hlc = change.hlc.value;
    write_context(heads, change, before, devices);
    before = change.context;
    heads.varint(change.ops.size());
  }
  // In the order in which they are read: a dictionary numbers what it holds by its first use.
  for (const ChangeSet& change : changes) {
    for (const Op& op : change.ops) {
      write_op(ops, change, op, devices, collections, records, paths);
      if (has_value(op)) values.sized(to_cbor(op.value));
    }
  }
  base::Writer out;
  out.u8(kVersion);
  devices.write(out);
  collections.write(out);
  records.write(out);
  paths.write(out);
  out.varint(changes.size());
  out.varint(changes.front().sequence);
  out.raw(heads.bytes());
  out.raw(ops.bytes());
  out.raw(values.bytes());
  return out.take();
}

std::vector<ChangeSet> decode_changes(ByteView bytes, const DeviceId& device) {
  base::Reader in(bytes, "a batch of change sets");
  if (in.u8() != kVersion) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault runs a newer version of the app: update this one");
  }
  ReadDictionary devices(in, valid_device), collections(in, valid_name), records(in, valid_name),
      paths(in, valid_path);
  std::size_t count = in.count(4);
  std::uint64_t sequence = in.varint();
  if (devices.size() > kMaxDevicesPerBatch) in.fail("it names too many devices");
  if (count == 0 || count > kMaxChangesPerBatch || sequence == 0 ||
      sequence > static_cast<std::uint64_t>(INT64_MAX) - count) {
    in.fail("its sequence numbers are out of range");
  }
  std::vector<ChangeSet> changes(count);
  std::uint64_t hlc = 0;
  std::size_t total = 0;
  std::size_t contexts = 0;
  VersionVector before;
  for (ChangeSet& change : changes) {
    change.device = device;
    change.sequence = sequence++;
    hlc += static_cast<std::uint64_t>(in.zigzag());
    change.hlc.value = hlc;
    change.context = read_context(in, change, before, devices);
    before = change.context;
    contexts += change.context.entries().size();
    if (contexts > kMaxContextsPerBatch) in.fail("its contexts are too large");
    std::size_t ops = in.count(1);
    total += ops;
    if (ops == 0 || total > kMaxOpsPerBatch) in.fail("it has too many ops, or none");
    change.ops.resize(ops);
  }
  std::size_t names = 0;
  std::size_t resolved = 0;
  for (ChangeSet& change : changes) {
    for (Op& op : change.ops) {
      op = read_op(in, change, devices, collections, records, paths);
      names += op.collection.size() + op.record.size() + op.path.size();
      if (names > kMaxNamesPerBatch) in.fail("its names are too large");
      resolved += op.writes.size();
      if (resolved > kMaxResolvesPerBatch) in.fail("it supersedes too much");
    }
  }
  for (ChangeSet& change : changes) {
    for (Op& op : change.ops) {
      if (has_value(op)) read_value(in, op);
    }
  }
  devices.finish();
  collections.finish();
  records.finish();
  paths.finish();
  in.expect_end();
  return changes;
}

}  // namespace holdfast::model
