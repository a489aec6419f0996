#pragma once

// The mechanisms of local differential privacy, sampled with integers alone: C. Canonne, G. Kamath,
// T. Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms 1 to 3.

#include "src/base/environment.h"
#include "src/privacy/exact.h"

namespace holdfast::privacy {

// Where all of a sampler's randomness comes from.
class Uniform {
 public:
  virtual ~Uniform() = default;
  virtual Integer below(const Integer& bound) = 0;  // uniform in [0, bound); bound > 0
};

// From a source of random bytes, by rejection.
class UniformBytes : public Uniform {
 public:
  explicit UniformBytes(base::Random& random) : random_(random) {}
  Integer below(const Integer& bound) override;

 private:
  base::Random& random_;
};

bool bernoulli(const Rational& probability, Uniform& uniform);  // within [0, 1]
// True with probability e^-x; x >= 0.
bool bernoulli_exp(const Rational& x, Uniform& uniform);
// P(n) in proportion to e^(-|n| / scale); scale > 0.
Integer discrete_laplace(const Rational& scale, Uniform& uniform);
// P(n) in proportion to e^(-n^2 / (2 variance)); variance > 0.
Integer discrete_gaussian(const Rational& variance, Uniform& uniform);
// Of `choices` values, the true one with probability e^epsilon / (e^epsilon + choices - 1), and
// each other one as often as any.
std::size_t randomised_response(std::size_t truth, std::size_t choices, const Rational& epsilon,
                                Uniform& uniform);

// The scale with which discrete_laplace gives epsilon for values that differ by at most `range`.
Rational laplace_scale(const Integer& range, const Rational& epsilon);
// A variance with which discrete_gaussian gives (epsilon, delta) for such values; 0 < delta < 1. By
// concentrated privacy: rho = range^2 / (2 variance) gives epsilon = rho + 2 sqrt(rho ln(1/delta)),
// and rho = epsilon^2 / (4 (ln(1/delta) + epsilon)) stays below that epsilon.
Rational gaussian_variance(const Integer& range, const Rational& epsilon, const Rational& delta);

}  // namespace holdfast::privacy
