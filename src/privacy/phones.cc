// Numbers of phones: by libphonenumber where it was there when this was built, else by shape.

#include <algorithm>
#include <set>

#include "src/privacy/text_scanner.h"

#ifdef HOLDFAST_PHONES
#include <phonenumbers/phonenumbermatch.h>
#include <phonenumbers/phonenumbermatcher.h>
#include <phonenumbers/phonenumberutil.h>
#else
#include <re2/re2.h>
#endif

namespace holdfast::privacy {
namespace {

constexpr std::ptrdiff_t kFewestDigits = 6;

std::ptrdiff_t count_digits(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

#ifdef HOLDFAST_PHONES

namespace {

bool is_decimal(std::string_view text) {  // "0.381471"
  return text.size() > 2 && text.size() < 10 && text[1] == '.' &&
         text.find_first_not_of("0123456789", 2) == text.npos;
}

}  // namespace

bool TextScanner::knows_phones() { return true; }

void TextScanner::find_phones(const std::string& text, std::vector<Finding>& out) const {
  using namespace i18n::phonenumbers;
  if (count_digits(text) < kFewestDigits) return;
  std::vector<std::string> regions = phone_regions_;
  if (regions.empty()) regions.emplace_back("ZZ");  // none: numbers with their country's code
  for (const std::string& region : regions) {
    PhoneNumberMatcher matcher(*PhoneNumberUtil::GetInstance(), text, region,
                               PhoneNumberMatcher::VALID, 10'000);
    std::set<std::string> numbers;
    while (matcher.HasNext()) {
      PhoneNumberMatch match;
      matcher.Next(&match);
      if (!is_decimal(match.raw_string())) numbers.insert(match.raw_string());
    }
    // The library counts characters, not bytes: wherever the number stands, it goes.
    for (const std::string& number : numbers) {
      for (std::size_t at = text.find(number); at != text.npos; at = text.find(number, at + 1)) {
        out.push_back({at, at + number.size(), "phone"});
      }
    }
  }
}

#else

bool TextScanner::knows_phones() { return false; }

void TextScanner::find_phones(const std::string& text, std::vector<Finding>& out) const {
  static const re2::RE2 kShape(
      R"((?:^|[^0-9A-Za-z.])((?:\+|00)?\(?[0-9]{1,4}\)?(?:[ ./-]?\(?[0-9]{2,5}\)?){1,5})(?:$|[^0-9A-Za-z]))");
  re2::StringPiece rest(text);
  re2::StringPiece found;
  while (re2::RE2::FindAndConsume(&rest, kShape, &found)) {
    if (count_digits({found.data(), found.size()}) <= kFewestDigits) continue;
    auto begin = static_cast<std::size_t>(found.data() - text.data());
    out.push_back({begin, begin + found.size(), "phone"});
  }
}

#endif

}  // namespace holdfast::privacy
