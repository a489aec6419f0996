#pragma once

// Texts whose identifiers are known, made from a seed: for the scanner's test and its benchmark.

#include <random>
#include <string>
#include <vector>

#include "src/privacy/checksums.h"

namespace holdfast::privacy {

struct LabelledText {
  std::string kind;  // "none": nothing in it identifies anybody
  std::string text;
  std::string secret;  // the identifier as it stands in the text
};

class SampleMaker {
 public:
  explicit SampleMaker(std::uint64_t seed) : random_(seed) {}

  std::vector<LabelledText> make(const std::string& kind, std::size_t count) {
    std::vector<LabelledText> out;
    while (out.size() < count) {
      std::string secret = one(kind);
      std::string before = pick(kBefore);
      std::string after = pick(kAfter);
      out.push_back({kind, before + secret + after, secret});
    }
    return out;
  }
  // Ordinary texts with numbers in them.
  std::vector<LabelledText> harmless(std::size_t count) {
    std::vector<LabelledText> out;
    while (out.size() < count) out.push_back({"none", sentence(), ""});
    return out;
  }
  static std::vector<std::string> kinds() {
    return {"email", "url", "iban", "card", "ipv4", "ipv6", "mac", "imei", "national_id", "phone"};
  }

 private:
  using Words = std::vector<std::string>;
  inline static const Words kBefore = {
      "please use ", "it is ",       "Kontakt: ", "(",           "reach me at ", "",
      "see \"",      "old one was ", "ref=",      "values: 12, "};
  inline static const Words kAfter = {".",     "",       " or tomorrow", ")",      ", thanks",
                                      "; bye", "\" now", "\nregards",    " - ok?", "!"};
  inline static const Words kNames = {"ada",      "grace.hopper", "j_doe",    "x",       "li-wei",
                                      "m.o'neil", "info",         "user+tag", "1980joe", "jürgen"};
  inline static const Words kHosts = {"example.org",   "mail.example.co.uk",
                                      "firma-gmbh.de", "sub.dom.io",
                                      "uni.edu",       "shop.example.com"};

  std::size_t below(std::size_t n) { return random_() % n; }
  const std::string& pick(const Words& words) { return words[below(words.size())]; }
  std::string digits(std::size_t n) {
    std::string out;
    while (out.size() < n) out += static_cast<char>('0' + below(10));
    return out;
  }
  std::string hex(std::size_t n) {
    std::string out;
    while (out.size() < n) out += "0123456789abcdef"[below(16)];
    return out;
  }
  std::string grouped(const std::string& text, std::size_t size, const std::string& separator) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i > 0 && i % size == 0) out += separator;
      out += text[i];
    }
    return out;
  }
  // Draws until `fits` does.
  template <typename Draw, typename Fits>
  static std::string until(Draw draw, Fits fits) {
    for (;;) {
      std::string out = draw();
      if (fits(out)) return out;
    }
  }

  std::string one(const std::string& kind) {
    if (kind == "email") {
      std::string host = pick(kHosts);
      switch (below(8)) {
        case 0: return pick(kNames) + " [at] " + host;
        case 1: return pick(kNames) + "(at)" + host;
        default: return pick(kNames) + "@" + host;
      }
    }
    if (kind == "url") {
      static const Words kSchemes = {"https://", "http://", "ftp://", "www.", "", "HTTPS://"};
      static const Words kPaths = {"/", "/reset?token=" + std::string("abc123"), "/a/b#c",
                                   ":8080/x?y=1&z=2", "/~me/index.html"};
      return pick(kSchemes) + pick(kHosts) + pick(kPaths);
    }
    if (kind == "ipv4") {
      std::string out;
      for (int i = 0; i < 4; ++i) out += (i ? "." : "") + std::to_string(below(256));
      return out;
    }
    if (kind == "ipv6") {
      switch (below(4)) {
        case 0: return "fe80::" + hex(4) + ":" + hex(4);
        case 1: return "2001:db8::" + hex(3);
        case 2: return "::ffff:192.0.2." + std::to_string(below(256));
        default: return grouped(hex(32), 4, ":");
      }
    }
    if (kind == "mac") {
      std::string bytes = hex(12);
      switch (below(3)) {
        case 0: return grouped(bytes, 2, "-");
        case 1: return grouped(bytes, 4, ".");
        default: return grouped(bytes, 2, ":");
      }
    }
    if (kind == "card") {
      std::string head = below(3) == 0 ? "5" + std::to_string(1 + below(5)) : "4" + digits(1);
      bool amex = below(5) == 0;
      std::string card = until([&] { return amex ? "37" + digits(13) : head + digits(14); },
                               [](const std::string& n) { return luhn(n); });
      static const Words kSeparators = {"", " ", "-"};
      return amex ? card : grouped(card, 4, pick(kSeparators));
    }
    if (kind == "imei") {
      return until([&] { return "35" + digits(13); }, [](const std::string& n) { return luhn(n); });
    }
    if (kind == "iban") return an_iban();
    if (kind == "phone") return a_phone();
    return a_national_id();
  }

  std::string an_iban() {
    static const Words kCountries = {"DE", "GB", "FR", "NL", "CH", "ES", "IT", "PL"};
    std::string country = pick(kCountries);
    std::size_t size = iban_length(country);
    std::string body = digits(size - 4);
    if (country == "GB") body.replace(0, 4, "NWBK");
    if (country == "NL") body.replace(0, 4, "ABNA");
    std::string text;
    for (int check = 2; check < 99; ++check) {
      text = country + std::to_string(100 + check).substr(1) + body;
      if (iban(text)) break;
    }
    return below(2) ? grouped(text, 4, " ") : text;
  }

  // As people write them, of four countries, with their own code or without.
  std::string a_phone() {
    switch (below(8)) {
      case 0: return "+49 151 2" + digits(7);
      case 1: return "0151 2" + digits(7);
      case 2: return "+1 (415) 5" + std::to_string(20 + below(70)) + "-" + digits(4);
      case 3: return "(212) 5" + std::to_string(30 + below(60)) + "-" + digits(4);
      case 4: return "+44 7911 12" + digits(4);
      case 5: return "07911 12" + digits(4);
      case 6: return "+33 6 12 34 " + digits(2) + " " + digits(2);
      default: return "06 12 34 " + digits(2) + " " + digits(2);
    }
  }

  std::string a_national_id() {
    static const std::vector<std::pair<std::size_t, const char*>> kNumbers = {
        {9, "NL"},  {10, "GB"}, {11, "DE"}, {11, "PL"}, {11, "BR"},
        {11, "BE"}, {11, "TR"}, {12, "IN"}, {13, "CH"}, {15, "FR"}};
    if (below(4) == 0) {  // Spain's, with its letter
      std::string n = digits(8);
      return n + "TRWAGMYFPDXBNJZSQVHLCKE"[std::stoull(n) % 23];
    }
    const auto& chosen = kNumbers[below(kNumbers.size())];
    std::size_t size = chosen.first;
    std::string country = chosen.second;
    std::string id = until(
        [&] {
          std::string n = digits(size);
          if (country == "CH") n.replace(0, 3, "756");
          if (country == "FR") n[0] = below(2) ? '1' : '2';
          return n;
        },
        [&](const std::string& n) {
          const char* found = national_number(n);
          return found && std::string(found) == country;
        });
    static const Words kSeparators = {"", "", " ", "-"};
    return grouped(id, 3, pick(kSeparators));
  }

  std::string sentence() {
    static const Words kSentences = {"the model took # ms for % tokens",
                                     "we met on 2026-0$-1$ at 1$:3$",
                                     "version 2.$.1 build %",
                                     "score was 0.$% and 9$ percent",
                                     "order of # items cost #.$$ EUR",
                                     "room $$, floor $",
                                     "about % people in 19$$",
                                     "set x to # and y to %",
                                     "see page $$ of %",
                                     "it rained # mm in $ days",
                                     "temperature -$.$ at % m",
                                     "team won $:$",
                                     "chapter $.$ has % words",
                                     "retry # of % failed",
                                     "use RFC % or ISO #"};
    std::string out;
    for (char c : pick(kSentences)) {
      if (c == '#') {
        out += std::to_string(1 + below(999));
      } else if (c == '%') {
        out += std::to_string(1000 + below(90000));
      } else if (c == '$') {
        out += static_cast<char>('0' + below(10));
      } else {
        out += c;
      }
    }
    return out;
  }

  std::mt19937_64 random_;
};

}  // namespace holdfast::privacy
