#include "src/privacy/text_scanner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/privacy/checksums.h"
#include "src/privacy/test_samples.h"

namespace holdfast::privacy {
namespace {

TEST(TextScanner, FindsEachKind) {
  struct Case {
    const char* text;
    const char* redacted;
  };
  TextScanner scanner;
  for (const Case& c : std::initializer_list<Case>{
           {"write to ada@example.org.", "write to [email]."},
           {"ada [at] example [dot] org", "[email]"},
           {"ａｄａ＠example.org", "[email]"},
           {"ada\u200b@example.org", "[email]"},
           {"see https://example.org/reset?token=a1 now", "see [url] now"},
           {"DE89 3704 0044 0532 0130 00 and more", "[iban] and more"},
           {"de89370400440532013000", "[iban]"},
           {"card 4111-1111-1111-1111 12/27", "card [card] 12/27"},
           {"host 192.168.0.1.", "host [ipv4]."},
           {"at fe80::1ff:fe23:4567:890a, ok", "at [ipv6], ok"},
           {"mac 00:1b:44:11:3a:b7", "mac [mac]"},
           {"imei 490154203237518", "imei [imei]"},
           {"DNI 12345678Z", "DNI [national_id]"},
           {"131052-308T", "[national_id]"},
           {"RSSMRA85T10A562S", "[national_id]"},
           {"ssn 078-05-1120!", "ssn [national_id]!"},
           {"aadhaar 2341 2341 2346", "aadhaar [national_id]"},
           {"at 48.13743, 11.57549 today", "at [coordinates] today"},
           {"48°08'N", "[coordinates]"},
           {"mac:00:1a:2b:3c:4d:5e", "mac:[mac]"},
           {"Konto an12 DE89 3704 0044 0532 0130 00", "Konto an12 [iban]"},
           {"NR01 DE89370400440532013000", "NR01 [iban]"},
           {"card 4111—1111—1111—1111", "card [card]"},
           {"٤١١١ ١١١١ ١١١١ ١١١١", "[card]"},
           {"ip:2001:db8::8a2e:370:7334.", "ip:[ipv6]."},
           {"card 4111  1111\t1111 _ 1111", "card [card]"},
           {"iban DE89 3704\n0044 0532 0130 00", "iban [iban]"},
           {"codice RSS MRA 85T10 A562S x", "codice [national_id] x"},
           {"user_12345678Z", "user_[national_id]"},
           {"host.192.168.1.7", "host.[ipv4]"},
           {"N48.1371 E11.5754", "[coordinates]"},
           {"ada.lovelace%40example.org", "[email]"},
           {"phone 491711234567", "phone [phone]"},
           {"password: hunter2222", "password: [token]"},
           {"key eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ", "key [token]"},
       }) {
    EXPECT_EQ(scanner.redact(c.text), c.redacted);
  }
}

// The same digits stand in a longer number before it, too.
TEST(TextScanner, TakesOutThePhoneItselfAndNotItsLikeness) {
  TextScanner scanner;
  for (const char* text : {"99030123456 030123456", "order 7770301234567 or 0301234567",
                           "A2025550123 and 2025550123"}) {
    std::string number = std::string(text).substr(std::string(text).rfind(' ') + 1);
    EXPECT_EQ(scanner.redact(text).find(number), std::string::npos) << scanner.redact(text);
  }
}

TEST(TextScanner, LeavesOrdinaryTextAlone) {
  TextScanner scanner;
  for (const char* text :
       {"", "hello world", "it took 137 ms, 42 times", "at 12:30 we left", "3.14 is pi",
        "word word word word hello ada ada", "version 1.2", "a + b = c", "grüße aus münchen"}) {
    EXPECT_EQ(scanner.redact(text), text);
  }
}

TEST(TextScanner, ReachesItsGoals) {
  TextScanner scanner;
  SampleMaker maker(1);
  for (const std::string& kind : SampleMaker::kinds()) {
    std::size_t found = 0;
    constexpr std::size_t kSamples = 300;
    for (const LabelledText& one : maker.make(kind, kSamples)) {
      bool gone = scanner.redact(one.text).find(one.secret) == std::string::npos;
      found += gone;
    }
    double goal = kind == "phone" ? 0.90 : 0.95;
    EXPECT_GE(static_cast<double>(found) / kSamples, goal) << kind;
  }
}

// What comes from outside ends soon and breaks nothing.
TEST(TextScanner, TakesHostileText) {
  TextScanner scanner;
  std::string pairs;
  for (int i = 0; i < 10'000; ++i) pairs += "a1.";
  EXPECT_NO_THROW(scanner.redact(pairs));
  EXPECT_NO_THROW(scanner.redact(std::string(100'000, 'a') + "@"));
  EXPECT_NO_THROW(scanner.redact(std::string(50'000, '1')));
  EXPECT_NO_THROW(scanner.redact(std::string(50'000, ':')));
  std::string dots;
  for (int i = 0; i < 20'000; ++i) dots += "a.";
  EXPECT_NO_THROW(scanner.redact(dots));
  EXPECT_NO_THROW(scanner.redact("\xff\xfe\xc0 ada@example.org \xf0\x9f"));
  SampleMaker maker(2);
  std::mt19937_64 rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text = maker.make(SampleMaker::kinds()[rng() % 10], 1)[0].text;
    for (int n = 0; n < 3; ++n) text[rng() % text.size()] = static_cast<char>(rng());
    std::string out = scanner.redact(text);
    std::vector<Finding> findings = scanner.find(TextScanner::fold(text));
    for (std::size_t k = 1; k < findings.size(); ++k) {
      EXPECT_LE(findings[k - 1].end, findings[k].begin);
    }
  }
}

TEST(Checksums, KnownNumbers) {
  EXPECT_TRUE(luhn("79927398713"));
  EXPECT_FALSE(luhn("79927398714"));
  EXPECT_FALSE(luhn("0000000000000"));
  EXPECT_TRUE(verhoeff("2363"));
  EXPECT_FALSE(verhoeff("2364"));
  EXPECT_TRUE(iban("GB82WEST12345698765432"));
  EXPECT_FALSE(iban("GB82WEST12345698765433"));
  EXPECT_FALSE(iban("ZZ82WEST12345698765432"));
  struct Known {
    const char* digits;
    const char* country;
  };
  for (const Known& known : std::initializer_list<Known>{{"111222333", "NL"},
                                                         {"9434765919", "GB"},
                                                         {"44051401359", "PL"},
                                                         {"86095742719", "DE"},
                                                         {"10000000146", "TR"},
                                                         {"234123412346", "IN"},
                                                         {"7569217076985", "CH"},
                                                         {"130692544", "CA"}}) {
    const char* found = national_number(known.digits);
    ASSERT_NE(found, nullptr) << known.digits;
    std::string wrong = known.digits;
    wrong.back() = static_cast<char>('0' + (wrong.back() - '0' + 1) % 10);
    if (std::string(found) == known.country) {
      const char* other = national_number(wrong);
      EXPECT_TRUE(!other || std::string(other) != known.country) << wrong;
    } else {
      ADD_FAILURE() << known.digits << " is " << found << ", not " << known.country;
    }
  }
  EXPECT_STREQ(national_code("12345678Z"), "ES");
  EXPECT_STREQ(national_code("X1234567L"), "ES");
  EXPECT_STREQ(national_code("11010519491231002X"), "CN");
  EXPECT_EQ(national_code("12345678A"), nullptr);
}

}  // namespace
}  // namespace holdfast::privacy
