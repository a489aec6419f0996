// Devices whose clocks are wrong.

#include <gtest/gtest.h>

#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

constexpr std::int64_t kDayMs = 24 * kHourMs;

// The vault's time, as one device's clock shows it.
struct WrongClock : base::Clock {
  explicit WrongClock(std::shared_ptr<base::FakeClock> real) : real_clock(std::move(real)) {}
  std::int64_t now_ms() override { return real_clock->now_ms() + off_ms; }
  std::int64_t monotonic_ms() override { return real_clock->monotonic_ms(); }
  void sleep_ms(std::int64_t ms) override { real_clock->sleep_ms(ms); }
  std::shared_ptr<base::FakeClock> real_clock;
  std::int64_t off_ms = 0;
};

struct ClockVault : TestVault {
  ClockVault() : TestVault(2), wrong(std::make_shared<WrongClock>(clock)) {
    settle();
    devices[0]->world.environment.clock = wrong;
    devices[0]->open();
  }
  std::int64_t updated(std::size_t device, const std::string& id) {
    return (*this)[device].store->retrieve_versioned(id)->updated_ms;
  }
  std::shared_ptr<WrongClock> wrong;
};

TEST(WrongClocks, UnsentEditsGetTheTimeThatTheyWouldHaveHad) {
  for (std::int64_t off : {3 * kHourMs, -3 * kHourMs}) {
    ClockVault vault;
    vault.wrong->off_ms = off;
    std::int64_t wrote = vault.clock->now_ms();
    vault[0].store->store("r", {{"text", "first"}, {"list", {1, 2}}});
    vault[0].store->patch("r", {{"text", "second"}});
    vault.clock->advance_ms(kHourMs);
    SyncResult result = vault[0].sync->sync();
    EXPECT_FALSE(result.error) << result.message;
    EXPECT_EQ(result.notices.size(), 1u);
    vault[1].sync->sync();
    EXPECT_EQ(vault[0].state(), vault[1].state());
    EXPECT_NEAR(static_cast<double>(vault.updated(1, "r")), static_cast<double>(wrote), 1000.0);
    EXPECT_EQ(vault[1].store->retrieve("r")->at("text"), "second");
    // What it writes now has the right time, too, also after the store was opened again.
    vault[0].open();
    vault[0].store->store("s", {{"n", 1}});
    EXPECT_NEAR(static_cast<double>(vault.updated(0, "s")),
                static_cast<double>(vault.clock->now_ms()), 1000.0);
    EXPECT_TRUE(vault[0].sync->sync().notices.empty());
  }
}

TEST(WrongClocks, AFastClockDoesNotWinAgainstWhatWasReallyLater) {
  ClockVault vault;
  vault[1].store->store("r", {{"word", "old"}});
  vault.settle();
  vault.wrong->off_ms = 5 * kHourMs;
  vault[0].store->patch("r", {{"word", "fast"}});
  vault.clock->advance_ms(kHourMs);
  vault[1].store->patch("r", {{"word", "later"}});
  vault[1].sync->sync();
  vault[0].sync->sync();
  vault[1].sync->sync();
  EXPECT_EQ(vault[0].store->retrieve("r")->at("word"), "later");
  EXPECT_EQ(vault[0].state(), vault[1].state());
}

TEST(WrongClocks, ByMoreThanADayIsTheUsersToDecide) {
  ClockVault vault;
  vault.wrong->off_ms = 400 * kDayMs;
  std::int64_t wrote = vault.clock->now_ms();
  vault[0].store->store("r", {{"n", 1}});
  vault.relay.before = [](const base::HttpRequest& request) {
    return request.url.ends_with("/batches");  // nothing is sealed for good yet
  };
  SyncResult result = vault[0].sync->sync();
  ASSERT_EQ(result.notices.size(), 1u);
  EXPECT_NE(result.notices[0].find("fast"), std::string::npos);
  EXPECT_GT(vault.updated(0, "r"), wrote + 399 * kDayMs);
  vault.relay.before = nullptr;
  vault[0].store->store("s", {{"n", 1}});
  vault[0].sync->trust_relay_time();
  EXPECT_FALSE(vault[0].sync->sync().error);
  vault[1].sync->sync();
  EXPECT_EQ(vault[0].state(), vault[1].state());
  EXPECT_NEAR(static_cast<double>(vault.updated(1, "s")), static_cast<double>(wrote), 60'000.0);
  // That was for once.
  vault.wrong->off_ms = 800 * kDayMs;
  EXPECT_EQ(vault[0].sync->sync().notices.size(), 1u);
  // Its clock is put right, and it does not stay ahead.
  vault.wrong->off_ms = 0;
  vault[0].sync->sync();
  vault[0].store->store("t", {{"n", 1}});
  EXPECT_NEAR(static_cast<double>(vault.updated(0, "t")),
              static_cast<double>(vault.clock->now_ms()), 60'000.0);
}

TEST(WrongClocks, ATimeThatIsNoneIsNotTaken) {
  for (std::uint64_t said : {std::uint64_t{0}, std::uint64_t{1} << 60, UINT64_MAX}) {
    ClockVault vault;
    vault[0].sync->trust_relay_time();
    vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
      if (!request.url.ends_with("/v1/session")) return;
      wire::SessionAnswer answer = wire::decode_session_answer(response.body);
      answer.now_ms = said;
      response.body = wire::encode(answer);
    };
    EXPECT_FALSE(vault[0].sync->sync().error);
    EXPECT_EQ(vault[0].store->engine().clock_offset(), 0);
  }
}

TEST(WrongClocks, AnotherDevicesFarFutureDragsNobodyAlong) {
  ClockVault vault;
  vault.wrong->off_ms = 400 * kDayMs;
  vault[0].store->store("r", {{"n", 1}});
  vault[0].sync->sync();
  vault[1].sync->sync();
  vault[1].store->store("s", {{"n", 1}});
  EXPECT_NEAR(static_cast<double>(vault.updated(1, "s")),
              static_cast<double>(vault.clock->now_ms()), 60'000.0);
  vault[1].store->patch("r", {{"n", 2}});
  vault[1].sync->sync();
  vault[0].sync->sync();
  EXPECT_EQ(vault[0].store->retrieve("r")->at("n"), 2);
}

}  // namespace
}  // namespace holdfast::sync
