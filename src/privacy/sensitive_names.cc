// Which names of fields tell by themselves that the field is sensitive.

#include <algorithm>
#include <array>
#include <string_view>

#include "src/privacy/field_rules.h"

namespace holdfast::privacy {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

// The words of "userEmail2", "user_e-mail", "USER.EMAIL": lower case, without digits.
std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> out;
  bool open = false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (!is_lower(c) && !is_upper(c)) {
      open = false;
      continue;
    }
    bool hump = is_upper(c) && i > 0 && is_lower(name[i - 1]);
    bool last_of_capitals = is_upper(c) && i > 0 && is_upper(name[i - 1]) && i + 1 < name.size() &&
                            is_lower(name[i + 1]);
    if (!open || hump || last_of_capitals) out.emplace_back();
    out.back() += is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
    open = true;
  }
  return out;
}

template <std::size_t N>
bool any_of(const std::array<std::string_view, N>& known, std::string_view word) {
  return std::find(known.begin(), known.end(), word) != known.end();
}

template <std::size_t N>
bool holds_any(const std::array<std::string_view, N>& parts, std::string_view joined) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return joined.find(part) != joined.npos; });
}

// Anywhere in the name, its words joined.
constexpr std::array<std::string_view, 14> kDeviceParts = {
    "deviceid",  "deviceidentifier", "androidid",    "advertisingid", "advertiserid",
    "installid", "installationid",   "serialnumber", "hardwareid",    "userid",
    "accountid", "customerid",       "clientid",     "instanceid"};
constexpr std::array<std::string_view, 9> kDeviceWords = {"udid", "imei", "idfa", "idfv", "gaid",
                                                          "imsi", "uuid", "guid", "uid"};
constexpr std::array<std::string_view, 46> kDropParts = {
    "email",       "phone",      "msisdn",      "cellnumber",    "mobilenumber",   "contactnumber",
    "firstname",   "lastname",   "fullname",    "username",      "surname",        "familyname",
    "givenname",   "nickname",   "displayname", "middlename",    "maidenname",     "screenname",
    "realname",    "personname", "contactname", "customername",  "ownername",      "authorname",
    "address",     "postcode",   "postalcode",  "zipcode",       "biometric",      "fingerprint",
    "faceid",      "faceprint",  "voiceprint",  "faceembedding", "socialsecurity", "passport",
    "nationalid",  "taxid",      "driverlicen", "cardnumber",    "accountnumber",  "birthda",
    "dateofbirth", "password",   "apikey",      "credential"};
constexpr std::array<std::string_view, 41> kDropWords = {
    "addr",   "fname",   "lname",     "card",   "creditcard", "handle",  "mail",
    "mails",  "tel",     "telephone", "mobile", "fax",        "name",    "names",
    "street", "zip",     "iris",      "retina", "face",       "ssn",     "iban",
    "cvv",    "cvc",     "dob",       "login",  "passwd",     "pwd",     "pin",
    "secret", "secrets", "token",     "tokens", "cookie",     "cookies", "session",
    "auth",   "jwt",     "ip",        "mac",    "signature",  "iccid"};
// A "name" with one of these before it is a thing's.
constexpr std::array<std::string_view, 14> kThings = {
    "model", "file", "class", "event", "app",    "host",    "package",
    "field", "type", "table", "layer", "metric", "feature", "variable"};
constexpr std::array<std::string_view, 15> kLocationWords = {
    "location", "locations", "gps",    "coordinates", "coordinate",
    "coords",   "geo",       "latlng", "latlon",      "lat",
    "latitude", "lon",       "lng",    "longitude",   "geolocation"};

}  // namespace

const FieldRule* sensitive_rule(const std::string& name) {
  static const FieldRule kDrop = [] {
    FieldRule rule;
    rule.sensitivity = "sensitive";
    return rule;
  }();
  static const FieldRule kPseudonym = [] {
    FieldRule rule;
    rule.action = Action::pseudonym;
    return rule;
  }();
  static const FieldRule kCell = [] {
    FieldRule rule;
    rule.action = Action::generalise;
    rule.to = Grain::cell;
    rule.size = 10;
    return rule;
  }();
  std::vector<std::string> words = words_of(name);
  std::string joined;
  for (const std::string& word : words) joined += word;
  if (holds_any(kDeviceParts, joined)) return &kPseudonym;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (any_of(kDeviceWords, word)) return &kPseudonym;
    if (word == "name" && i > 0 && any_of(kThings, words[i - 1])) continue;
    if (any_of(kDropWords, word)) return &kDrop;
  }
  if (holds_any(kDropParts, joined)) return &kDrop;
  for (const std::string& word : words) {
    if (any_of(kLocationWords, word)) return &kCell;
  }
  return nullptr;
}

}  // namespace holdfast::privacy
