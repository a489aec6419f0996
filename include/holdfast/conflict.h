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
  merge,        // maps key by key, lists as their ordered union without duplicates, the rest as by
                // timestamp
  user_choice,  // as by timestamp, and pending until the user decides or the deadline passes
  custom,       // as by timestamp, until the app's function has decided on some device
};

// What a field is made of. Declared in a policy; concurrent edits of all but `value` never
// conflict with each other.
enum class FieldType {
  value,    // the latest writes stand side by side where they are concurrent
  counter,  // a number; concurrent changes add up
  set,      // a list without order or duplicates; adding wins over removing at the same time
  list,     // an ordered list whose elements have an identity, so that they can move and be edited
  text,     // a text; concurrent insertions and deletions both happen
};

enum class ConflictType {
  concurrent_update,  // two values of one kind
  update_delete,      // one side changed what the other deleted
  type_mismatch,      // values of different JSON kinds, or of another than the declared type
  // Of two plain documents only, see ConflictResolver::resolve_conflict:
  no_conflict,        // they say the same
  different_records,  // their `id`s differ
  version_conflict,   // the same `id`, another `version`
};

// How long a pending conflict waits for the user unless its policy says otherwise: a day.
constexpr std::int64_t kDefaultDeadlineMs = 24 * 60 * 60 * 1000;

// The stable names, as in the command line and in JSON: "user_choice", "update_delete".
const char* strategy_name(Strategy strategy) noexcept;
const char* field_type_name(FieldType type) noexcept;
const char* conflict_type_name(ConflictType type) noexcept;
std::optional<Strategy> strategy_from_name(const std::string& name) noexcept;
std::optional<FieldType> field_type_from_name(const std::string& name) noexcept;

// A device's change set: what one of its transactions changed.
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
  std::uint64_t clock = 0;   // the same as it ranks: 48 bits of milliseconds, 16 of a counter
  std::int64_t priority = 0;
  bool automatic = false;    // a resolution by a deadline or by the app's function
  std::vector<Dot> dots;     // the writes behind it: what resolving supersedes
  std::vector<Dot> beneath;  // further ones inside of it, superseded when another side is picked
};

struct Conflict {
  std::string collection;
  std::string id;
  std::string path;  // "$.address.city"; "$" is the record itself
  ConflictType type = ConflictType::concurrent_update;
  std::vector<Candidate> candidates;    // two or more, the oldest first
  std::size_t visible = 0;              // which of them reads show now (under merge: ranks first)
  std::optional<nlohmann::json> shown;  // what reads show
  bool merged = false;        // reads show a merge; the candidates say of which devices and times
  bool pending = false;       // waits for the user: see ConflictResolver
  std::size_t suggested = 0;  // the side that the user's earlier choices speak for
  std::optional<std::int64_t> deadline_ms;  // of a pending one: when the fallback is written here
  RecordVersion version;                    // the record as it was when this was listed
};

}  // namespace holdfast
