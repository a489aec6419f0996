// Whole lives of vaults, each from one seed: see test_simulation.h. HOLDFAST_SEED runs one alone.

#include <chrono>
#include <cstdlib>

#include "src/base/planted.h"
#include "src/sync/test_simulation.h"

namespace holdfast::sync {
namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* set = std::getenv(name);
  return set ? std::strtoull(set, nullptr, 10) : otherwise;
}

// In slices, so that several cores can share them.
class EverySeed : public testing::TestWithParam<std::uint64_t> {};
constexpr std::uint64_t kSlices = 4;

TEST_P(EverySeed, KeepsEveryPromiseWhateverFails) {
  std::uint64_t first = number("HOLDFAST_SEED", 1);
  std::uint64_t usual = std::getenv("HOLDFAST_MODEL_FULL")    ? 1500
                        : std::getenv("HOLDFAST_TEST_STRIDE") ? 60
                                                              : 200;
  std::uint64_t count = number("HOLDFAST_SEEDS", std::getenv("HOLDFAST_SEED") ? 1 : usual);
  auto start = std::chrono::steady_clock::now();
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  for (std::uint64_t seed = first + GetParam(); seed < first + count; seed += kSlices, ++done) {
    std::string failure = Simulation(seed).run();
    if (failure.empty()) continue;
    ADD_FAILURE() << failure;
    if (++failed == 10) break;
  }
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%llu simulated vaults, %.0f a minute in one of the threads\n",
              static_cast<unsigned long long>(done), static_cast<double>(done) * 60 / seconds);
}
INSTANTIATE_TEST_SUITE_P(Simulation, EverySeed, testing::Range<std::uint64_t>(0, kSlices));

TEST(Simulation, ASeedRunsTheSameAgain) {
  for (std::uint64_t seed : {3, 4}) {
    Simulation one(seed), two(seed);
    one.run();
    two.run();
    EXPECT_EQ(one.trace(), two.trace());
    EXPECT_EQ(one.events(), two.events());
  }
}

// Each bug, put in on purpose, is found; how soon is printed.
// HOLDFAST_PLANT=name looks for one alone.
TEST(Simulation, FindsEveryPlantedBug) {
  if (std::getenv("HOLDFAST_TEST_STRIDE")) return;  // said once is enough
  std::vector<std::pair<const char*, base::Plant>> bugs;
#define PLANT(name) bugs.emplace_back(#name, base::Plant::name);
  HOLDFAST_PLANT_LIST(PLANT)
#undef PLANT
  const char* only = std::getenv("HOLDFAST_PLANT");
  // Those that take the longest.
  std::set<base::Plant> slow = {
      base::Plant::rewind_keeps_leaves, base::Plant::rewind_forgets_others,
      base::Plant::outbox_seals_out_of_order, base::Plant::purges_before_all_have_it};
  if (std::getenv("HOLDFAST_MODEL_FULL") || only) slow.clear();
  for (const auto& [name, bug] : bugs) {
    if (slow.count(bug) || (only && name != std::string(only))) continue;
    auto start = std::chrono::steady_clock::now();
    std::string failure;
    std::uint64_t seed = 0;
    base::planted_bug = bug;
    while (failure.empty() && seed < 2000) {
      try {
        failure = Simulation(++seed).run();
      } catch (const std::exception& error) {
        failure = error.what();
      }
    }
    base::planted_bug = base::Plant::none;
    auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_FALSE(failure.empty()) << name << " was not found";
    std::printf("planted: %-40s %5.1f s  %s\n", name, seconds, failure.c_str());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace holdfast::sync
