#include "src/privacy/field_rules.h"

#include <algorithm>
#include <array>
#include <set>

#include "src/privacy/parsing.h"

namespace holdfast::privacy {
namespace {

constexpr std::array<const char*, 6> kActions = {"drop",       "keep",      "pseudonym",
                                                 "generalise", "randomise", "custom"};
constexpr std::array<const char*, 5> kGrains = {"cell", "band", "hour", "day", "bucket"};
constexpr std::array<const char*, 3> kMechanisms = {"response", "laplace", "gaussian"};
constexpr std::array<const char*, 3> kSensitivities = {"none", "personal", "sensitive"};
constexpr std::int64_t kMost = 1'000'000'000;

template <std::size_t N>
std::size_t one_of(const std::array<const char*, N>& names, const std::string& name,
                   const std::string& where) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == names[i]) return i;
  }
  std::string all;
  for (const char* known : names) all += (all.empty() ? "" : ", ") + std::string(known);
  bad_policy(where, "must be one of " + all);
}

Rational ratio(PolicyObject& object, const char* name) {
  const Json& value = object.need(name);
  // A number's own text, so that 0.1 is a tenth and not what a machine makes of it.
  std::string text = value.is_string()   ? value.get<std::string>()
                     : value.is_number() ? value.dump()
                                         : "";
  std::optional<Rational> out = parse_rational(text);
  if (!out || *out == 0) {
    bad_policy(object.at(name), R"(must be a number above zero, like 0.5 or "1/3")");
  }
  return *out;
}

void parse_randomise(PolicyObject& object, FieldRule& rule) {
  rule.mechanism =
      static_cast<Mechanism>(one_of(kMechanisms, object.text("mechanism"), object.at("mechanism")));
  rule.epsilon = ratio(object, "epsilon");
  if (rule.epsilon > 100 || rule.epsilon * 1000 < 1) {
    bad_policy(object.at("epsilon"), "must be from 0.001 to 100");
  }
  if (rule.mechanism == Mechanism::response) {
    const Json& values = object.list("values", 2);
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::string where = object.at("values") + "/" + std::to_string(i);
      if (values[i].is_structured()) bad_policy(where, "must not be an object or a list");
      if (std::find(rule.values.begin(), rule.values.end(), values[i]) != rule.values.end()) {
        bad_policy(where, "is there twice");
      }
      rule.values.push_back(values[i]);
    }
    return;
  }
  rule.least = object.whole("min", -kMost, kMost);
  rule.most = object.whole("max", rule.least + 1, kMost + 1);
  if (rule.mechanism == Mechanism::gaussian) {
    rule.delta = ratio(object, "delta");
    if (rule.delta * 1000 > 1 || rule.delta < Rational(1, Integer(1) << 60)) {
      bad_policy(object.at("delta"), "must be at most 0.001 and at least 2^-60");
    }
  }
}

std::vector<std::string> parse_pattern(const std::string& text, const std::string& where) {
  if (text.empty()) return {};
  if (text[0] != '/') bad_policy(where, "a field's pointer starts with '/', like /latency");
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find('/', at + 1), text.size());
    std::string segment;
    for (std::size_t i = at + 1; i < end; ++i) {
      if (text[i] != '~') {
        segment += text[i];
        continue;
      }
      if (i + 1 >= end || (text[i + 1] != '0' && text[i + 1] != '1')) {
        bad_policy(where, "'~' stands only in ~0 (for ~) and ~1 (for /)");
      }
      segment += text[++i] == '0' ? '~' : '/';
    }
    out.push_back(std::move(segment));
    at = end;
  }
  return out;
}

std::string rational_text(const Rational& value) {
  return numerator(value).str() + "/" + denominator(value).str();
}

}  // namespace

const char* action_name(Action action) { return kActions[static_cast<std::size_t>(action)]; }

FieldRule FieldRule::parse(const Json& given, const std::string& where) {
  PolicyObject object(given, where);
  FieldRule rule;
  rule.action = static_cast<Action>(one_of(kActions, object.text("action"), object.at("action")));
  rule.sensitivity = object.text_or("sensitivity", "personal");
  one_of(kSensitivities, rule.sensitivity, object.at("sensitivity"));
  switch (rule.action) {
    case Action::drop: break;
    case Action::keep: rule.scan = object.flag_or("scan", true); break;
    case Action::pseudonym:
      if (object.has("epoch_days")) rule.epoch_days = object.whole("epoch_days", 1, 366);
      break;
    case Action::generalise:
      rule.to = static_cast<Grain>(one_of(kGrains, object.text("to"), object.at("to")));
      if (rule.to == Grain::cell) rule.size = object.has("km") ? object.whole("km", 1, 5000) : 10;
      if (rule.to == Grain::band) rule.size = object.has("size") ? object.whole("size", 2, 50) : 10;
      if (rule.to == Grain::bucket) rule.size = object.whole("size", 1, kMost);
      if (rule.to == Grain::cell) object.find("km");
      break;
    case Action::randomise: parse_randomise(object, rule); break;
    case Action::custom: rule.function = object.text("function"); break;
  }
  object.finish();
  return rule;
}

Json FieldRule::to_json() const {
  Json out = {{"action", action_name(action)}, {"sensitivity", sensitivity}};
  switch (action) {
    case Action::drop: break;
    case Action::keep: out["scan"] = scan; break;
    case Action::pseudonym: out["epoch_days"] = epoch_days; break;
    case Action::generalise:
      out["to"] = kGrains[static_cast<std::size_t>(to)];
      if (to == Grain::cell) out["km"] = size;
      if (to == Grain::band || to == Grain::bucket) out["size"] = size;
      break;
    case Action::randomise:
      out["mechanism"] = kMechanisms[static_cast<std::size_t>(mechanism)];
      out["epsilon"] = rational_text(epsilon);
      if (mechanism == Mechanism::response) {
        out["values"] = values;
      } else {
        out["min"] = least;
        out["max"] = most;
      }
      if (mechanism == Mechanism::gaussian) out["delta"] = rational_text(delta);
      break;
    case Action::custom: out["function"] = function; break;
  }
  return out;
}

bool discloses_no_more(const FieldRule& now, const FieldRule& before) {
  if (now.action == Action::drop) return true;
  // Also where a value was kept: scanning, and rules by name, held for it, and do not for others.
  if (now.action != before.action) return false;
  switch (now.action) {
    case Action::drop: return true;
    case Action::keep: return now.scan || !before.scan;
    case Action::pseudonym: return now.epoch_days <= before.epoch_days;
    case Action::generalise:
      if (now.to == Grain::day && before.to == Grain::hour) return true;
      if (now.to != before.to) return false;
      // Cells of another size lie otherwise, so that two of them tell more than one.
      if (now.to == Grain::cell) return now.size == before.size;
      return before.size == 0 || now.size % before.size == 0;
    case Action::randomise:
      return now.mechanism == before.mechanism && now.values == before.values &&
             now.least == before.least && now.most == before.most &&
             now.epsilon <= before.epsilon && now.delta <= before.delta;
    case Action::custom: return now.function == before.function;
  }
  return false;
}

FieldRules FieldRules::parse(const Json& fields, const std::string& where) {
  if (!fields.is_object() || fields.empty()) {
    bad_policy(where, "must be an object with a rule for each field that may leave");
  }
  FieldRules out;
  for (const auto& [pointer, rule] : fields.items()) {
    // The member's name is a pointer itself: it is quoted, so that the place is plain.
    std::string at = where;
    at.append("[\"").append(pointer).append("\"]");
    out.rules_.emplace(parse_pattern(pointer, at), FieldRule::parse(rule, at));
  }
  return out;
}

Json FieldRules::to_json() const {
  Json out = Json::object();
  for (const auto& [pattern, rule] : rules_) out[pointer_text(pattern)] = rule.to_json();
  return out;
}

FieldRules::Match FieldRules::at(const std::vector<std::string>& path) const {
  Match best;
  std::size_t most = 0;
  for (const auto& [pattern, rule] : rules_) {
    if (pattern.size() != path.size()) continue;
    std::size_t names = 0;
    bool fits = true;
    for (std::size_t i = 0; i < path.size() && fits; ++i) {
      names += pattern[i] != "*";
      fits = pattern[i] == "*" || pattern[i] == path[i];
    }
    if (!fits || (best.rule && names <= most)) continue;
    most = names;
    best = {&rule, pattern.empty() || pattern.back() != "*"};
  }
  return best;
}

namespace {

// Whether `pattern` fits all of `path`, of which it may be longer.
bool fits_before(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  if (pattern.size() < path.size()) return false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (pattern[i] != "*" && pattern[i] != path[i]) return false;
  }
  return true;
}

}  // namespace

bool FieldRules::reach_below(const std::vector<std::string>& path) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const auto& one) {
    return one.first.size() > path.size() && fits_before(one.first, path);
  });
}

bool FieldRules::spell_out(const std::vector<std::string>& path) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const auto& one) {
    return one.second.action != Action::drop && fits_before(one.first, path) &&
           one.first[path.size() - 1] == path.back();
  });
}

const FieldRule& FieldRules::effective(const std::vector<std::string>& path) const {
  static const FieldRule kDrop;
  for (std::size_t size = path.size() + 1; size-- > 0;) {
    Match match = at({path.begin(), path.begin() + static_cast<std::ptrdiff_t>(size)});
    if (match.rule) return *match.rule;
  }
  return kDrop;
}

namespace {

using Pattern = std::vector<std::string>;

// What both stand for, as long as the longer; nothing where they have no path in common.
std::optional<Pattern> meet(const Pattern& a, const Pattern& b) {
  Pattern out = a.size() < b.size() ? b : a;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i] != b[i] && a[i] != "*" && b[i] != "*") return std::nullopt;
    out[i] = a[i] == "*" ? b[i] : a[i];
  }
  return out;
}

// Every kind of path that the rules tell apart; nothing where that are too many to look at.
std::optional<std::set<Pattern>> kinds_of_paths(const FieldRules& a, const FieldRules& b) {
  constexpr std::size_t kTooMany = 300;
  std::set<Pattern> out;
  std::vector<Pattern> fresh;
  auto add = [&](const Pattern& pattern) {
    if (out.insert(pattern).second) fresh.push_back(pattern);
  };
  for (const FieldRules* rules : {&a, &b}) {
    for (const auto& [pattern, rule] : rules->all()) add(pattern);
  }
  while (!fresh.empty()) {
    if (out.size() > kTooMany) return std::nullopt;
    Pattern one = fresh.back();
    fresh.pop_back();
    std::vector<Pattern> others(out.begin(), out.end());
    for (const Pattern& other : others) {
      if (auto both = meet(one, other)) add(*both);
    }
  }
  return out;
}

}  // namespace

bool disclose_no_more(const FieldRules& now, const FieldRules& before) {
  std::optional<std::set<Pattern>> paths = kinds_of_paths(now, before);
  if (!paths) return false;
  for (const Pattern& path : *paths) {
    if (!discloses_no_more(now.effective(path), before.effective(path))) return false;
    if (now.effective(path).action == Action::drop || path.empty()) continue;
    // A rule for the very name takes a field out of what is done by its name, and its number out of
    // the scan; without one, what is done by its name may be more than keeping what is scanned.
    bool named = now.at(path).named, was_named = before.at(path).named;
    if (named && !was_named) return false;
    if (!named && was_named && sensitive_rule(path.back())) return false;
    // What has parts with rules of their own does not leave as one.
    if (!now.reach_below(path) && before.reach_below(path)) return false;
  }
  return true;
}

std::string pointer_text(const std::vector<std::string>& path) {
  std::string out;
  for (const std::string& segment : path) {
    out += '/';
    for (char c : segment) {
      if (c == '~') {
        out += "~0";
      } else if (c == '/') {
        out += "~1";
      } else {
        out += c;
      }
    }
  }
  return out;
}

}  // namespace holdfast::privacy
