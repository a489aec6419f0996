// The stored form of a record's state, beside its rendered document. The grammar is in
// docs/formats.md.

#include <algorithm>
#include <set>

#include "holdfast/error.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/model/record.h"

namespace holdfast::model {
namespace {

enum Form : std::uint8_t {
  kFirstRelease = 1,  // as stores of the first table versions have it
  kFresh = 2,         // written at once, by one stamp
  kGeneral = 3,
};
constexpr std::uint8_t kAutomatic = 1;
constexpr std::uint8_t kHasPriority = 2;
enum ValueKind : std::uint8_t { kAsShown = 0, kDeleted = 1, kHidden = 2, kSequence = 3 };

void put_hlc(base::Writer& out, Hlc hlc) {
  for (int i = 2; i < 8; ++i) out.u8(static_cast<std::uint8_t>(hlc.value >> (8 * i)));
  out.varint(hlc.value & 0xffff);
}

Hlc get_hlc(base::Reader& in) {
  Hlc hlc;
  for (int i = 2; i < 8; ++i) hlc.value |= static_cast<std::uint64_t>(in.u8()) << (8 * i);
  std::uint64_t counter = in.varint();
  if (counter > 0xffff) in.fail("a time is out of range");
  hlc.value |= counter;
  return hlc;
}

void put_dot(base::Writer& out, const Dot& dot, DeviceTable& devices) {
  out.varint(devices.index_of(dot.device));
  out.varint(dot.sequence);
}

Dot get_dot(base::Reader& in, DeviceTable& devices) {
  Dot dot;
  dot.device = devices.id_of(in.varint());
  dot.sequence = in.varint();
  return dot;
}

void put_stamp(base::Writer& out, const Stamp& stamp, DeviceTable& devices) {
  out.varint(devices.index_of(stamp.dot.device) << 2 | (stamp.priority != 0 ? kHasPriority : 0) |
             (stamp.automatic ? kAutomatic : 0));
  out.varint(stamp.dot.sequence);
  put_hlc(out, stamp.hlc);
  if (stamp.priority != 0) out.zigzag(stamp.priority);
}

Stamp get_stamp(base::Reader& in, DeviceTable& devices) {
  Stamp stamp;
  std::uint64_t head = in.varint();
  stamp.dot.device = devices.id_of(head >> 2);
  stamp.dot.sequence = in.varint();
  stamp.hlc = get_hlc(in);
  stamp.automatic = head & kAutomatic;
  if (head & kHasPriority) stamp.priority = in.zigzag();
  return stamp;
}

Stamp get_first_release_stamp(base::Reader& in, DeviceTable& devices) {
  Stamp stamp;
  stamp.dot = get_dot(in, devices);
  stamp.hlc.value = in.u64();
  std::uint8_t flags = in.u8();
  stamp.automatic = flags & kAutomatic;
  if (flags & kHasPriority) stamp.priority = in.zigzag();
  return stamp;
}

// The stamps of a record, each once.
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

// What a document says at each pointer; of a record that is one register, the whole at "".
std::map<std::string, const Json*> leaves_of(const Json& document) {
  std::map<std::string, const Json*> leaves;
  for_each_leaf(document, "",
                [&](const std::string& path, const Json& value) { leaves.emplace(path, &value); });
  return leaves;
}

bool same(const Json& a, const Json& b) {
  if (a.type() != b.type()) return false;
  return a.is_structured() || a.is_number_float() ? a.dump() == b.dump() : a == b;
}

void put_sequence(base::Writer& out, const SequenceState& sequence, const Json* shown,
                  DeviceTable& devices) {
  std::string text = sequence.is_list ? "" : to_utf8(sequence.units.content());
  bool as_shown = !sequence.is_list && shown && shown->is_string() &&
                  shown->get_ref<const std::string&>() == text;
  out.u8(sequence.is_list ? 2 : as_shown ? 1 : 0);
  if (sequence.is_list) {
    out.varint(sequence.slots.size());
    for (const Slot& slot : sequence.slots) {
      out.sized(slot.key);
      put_dot(out, slot.dot, devices);
      put_hlc(out, slot.hlc);
    }
    Units units = sequence.units.content();
    out.varint(units.size());
    for (char32_t unit : units) out.varint(unit);
    out.varint(sequence.first_values.size());
    for (const auto& [key, value] : sequence.first_values) {
      out.sized(key);
      out.sized(to_cbor(value));
    }
  } else if (!as_shown) {
    out.sized(text);
  }
  sequence.units.encode_log(out, devices);
}

std::string get_path(base::Reader& in) {
  std::string path = in.sized_text();
  if (!valid_pointer(path)) in.fail("a field's path breaks its rules");
  return path;
}

std::string get_key(base::Reader& in) {  // of a list's element
  std::string key = in.sized_text();
  if (!valid_utf8(key)) in.fail("an element's key is not UTF-8");
  return key;
}

SequenceState get_sequence(base::Reader& in, const Json* shown, DeviceTable& devices) {
  SequenceState sequence;
  std::uint8_t form = in.u8();
  if (form > 2) in.fail("a sequence is of an unknown kind");
  sequence.is_list = form == 2;
  Units content;
  if (sequence.is_list) {
    for (std::size_t n = in.count(10); n > 0; --n) {
      std::string key = get_key(in);
      Dot dot = get_dot(in, devices);
      sequence.slots.push_back({std::move(key), dot, get_hlc(in)});
    }
    for (std::size_t n = in.count(1); n > 0; --n) {
      std::uint64_t unit = in.varint();
      if (unit >= sequence.slots.size()) in.fail("an element is missing");
      content += static_cast<char32_t>(unit);
    }
    for (std::size_t n = in.count(2); n > 0; --n) {
      std::string key = get_key(in);
      sequence.first_values[key] = from_cbor(in.sized());
    }
  } else if (form == 1) {
    if (!shown || !shown->is_string()) in.fail("a shown text is missing");
    content = to_units(shown->get_ref<const std::string&>());
  } else {
    content = to_units(in.sized_text());
  }
  sequence.units = Sequence::decode(in, std::move(content), devices);
  return sequence;
}

}  // namespace

Bytes encode_fresh_record(const Stamp& stamp, DeviceTable& devices) {
  base::Writer out;
  out.u8(kFresh);
  put_stamp(out, stamp, devices);
  return out.take();
}

Bytes encode_record(const Record& record, const Json& document, DeviceTable& devices) {
  auto leaves = leaves_of(document);
  auto leaf_at = [&](const std::string& path) -> const Json* {
    if (path.empty()) return &document;
    auto leaf = leaves.find(path);
    return leaf == leaves.end() ? nullptr : leaf->second;
  };
  auto shown = [&](const std::string& path, const Entry& entry) {
    const Json* leaf = leaf_at(path);
    return entry.value && leaf && same(*leaf, *entry.value);
  };
  StampTable stamps;
  std::map<std::size_t, std::size_t> users;  // of each stamp, among fields that it could stand for
  for (const auto& [path, entries] : record.fields) {
    if (!path.empty() && entries.size() == 1 && shown(path, entries[0])) {
      ++users[stamps.index_of(entries[0].stamp)];
    }
  }
  // A record that is one register: nothing else is implied.
  auto root = record.fields.find("");
  bool whole_shown = root != record.fields.end() &&
                     std::any_of(root->second.begin(), root->second.end(),
                                 [&](const Entry& entry) { return shown("", entry); });
  std::size_t shared = 0;
  for (const auto& [stamp, count] : users) {
    if (count > users[shared]) shared = stamp;
  }

  base::Writer fields;
  std::size_t own = 0;
  for (const auto& [path, entries] : record.fields) {
    bool is_shown = shown(path, entries[0]);
    bool is_shared = !whole_shown && !path.empty() && entries.size() == 1 && is_shown &&
                     stamps.index_of(entries[0].stamp) == shared;
    if (is_shared) continue;
    ++own;
    fields.sized(path);
    fields.varint(entries.size());
    for (const Entry& entry : entries) {
      ValueKind kind = entry.sequence       ? kSequence
                       : !entry.value       ? kDeleted
                       : shown(path, entry) ? kAsShown
                                            : kHidden;
      fields.varint(stamps.index_of(entry.stamp) << 2 | kind);
      if (kind == kHidden) fields.sized(to_cbor(*entry.value));
      if (kind == kSequence) put_dot(fields, *entry.sequence, devices);
    }
  }
  // What is shown there is made of what lies below: a set's members, or a merge of whole documents.
  for (const auto& [path, value] : leaves) {
    if (whole_shown || record.fields.contains(path)) continue;
    ++own;
    fields.sized(path);
    fields.varint(0);
  }
  base::Writer words;
  words.varint(record.presence.size());
  for (const Presence& word : record.presence) {
    words.varint(stamps.index_of(word.stamp) << 1 | (word.alive ? 1 : 0));
  }
  words.varint(record.births.size());
  for (const Stamp& birth : record.births) words.varint(stamps.index_of(birth));

  if (own == 0 && stamps.stamps().size() == 1 && record.presence.size() == 1 &&
      record.presence[0].alive && record.births.size() == 1 && record.sequences.empty()) {
    return encode_fresh_record(stamps.stamps()[0], devices);
  }
  base::Writer out;
  out.u8(kGeneral);
  out.varint(stamps.stamps().size());
  for (const Stamp& stamp : stamps.stamps()) put_stamp(out, stamp, devices);
  out.varint(shared);
  out.raw(words.bytes());
  out.varint(own);
  out.raw(fields.bytes());
  out.varint(record.sequences.size());
  for (const auto& [path, sequences] : record.sequences) {
    out.sized(path);
    out.varint(sequences.size());
    for (const auto& [began, sequence] : sequences) {
      put_dot(out, began, devices);
      put_sequence(out, sequence, leaf_at(path), devices);
    }
  }
  return out.take();
}

namespace {

Record decode_checked(base::Reader& in, const Json& document, DeviceTable& devices) {
  Record record;
  std::uint8_t form = in.u8();
  auto leaves = leaves_of(document);
  if (form == kFresh) {
    Stamp stamp = get_stamp(in, devices);
    in.expect_end();
    record.presence.push_back({stamp, true});
    record.births.push_back(stamp);
    for (const auto& [path, value] : leaves) record.fields[path].push_back({stamp, *value, {}});
    return record;
  }
  if (form != kGeneral && form != kFirstRelease) in.fail("its form is unknown");
  std::vector<Stamp> stamps(in.count(9));
  for (Stamp& stamp : stamps) {
    stamp = form == kGeneral ? get_stamp(in, devices) : get_first_release_stamp(in, devices);
  }
  auto stamp_at = [&](std::uint64_t index) -> const Stamp& {
    if (index >= stamps.size()) in.fail("a stamp is missing");
    return stamps[index];
  };
  std::uint64_t shared = in.varint();
  for (std::size_t n = in.count(1); n > 0; --n) {
    std::uint64_t word = in.varint();
    record.presence.push_back({stamp_at(word >> 1), (word & 1) != 0});
  }
  for (std::size_t n = form == kGeneral ? in.count(1) : 0; n > 0; --n) {
    record.births.push_back(stamp_at(in.varint()));
  }
  std::set<std::string> named;
  bool whole_shown = false;
  for (std::size_t n = in.count(2); n > 0; --n) {
    std::string path = get_path(in);
    auto leaf = leaves.find(path);
    const Json* shown = path.empty() ? &document : leaf == leaves.end() ? nullptr : leaf->second;
    named.insert(path);
    std::size_t count = in.count(1);
    if (count == 0) continue;
    std::vector<Entry>& entries = record.fields[path];
    for (std::size_t m = count; m > 0; --m) {
      std::uint64_t word = in.varint();
      Entry entry{stamp_at(word >> 2), std::nullopt, std::nullopt};
      if ((word & 3) == kAsShown) {
        if (!shown) in.fail("a shown value is missing");
        entry.value = *shown;
        whole_shown |= path.empty();
      } else if ((word & 3) == kHidden) {
        entry.value = from_cbor(in.sized());
      } else if ((word & 3) == kSequence) {
        entry.sequence = get_dot(in, devices);
      }
      entries.push_back(std::move(entry));
    }
  }
  for (std::size_t n = form == kGeneral ? in.count(4) : 0; n > 0; --n) {
    std::string path = get_path(in);
    auto leaf = leaves.find(path);
    for (std::size_t m = in.count(3); m > 0; --m) {
      Dot began = get_dot(in, devices);
      record.sequences[path][began] =
          get_sequence(in, leaf == leaves.end() ? nullptr : leaf->second, devices);
    }
  }
  in.expect_end();
  for (const auto& [path, entries] : record.fields) {
    for (const Entry& entry : entries) {
      auto sequences = record.sequences.find(path);
      bool there = !entry.sequence || (sequences != record.sequences.end() &&
                                       sequences->second.contains(*entry.sequence));
      if (!there) in.fail("a sequence is missing");
    }
  }
  for (const auto& [path, value] : leaves) {
    if (whole_shown || named.contains(path)) continue;
    record.fields[path].push_back({stamp_at(shared), *value, {}});
  }
  return record;
}

}  // namespace

Record decode_record(ByteView state, const Json& document, DeviceTable& devices) try {
  base::Reader in(state, "a stored record");
  return decode_checked(in, document, devices);
} catch (const Error& error) {
  if (error.code() != ErrorCode::malformed) throw;
  throw Error(ErrorCode::corrupt, error.what());
}

}  // namespace holdfast::model
