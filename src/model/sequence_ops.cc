#include "src/model/sequence_ops.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/base/hash.h"
#include "src/model/json.h"

namespace holdfast::model {
namespace {

bool has_before(const Json& value) {
  return !value.empty() && (value[0].is_string() || value[0].is_array());
}

void begin(SequenceState& sequence, const Dot& began, const Json& before) {
  if (before.is_string()) {
    sequence.units = Sequence(to_units(before.get_ref<const std::string&>()));
    return;
  }
  sequence.is_list = true;
  Units units;
  for (std::size_t i = 0; i < before.size(); ++i) {
    std::string key = first_key(began, i);
    units += static_cast<char32_t>(sequence.slots.size());
    sequence.slots.push_back({key, began, {}});
    sequence.first_values[key] = before[i];
  }
  sequence.units = Sequence(std::move(units));
}

}  // namespace

void check_edit(const Json& value) {
  auto fail = [] { throw Error(ErrorCode::malformed, "an edit of a text or list is malformed"); };
  if (!value.is_array()) fail();
  std::size_t first = has_before(value) ? 1 : 0;
  std::size_t total = 0;
  if ((value.size() - first) % 3 != 0) fail();
  auto count = [&](const Json& number) {
    if (!number.is_number_unsigned() &&
        !(number.is_number_integer() && number.get<std::int64_t>() >= 0))
      fail();
    if (number.get<std::uint64_t>() > kMaxPatchUnits) fail();
    return number.get<std::size_t>();
  };
  for (std::size_t i = first; i < value.size(); i += 3) {
    count(value[i]);
    total += count(value[i + 1]);
    const Json& insert = value[i + 2];
    if (insert.is_array()) {
      for (const Json& key : insert) {
        if (!key.is_string() || key.get_ref<const std::string&>().size() > kMaxName) fail();
      }
      total += insert.size();
    } else if (insert.is_string()) {
      total += insert.get_ref<const std::string&>().size();
    } else {
      fail();
    }
  }
  if (total > kMaxPatchUnits) fail();
}

void edit_sequence(SequenceState& sequence, const ChangeSet& change, const Op& op) {
  bool fresh = !sequence.units.has_log() && sequence.units.folded().entries().empty() &&
               sequence.units.size() == 0 && sequence.slots.empty();
  std::size_t first = has_before(op.value) ? 1 : 0;
  if (fresh && first == 1) begin(sequence, op.sequence, op.value[0]);
  Patches patches;
  for (std::size_t i = first; i + 2 < op.value.size(); i += 3) {
    const Json& insert = op.value[i + 2];
    if (fresh && first == 0 && i == 0) sequence.is_list = insert.is_array();
    Patch patch{op.value[i].get<std::uint64_t>(), op.value[i + 1].get<std::uint64_t>(), {}};
    if (insert.is_array() != sequence.is_list) continue;
    if (insert.is_string()) {
      patch.insert = to_units(insert.get_ref<const std::string&>());
    } else {
      for (const Json& key : insert) {
        patch.insert += static_cast<char32_t>(sequence.slots.size());
        sequence.slots.push_back({key.get<std::string>(), change.dot(), change.hlc});
      }
    }
    patches.push_back(std::move(patch));
  }
  sequence.units.apply(change.dot(), change.context, patches);
}

void fold_sequence(SequenceState& sequence, const VersionVector& upto) {
  if (!sequence.units.fold(upto) || !sequence.is_list || sequence.units.has_log()) return;
  // Nothing refers to slots by their number but the content: those that are gone can go.
  std::vector<Slot> slots;
  Units units;
  for (char32_t unit : sequence.units.content()) {
    if (unit >= sequence.slots.size()) continue;
    units += static_cast<char32_t>(slots.size());
    slots.push_back(sequence.slots[unit]);
  }
  sequence.units.renumber(units);
  sequence.slots = std::move(slots);
  std::erase_if(sequence.first_values, [&](const auto& value) {
    return std::none_of(sequence.slots.begin(), sequence.slots.end(),
                        [&](const Slot& slot) { return slot.key == value.first; });
  });
}

Json text_edit(const Patches& patches, const Json* before) {
  Json out = Json::array();
  if (before) out.push_back(*before);
  for (const Patch& patch : patches) {
    out.push_back(patch.at);
    out.push_back(patch.erase);
    out.push_back(to_utf8(patch.insert));
  }
  return out;
}

Json list_edit(const std::vector<ListPatch>& patches, const Json* before) {
  Json out = Json::array();
  if (before) out.push_back(*before);
  for (const ListPatch& patch : patches) {
    out.push_back(patch.at);
    out.push_back(patch.erase);
    out.push_back(patch.insert);
  }
  return out;
}

std::string text_of(const SequenceState& sequence) { return to_utf8(sequence.units.content()); }

std::vector<std::size_t> places_of(const SequenceState& sequence) {
  Units units = sequence.units.content();
  std::map<std::string_view, std::size_t> latest;
  auto rank = [&](std::size_t place) {
    const Slot& slot = sequence.slots[units[place]];
    return std::tuple(slot.hlc, slot.dot, place);
  };
  auto is_slot = [&](char32_t unit) {
    return unit < sequence.slots.size() && !sequence.slots[unit].key.empty();
  };
  for (std::size_t place = 0; place < units.size(); ++place) {
    if (!is_slot(units[place])) continue;
    auto [found, added] = latest.emplace(sequence.slots[units[place]].key, place);
    if (!added && rank(place) > rank(found->second)) found->second = place;
  }
  std::vector<std::size_t> out;
  for (std::size_t place = 0; place < units.size(); ++place) {
    if (!is_slot(units[place])) continue;
    if (latest.at(sequence.slots[units[place]].key) == place) out.push_back(place);
  }
  return out;
}

std::vector<std::string> order_of(const SequenceState& sequence) {
  Units units = sequence.units.content();
  std::vector<std::string> out;
  for (std::size_t place : places_of(sequence)) out.push_back(sequence.slots[units[place]].key);
  return out;
}

std::string first_key(const Dot& began, std::size_t index) {
  base::Writer place;
  place.raw(began.device);
  place.u64(began.sequence);
  place.u64(index);
  base::Hash32 hash = base::sha256({base::view("holdfast list element v1"), place.bytes()});
  return base::to_base64url(ByteView(hash).first(8));
}

std::string set_key(const Json& member) {
  base::Hash32 hash = base::sha256({base::view("holdfast set member v1"), to_cbor(member)});
  return base::to_base64url(ByteView(hash).first(16));
}

SequenceState join_sequences(const SequenceState& a, const SequenceState& b) {
  bool ahead = a.units.folded().covers(b.units.folded());
  SequenceState out = ahead ? a : b;
  const SequenceState& other = ahead ? b : a;
  for (Sequence::Change change : other.units.changes()) {
    if (out.units.holds(change.dot)) continue;
    if (out.is_list) {
      for (Patch& patch : change.patches) {
        for (char32_t& unit : patch.insert) {
          Slot slot{"", change.dot, {}};  // erased since
          if (unit < other.slots.size()) slot = other.slots[unit];
          unit = static_cast<char32_t>(out.slots.size());
          out.slots.push_back(std::move(slot));
        }
      }
    }
    out.units.apply(change);
  }
  for (const auto& [key, value] : other.first_values) {
    bool placed = std::any_of(out.slots.begin(), out.slots.end(),
                              [&](const Slot& slot) { return slot.key == key; });
    if (placed) out.first_values.emplace(key, value);
  }
  return out;
}

bool knows_all_of(const VersionVector& seen, const Dot& began, const SequenceState& sequence) {
  if (!seen.covers(began)) return false;
  for (const Sequence::Change& change : sequence.units.changes()) {
    if (!seen.covers(change.dot)) return false;
  }
  return true;
}

Bytes canonical_sequence(const SequenceState& sequence) {
  base::Writer out;
  auto put_dot = [&](const Dot& dot) {
    out.raw(dot.device);
    out.varint(dot.sequence);
  };
  auto put_units = [&](const Units& units) {
    out.varint(units.size());
    for (char32_t unit : units) {
      if (!sequence.is_list) {
        out.varint(unit);
      } else if (unit < sequence.slots.size()) {
        const Slot& slot = sequence.slots[unit];
        out.sized(slot.key);
        put_dot(slot.dot);
      }
    }
  };
  out.u8(sequence.is_list);
  put_units(sequence.units.content());
  for (const auto& [device, change] : sequence.units.folded().entries()) put_dot({device, change});
  std::vector<Sequence::Change> changes = sequence.units.changes();
  std::sort(changes.begin(), changes.end(),
            [](const auto& one, const auto& other) { return one.dot < other.dot; });
  for (Sequence::Change& change : changes) {
    put_dot(change.dot);
    std::sort(change.parents.begin(), change.parents.end());
    for (const Dot& parent : change.parents) put_dot(parent);
    for (const Patch& patch : change.patches) {
      out.varint(patch.at);
      out.varint(patch.erase);
      put_units(patch.insert);
    }
  }
  return out.take();
}

}  // namespace holdfast::model
