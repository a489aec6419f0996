#include "holdfast/conflict.h"

namespace holdfast {

const char* strategy_name(Strategy strategy) noexcept {
  switch (strategy) {
    case Strategy::timestamp: return "timestamp";
    case Strategy::priority: return "priority";
    case Strategy::merge: return "merge";
    case Strategy::user_choice: return "user_choice";
  }
  return "unknown";
}

std::optional<Strategy> strategy_from_name(const std::string& name) noexcept {
  for (Strategy strategy :
       {Strategy::timestamp, Strategy::priority, Strategy::merge, Strategy::user_choice}) {
    if (name == strategy_name(strategy)) return strategy;
  }
  return std::nullopt;
}

const char* conflict_type_name(ConflictType type) noexcept {
  switch (type) {
    case ConflictType::concurrent_update: return "concurrent_update";
    case ConflictType::update_delete: return "update_delete";
    case ConflictType::type_mismatch: return "type_mismatch";
  }
  return "unknown";
}

}  // namespace holdfast
