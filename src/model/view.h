#pragma once

// What reads show of a record: a deterministic function of its live values and the policies.

#include <functional>

#include "src/model/policy.h"
#include "src/model/record.h"

namespace holdfast::model {

struct View {
  Json document = Json::object();
  bool alive = false;
  std::vector<Conflict> conflicts;  // by path; without collection and id; none for a dead record
  std::size_t pending = 0;          // how many of them wait for the user
};

View render(const Record& record, const Rules& rules);

// Maps key by key, lists as their ordered union without duplicates, anything else the last one.
// `values` in the order of rank, the last one the highest.
Json merge_values(const std::vector<const Json*>& values);

// Exact for whole numbers that fit 64 bits.
Json sum(const Json& a, const Json& b);
Json difference(const Json& a, const Json& b);

// What kind of conflict values are in, absent ones included.
ConflictType conflict_type(const std::vector<const std::optional<Json>*>& values);

}  // namespace holdfast::model
