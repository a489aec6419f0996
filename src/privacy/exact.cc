#include "src/privacy/exact.h"

#include <string>

namespace holdfast::privacy {
namespace {

constexpr std::size_t kMaxDigits = 18;

std::optional<Integer> parse_digits(std::string_view text) {
  if (text.empty() || text.size() > kMaxDigits) return std::nullopt;
  Integer out = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + (c - '0');
  }
  return out;
}

Integer power_of_ten(unsigned exponent) {
  Integer out = 1;
  for (unsigned i = 0; i < exponent; ++i) out *= 10;
  return out;
}

}  // namespace

std::optional<Rational> parse_rational(std::string_view text) {
  if (std::size_t slash = text.find('/'); slash != text.npos) {
    auto above = parse_digits(text.substr(0, slash));
    auto below = parse_digits(text.substr(slash + 1));
    if (!above || !below || *below == 0) return std::nullopt;
    return Rational(*above, *below);
  }
  bool negative_exponent = false;
  unsigned exponent = 0;
  if (std::size_t e = text.find_first_of("eE"); e != text.npos) {
    std::string_view digits = text.substr(e + 1);
    if (digits.starts_with('-') || digits.starts_with('+')) {
      negative_exponent = digits[0] == '-';
      digits.remove_prefix(1);
    }
    auto value = parse_digits(digits);
    if (!value || *value > kMaxDigits) return std::nullopt;
    exponent = static_cast<unsigned>(*value);
    text = text.substr(0, e);
  }
  std::string digits(text);
  unsigned decimals = 0;
  if (std::size_t dot = digits.find('.'); dot != digits.npos) {
    decimals = static_cast<unsigned>(digits.size() - dot - 1);
    digits.erase(dot, 1);
    if (decimals == 0) return std::nullopt;
  }
  auto value = parse_digits(digits);
  if (!value) return std::nullopt;
  Rational out(*value, power_of_ten(decimals));
  Rational scale(power_of_ten(exponent));
  return negative_exponent ? Rational(out / scale) : Rational(out * scale);
}

Integer floor(const Rational& value) { return numerator(value) / denominator(value); }

Integer ceil(const Rational& value) {
  return (numerator(value) + denominator(value) - 1) / denominator(value);
}

std::optional<std::int64_t> micros_up(const Rational& value) {
  Integer out = ceil(value * 1'000'000);
  if (out > 1'000'000'000'000'000) return std::nullopt;
  return static_cast<std::int64_t>(out);
}

std::string micros_text(std::int64_t micros) {
  std::string decimals = std::to_string(1'000'000 + micros % 1'000'000).substr(1);
  while (decimals.size() > 1 && decimals.back() == '0') decimals.pop_back();
  return std::to_string(micros / 1'000'000) + (decimals == "0" ? "" : "." + decimals);
}

unsigned bits_below_one(const Rational& value) {
  unsigned bits = 0;
  for (Rational bound = 1; value < bound; bound /= 2) ++bits;
  return bits;
}

}  // namespace holdfast::privacy
