#include "src/privacy/noise.h"

namespace holdfast::privacy {

Integer UniformBytes::below(const Integer& bound) {
  if (bound == 1) return 0;
  Integer most = bound - 1;
  unsigned bits = msb(most) + 1;
  Bytes bytes((bits + 7) / 8);
  for (;;) {
    random_.fill(bytes);
    if (bits % 8 != 0) bytes[0] &= static_cast<std::uint8_t>((1u << (bits % 8)) - 1);
    Integer value;
    import_bits(value, bytes.begin(), bytes.end());
    if (value < bound) return value;
  }
}

bool bernoulli(const Rational& probability, Uniform& uniform) {
  return uniform.below(denominator(probability)) < numerator(probability);
}

namespace {

bool bernoulli_exp_below_one(const Rational& x, Uniform& uniform) {
  unsigned k = 1;
  while (bernoulli(x / k, uniform)) ++k;
  return k % 2 == 1;
}

}  // namespace

bool bernoulli_exp(const Rational& x, Uniform& uniform) {
  Integer whole = floor(x);
  for (Integer i = 0; i < whole; ++i) {
    if (!bernoulli_exp_below_one(1, uniform)) return false;
  }
  return bernoulli_exp_below_one(x - whole, uniform);
}

Integer discrete_laplace(const Rational& scale, Uniform& uniform) {
  const Integer t = numerator(scale);
  const Integer s = denominator(scale);
  for (;;) {
    Integer u = uniform.below(t);
    if (!bernoulli_exp(Rational(u, t), uniform)) continue;
    Integer v = 0;
    while (bernoulli_exp(1, uniform)) ++v;
    Integer size = (u + t * v) / s;
    bool negative = uniform.below(2) == 1;
    if (negative && size == 0) continue;
    return negative ? Integer(-size) : size;
  }
}

Integer discrete_gaussian(const Rational& variance, Uniform& uniform) {
  const Integer t = sqrt(floor(variance)) + 1;
  for (;;) {
    Integer candidate = discrete_laplace(t, uniform);
    Integer size = abs(candidate);
    Rational off = Rational(size) - variance / t;
    if (bernoulli_exp(off * off / (2 * variance), uniform)) return candidate;
  }
}

std::size_t randomised_response(std::size_t truth, std::size_t choices, const Rational& epsilon,
                                Uniform& uniform) {
  // Any value, kept always where it is the true one and with e^-epsilon where it is not.
  for (;;) {
    auto value = static_cast<std::size_t>(uniform.below(choices));
    if (value == truth || bernoulli_exp(epsilon, uniform)) return value;
  }
}

Rational laplace_scale(const Integer& range, const Rational& epsilon) { return range / epsilon; }

Rational gaussian_variance(const Integer& range, const Rational& epsilon, const Rational& delta) {
  // ln(1/delta) <= bits * ln 2, and 6931472/10^7 is just above ln 2.
  Rational log = Rational(6931472, 10'000'000) * bits_below_one(delta);
  return 2 * range * range * (log + epsilon) / (epsilon * epsilon);
}

}  // namespace holdfast::privacy
