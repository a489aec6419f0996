#pragma once

// Reading a policy: every fault names its place.

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "holdfast/error.h"

namespace holdfast::privacy {

[[noreturn]] inline void bad_policy(const std::string& where, const std::string& why) {
  throw Error(
      ErrorCode::invalid_argument,
      "the privacy policy, at " + (where.empty() ? std::string("its top") : where) + ": " + why);
}

// An object of a policy, whose members are all asked for: finish() refuses what nobody knows.
class PolicyObject {
 public:
  PolicyObject(const nlohmann::json& value, std::string where)
      : value_(value), where_(std::move(where)) {
    if (!value_.is_object()) bad_policy(where_, "must be an object");
  }
  const std::string& where() const { return where_; }
  std::string at(const std::string& name) const { return where_ + "/" + name; }
  bool has(const std::string& name) const { return value_.contains(name); }

  const nlohmann::json& need(const char* name) {
    known_.insert(name);
    auto found = value_.find(name);
    if (found == value_.end()) bad_policy(where_, std::string("lacks \"") + name + "\"");
    return *found;
  }
  const nlohmann::json* find(const char* name) {
    known_.insert(name);
    auto found = value_.find(name);
    return found == value_.end() ? nullptr : &*found;
  }
  std::string text(const char* name) {
    const nlohmann::json& value = need(name);
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
      bad_policy(at(name), "must be a text that is not empty");
    }
    return value.get<std::string>();
  }
  std::string text_or(const char* name, const char* otherwise) {
    return find(name) ? text(name) : otherwise;
  }
  bool flag_or(const char* name, bool otherwise) {
    const nlohmann::json* value = find(name);
    if (value && !value->is_boolean()) bad_policy(at(name), "must be true or false");
    return value ? value->get<bool>() : otherwise;
  }
  std::int64_t whole(const char* name, std::int64_t least, std::int64_t most) {
    const nlohmann::json& value = need(name);
    bool fits = value.is_number_integer() &&
                !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) &&
                value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
    if (!fits) {
      bad_policy(at(name), "must be a whole number from " + std::to_string(least) + " to " +
                               std::to_string(most));
    }
    return value.get<std::int64_t>();
  }
  const nlohmann::json& list(const char* name, std::size_t fewest) {
    const nlohmann::json& value = need(name);
    if (!value.is_array() || value.size() < fewest) {
      bad_policy(at(name), "must be a list of at least " + std::to_string(fewest));
    }
    return value;
  }
  void finish() const {
    for (const auto& [name, value] : value_.items()) {
      if (known_.count(name) == 0) bad_policy(at(name), "is not known");
    }
  }

 private:
  const nlohmann::json& value_;
  std::string where_;
  std::set<std::string> known_;
};

}  // namespace holdfast::privacy
