#include "src/privacy/policy.h"

#include <algorithm>
#include <chrono>

#include "holdfast/json.h"
#include "src/base/hash.h"
#include "src/privacy/parsing.h"

namespace holdfast::privacy {
namespace {

constexpr std::size_t kMaxId = 128;

// A name that travels in headers and records.
std::string id_of(PolicyObject& object, const char* name = "id") {
  std::string id = object.text(name);
  bool plain = id.size() <= kMaxId && std::all_of(id.begin(), id.end(), [](char c) {
                 return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
               });
  if (!plain) {
    bad_policy(object.at(name), "must be up to 128 letters, digits, '_', '-' and '.'");
  }
  return id;
}

// "2026-11-30", as the start of that day, UTC.
std::int64_t date_of(PolicyObject& object, const char* name) {
  std::string text = object.text(name);
  int year = 0;
  unsigned month = 0, day = 0;
  char rest = 0;
  using namespace std::chrono;
  bool read = text.size() == 10 &&
              std::sscanf(text.c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &rest) == 3;
  year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!read || !date.ok()) bad_policy(object.at(name), "must be a date like 2026-11-30");
  return duration_cast<milliseconds>(sys_days(date).time_since_epoch()).count();
}

// HTTPS, or a program of this very machine.
std::string url_of(PolicyObject& object) {
  std::string url = object.text("url");
  bool safe = url.starts_with("https://") && url.size() > 8;
  for (const char* host : {"http://127.0.0.1", "http://localhost", "http://[::1]"}) {
    std::string rest = url.starts_with(host) ? url.substr(std::string(host).size()) : "x";
    safe |= rest.empty() || rest[0] == ':' || rest[0] == '/';
  }
  if (!safe || url.find_first_of(" \t\r\n@\\") != url.npos) {
    bad_policy(object.at("url"), "must be an https:// URL, or http:// on this machine");
  }
  return url;
}

DestinationKey parse_key(const Json& given, const std::string& where) {
  constexpr std::int64_t kDay = 24 * 3'600'000;
  PolicyObject object(given, where);
  DestinationKey key;
  key.id = id_of(object);
  std::optional<Bytes> bytes = base::from_base64url(object.text("public_key"));
  if (!bytes || bytes->size() != key.public_key.size()) {
    bad_policy(object.at("public_key"), "must be 32 bytes in base64url");
  }
  std::copy(bytes->begin(), bytes->end(), key.public_key.begin());
  key.not_before_ms = date_of(object, "not_before");
  key.not_after_ms = date_of(object, "not_after") + kDay;
  if (key.not_after_ms <= key.not_before_ms) {
    bad_policy(object.at("not_after"), "must not be before not_before");
  }
  object.finish();
  return key;
}

Destination parse_destination(const Json& given, const std::string& where) {
  PolicyObject object(given, where);
  Destination out;
  out.id = id_of(object);
  out.controller = object.text("controller");
  out.contact = object.text("contact");
  out.jurisdiction = object.text("jurisdiction");
  out.url = url_of(object);
  std::string aead = object.text_or("aead", "aes-256-gcm");
  if (aead == "chacha20-poly1305") {
    out.aead = crypto::HpkeAead::chacha20_poly1305;
  } else if (aead != "aes-256-gcm") {
    bad_policy(object.at("aead"), "must be aes-256-gcm or chacha20-poly1305");
  }
  const Json& keys = object.list("keys", 1);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::string at = object.at("keys") + "/" + std::to_string(i);
    DestinationKey key = parse_key(keys[i], at);
    if (out.key(key.id)) bad_policy(at + "/id", "is there twice");
    out.keys.push_back(key);
  }
  object.finish();
  return out;
}

Purpose parse_purpose(const Json& given, const std::string& where) {
  PolicyObject object(given, where);
  Purpose out{id_of(object), object.text("text"), object.text_or("term", "")};
  object.finish();
  return out;
}

DataType parse_data_type(const Json& given, const std::string& where) {
  PolicyObject object(given, where);
  DataType out;
  out.id = id_of(object);
  out.text = object.text("text");
  out.linked = object.flag_or("linked", true);
  out.fields = FieldRules::parse(object.need("fields"), object.at("fields"));
  object.finish();
  return out;
}

std::int64_t epsilon_of(PolicyObject& object, const char* name) {
  const Json& value = object.need(name);
  std::string text = value.is_string()   ? value.get<std::string>()
                     : value.is_number() ? value.dump()
                                         : "";
  std::optional<Rational> ratio = parse_rational(text);
  std::optional<std::int64_t> micros = ratio ? micros_up(*ratio) : std::nullopt;
  if (!micros || *micros == 0 || *ratio > 1'000'000) {
    bad_policy(object.at(name), "must be a number above 0 and up to 1000000");
  }
  return *micros;
}

// An entry of "uses", whose names must stand above.
Use parse_use(const Json& given, const std::string& where, const Policy& policy) {
  PolicyObject object(given, where);
  Use use{id_of(object, "data_type"), id_of(object, "purpose"), id_of(object, "destination"), {}};
  auto type = policy.data_types.find(use.data_type);
  if (type == policy.data_types.end()) bad_policy(object.at("data_type"), "is not defined");
  if (policy.purposes.count(use.purpose) == 0) bad_policy(object.at("purpose"), "is not defined");
  if (policy.destinations.count(use.destination) == 0) {
    bad_policy(object.at("destination"), "is not defined");
  }
  if (policy.use(use.data_type, use.purpose, use.destination)) bad_policy(where, "is there twice");
  if (const Json* budget = object.find("budget")) {
    PolicyObject limits(*budget, object.at("budget"));
    use.budget =
        Budget{epsilon_of(limits, "epsilon_per_day"), epsilon_of(limits, "epsilon_lifetime"),
               limits.has("devices") ? limits.whole("devices", 1, 1000) : 4};
    limits.find("devices");
    limits.finish();
  }
  const auto& rules = type->second.fields.all();
  bool random = std::any_of(rules.begin(), rules.end(), [](const auto& entry) {
    return entry.second.action == Action::randomise;
  });
  if (random && !use.budget) {
    bad_policy(where, "lacks \"budget\": its data type has fields that are randomised");
  }
  object.finish();
  return use;
}

template <typename Item, typename Parse>
void parse_all(PolicyObject& object, const char* name, std::map<std::string, Item>& out,
               Parse parse) {
  const Json& items = object.list(name, 1);
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::string where = object.at(name) + "/" + std::to_string(i);
    Item item = parse(items[i], where);
    std::string id = item.id;
    if (!out.emplace(id, std::move(item)).second) bad_policy(where + "/id", "is there twice");
  }
}

std::vector<std::string> parse_regions(PolicyObject& object) {
  if (!object.find("phone_regions")) return {"US", "GB", "DE", "FR"};
  std::vector<std::string> out;
  const Json& regions = object.list("phone_regions", 0);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    std::string region = regions[i].is_string() ? regions[i].get<std::string>() : "";
    bool fits = region.size() == 2 && region[0] >= 'A' && region[0] <= 'Z' && region[1] >= 'A' &&
                region[1] <= 'Z';
    if (!fits) {
      bad_policy(object.at("phone_regions") + "/" + std::to_string(i),
                 "must be a country's two letters (ISO 3166), like DE");
    }
    out.push_back(region);
  }
  return out;
}

}  // namespace

const DestinationKey* Destination::key_at(std::int64_t now_ms) const {
  const DestinationKey* best = nullptr;
  for (const DestinationKey& key : keys) {
    if (key.not_before_ms > now_ms || key.not_after_ms <= now_ms) continue;
    if (!best || key.not_after_ms > best->not_after_ms) best = &key;
  }
  return best;
}

const DestinationKey* Destination::key(const std::string& key_id) const {
  auto found = std::find_if(keys.begin(), keys.end(),
                            [&](const DestinationKey& key) { return key.id == key_id; });
  return found == keys.end() ? nullptr : &*found;
}

const Use* Policy::use(const std::string& data_type, const std::string& purpose,
                       const std::string& destination) const {
  auto found = std::find_if(uses.begin(), uses.end(), [&](const Use& use) {
    return use.data_type == data_type && use.purpose == purpose && use.destination == destination;
  });
  return found == uses.end() ? nullptr : &*found;
}

Json Policy::terms(const Use& use) const {
  const Destination& destination = destinations.at(use.destination);
  const Purpose& purpose = purposes.at(use.purpose);
  const DataType& type = data_types.at(use.data_type);
  Json out = {{"destination",
               {{"id", destination.id},
                {"controller", destination.controller},
                {"jurisdiction", destination.jurisdiction},
                {"url", destination.url}}},
              {"purpose", {{"id", purpose.id}, {"text", purpose.text}, {"term", purpose.term}}},
              {"data_type",
               {{"id", type.id},
                {"text", type.text},
                {"linked", type.linked},
                {"fields", type.fields.to_json()}}},
              {"phone_regions", phone_regions}};
  if (use.budget) {
    out["budget"] = {{"per_day", use.budget->per_day},
                     {"lifetime", use.budget->lifetime},
                     {"devices", use.budget->devices}};
  }
  return out;
}

bool within(const Json& now, const Json& granted) {
  if (now == granted) return true;
  try {
    if (now.at("destination") != granted.at("destination")) return false;
    if (now.at("purpose") != granted.at("purpose")) return false;
    const Json& type = now.at("data_type");
    const Json& before = granted.at("data_type");
    if (type.at("id") != before.at("id") || type.at("text") != before.at("text")) return false;
    if (type.at("linked").get<bool>() && !before.at("linked").get<bool>()) return false;
    for (const Json& region : granted.at("phone_regions")) {
      const Json& regions = now.at("phone_regions");
      if (std::find(regions.begin(), regions.end(), region) == regions.end()) return false;
    }
    if (now.contains("budget") != granted.contains("budget")) return false;
    if (now.contains("budget")) {
      // Other shares, and those that were spent no longer add up.
      if (now["budget"].at("devices") != granted["budget"].at("devices")) return false;
      for (const char* name : {"per_day", "lifetime"}) {
        if (now["budget"].at(name).get<std::int64_t>() >
            granted["budget"].at(name).get<std::int64_t>()) {
          return false;
        }
      }
    }
    return disclose_no_more(FieldRules::parse(type.at("fields"), ""),
                            FieldRules::parse(before.at("fields"), ""));
  } catch (const Json::exception&) {
    return false;  // terms of another version of this program
  } catch (const Error&) {
    return false;
  }
}

}  // namespace holdfast::privacy

namespace holdfast {

PrivacyPolicy PrivacyPolicy::none() { return PrivacyPolicy(std::make_shared<privacy::Policy>()); }

PrivacyPolicy PrivacyPolicy::parse(std::string_view text) { return from_json(parse_json(text)); }

PrivacyPolicy PrivacyPolicy::from_json(const nlohmann::json& given) {
  using namespace privacy;
  PolicyObject object(given, "");
  auto out = std::make_shared<Policy>();
  if (object.whole("holdfast_policy", 1, INT64_MAX) != 1) {
    throw Error(ErrorCode::newer_version,
                "the privacy policy is of a later format: update this app");
  }
  out->version = object.whole("version", 1, INT64_MAX);
  parse_all(object, "destinations", out->destinations, parse_destination);
  parse_all(object, "purposes", out->purposes, parse_purpose);
  parse_all(object, "data_types", out->data_types, parse_data_type);
  const Json& uses = object.list("uses", 1);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    out->uses.push_back(parse_use(uses[i], object.at("uses") + "/" + std::to_string(i), *out));
  }
  out->phone_regions = parse_regions(object);
  object.finish();
  try {
    out->hash = base::to_hex(base::sha256({base::view(given.dump())}));
  } catch (const Json::exception&) {
    bad_policy("", "holds text that is not UTF-8");
  }
  return PrivacyPolicy(std::move(out));
}

std::int64_t PrivacyPolicy::version() const { return rules_->version; }
const std::string& PrivacyPolicy::hash() const { return rules_->hash; }

nlohmann::json PrivacyPolicy::app_store_report() const {
  nlohmann::json types = nlohmann::json::array();
  for (const auto& [id, type] : rules_->data_types) {
    nlohmann::json shared = nlohmann::json::array();
    for (const privacy::Use& use : rules_->uses) {
      if (use.data_type != id) continue;
      const privacy::Destination& to = rules_->destinations.at(use.destination);
      const privacy::Purpose& purpose = rules_->purposes.at(use.purpose);
      shared.push_back({{"purpose", purpose.id},
                        {"purpose_text", purpose.text},
                        {"destination", to.id},
                        {"controller", to.controller},
                        {"jurisdiction", to.jurisdiction},
                        {"randomised", use.budget.has_value()}});
    }
    nlohmann::json fields = nlohmann::json::array();
    for (const auto& [pattern, rule] : type.fields.all()) {
      if (rule.action == privacy::Action::drop) continue;
      fields.push_back({{"field", privacy::pointer_text(pattern)},
                        {"action", privacy::action_name(rule.action)},
                        {"sensitivity", rule.sensitivity}});
    }
    types.push_back({{"data_type", id},
                     {"text", type.text},
                     {"collected", !shared.empty()},
                     {"linked_to_user", type.linked},
                     {"optional", true},  // nothing leaves without the user's permission
                     {"encrypted_in_transit", true},
                     {"fields", fields},
                     {"shared", shared}});
  }
  return {
      {"policy_version", rules_->version}, {"policy_hash", rules_->hash}, {"data_types", types}};
}

}  // namespace holdfast
