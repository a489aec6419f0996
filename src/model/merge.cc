// Merging whole values.

#include <set>

#include "src/model/view.h"

namespace holdfast::model {
namespace {

// null goes with anything; whole and broken numbers are of one kind.
int kind_of(const Json& value) {
  if (value.is_null()) return 0;
  if (value.is_number()) return 1;
  return 2 + static_cast<int>(value.type());
}

bool is_whole(const Json& value) {
  if (!value.is_number_unsigned()) return value.is_number_integer();
  return value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
}

}  // namespace

Json sum(const Json& a, const Json& b) {
  std::int64_t out = 0;
  bool exact = is_whole(a) && is_whole(b) &&
               !__builtin_add_overflow(a.get<std::int64_t>(), b.get<std::int64_t>(), &out);
  return exact ? Json(out) : Json(a.get<double>() + b.get<double>());
}

Json difference(const Json& a, const Json& b) {
  std::int64_t out = 0;
  bool exact = is_whole(a) && is_whole(b) &&
               !__builtin_sub_overflow(a.get<std::int64_t>(), b.get<std::int64_t>(), &out);
  return exact ? Json(out) : Json(a.get<double>() - b.get<double>());
}

Json merge_values(const std::vector<const Json*>& values) {
  bool maps = true;
  bool lists = true;
  for (const Json* value : values) {
    maps &= value->is_object();
    lists &= value->is_array();
  }
  if (maps) {
    std::map<std::string, std::vector<const Json*>> by_key;
    for (const Json* value : values) {
      for (const auto& [key, child] : value->items()) by_key[key].push_back(&child);
    }
    Json out = Json::object();
    for (const auto& [key, children] : by_key) out[key] = merge_values(children);
    return out;
  }
  if (lists) {
    Json out = Json::array();
    std::set<std::string> seen;
    for (const Json* value : values) {
      for (const Json& item : *value) {
        if (seen.insert(item.dump()).second) out.push_back(item);
      }
    }
    return out;
  }
  return *values.back();
}

ConflictType conflict_type(const std::vector<const std::optional<Json>*>& values) {
  int kind = 0;
  bool mismatch = false;
  for (const std::optional<Json>* value : values) {
    if (!*value) return ConflictType::update_delete;
    int its = kind_of(**value);
    if (its != 0 && kind != 0 && its != kind) mismatch = true;
    if (its != 0) kind = its;
  }
  return mismatch ? ConflictType::type_mismatch : ConflictType::concurrent_update;
}

}  // namespace holdfast::model
