#include "src/crypto/secret.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#ifdef HOLDFAST_SANITIZED
#include <sanitizer/asan_interface.h>
#endif

namespace holdfast::crypto {
namespace {

bool is_all(ByteView bytes, std::uint8_t value) {
  return std::all_of(bytes.begin(), bytes.end(), [&](std::uint8_t b) { return b == value; });
}

TEST(Secret, BeginsWithZerosAndKeepsWhatItIsGiven) {
  for (std::size_t size = 0; size < 300; ++size) {
    Secret secret(size);
    ASSERT_EQ(secret.size(), size);
    ASSERT_TRUE(is_all(secret.view(), 0)) << size;
    std::fill_n(secret.data(), size, std::uint8_t{0xab});
    Secret copy = secret.copy();
    std::fill_n(secret.data(), size, std::uint8_t{0xcd});
    ASSERT_TRUE(is_all(copy.view(), 0xab)) << size;
    Secret moved = std::move(copy);
    ASSERT_TRUE(is_all(moved.view(), 0xab)) << size;
  }
  EXPECT_EQ(Secret().size(), 0u);
}

// Nothing else has made libsodium ready then.
TEST(SecretDeathTest, ALongOneMayBeTheFirstOfAProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process from its beginning
  EXPECT_EXIT(std::exit(Secret(200).size() == 200 ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST(Secret, ThreadsShareNone) {
  std::vector<std::thread> threads;
  for (std::uint8_t mark = 1; mark <= 4; ++mark) {
    threads.emplace_back([mark] {
      std::mt19937 random(mark);
      std::vector<Secret> kept;
      for (int i = 0; i < 5000; ++i) {
        if (kept.size() == 200 || (!kept.empty() && random() % 2 == 0)) {
          std::swap(kept[random() % kept.size()], kept.back());
          ASSERT_TRUE(is_all(kept.back().view(), mark));
          kept.pop_back();
        } else {
          Secret& secret = kept.emplace_back(1 + random() % 112);
          std::fill_n(secret.data(), secret.size(), mark);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

#ifdef HOLDFAST_SANITIZED
// The sanitizer sees each slot's bounds, and has no mlock.
TEST(SecretDeathTest, IsNotReadBehindItsEndOrAfterItWasLetGo) {
  if (!(__has_feature(address_sanitizer))) GTEST_SKIP() << "needs the address sanitizer";
  Secret secret(32);
  volatile std::uint8_t* data = secret.data();
  EXPECT_DEATH(static_cast<void>(data[32]), "use-after-poison");
  secret = Secret();
  EXPECT_DEATH(static_cast<void>(data[0]), "use-after-poison");
}
#else
TEST(Secret, IsWipedWhenItIsLetGo) {
  Secret secret(32);
  volatile std::uint8_t* data = secret.data();
  std::fill_n(secret.data(), 32, std::uint8_t{0xab});
  secret = Secret();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(data[i], 0) << i;  // its memory is still there
}

TEST(SecretDeathTest, AnOverrunEndsTheProcess) {
  EXPECT_DEATH(
      {
        Secret secret(32);
        volatile std::uint8_t* data = secret.data();
        data[32] = data[32] ^ 1;
      },
      "");
}

// What the kernel says of the mapping that holds `data`.
std::string flags_of(const std::uint8_t* data) {
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      auto address = reinterpret_cast<std::uintptr_t>(data);
      here = begin <= address && address < end;
    }
    if (here && line.starts_with("VmFlags:")) return line + " ";
  }
  return {};
}

TEST(Secret, IsInNoCoreDumpAndLocked) {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur < 1U << 20) GTEST_SKIP() << "this process may lock too little memory";
  for (std::size_t size : {32u, 5000u}) {
    Secret secret(size);
    std::string flags = flags_of(secret.data());
    EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
    EXPECT_NE(flags.find(" lo "), std::string::npos) << flags;
  }
  std::vector<std::uint8_t> ordinary(32);
  EXPECT_EQ(flags_of(ordinary.data()).find(" dd "), std::string::npos);  // so this can fail
}
#endif

}  // namespace
}  // namespace holdfast::crypto
