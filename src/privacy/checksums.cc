#include "src/privacy/checksums.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace holdfast::privacy {
namespace {

int digit(char c) { return c - '0'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return c >= 'A' && c <= 'Z'; }
bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

int weighted(std::string_view digits, std::initializer_list<int> weights) {
  int sum = 0;
  std::size_t i = 0;
  for (int weight : weights) sum += weight * digit(digits[i++]);
  return sum;
}

std::uint64_t number(std::string_view digits) {
  std::uint64_t out = 0;
  for (char c : digits) out = out * 10 + static_cast<std::uint64_t>(digit(c));
  return out;
}

bool is_day(std::string_view day, std::string_view month) {
  std::uint64_t d = number(day), m = number(month);
  return d >= 1 && d <= 31 && m >= 1 && m <= 12;
}

bool bsn(std::string_view n) {  // Netherlands
  return n != "000000000" && weighted(n, {9, 8, 7, 6, 5, 4, 3, 2, -1}) % 11 == 0;
}
bool sin(std::string_view n) { return n[0] != '0' && luhn(n); }  // Canada

bool nhs(std::string_view n) {  // United Kingdom
  int check = 11 - weighted(n, {10, 9, 8, 7, 6, 5, 4, 3, 2}) % 11;
  return check != 10 && check % 11 == digit(n[9]);
}
bool personnummer(std::string_view n) {  // Sweden; of twelve digits the last ten
  n.remove_prefix(n.size() - 10);
  std::uint64_t day = number(n.substr(4, 2));
  std::string real = std::to_string(100 + (day > 60 ? day - 60 : day)).substr(1);
  return is_day(real, n.substr(2, 2)) && luhn(n);
}
bool steuer_id(std::string_view n) {  // Germany; ISO 7064, MOD 11,10
  if (n[0] == '0') return false;
  int product = 10;
  for (char c : n.substr(0, 10)) {
    int sum = (digit(c) + product) % 10;
    product = (sum == 0 ? 10 : sum) * 2 % 11;
  }
  return (11 - product) % 10 == digit(n[10]);
}
bool pesel(std::string_view n) {  // Poland
  return (10 - weighted(n, {1, 3, 7, 9, 1, 3, 7, 9, 1, 3}) % 10) % 10 == digit(n[10]) &&
         number(n.substr(4, 2)) >= 1 && number(n.substr(4, 2)) <= 31;
}
bool rijksregister(std::string_view n) {  // Belgium; from 2000 on a 2 goes before
  std::uint64_t check = number(n.substr(9));
  std::uint64_t nine = number(n.substr(0, 9));
  return check == 97 - nine % 97 || check == 97 - (nine + 2'000'000'000) % 97;
}
bool fodselsnummer(std::string_view n) {  // Norway
  int first = (11 - weighted(n, {3, 7, 6, 1, 8, 9, 4, 5, 2}) % 11) % 11;
  int second = (11 - weighted(n, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 11;
  return first == digit(n[9]) && second == digit(n[10]);
}
bool cpf(std::string_view n) {  // Brazil
  if (std::all_of(n.begin(), n.end(), [&](char c) { return c == n[0]; })) return false;
  int first = weighted(n, {10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
  int second = weighted(n, {11, 10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
  return first == digit(n[9]) && second == digit(n[10]);
}
bool kimlik(std::string_view n) {  // Turkey
  if (n[0] == '0') return false;
  int odd = weighted(n, {1, 0, 1, 0, 1, 0, 1, 0, 1});
  int even = weighted(n, {0, 1, 0, 1, 0, 1, 0, 1});
  int all = weighted(n, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  return ((odd * 7 - even) % 10 + 10) % 10 == digit(n[9]) && all % 10 == digit(n[10]);
}
bool aadhaar(std::string_view n) { return n[0] > '1' && verhoeff(n); }  // India
bool ahv(std::string_view n) {                                          // Switzerland; EAN-13
  return n.starts_with("756") &&
         (10 - weighted(n, {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3}) % 10) % 10 == digit(n[12]);
}
bool nir(std::string_view n) {  // France
  return (n[0] == '1' || n[0] == '2') && number(n.substr(13)) == 97 - number(n.substr(0, 13)) % 97;
}

bool resident_identity(std::string_view n) {  // China; ISO 7064, MOD 11-2
  int sum = weighted(n, {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2});
  return "10X98765432"[sum % 11] == n[17] && is_day(n.substr(12, 2), n.substr(10, 2));
}
bool dni(std::string_view n) {  // Spain; residents' start with X, Y or Z for 0, 1, 2
  std::string digits(n.substr(0, 8));
  if (is_letter(digits[0])) {
    if (digits[0] < 'X') return false;
    digits[0] = static_cast<char>('0' + (digits[0] - 'X'));
  }
  return all_digits(digits) && "TRWAGMYFPDXBNJZSQVHLCKE"[number(digits) % 23] == n[8];
}
bool hetu(std::string_view n) {  // Finland, without the sign of the century
  std::string digits = std::string(n.substr(0, 6)) + std::string(n.substr(6, 3));
  return all_digits(digits) && is_day(n.substr(0, 2), n.substr(2, 2)) &&
         "0123456789ABCDEFHJKLMNPRSTUVWXY"[number(digits) % 31] == n[9];
}
bool nir_of_corsica(std::string_view n) {
  std::string digits(n);
  if (n[5] != '2' || (n[6] != 'A' && n[6] != 'B')) return false;
  digits.replace(5, 2, n[6] == 'A' ? "19" : "18");
  return all_digits(digits) && nir(digits);
}
bool codice_fiscale(std::string_view n) {  // Italy
  static constexpr std::array<int, 26> kOdd = {1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
                                               20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
  static constexpr std::string_view kShape = "AAAAAA00A00A000A";
  int sum = 0;
  constexpr std::string_view kForDigits = "LMNPQRSTUV";  // where two people would have the same
  int digits = 0;
  for (std::size_t i = 0; i < 15; ++i) {
    if (kShape[i] == 'A' && !is_letter(n[i])) return false;
    if (kShape[i] == '0' && !is_digit(n[i]) && kForDigits.find(n[i]) == kForDigits.npos) {
      return false;
    }
    digits += is_digit(n[i]);
    int value = is_digit(n[i]) ? digit(n[i]) : n[i] - 'A';
    sum += i % 2 == 0 ? kOdd[static_cast<std::size_t>(value)] : value;
  }
  return digits >= 2 && n[15] == 'A' + sum % 26;
}

struct Check {
  std::size_t size;
  bool (*fits)(std::string_view);
  const char* name;
};

const char* first_fit(std::span<const Check> checks, std::string_view text) {
  for (const Check& check : checks) {
    if (check.size == text.size() && check.fits(text)) return check.name;
  }
  return nullptr;
}

struct IbanLength {
  const char* country;
  std::size_t length;
};
constexpr IbanLength kIbans[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22},
    {"BH", 22}, {"BR", 29}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DK", 18},
    {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22},
    {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22},
    {"IL", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LI", 21},
    {"LT", 20}, {"LU", 20}, {"LV", 21}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MT", 31},
    {"NL", 18}, {"NO", 15}, {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24},
    {"RS", 22}, {"SA", 24}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"TN", 24}, {"TR", 26},
    {"UA", 29}, {"VA", 22}, {"XK", 20},
};

}  // namespace

bool luhn(std::string_view digits) {
  int sum = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    int value = digit(digits[digits.size() - 1 - i]) * (i % 2 == 0 ? 1 : 2);
    sum += value > 9 ? value - 9 : value;
  }
  return sum % 10 == 0 && digits.find_first_not_of('0') != digits.npos;
}

bool verhoeff(std::string_view digits) {
  // The dihedral group of the pentagon, and the permutation's powers.
  auto times = [](int a, int b) {
    if (a < 5) return b < 5 ? (a + b) % 5 : 5 + (a + b) % 5;
    return b < 5 ? 5 + (a - b + 5) % 5 : (a - b + 5) % 5;
  };
  static constexpr std::array<int, 10> kPermutation = {1, 5, 7, 6, 2, 8, 3, 0, 9, 4};
  int sum = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    int value = digit(digits[digits.size() - 1 - i]);
    for (std::size_t n = i % 8; n > 0; --n) value = kPermutation[static_cast<std::size_t>(value)];
    sum = times(sum, value);
  }
  return sum == 0;
}

std::size_t iban_length(std::string_view country) {
  for (const IbanLength& known : kIbans) {
    if (country == known.country) return known.length;
  }
  return 0;
}

bool iban(std::string_view text) {
  if (text.size() < 15 || iban_length(text.substr(0, 2)) != text.size()) return false;
  if (!is_digit(text[2]) || !is_digit(text[3])) return false;
  int rest = 0;
  for (std::string_view part : {text.substr(4), text.substr(0, 4)}) {
    for (char c : part) {
      if (!is_digit(c) && !is_letter(c)) return false;
      rest = is_digit(c) ? (rest * 10 + digit(c)) % 97 : (rest * 100 + (c - 'A' + 10)) % 97;
    }
  }
  return rest == 1;
}

const char* national_number(std::string_view digits) {
  static constexpr Check kChecks[] = {
      {9, bsn, "NL"},
      {9, sin, "CA"},
      {10, nhs, "GB"},
      {10, personnummer, "SE"},
      {12, personnummer, "SE"},
      {11, steuer_id, "DE"},
      {11, pesel, "PL"},
      {11, rijksregister, "BE"},
      {11, fodselsnummer, "NO"},
      {11, cpf, "BR"},
      {11, kimlik, "TR"},
      {12, aadhaar, "IN"},
      {13, ahv, "CH"},
      {15, nir, "FR"},
      {18, resident_identity, "CN"},
  };
  return all_digits(digits) ? first_fit(kChecks, digits) : nullptr;
}

const char* national_code(std::string_view text) {
  static constexpr Check kChecks[] = {
      {9, dni, "ES"},
      {10, hetu, "FI"},
      {15, nir_of_corsica, "FR"},
      {16, codice_fiscale, "IT"},
      {18, resident_identity, "CN"},
  };
  bool shaped =
      std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || is_letter(c); });
  if (!shaped || text.size() < 2) return nullptr;
  if (text.size() == 18 && !all_digits(text.substr(0, 17))) return nullptr;
  if (text.size() == 10 && !all_digits(text.substr(0, 9))) return nullptr;
  if (text.size() == 9 && !all_digits(text.substr(1, 7))) return nullptr;
  return first_fit(kChecks, text);
}

}  // namespace holdfast::privacy
