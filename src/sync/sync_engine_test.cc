// The engine for apps: when it syncs, when it does not, and what it tells.

#include "holdfast/sync_engine.h"

#include <thread>

#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

struct EngineVault : TestVault {
  EngineVault() : TestVault(2) {
    settle();
    devices[0]->sync.reset();
    engine.emplace(*devices[0]->store, SyncEngineOptions{});
    engine->subscribe([this](const SyncEvent& event) { events.push_back(event); });
    engine->step();
    settled_requests = relay.requests;
  }
  int requests() const { return relay.requests - settled_requests; }
  // What the app's loop would do for so long.
  void pass(std::int64_t ms) {
    while (ms > 0) {
      std::int64_t step = std::min(ms, std::max<std::int64_t>(engine->step(), 1));
      clock->advance_ms(step);
      ms -= step;
    }
    engine->step();
  }
  int count(SyncEvent::Kind kind) const {
    int out = 0;
    for (const SyncEvent& event : events) out += event.kind == kind;
    return out;
  }

  std::optional<SyncEngine> engine;
  std::vector<SyncEvent> events;
  int settled_requests = 0;
};

TEST(SyncEngine, SendsEditsTogetherALittleLater) {
  EngineVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault.pass(1'000);
  vault[0].store->store("b", {{"n", 1}});
  vault.pass(1'900);
  EXPECT_EQ(vault.requests(), 0);
  vault.pass(200);
  EXPECT_EQ(vault.requests(), 1);  // one request up, none down
  EXPECT_EQ(vault.engine->sync().count_pending(), 0u);
  vault[1].sync->sync();
  EXPECT_TRUE(vault[1].store->retrieve("b"));
}

TEST(SyncEngine, SendingFirstStillTakesWhatOthersSent) {
  EngineVault vault;
  vault[1].store->store("theirs", {{"n", 1}});
  vault[1].sync->sync();
  vault[0].store->store("mine", {{"n", 1}});
  vault.pass(4'000);
  EXPECT_TRUE(vault[0].store->retrieve("theirs"));
  vault[1].sync->sync();
  EXPECT_EQ(vault[0].state(), vault[1].state());
}

TEST(SyncEngine, SendingFirstUnderAKeyThatWasChangedSealsAgain) {
  EngineVault vault;
  vault[1].vault().rotate_key();
  vault[0].store->store("mine", {{"n", 1}});
  vault.pass(4'000);
  vault[1].sync->sync();
  EXPECT_TRUE(vault[1].store->retrieve("mine"));
}

TEST(SyncEngine, AsksNowAndThenWhereNothingHappens) {
  EngineVault vault;
  vault[1].store->store("theirs", {{"n", 1}});
  vault[1].sync->sync();
  vault.pass(14 * 60'000);
  EXPECT_FALSE(vault[0].store->retrieve("theirs"));
  vault.pass(2 * 60'000);
  EXPECT_TRUE(vault[0].store->retrieve("theirs"));
}

TEST(SyncEngine, TriesNothingWithoutANetworkAndAtOnceWithOne) {
  EngineVault vault;
  vault.engine->set_conditions({.network = "none"});
  vault[0].store->store("a", {{"n", 1}});
  vault.pass(3 * kHourMs);
  EXPECT_EQ(vault.requests(), 0);
  vault.engine->set_conditions({.network = "wifi"});
  vault.engine->step();
  EXPECT_EQ(vault.engine->sync().count_pending(), 0u);
  EXPECT_EQ(vault.engine->sync().states().metadata().network_type, "wifi");
}

TEST(SyncEngine, SparesMoneyAndPower) {
  EngineVault vault;
  vault.engine->set_conditions({.network = "cellular", .metered = true, .saves_power = true});
  vault[0].store->store("a", {{"n", 1}});
  vault.pass(29'000);
  EXPECT_EQ(vault.requests(), 0);
  vault.pass(2'000);
  EXPECT_GT(vault.requests(), 0);
  int before = vault.requests();
  vault.pass(59 * 60'000);
  EXPECT_EQ(vault.requests(), before);
  vault.pass(2 * 60'000);
  EXPECT_GT(vault.requests(), before);
}

TEST(SyncEngine, ComesBackAfterFailuresEverMoreRarely) {
  EngineVault vault;
  vault.relay.down = true;
  vault[0].store->store("a", {{"n", 1}});
  vault.pass(kHourMs);
  int first_hour = vault.requests();
  EXPECT_GT(first_hour, 4);
  vault.pass(kHourMs);
  EXPECT_LT(vault.requests() - first_hour, 4 * 60);  // four tries each, far less than one a minute
  EXPECT_EQ(vault.engine->sync().states().state(), SyncState::offline);
  vault.relay.down = false;
  vault.pass(16 * 60'000);
  EXPECT_EQ(vault.engine->sync().count_pending(), 0u);
}

TEST(SyncEngine, TellsOfStatesProgressAndConflicts) {
  EngineVault vault;
  Policy ask;
  ask.collection = "records";
  ask.path = "$.n";
  ask.strategy = Strategy::user_choice;
  vault[1].conflicts().set_policy(ask);
  vault[1].store->store("r", {{"n", 0}});
  vault[1].sync->sync();
  vault.engine->sync_now();
  vault.engine->step();
  vault[1].store->patch("r", {{"n", 1}});
  vault[1].sync->sync();
  vault[0].store->patch("r", {{"n", 2}});
  vault.pass(4'000);
  EXPECT_GT(vault.count(SyncEvent::Kind::state), 1);
  EXPECT_GT(vault.count(SyncEvent::Kind::progress), 1);
  EXPECT_EQ(vault.count(SyncEvent::Kind::conflicts), 1);
  EXPECT_EQ(vault.engine->sync().states().state(), SyncState::conflict);
}

TEST(SyncEngine, SyncsDoNotWakeItself) {
  EngineVault vault;
  int due = 0;
  vault.engine->on_due([&] { ++due; });
  vault[0].store->store("a", {{"n", 1}});
  EXPECT_EQ(due, 1);
  vault.pass(10'000);
  int requests = vault.requests();
  vault.pass(10 * 60'000);
  EXPECT_EQ(vault.requests(), requests);
}

// On real threads and a real clock: what one writes, the other's run() takes while both go on.
TEST(SyncEngineAtOnce, TwoRunningEnginesKeepEachOtherUpToDate) {
  auto clock = std::make_shared<base::FakeClock>();
  FakeRelay relay(clock);
  std::mutex one_at_a_time;
  auto network = std::make_shared<base::FakeNetwork>([&](const base::HttpRequest& request) {
    std::lock_guard lock(one_at_a_time);
    return relay.perform(request);
  });
  store::FakeWorld worlds[2]{store::FakeWorld(1), store::FakeWorld(2)};
  std::optional<EncryptedLocalStore> stores[2];
  for (int i = 0; i < 2; ++i) {
    worlds[i].environment.clock = base::system_clock();
    worlds[i].environment.network = network;
    stores[i].emplace(worlds[i].open());
  }
  Vault(*stores[0]).create("one", [](const std::string&) {});
  Vault(*stores[0]).use_relay(kRelayUrl);
  Vault(*stores[1]).join(Vault(*stores[0]).invite_ticket(), "two");
  SyncEngineOptions options;
  options.coalesce_ms = 1;
  options.interval_ms = 5;
  SyncEngine one(*stores[0], options), two(*stores[1], options);
  std::atomic<bool> failed = false;
  auto run = [&](const std::function<void()>& work) {
    try {
      work();
    } catch (const std::exception& error) {
      failed = true;
      ADD_FAILURE() << error.what();
    }
  };
  std::thread first([&] { run([&] { one.run(); }); }), second([&] { run([&] { two.run(); }); });
  auto has_all = [&](EncryptedLocalStore& store) { return store.list().size() == 20; };
  run([&] {
    for (int i = 0; i < 20; ++i) {
      stores[i % 2]->store("r" + std::to_string(i), {{"n", i}});
    }
    while (!failed && (!has_all(*stores[0]) || !has_all(*stores[1]))) std::this_thread::yield();
  });
  one.stop();
  two.stop();
  first.join();
  second.join();
}

}  // namespace
}  // namespace holdfast::sync
