#include "src/model/typed_diff.h"

#include <algorithm>
#include <set>

#include "holdfast/error.h"
#include "src/model/path.h"
#include "src/model/sequence_ops.h"

namespace holdfast::model {
namespace {

const std::vector<Entry>& entries_at(const Editing& editing, const std::string& path) {
  static const std::vector<Entry> kNone;
  auto found = editing.record.fields.find(path);
  return found == editing.record.fields.end() ? kNone : found->second;
}

bool is_of(FieldType type, const Json& value) {
  switch (type) {
    case FieldType::counter: return value.is_number();
    case FieldType::set:
    case FieldType::list: return value.is_array();
    case FieldType::text: return value.is_string();
    case FieldType::value: break;
  }
  return true;
}

const Json* current_at(const Editing& editing, const std::string& path) {
  Json::json_pointer pointer(path);
  return editing.current.contains(pointer) ? &editing.current.at(pointer) : nullptr;
}

std::vector<Op> set_diff(const Editing& editing, const std::string& path, const Json& before,
                         const Json& after) {
  auto members = [](const Json& list) {
    std::map<std::string, const Json*> out;
    for (const Json& item : list) out.emplace(item.dump(), &item);
    return out;
  };
  auto old = members(before);
  auto now = members(after);
  std::vector<Op> ops;
  for (const auto& [text, member] : old) {
    if (now.contains(text)) continue;
    for (Op& op : edit_set(editing, path, *member, false)) ops.push_back(std::move(op));
  }
  for (const Json& member : after) {
    if (old.emplace(member.dump(), &member).second) {
      ops.push_back(make_op(OpKind::set, child_path(path, set_key(member)), member));
    }
  }
  return ops;
}

std::vector<Op> text_diff(const std::string& path, const ShownSequence& sequence,
                          const Json& before, const Json& after, const Json& current) {
  Units was = to_units(before.get_ref<const std::string&>());
  Units is = to_units(current.get_ref<const std::string&>());
  Patches patches = diff_units(was, to_units(after.get_ref<const std::string&>()));
  if (was != is) patches = rebase(was, patches, is);
  if (patches.empty()) return {};
  return {edit_op(path, sequence, text_edit(patches, sequence.state ? nullptr : &current))};
}

[[noreturn]] void not_there(const std::string& path, const char* what) {
  throw Error(ErrorCode::invalid_argument, display_path(path) + " holds no " + what +
                                               " here: declare it in a policy and store one first");
}

const Json& shown_or_throw(const Editing& editing, const std::string& path, FieldType type) {
  const Json* shown = current_at(editing, path);
  bool declared = editing.rules.at(path).type == type;
  if (!shown || !is_of(type, *shown) || !declared) not_there(path, field_type_name(type));
  return *shown;
}

}  // namespace

std::optional<ShownSequence> shown_sequence(const Editing& editing, const std::string& path,
                                            const Json& shown) {
  std::optional<ShownSequence> plain;
  auto sequences = editing.record.sequences.find(path);
  for (const Entry& entry : entries_at(editing, path)) {
    if (entry.sequence) {
      const SequenceState& state = sequences->second.at(*entry.sequence);
      if (state.is_list
              ? shown.is_array()
              : shown.is_string() && text_of(state) == shown.get_ref<const std::string&>()) {
        return ShownSequence{*entry.sequence, &state};
      }
    } else if (entry.value && same_leaf(*entry.value, shown)) {
      plain = ShownSequence{entry.stamp.dot, nullptr};
      if (sequences != editing.record.sequences.end()) {
        auto known = sequences->second.find(entry.stamp.dot);
        if (known != sequences->second.end()) plain.reset();  // begun in this very change set
      }
    }
  }
  return plain;
}

Op edit_op(const std::string& path, const ShownSequence& sequence, Json value) {
  Op op = make_op(OpKind::edit, path, std::move(value));
  op.sequence = sequence.began;
  return op;
}

std::optional<std::vector<Op>> typed_diff(const Editing& editing, const std::string& path,
                                          const Json& before, const Json& after) {
  if (!editing.rules.has_types() || path.empty()) return std::nullopt;
  FieldType type = editing.rules.at(path).type;
  if (type == FieldType::value || after.is_null()) return std::nullopt;
  const Json* current = current_at(editing, path);
  if (!current || current->is_null()) return std::nullopt;
  if (!is_of(type, after)) {
    // Not an error, and nothing lost: it stands beside what is there, and the user decides.
    if (same_leaf(before, after)) return std::vector<Op>{};
    Op op = make_op(OpKind::set, path, after);
    op.supersedes = Supersedes::listed;
    for (const Entry& entry : entries_at(editing, path)) {
      if (entry.value && !is_of(type, *entry.value)) op.writes.push_back(entry.stamp.dot);
    }
    return std::vector<Op>{std::move(op)};
  }
  if (!is_of(type, before) || !is_of(type, *current)) return std::nullopt;
  switch (type) {
    case FieldType::counter: {
      Json by = difference(after, before);
      if (by == 0) return std::vector<Op>{};
      return edit_counter(editing, path, by);
    }
    case FieldType::set: return set_diff(editing, path, before, after);
    case FieldType::text:
    case FieldType::list: {
      if (before.dump() == after.dump()) return std::vector<Op>{};
      auto sequence = shown_sequence(editing, path, *current);
      if (!sequence) return std::nullopt;
      if (type == FieldType::list) return list_diff(editing, path, before, after);
      return text_diff(path, *sequence, before, after, *current);
    }
    case FieldType::value: break;
  }
  return std::nullopt;
}

std::vector<Op> edit_counter(const Editing& editing, const std::string& path, const Json& by) {
  const Json& shown = shown_or_throw(editing, path, FieldType::counter);
  bool whole = shown.is_number_integer() && by.is_number_integer();
  if (whole && sum(shown, by).is_number_float()) {
    throw Error(ErrorCode::invalid_argument,
                "the counter would leave the range of 64-bit numbers: it is not changed");
  }
  Json total = by;
  for (const Entry& entry : entries_at(editing, path)) {
    bool own = entry.stamp.dot.device == editing.device && entry.value && entry.value->is_number();
    if (own) total = sum(total, *entry.value);
  }
  Op op = make_op(OpKind::set, path, std::move(total));
  op.supersedes = Supersedes::own;
  return {std::move(op)};
}

std::vector<Op> edit_set(const Editing& editing, const std::string& path, const Json& member,
                         bool add) {
  const Json& shown = shown_or_throw(editing, path, FieldType::set);
  bool there = std::any_of(shown.begin(), shown.end(),
                           [&](const Json& item) { return item.dump() == member.dump(); });
  if (there == add) return {};
  std::string child = child_path(path, set_key(member));
  if (add) return {make_op(OpKind::set, child, member)};
  // A member of a list that was stored whole can only be crossed out.
  bool in_list = false;
  for (const Entry& entry : entries_at(editing, path)) {
    if (!entry.value || !entry.value->is_array()) continue;
    for (const Json& item : *entry.value) in_list |= item.dump() == member.dump();
  }
  return {make_op(in_list ? OpKind::unset : OpKind::drop, child)};
}

std::vector<Op> edit_text(const Editing& editing, const std::string& path, const Patch& patch) {
  const Json& shown = shown_or_throw(editing, path, FieldType::text);
  std::size_t size = to_units(shown.get_ref<const std::string&>()).size();
  if (patch.at > size || patch.erase > size - patch.at) {
    throw Error(ErrorCode::invalid_argument,
                "the text has " + std::to_string(size) + " characters: the place is outside of it");
  }
  auto sequence = shown_sequence(editing, path, shown);
  if (!sequence) not_there(path, "text that can be edited");
  if (patch.erase == 0 && patch.insert.empty()) return {};
  return {edit_op(path, *sequence, text_edit({patch}, sequence->state ? nullptr : &shown))};
}

}  // namespace holdfast::model
