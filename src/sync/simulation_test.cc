// Whole lives of vaults, each from one seed: see test_simulation.h. HOLDFAST_SEED runs one alone.

#include <chrono>
#include <cstdlib>

#include "src/sync/test_simulation.h"

namespace holdfast::sync {
namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* set = std::getenv(name);
  return set ? std::strtoull(set, nullptr, 10) : otherwise;
}

TEST(Simulation, EveryPromiseIsKeptWhateverFails) {
  std::uint64_t first = number("HOLDFAST_SEED", 1);
  std::uint64_t usual = std::getenv("HOLDFAST_MODEL_FULL")    ? 3000
                        : std::getenv("HOLDFAST_TEST_STRIDE") ? 60
                                                              : 200;
  std::uint64_t count = number("HOLDFAST_SEEDS", std::getenv("HOLDFAST_SEED") ? 1 : usual);
  auto start = std::chrono::steady_clock::now();
  std::uint64_t failed = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    std::string failure = Simulation(seed).run();
    if (failure.empty()) continue;
    ADD_FAILURE() << failure;
    if (++failed == 10) break;
  }
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%llu simulated vaults, %.0f a minute\n", static_cast<unsigned long long>(count),
              static_cast<double>(count) * 60 / seconds);
}

TEST(Simulation, ASeedRunsTheSameAgain) {
  for (std::uint64_t seed : {3, 4}) {
    Simulation one(seed), two(seed);
    one.run();
    two.run();
    EXPECT_EQ(one.trace(), two.trace());
    EXPECT_EQ(one.events(), two.events());
  }
}

}  // namespace
}  // namespace holdfast::sync
