#pragma once

// Exact numbers: what is random here depends on probabilities that no rounding may bend, so nothing
// in these files is a floating-point number (a test looks).

#include <boost/multiprecision/cpp_int.hpp>
#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::privacy {

using Integer = boost::multiprecision::cpp_int;
using Rational = boost::multiprecision::cpp_rational;

// "3", "0.25", "1/3", "5e-7", not negative, of at most 18 digits. Nothing for any other text.
std::optional<Rational> parse_rational(std::string_view text);

// The largest integer that is not above `value`, and the smallest not below. For value >= 0.
Integer floor(const Rational& value);
Integer ceil(const Rational& value);

// Millionths of epsilon, the unit in which a budget counts: rounded up, so that what is said is
// never less than what was spent. Nothing beyond 10^15.
std::optional<std::int64_t> micros_up(const Rational& value);
// "0.25" of 250000.
std::string micros_text(std::int64_t micros);

// The least n with value >= 2^-n; for 0 < value < 1.
unsigned bits_below_one(const Rational& value);

}  // namespace holdfast::privacy
