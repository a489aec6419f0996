#include <iterator>
#include <utility>

#include "holdfast/conflict.h"

namespace holdfast {
namespace {

constexpr std::pair<Strategy, const char*> kStrategies[] = {
    {Strategy::timestamp, "timestamp"}, {Strategy::priority, "priority"},
    {Strategy::merge, "merge"},         {Strategy::user_choice, "user_choice"},
    {Strategy::custom, "custom"},
};
constexpr std::pair<FieldType, const char*> kTypes[] = {
    {FieldType::value, "value"}, {FieldType::counter, "counter"}, {FieldType::set, "set"},
    {FieldType::list, "list"},   {FieldType::text, "text"},
};
constexpr std::pair<ConflictType, const char*> kConflicts[] = {
    {ConflictType::concurrent_update, "concurrent_update"},
    {ConflictType::update_delete, "update_delete"},
    {ConflictType::type_mismatch, "type_mismatch"},
    {ConflictType::no_conflict, "no_conflict"},
    {ConflictType::different_records, "different_records"},
    {ConflictType::version_conflict, "version_conflict"},
};

template <typename Names, typename Value>
const char* name_in(const Names& names, Value value) noexcept {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  return "unknown";
}

template <typename Value, std::size_t N>
std::optional<Value> value_in(const std::pair<Value, const char*> (&names)[N],
                              const std::string& text) noexcept {
  for (const auto& [value, name] : names) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace

const char* strategy_name(Strategy strategy) noexcept { return name_in(kStrategies, strategy); }
const char* field_type_name(FieldType type) noexcept { return name_in(kTypes, type); }
const char* conflict_type_name(ConflictType type) noexcept { return name_in(kConflicts, type); }
std::optional<Strategy> strategy_from_name(const std::string& name) noexcept {
  return value_in(kStrategies, name);
}
std::optional<FieldType> field_type_from_name(const std::string& name) noexcept {
  return value_in(kTypes, name);
}

}  // namespace holdfast
