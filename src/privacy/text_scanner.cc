#include "src/privacy/text_scanner.h"

#include <arpa/inet.h>
#include <re2/re2.h>

#include <algorithm>
#include <span>
#include <tuple>

#include "src/privacy/checksums.h"

namespace holdfast::privacy {
namespace {

using re2::RE2;
using re2::StringPiece;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// What people put between the groups of a number.
bool is_separator(char c) {
  return std::string_view(" \t\r\n-./_").find(c) != std::string_view::npos;
}

// The letters and digits of a piece of text, in upper case.
std::string bare(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (is_word(c)) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

// Calls `take` with each match of the pattern's first group, and its place. Where matches are only
// the starts of what is sought, the next one may lie within this one.
template <typename Take>
void for_each_match(const RE2& pattern, const std::string& text, Take take, bool starts = false) {
  StringPiece rest(text);
  StringPiece found;
  while (RE2::FindAndConsume(&rest, pattern, &found)) {
    auto begin = static_cast<std::size_t>(found.data() - text.data());
    take(begin, std::string_view(found.data(), found.size()));
    // The next match may start with the very separator that ended this one.
    const char* next = text.data() + begin + 1;
    if (!starts) next = std::max(next, found.data() + found.size());
    if (next > text.data() + text.size()) break;
    rest = StringPiece(next, static_cast<std::size_t>(text.data() + text.size() - next));
  }
}

struct Pattern {
  const char* kind;
  RE2 expression;
};

// What its shape alone gives away.
std::span<const Pattern> patterns() {
  static const Pattern kPatterns[] = {
      {"email", RE2(R"((?i)([\pL\pN._%+'-]+\s?(?:@|%40|[\[({<]\s?at\s?[\])}>])\s?[\pL\pN-]+)"
                    R"((?:\s?(?:\.|[\[({<]\s?dot\s?[\])}>])\s?[\pL\pN-]+)+))")},
      {"email", RE2(R"((?i)(\b[a-z0-9._-]+ at [a-z0-9-]+ dot [a-z]{2,}\b))")},
      {"url", RE2(R"((?i)(\b[a-z][a-z0-9+.-]{1,15}://[^\s<>"']+))")},
      {"url", RE2(R"((?i)(\b(?:www\.|mailto:|tel:|geo:|data:)[^\s<>"']+))")},
      {"url",
       RE2(R"((?i)(\b(?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|app|info|edu|gov|me|ai|co|eu|us|uk|de|fr)"
           R"(|ch|at|nl|be|es|it|pl|se|no|fi|dk|ie|pt|cz|ru|cn|jp|kr|in|br|ca|au|nz|mx|tr|xyz|online|site)"
           R"(|example|test|local)\b(?::\d+)?(?:[/?#][^\s<>"']*)?))")},
      {"mac",
       RE2(R"((?i)(?:^|[^0-9a-z-])([0-9a-f]{2}(?:(?::[0-9a-f]{2}){5}|(?:-[0-9a-f]{2}){5}))(?:$|[^0-9a-f-]))")},
      {"mac", RE2(R"((?i)(?:^|[^0-9a-z.])([0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})(?:$|[^0-9a-z]))")},
      {"ipv4", RE2(R"((?:^|[^0-9])((?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3})"
                   R"((?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]))(?:$|[^0-9]))")},
      {"national_id", RE2(R"((?:^|[^0-9])([0-9]{3}-[0-9]{2}-[0-9]{4})(?:$|[^0-9]))")},  // US
      {"coordinates", RE2(R"((?i)([0-9]{1,3}\s?°\s?(?:[0-9]{1,2}(?:\.[0-9]+)?\s?['′’]\s?)?)"
                          R"((?:[0-9]{1,2}(?:\.[0-9]+)?\s?(?:["″”]|'')\s?)?[NSEWO]))")},
      // A number that says itself what it is.
      {"phone",
       RE2(R"((?i)\b(?:phone|tel|telephone|telefon|mobile|mob|cell|fax|whatsapp|call|handy)\b)"
           R"([^0-9+\n]{0,12}(\+?[0-9][0-9 ()./-]{5,20}[0-9]))")},
      {"token", RE2(R"((eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,2}))")},
      {"token",
       RE2(R"((?i)(?:bearer|token|api[_-]?key|secret|password|passwd|pwd)["']?\s?[:= ]\s?["']?([^\s"',;]{6,}))")},
  };
  return kPatterns;
}

void find_patterns(const std::string& text, std::vector<Finding>& out) {
  for (const Pattern& pattern : patterns()) {
    for_each_match(pattern.expression, text, [&](std::size_t begin, std::string_view found) {
      out.push_back({begin, begin + found.size(), pattern.kind});
    });
  }
  // Long runs without a word in them: keys, hashes, session ids.
  static const RE2 kRun(R"(([A-Za-z0-9_+/=-]{24,}))");
  for_each_match(kRun, text, [&](std::size_t begin, std::string_view found) {
    bool digits = std::any_of(found.begin(), found.end(), is_digit);
    bool others =
        std::any_of(found.begin(), found.end(), [](char c) { return !is_digit(c) && is_word(c); });
    if (digits && others) out.push_back({begin, begin + found.size(), "token"});
  });
}

bool is_ipv6(const std::string& text) {
  in6_addr address;
  return text.size() > 2 && inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// In a run of groups, what a label before it ("ip:…") and a stop behind it leave.
void find_addresses(const std::string& text, std::vector<Finding>& out) {
  static const RE2 kRun(R"((?i)([0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,9}(?:\.[0-9]{1,3}){0,3}[.:]?))");
  for_each_match(kRun, text, [&](std::size_t begin, std::string_view found) {
    std::size_t last = begin + found.size();
    bool in_word = begin > 0 && is_word(text[begin - 1]);
    for (std::size_t first = begin; first < last; ++first) {
      bool at_group = first == begin ? !in_word : text[first - 1] == ':';
      if (!at_group) continue;
      for (std::size_t end = last; end > first + 2; --end) {
        if (!is_ipv6(text.substr(first, end - first))) continue;
        out.push_back({first, end, "ipv6"});
        return;
      }
    }
  });
}

void find_coordinates(const std::string& text, std::vector<Finding>& out) {
  static const RE2 kPair(
      R"((?i)(?:^|[^0-9.])((?:[NS]\s?)?[-+]?[0-9]{1,2}\.[0-9]{3,}\s?°?\s?[NS]?\s?[,;/ ]\s?(?:[EWO]\s?)?[-+]?[0-9]{1,3}\.[0-9]{3,}(?:\s?°)?(?:\s?[EWO]\b)?))");
  static const RE2 kLabeled(
      R"((?i)\b(?:lat|latitude|lon|lng|long|longitude)["']?\s?[:= ]\s?([-+]?[0-9]{1,3}\.[0-9]+))");
  for (const RE2* pattern : {&kPair, &kLabeled}) {
    for_each_match(*pattern, text, [&](std::size_t begin, std::string_view found) {
      out.push_back({begin, begin + found.size(), "coordinates"});
    });
  }
}

void find_ibans(const std::string& text, std::vector<Finding>& out) {
  static const RE2 kStart(R"((?i)((?:\b|_)[a-z]{2}[0-9]{2}[\s._-]?[a-z0-9]))");
  for_each_match(
      kStart, text,
      [&](std::size_t begin, std::string_view found) {
        if (found[0] == '_') ++begin;
        std::size_t length = iban_length(bare(found).substr(0, 2));
        std::string account;
        std::size_t end = begin;
        while (end < text.size() && account.size() < length) {
          if (is_word(text[end])) {
            account += bare(text.substr(end, 1));
          } else if (!is_separator(text[end])) {
            break;
          }
          ++end;
        }
        if (length != 0 && iban(account)) out.push_back({begin, end, "iban"});
      },
      true);
}

// Digits in groups, "4111 1111-1111 1111": a number is some groups that follow each other.
struct Group {
  std::size_t begin, end;
};

std::vector<std::vector<Group>> digit_runs(const std::string& text) {
  std::vector<std::vector<Group>> runs;
  std::size_t at = 0;
  while (at < text.size()) {
    if (!is_digit(text[at])) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    constexpr std::size_t kWidest = 4;
    bool joined = !runs.empty() && begin - runs.back().back().end <= kWidest;
    for (std::size_t i = joined ? runs.back().back().end : begin; i < begin; ++i) {
      joined = joined && is_separator(text[i]);
    }
    if (!joined) runs.emplace_back();
    runs.back().push_back({begin, at});
  }
  return runs;
}

const char* kind_of(const std::string& digits, bool one_group) {
  if (digits.size() >= 13 && digits.size() <= 19 && luhn(digits)) {
    bool amex = digits.starts_with("34") || digits.starts_with("37");  // cards of 15
    if (digits.size() == 15 && !amex) return "imei";
    if (digits[0] >= '2' && digits[0] <= '6') return "card";
  }
  // Nine or ten digits that are written apart in many groups are more likely a phone's.
  if (!one_group && digits.size() < 9) return nullptr;
  return national_number(digits) ? "national_id" : nullptr;
}

void find_numbers(const std::string& text, std::vector<Finding>& out) {
  constexpr std::size_t kMost = 19;
  for (const auto& groups : digit_runs(text)) {
    for (std::size_t first = 0; first < groups.size(); ++first) {
      std::string digits;
      for (std::size_t last = first; last < groups.size(); ++last) {
        const Group& group = groups[last];
        digits.append(text, group.begin, group.end - group.begin);
        if (digits.size() > kMost) break;
        if (const char* kind = kind_of(digits, first == last)) {
          out.push_back({groups[first].begin, group.end, kind});
        }
      }
    }
  }
}

// Numbers of persons that have letters in them, from any word's start to any word's end.
void find_codes(const std::string& text, std::vector<Finding>& out) {
  constexpr std::size_t kLongest = 18;
  auto bound = [&](std::size_t at) {  // between two characters of which one is no letter or digit
    return at == 0 || at >= text.size() || !is_word(text[at - 1]) || !is_word(text[at]);
  };
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    if (!is_word(text[begin]) || !bound(begin)) continue;
    std::string code;
    std::size_t gap = 0;
    for (std::size_t at = begin; at < text.size() && code.size() <= kLongest && gap <= 2; ++at) {
      if (!is_word(text[at])) {
        if (!is_separator(text[at])) break;
        ++gap;
        continue;
      }
      gap = 0;
      code += bare(text.substr(at, 1));
      if (bound(at + 1) && national_code(code)) out.push_back({begin, at + 1, "national_id"});
    }
  }
  static const RE2 kHetu(R"((?i)((?:\b|_)[0-9]{6}[-+a-fu-y][0-9]{3}[0-9a-y](?:\b|_)))");
  for_each_match(
      kHetu, text,
      [&](std::size_t begin, std::string_view found) {
        std::string code = bare(found);
        std::string without_century = code.substr(0, 6) + code.substr(code.size() - 4);
        if (national_code(without_century))
          out.push_back({begin, begin + found.size(), "national_id"});
      },
      true);
}

}  // namespace

std::string TextScanner::fold(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    if (i + 2 < text.size() && byte(i) == 0xef && (byte(i + 1) == 0xbc || byte(i + 1) == 0xbd)) {
      unsigned code = (byte(i + 1) - 0xbcu) * 64 + (byte(i + 2) - 0x80u);  // from U+FF00 on
      if (code >= 1 && code <= 0x5e) {
        out += static_cast<char>(code + 0x20);
        i += 3;
        continue;
      }
    }
    bool arabic =
        i + 1 < text.size() && byte(i) == 0xd9 && byte(i + 1) >= 0xa0 && byte(i + 1) <= 0xa9;
    bool persian =
        i + 1 < text.size() && byte(i) == 0xdb && byte(i + 1) >= 0xb0 && byte(i + 1) <= 0xb9;
    if (arabic || persian) {
      out += static_cast<char>('0' + (byte(i + 1) & 0x0f));
      i += 2;
      continue;
    }
    std::string_view three = text.substr(i, 3);
    std::string_view two = text.substr(i, 2);
    bool unseen = three == "\u200b" || three == "\u200c" || three == "\u200d" ||
                  three == "\u2060" || three == "\ufeff" || three == "\u200e" || three == "\u200f";
    if (unseen || two == "\u00ad") {
      i += unseen ? 3 : 2;
    } else if (two == "\u00a0" || three == "\u202f" ||
               three == "\u2009") {  // spaces of other widths
      out += ' ';
      i += two == "\u00a0" ? 2 : 3;
    } else if (three == "\u2010" || three == "\u2011" || three == "\u2012" || three == "\u2013" ||
               three == "\u2014") {
      out += '-';
      i += 3;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::vector<Finding> TextScanner::find(const std::string& text) const {
  std::vector<Finding> all;
  find_patterns(text, all);
  find_addresses(text, all);
  find_ibans(text, all);
  find_coordinates(text, all);
  find_codes(text, all);
  find_numbers(text, all);
  find_phones(text, all);
  // Of those that overlap the first counts, and of those that start together the longest.
  std::sort(all.begin(), all.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.begin, b.end, a.kind) < std::tie(b.begin, a.end, b.kind);
  });
  std::vector<Finding> out;
  for (Finding& finding : all) {
    if (!out.empty() && finding.begin < out.back().end) {
      Finding& before = out.back();
      before.end = std::max(before.end, finding.end);
      // A checksum says more than that it could be called.
      if (before.kind == "phone" || before.kind == "token") before.kind = finding.kind;
    } else {
      out.push_back(std::move(finding));
    }
  }
  return out;
}

std::string TextScanner::redact(const std::string& given) const {
  std::string text = fold(given);
  std::string out;
  std::size_t at = 0;
  for (const Finding& finding : find(text)) {
    out.append(text, at, finding.begin - at);
    out += "[" + finding.kind + "]";
    at = finding.end;
  }
  return out.append(text, at);
}

}  // namespace holdfast::privacy
