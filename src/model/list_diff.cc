// Edits of lists whose elements have an identity.

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/path.h"
#include "src/model/sequence_ops.h"
#include "src/model/typed_diff.h"

namespace holdfast::model {
namespace {

// A list as it stands: where each element that is shown has its slot.
struct Shown {
  ShownSequence sequence;
  const Json* values = nullptr;
  std::vector<std::string> keys;    // of the elements, in the order shown
  std::vector<std::size_t> places;  // of their slots, among all slots
};

bool has_value(const Editing& editing, const std::string& path) {
  for (auto at = editing.record.fields.lower_bound(path);
       at != editing.record.fields.end() && at->first.starts_with(path); ++at) {
    if (at->first != path && !is_below(at->first, path)) continue;
    for (const Entry& entry : at->second) {
      if (entry.value || entry.sequence) return true;
    }
  }
  return false;
}

std::optional<Shown> shown_list(const Editing& editing, const std::string& path,
                                const Json& values) {
  auto sequence = shown_sequence(editing, path, values);
  if (!sequence) return std::nullopt;
  Shown out;
  out.sequence = *sequence;
  out.values = &values;
  if (!sequence->state) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      out.keys.push_back(first_key(sequence->began, i));
      out.places.push_back(i);
    }
    return out;
  }
  Units units = sequence->state->units.content();
  for (std::size_t place : places_of(*sequence->state)) {
    const std::string& key = sequence->state->slots[units[place]].key;
    bool there =
        sequence->state->first_values.contains(key) || has_value(editing, child_path(path, key));
    if (!there) continue;
    out.keys.push_back(key);
    out.places.push_back(place);
  }
  if (out.keys.size() > values.size()) return std::nullopt;
  return out;
}

// Collects slot edits by place, from the last to the first, so that none moves another.
class SlotEdits {
 public:
  explicit SlotEdits(const Shown& shown) : shown_(shown) {}
  void erase(std::size_t element) { at_[shown_.places[element]].erase = 1; }
  // Behind the element before `index`, among those there were.
  void insert(std::size_t index, const std::string& key) {
    std::size_t place = index == 0 ? 0 : shown_.places[index - 1] + 1;
    at_[place].keys.push_back(key);
  }
  bool empty() const { return at_.empty(); }
  Op op(const std::string& path) const {
    std::vector<ListPatch> patches;
    for (auto edit = at_.rbegin(); edit != at_.rend(); ++edit) {
      patches.push_back({edit->first, edit->second.erase, edit->second.keys});
    }
    return edit_op(path, shown_.sequence,
                   list_edit(patches, shown_.sequence.state ? nullptr : shown_.values));
  }

 private:
  struct Edit {
    std::size_t erase = 0;
    std::vector<std::string> keys;
  };
  const Shown& shown_;
  std::map<std::size_t, Edit> at_;
};

std::string id_of(const Json& value) {
  if (!value.is_object()) return {};
  auto id = value.find("id");
  return id == value.end() || id->is_structured() || id->is_null() ? std::string() : id->dump();
}

// Numbers for equal values, so that lists can be compared like texts.
class Tokens {
 public:
  Units units(const Json& list) {
    Units out;
    for (const Json& item : list) {
      out += numbers_.emplace(item.dump(), static_cast<char32_t>(numbers_.size())).first->second;
      values_.resize(std::max<std::size_t>(values_.size(), out.back() + 1));
      values_[out.back()] = item;
    }
    return out;
  }
  Json list(const Units& units) const {
    Json out = Json::array();
    for (char32_t unit : units) out.push_back(values_.at(unit));
    return out;
  }

 private:
  std::map<std::string, char32_t> numbers_;
  std::vector<Json> values_;
};

constexpr std::size_t kNew = SIZE_MAX;

// For each element of `after`, which one of `before` it is.
std::vector<std::size_t> match(const Json& before, const Json& after) {
  Tokens tokens;
  Units was = tokens.units(before);
  Units is = tokens.units(after);
  std::vector<std::size_t> from(after.size(), kNew);
  std::vector<bool> used(before.size());
  std::vector<std::pair<std::size_t, std::size_t>>
      gaps;  // pairs at the same place, by either index
  std::size_t i = 0;
  std::size_t k = 0;
  auto keep = [&](std::size_t until) {
    for (; k < until; ++k, ++i) {
      from[k] = i;
      used[i] = true;
    }
  };
  for (const Patch& patch : diff_units(was, is)) {
    keep(patch.at);
    for (std::size_t n = 0; n < std::min<std::size_t>(patch.erase, patch.insert.size()); ++n) {
      gaps.emplace_back(i + n, k + n);
    }
    i += patch.erase;
    k += patch.insert.size();
  }
  keep(after.size());
  auto claim = [&](auto name) {
    std::map<std::string, std::vector<std::size_t>> free;
    for (std::size_t b = before.size(); b-- > 0;) {
      if (!used[b] && !name(before[b]).empty()) free[name(before[b])].push_back(b);
    }
    for (std::size_t a = 0; a < after.size(); ++a) {
      if (from[a] != kNew) continue;
      auto found = free.find(name(after[a]));
      if (found == free.end() || found->second.empty()) continue;
      from[a] = found->second.back();
      used[from[a]] = true;
      found->second.pop_back();
    }
  };
  claim([](const Json& value) { return value.dump(); });  // moved
  claim(id_of);                                           // edited, by its own name
  for (auto [b, a] : gaps) {                              // edited in place
    if (used[b] || from[a] != kNew || !id_of(before[b]).empty() || !id_of(after[a]).empty())
      continue;
    from[a] = b;
    used[b] = true;
  }
  return from;
}

// Which of the elements that stay need not move: a longest ascending row of them.
std::vector<bool> in_place(const std::vector<std::size_t>& from) {
  std::vector<std::size_t> best;  // the last of a row of each length
  std::vector<std::size_t> before(from.size(), kNew);
  for (std::size_t a = 0; a < from.size(); ++a) {
    if (from[a] == kNew) continue;
    auto place = std::lower_bound(best.begin(), best.end(), a,
                                  [&](std::size_t x, std::size_t y) { return from[x] < from[y]; });
    if (place != best.begin()) before[a] = *std::prev(place);
    if (place == best.end()) {
      best.push_back(a);
    } else {
      *place = a;
    }
  }
  std::vector<bool> stays(from.size());
  for (std::size_t a = best.empty() ? kNew : best.back(); a != kNew; a = before[a]) stays[a] = true;
  return stays;
}

void change_value(const Editing& editing, const std::string& path, const Json& before,
                  const Json& after, std::vector<Op>& ops) {
  if (before.dump() == after.dump()) return;
  if (!has_value(editing, path) || !before.is_object() || !after.is_object()) {
    ops.push_back(make_op(OpKind::set, path, after));
    return;
  }
  diff_at(path, before, after, &editing, ops);
}

Shown list_or_throw(const Editing& editing, const std::string& path) {
  Json::json_pointer pointer(path);
  bool there = editing.rules.at(path).type == FieldType::list &&
               editing.current.contains(pointer) && editing.current.at(pointer).is_array();
  std::optional<Shown> shown;
  if (there) shown = shown_list(editing, path, editing.current.at(pointer));
  if (!shown) {
    throw Error(
        ErrorCode::invalid_argument,
        display_path(path) + " holds no list here: declare it in a policy and store one first");
  }
  return *shown;
}

void check_index(std::size_t index, std::size_t size) {
  if (index < size) return;
  throw Error(ErrorCode::invalid_argument,
              "the list has " + std::to_string(size) + " elements: the place is outside of it");
}

}  // namespace

std::vector<Op> list_diff(const Editing& editing, const std::string& path, const Json& before,
                          const Json& wanted) {
  const Json& current = editing.current.at(Json::json_pointer(path));
  std::optional<Shown> shown = shown_list(editing, path, current);
  if (!shown) return {make_op(OpKind::set, path, wanted)};
  Json after = wanted;
  if (current.dump() != before.dump()) {  // what came in between stays
    Tokens tokens;
    Units was = tokens.units(before);
    Units is = tokens.units(current);
    after = tokens.list(patched(is, rebase(was, diff_units(was, tokens.units(wanted)), is)));
  }
  // Elements beyond those with a slot are kept ones that another device removed: they stay as
  // they are.
  Json placed = Json::array();
  for (std::size_t i = 0; i < shown->keys.size(); ++i) placed.push_back(current[i]);
  std::vector<std::size_t> from = match(placed, after);
  std::vector<bool> stays = in_place(from);
  SlotEdits slots(*shown);
  std::vector<Op> values;
  std::vector<bool> kept(placed.size());
  std::size_t last = 0;  // how many of the elements before are passed
  for (std::size_t a = 0; a < after.size(); ++a) {
    if (from[a] == kNew) {
      std::string key = editing.new_key();
      slots.insert(last, key);
      values.push_back(make_op(OpKind::set, child_path(path, key), after[a]));
      continue;
    }
    kept[from[a]] = true;
    const std::string& key = shown->keys[from[a]];
    change_value(editing, child_path(path, key), placed[from[a]], after[a], values);
    if (stays[a]) {
      last = from[a] + 1;
    } else {
      slots.erase(from[a]);
      slots.insert(last, key);
    }
  }
  for (std::size_t b = 0; b < placed.size(); ++b) {
    if (kept[b]) continue;
    slots.erase(b);
    std::string child = child_path(path, shown->keys[b]);
    if (has_value(editing, child)) values.push_back(make_op(OpKind::drop, child));
  }
  std::vector<Op> ops;
  if (!slots.empty()) ops.push_back(slots.op(path));
  for (Op& op : values) ops.push_back(std::move(op));
  return ops;
}

std::vector<Op> insert_element(const Editing& editing, const std::string& path, std::size_t at,
                               const Json& value) {
  Shown shown = list_or_throw(editing, path);
  check_index(at, shown.keys.size() + 1);
  SlotEdits slots(shown);
  std::string key = editing.new_key();
  slots.insert(at, key);
  return {slots.op(path), make_op(OpKind::set, child_path(path, key), value)};
}

std::vector<Op> move_element(const Editing& editing, const std::string& path, std::size_t from,
                             std::size_t to) {
  Shown shown = list_or_throw(editing, path);
  check_index(from, shown.keys.size());
  check_index(to, shown.keys.size());
  if (from == to) return {};
  SlotEdits slots(shown);
  slots.erase(from);
  slots.insert(to > from ? to + 1 : to, shown.keys[from]);
  return {slots.op(path)};
}

std::vector<Op> place_element(const Editing& editing, const std::string& path) {
  std::string list = path.substr(0, path.rfind('/'));
  Json::json_pointer pointer(list);
  if (!editing.current.contains(pointer)) return {};
  std::optional<Shown> shown = shown_list(editing, list, editing.current.at(pointer));
  if (!shown) return {};
  SlotEdits slots(*shown);
  slots.insert(shown->keys.size(), last_key(path));
  return {slots.op(list)};
}

std::vector<Op> erase_element(const Editing& editing, const std::string& path, std::size_t at) {
  Shown shown = list_or_throw(editing, path);
  check_index(at, shown.keys.size());
  SlotEdits slots(shown);
  slots.erase(at);
  std::vector<Op> ops{slots.op(path)};
  std::string child = child_path(path, shown.keys[at]);
  if (has_value(editing, child)) ops.push_back(make_op(OpKind::drop, child));
  return ops;
}

}  // namespace holdfast::model
