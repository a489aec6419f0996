#pragma once

// What an app declares of its fields, and which declaration holds for a field.

#include <map>
#include <string>
#include <vector>

#include "holdfast/conflict.h"

namespace holdfast::model {

struct FieldRule {
  Strategy strategy = Strategy::timestamp;
  FieldType type = FieldType::value;
  bool critical = false;
  Strategy fallback = Strategy::timestamp;
  std::int64_t deadline_ms = kDefaultDeadlineMs;
  // Of the whole collection, at "$":
  bool whole = false;
  bool delete_wins = false;
};

// The rules of one collection, by pointer. A step "*" stands for any one key. The rule with the
// most steps counts that names the field or something above it; among them, the one that first
// names a key where the other has a "*". A type is declared for the named field itself, not below.
class Rules {
 public:
  void add(const std::string& pointer, const FieldRule& rule);
  FieldRule at(const std::string& pointer) const;
  bool empty() const { return rules_.empty(); }
  bool has_types() const { return has_types_; }

 private:
  struct Rule {
    std::vector<std::string> steps;
    FieldRule rule;
  };
  std::vector<Rule> rules_;  // the most specific first
  bool has_types_ = false;
};

}  // namespace holdfast::model
