// The samplers: exact probabilities by walking every choice, and chi-squared tests at fixed seeds.

#include "src/privacy/noise.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "src/base/fakes.h"

namespace holdfast::privacy {
namespace {

// Plays given choices, and notes where it was asked for one more.
class Walk : public Uniform {
 public:
  struct More {
    Integer bound;
  };
  explicit Walk(const std::vector<Integer>& choices) : choices_(choices) {}
  Integer below(const Integer& bound) override {
    if (next_ == choices_.size()) throw More{bound};
    return choices_[next_++];
  }

 private:
  const std::vector<Integer>& choices_;
  std::size_t next_ = 0;
};

// What each outcome is worth, over all choices whose probability is at least `least`; the rest is
// the probability of what was not followed.
struct Exactly {
  std::map<Integer, Rational> of;
  Rational rest = 0;
};

void walk(const std::function<Integer(Uniform&)>& sample, std::vector<Integer>& choices,
          const Rational& probability, const Rational& least, Exactly& out) {
  if (probability < least) {
    out.rest += probability;
    return;
  }
  Integer bound = 0;
  try {
    Walk source(choices);
    out.of[sample(source)] += probability;
    return;
  } catch (const Walk::More& more) {
    bound = more.bound;
  }
  for (Integer i = 0; i < bound; ++i) {
    choices.push_back(i);
    walk(sample, choices, probability / bound, least, out);
    choices.pop_back();
  }
}

Exactly exactly(const std::function<Integer(Uniform&)>& sample, const Rational& least) {
  Exactly out;
  std::vector<Integer> choices;
  walk(sample, choices, 1, least, out);
  return out;
}

double real(const Rational& value) { return value.convert_to<double>(); }

TEST(Noise, BernoulliExpIsExact) {
  for (const Rational& x : {Rational(0), Rational(1, 3), Rational(1), Rational(3, 2)}) {
    Exactly found =
        exactly([&](Uniform& u) { return bernoulli_exp(x, u) ? 1 : 0; }, Rational(1, 1'000'000));
    double expected = std::exp(-real(x));
    EXPECT_LE(real(found.of[1]), expected + 1e-12);
    EXPECT_GE(real(found.of[1] + found.rest), expected - 1e-12);
    EXPECT_LT(real(found.rest), 1e-3);
  }
}

TEST(Noise, RandomisedResponseIsExact) {
  for (std::size_t choices : {2u, 3u, 5u}) {
    Exactly found =
        exactly([&](Uniform& u) { return Integer(randomised_response(1, choices, 1, u)); },
                Rational(1, 1'000'000));
    double weight = std::exp(1.0);
    for (std::size_t i = 0; i < choices; ++i) {
      double expected = (i == 1 ? weight : 1.0) / (weight + static_cast<double>(choices) - 1);
      EXPECT_LE(real(found.of[i]), expected + 1e-12);
      EXPECT_GE(real(found.of[i] + found.rest), expected - 1e-12);
    }
    EXPECT_LT(real(found.rest), 0.1);
  }
}

// Of `expected` weights by outcome, all else in one more class. 99.9 % of fair samplers pass; the
// seeds are fixed, so this one does or does not.
void expect_fits(const std::function<Integer(Uniform&)>& sample,
                 const std::function<double(double)>& weight, int width) {
  constexpr int kSamples = 60'000;
  base::SeededRandom random(20);
  UniformBytes uniform(random);
  std::map<int, int> seen;
  for (int i = 0; i < kSamples; ++i) {
    Integer value = sample(uniform);
    bool inside = abs(value) <= width;
    ++seen[inside ? static_cast<int>(value) : width + 1];
  }
  double all = 0;
  for (int n = -4000; n <= 4000; ++n) all += weight(n);
  double statistic = 0, outside = 1;
  for (int n = -width; n <= width; ++n) {
    double expected = kSamples * weight(n) / all;
    outside -= weight(n) / all;
    statistic += (seen[n] - expected) * (seen[n] - expected) / expected;
  }
  double expected = kSamples * outside;
  statistic += (seen[width + 1] - expected) * (seen[width + 1] - expected) / expected;
  // The 0.999 quantile of chi-squared (Wilson and Hilferty).
  double freedom = 2.0 * width + 1;
  double bound = freedom * std::pow(1 - 2 / (9 * freedom) + 3.09 * std::sqrt(2 / (9 * freedom)), 3);
  EXPECT_LT(statistic, bound);
}

TEST(Noise, LaplaceHasItsDistribution) {
  for (const Rational& scale : {Rational(1), Rational(5, 2), Rational(1, 2), Rational(20)}) {
    double t = real(scale);
    expect_fits([&](Uniform& u) { return discrete_laplace(scale, u); },
                [&](double n) { return std::exp(-std::abs(n) / t); },
                std::max(1, static_cast<int>(4 * t)));
  }
}

TEST(Noise, GaussianHasItsDistribution) {
  for (const Rational& variance : {Rational(1), Rational(9, 4), Rational(50), Rational(1, 2)}) {
    double v = real(variance);
    expect_fits([&](Uniform& u) { return discrete_gaussian(variance, u); },
                [&](double n) { return std::exp(-n * n / (2 * v)); },
                std::max(1, static_cast<int>(2.5 * std::sqrt(v))));
  }
}

// A fault that the test must see: noise of another scale.
TEST(Noise, TheTestOfDistributionsCanFail) {
  EXPECT_NONFATAL_FAILURE(
      expect_fits([](Uniform& u) { return discrete_laplace(Rational(21, 10), u); },
                  [](double n) { return std::exp(-std::abs(n) / 2); }, 8),
      "statistic");
}

TEST(Noise, UniformBytesAreUniform) {
  base::SeededRandom random(3);
  UniformBytes uniform(random);
  for (const Integer& bound : {Integer(1), Integer(2), Integer(3), Integer(200), Integer(257)}) {
    std::map<Integer, int> seen;
    for (int i = 0; i < 20'000; ++i) ++seen[uniform.below(bound)];
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(bound));
    EXPECT_LT(seen.rbegin()->first, bound);
    for (const auto& [value, count] : seen) {
      EXPECT_NEAR(count, 20'000.0 / static_cast<double>(static_cast<int>(bound)),
                  5 * std::sqrt(20'000.0 / static_cast<double>(static_cast<int>(bound))) + 1);
    }
  }
  Integer large = Integer(1) << 200;
  EXPECT_GT(uniform.below(large) + uniform.below(large) + uniform.below(large), Integer(1) << 150);
}

TEST(Noise, GaussianVarianceKeepsItsPromise) {
  for (double epsilon : {0.1, 0.5, 1.0, 4.0}) {
    for (const char* delta : {"1e-6", "0.001", "1/3"}) {
      Rational e = *parse_rational(std::to_string(epsilon));
      Rational variance = gaussian_variance(10, e, *parse_rational(delta));
      double rho = 100 / (2 * real(variance));
      double log = -std::log(real(*parse_rational(delta)));
      EXPECT_LE(rho + 2 * std::sqrt(rho * log), epsilon);
      EXPECT_GE(rho + 2 * std::sqrt(rho * log), epsilon / 3);
    }
  }
}

TEST(Exact, ReadsAndRoundsUp) {
  EXPECT_EQ(*parse_rational("0.25"), Rational(1, 4));
  EXPECT_EQ(*parse_rational("1/3"), Rational(1, 3));
  EXPECT_EQ(*parse_rational("5e-7"), Rational(1, 2'000'000));
  EXPECT_EQ(*parse_rational("2E3"), Rational(2000));
  for (const char* wrong :
       {"", "-1", "1/0", ".", "1.", "1e", "1e999", "0x1", "nan", "1 ", "12345678901234567890"}) {
    EXPECT_FALSE(parse_rational(wrong)) << wrong;
  }
  EXPECT_EQ(*micros_up(Rational(1, 3)), 333'334);
  EXPECT_EQ(*micros_up(Rational(1, 4)), 250'000);
  EXPECT_EQ(micros_text(333'334), "0.333334");
  EXPECT_EQ(micros_text(2'500'000), "2.5");
  EXPECT_EQ(micros_text(0), "0");
  EXPECT_EQ(bits_below_one(Rational(1, 1'000'000)), 20u);
  EXPECT_EQ(bits_below_one(Rational(1, 2)), 1u);
}

// The promise of exact.h, by reading the sources.
TEST(Exact, NothingFloats) {
  for (const char* name : {"exact.h", "exact.cc", "noise.h", "noise.cc", "budget.h", "budget.cc"}) {
    std::ifstream in(std::filesystem::path(HOLDFAST_SOURCE) / "src/privacy" / name);
    ASSERT_TRUE(in) << name;
    std::string line;
    while (std::getline(in, line)) {
      line.resize(std::min(line.size(), line.find("//")));
      for (const char* word : {"float", "double", "cmath", "std::log", "std::exp", "std::sqrt"}) {
        EXPECT_EQ(line.find(word), line.npos) << name << ": " << line;
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::privacy
