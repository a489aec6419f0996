// The stored form of a record's state, beside its rendered document. The grammar is in
// docs/formats.md.

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/json.h"
#include "src/model/record.h"

namespace holdfast::model {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kAutomatic = 1;
constexpr std::uint8_t kHasPriority = 2;
enum ValueKind : std::uint8_t { kAsShown = 0, kDeleted = 1, kHidden = 2 };

void put_stamp(base::Writer& out, const Stamp& stamp, DeviceTable& devices) {
  out.varint(devices.index_of(stamp.dot.device));
  out.varint(stamp.dot.sequence);
  out.u64(stamp.hlc.value);
  out.u8(static_cast<std::uint8_t>((stamp.automatic ? kAutomatic : 0) |
                                   (stamp.priority != 0 ? kHasPriority : 0)));
  if (stamp.priority != 0) out.zigzag(stamp.priority);
}

Stamp get_stamp(base::Reader& in, DeviceTable& devices) {
  Stamp stamp;
  stamp.dot.device = devices.id_of(in.varint());
  stamp.dot.sequence = in.varint();
  stamp.hlc.value = in.u64();
  std::uint8_t flags = in.u8();
  stamp.automatic = flags & kAutomatic;
  if (flags & kHasPriority) stamp.priority = in.zigzag();
  return stamp;
}

// The stamps of a record, each once, and the one that most fields as shown carry.
class StampTable {
 public:
  std::size_t index_of(const Stamp& stamp) {
    auto [found, added] = index_.emplace(stamp, stamps_.size());
    if (added) stamps_.push_back(stamp);
    return found->second;
  }
  const std::vector<Stamp>& stamps() const { return stamps_; }

 private:
  std::map<Stamp, std::size_t> index_;
  std::vector<Stamp> stamps_;
};

std::map<std::string, const Json*> leaves_of(const Json& document) {
  std::map<std::string, const Json*> leaves;
  for_each_leaf(document, "",
                [&](const std::string& path, const Json& value) { leaves.emplace(path, &value); });
  return leaves;
}

bool same(const Json& a, const Json& b) { return a.type() == b.type() && a.dump() == b.dump(); }

}  // namespace

Bytes encode_fresh_record(const Stamp& stamp, DeviceTable& devices) {
  base::Writer out;
  out.u8(kVersion);
  out.varint(1);
  put_stamp(out, stamp, devices);
  out.varint(0);  // fields shown carry stamp 0
  out.varint(1);  // one word on existence
  out.varint(0 << 1 | 1);
  out.varint(0);  // no field of its own stamp
  return out.take();
}

Bytes encode_record(const Record& record, const Json& document, DeviceTable& devices) {
  auto leaves = leaves_of(document);
  auto shown = [&](const std::string& path, const Entry& entry) {
    auto leaf = leaves.find(path);
    return entry.value && leaf != leaves.end() && same(*leaf->second, *entry.value);
  };
  StampTable stamps;
  std::map<std::size_t, std::size_t> users;  // of each stamp, among fields that it could stand for
  for (const auto& [path, entries] : record.fields) {
    if (entries.size() == 1 && shown(path, entries[0])) {
      ++users[stamps.index_of(entries[0].stamp)];
    }
  }
  std::size_t shared = 0;
  for (const auto& [stamp, count] : users) {
    if (count > users[shared]) shared = stamp;
  }

  base::Writer fields;
  std::size_t own = 0;
  for (const auto& [path, entries] : record.fields) {
    bool is_shown = shown(path, entries[0]);
    if (entries.size() == 1 && is_shown && stamps.index_of(entries[0].stamp) == shared) continue;
    ++own;
    fields.sized(path);
    fields.varint(entries.size());
    for (const Entry& entry : entries) {
      ValueKind kind = !entry.value ? kDeleted : shown(path, entry) ? kAsShown : kHidden;
      fields.varint(stamps.index_of(entry.stamp) << 2 | kind);
      if (kind == kHidden) fields.sized(to_cbor(*entry.value));
    }
  }
  base::Writer presence;
  presence.varint(record.presence.size());
  for (const Presence& word : record.presence) {
    presence.varint(stamps.index_of(word.stamp) << 1 | (word.alive ? 1 : 0));
  }

  base::Writer out;
  out.u8(kVersion);
  out.varint(stamps.stamps().size());
  for (const Stamp& stamp : stamps.stamps()) put_stamp(out, stamp, devices);
  out.varint(shared);
  out.raw(presence.bytes());
  out.varint(own);
  out.raw(fields.bytes());
  return out.take();
}

Record decode_record(ByteView state, const Json& document, DeviceTable& devices) try {
  base::Reader in(state, "a stored record");
  if (in.u8() != kVersion) in.fail("its version is unknown");
  std::vector<Stamp> stamps(in.count(10));
  for (Stamp& stamp : stamps) stamp = get_stamp(in, devices);
  auto stamp_at = [&](std::uint64_t index) -> const Stamp& {
    if (index >= stamps.size()) in.fail("a stamp is missing");
    return stamps[index];
  };
  Record record;
  std::uint64_t shared = in.varint();
  for (std::size_t n = in.count(1); n > 0; --n) {
    std::uint64_t word = in.varint();
    record.presence.push_back({stamp_at(word >> 1), (word & 1) != 0});
  }
  auto leaves = leaves_of(document);
  for (std::size_t n = in.count(3); n > 0; --n) {
    std::string path = in.sized_text();
    auto leaf = leaves.find(path);
    std::vector<Entry>& entries = record.fields[path];
    for (std::size_t m = in.count(1); m > 0; --m) {
      std::uint64_t word = in.varint();
      Entry entry{stamp_at(word >> 2), std::nullopt};
      if ((word & 3) == kAsShown) {
        if (leaf == leaves.end()) in.fail("a shown value is missing");
        entry.value = *leaf->second;
      } else if ((word & 3) == kHidden) {
        entry.value = from_cbor(in.sized());
      }
      entries.push_back(std::move(entry));
    }
    if (leaf != leaves.end()) leaves.erase(leaf);
  }
  in.expect_end();
  for (const auto& [path, value] : leaves) {
    record.fields[path].push_back({stamp_at(shared), *value});
  }
  return record;
} catch (const Error& error) {
  if (error.code() != ErrorCode::malformed) throw;
  throw Error(ErrorCode::corrupt, error.what());
}

}  // namespace holdfast::model
