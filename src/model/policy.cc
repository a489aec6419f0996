#include "src/model/policy.h"

#include <algorithm>

namespace holdfast::model {
namespace {

std::vector<std::string> steps_of(const std::string& pointer) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < pointer.size();) {
    std::size_t end = std::min(pointer.find('/', at + 1), pointer.size());
    out.push_back(pointer.substr(at + 1, end - at - 1));
    at = end;
  }
  return out;
}

bool more_specific(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a.size() != b.size()) return a.size() > b.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if ((a[i] == "*") != (b[i] == "*")) return b[i] == "*";
  }
  return a < b;
}

}  // namespace

void Rules::add(const std::string& pointer, const FieldRule& rule) {
  rules_.push_back({steps_of(pointer), rule});
  has_types_ |= rule.type != FieldType::value;
  std::sort(rules_.begin(), rules_.end(),
            [](const Rule& a, const Rule& b) { return more_specific(a.steps, b.steps); });
}

FieldRule Rules::at(const std::string& pointer) const {
  if (rules_.empty()) return {};
  std::vector<std::string> steps = steps_of(pointer);
  for (const Rule& candidate : rules_) {
    if (candidate.steps.size() > steps.size()) continue;
    bool fits = std::equal(candidate.steps.begin(), candidate.steps.end(), steps.begin(),
                           [](const std::string& pattern, const std::string& step) {
                             return pattern == "*" || pattern == step;
                           });
    if (!fits) continue;
    FieldRule rule = candidate.rule;
    if (candidate.steps.size() != steps.size()) rule.type = FieldType::value;
    return rule;
  }
  return {};
}

}  // namespace holdfast::model
