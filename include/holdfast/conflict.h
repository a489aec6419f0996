#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/record_version.h"

namespace holdfast {

// How a field with several concurrent values is shown. Every device shows the same; no value is
// lost by being outranked: it stays a candidate until a later write has superseded it.
enum class Strategy {
  timestamp,    // the latest write
  priority,     // the highest priority, then the latest write
  merge,        // lists as their ordered union without duplicates; other values as by timestamp
  user_choice,  // as by timestamp, and pending until the user decides
};

enum class ConflictType {
  concurrent_update,  // two values of one kind
  update_delete,      // one side changed what the other deleted
  type_mismatch,      // values of different JSON kinds
};

// The stable names, as in the command line and in JSON: "user_choice", "update_delete".
const char* strategy_name(Strategy strategy) noexcept;
const char* conflict_type_name(ConflictType type) noexcept;
std::optional<Strategy> strategy_from_name(const std::string& name) noexcept;

// One write among those that happened without knowledge of each other.
struct Dot {
  std::array<std::uint8_t, 16> device{};
  std::uint64_t sequence = 0;
  auto operator<=>(const Dot&) const = default;
};

// One side of a conflict.
struct Candidate {
  std::optional<nlohmann::json> value;  // nothing: this side deleted it
  std::array<std::uint8_t, 16> device{};
  std::int64_t time_ms = 0;  // UTC, by the writing device's clock
  std::int64_t priority = 0;
  std::vector<Dot> dots;  // the writes behind it: what resolving supersedes
};

struct Conflict {
  std::string collection;
  std::string id;
  std::string path;  // "$.address.city"; "$" is the record itself
  ConflictType type = ConflictType::concurrent_update;
  std::vector<Candidate> candidates;  // two or more, the oldest first
  std::size_t visible = 0;            // which of them reads show now (under merge: ranks first)
  bool pending = false;               // waits for the user: see ConflictResolver
  RecordVersion version;              // the record as it was when this was listed
};

}  // namespace holdfast
