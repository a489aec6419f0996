#pragma once

// What reads show of a record: a deterministic function of its live values and the policies.

#include <functional>

#include "src/model/record.h"

namespace holdfast::model {

// The strategy for the field at a pointer.
using StrategyOf = std::function<Strategy(const std::string& path)>;

struct View {
  Json document = Json::object();
  std::vector<Conflict> conflicts;  // by path; without collection and id; none for a dead record
  std::size_t pending = 0;          // how many of them wait for the user
};

View render(const Record& record, const StrategyOf& strategy);

}  // namespace holdfast::model
