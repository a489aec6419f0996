// Two devices and more, the real relay service between them.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

using store::code_of;

TEST(Sync, CarriesRecordsFromOneDeviceToTheOther) {
  TestVault vault;
  vault[0].store->store("ada", {{"name", "Ada"}});
  EXPECT_EQ(vault[0].sync->count_pending(), 1u);
  SyncResult sent = vault[0].sync->sync();
  EXPECT_EQ(sent.state, SyncState::up_to_date);
  EXPECT_EQ(sent.sent, 1u);
  EXPECT_EQ(vault[0].sync->count_pending(), 0u);
  SyncResult received = vault[1].sync->sync();
  EXPECT_EQ(received.applied, 1u);
  EXPECT_EQ(vault[1].store->retrieve("ada")->at("name"), "Ada");
  EXPECT_EQ(vault[1].sync->sync().applied, 0u);
  expect_equal(vault);
}

TEST(Sync, TellsALiveQueryOfWhatCameIn) {
  TestVault vault;
  vault[1].store->store({"notes", "own"}, {{"n", 1}});
  std::vector<QueryChange> changes;
  LiveQuery live = vault[1].store->watch(
      "SELECT id FROM notes", {}, [&](const QueryChange& change) { changes.push_back(change); });
  vault[0].store->store({"notes", "theirs"}, {{"n", 2}});
  vault.settle();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].added, std::vector<Json>({{{"id", "theirs"}}}));
  EXPECT_EQ(changes[1].rows, 2u);
}

TEST(Sync, BothEditedWhileTheRelayWasDownAndConvergeForEachStrategy) {
  for (Strategy strategy :
       {Strategy::timestamp, Strategy::priority, Strategy::merge, Strategy::user_choice}) {
    TestVault vault;
    vault[0].conflicts().set_policy({"records", "$", strategy});
    vault[0].store->store("r", {{"title", "base"}, {"tags", {"a"}}, {"n", 1}});
    vault.settle();
    vault.relay.down = true;
    vault[0].store->store("r", {{"title", "left"}, {"tags", {"a", "b"}}, {"n", 1}},
                          WriteOptions{9});
    vault.clock->advance_ms(1000);
    vault[1].store->store("r", {{"title", "right"}, {"tags", {"a", "c"}}, {"n", 2}},
                          WriteOptions{1});
    SyncResult offline = vault[0].sync->sync();
    EXPECT_EQ(offline.state, SyncState::offline);
    EXPECT_EQ(offline.error, ErrorCode::unreachable);
    EXPECT_EQ(vault[0].sync->states().state(), SyncState::offline);
    vault.relay.down = false;
    vault.settle();
    expect_equal(vault);
    EXPECT_EQ(vault[0].store->retrieve("r")->dump(), vault[1].store->retrieve("r")->dump());
    Json shown = *vault[1].store->retrieve("r");
    EXPECT_EQ(shown["n"], 2);
    switch (strategy) {
      case Strategy::priority: EXPECT_EQ(shown["title"], "left"); break;
      case Strategy::merge: EXPECT_EQ(shown["tags"], (Json{"a", "b", "c"})); [[fallthrough]];
      default: EXPECT_EQ(shown["title"], "right");
    }
    std::size_t pending = strategy == Strategy::user_choice ? 2 : 0;
    for (auto& device : vault.devices) {
      EXPECT_EQ(device->conflicts().count_pending(), pending);
      EXPECT_EQ(device->conflicts().conflicts().size(), 2u);
      EXPECT_EQ(device->sync->states().state(),
                pending ? SyncState::conflict : SyncState::up_to_date);
    }
  }
}

// Edits, syncs, lost requests, lost answers and power cuts in random order; then everybody agrees
// and nothing that was acknowledged is missing.
TEST(Sync, ConvergesWhateverIsLost) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    TestVault vault(3, seed);
    std::mt19937_64 rng(seed);
    bool lossy = true;
    vault.relay.before = [&](const base::HttpRequest&) { return lossy && rng() % 6 == 0; };
    vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (lossy && rng() % 6 == 0) response = {0, {}, 0, "cut after it arrived"};
    };
    std::map<std::string, int> mine;  // one writer a key: its last acknowledged value must survive
    for (int step = 0; step < 60; ++step) {
      std::size_t who = rng() % 3;
      TestDevice& device = vault[who];
      vault.clock->advance_ms(static_cast<std::int64_t>(rng() % 5000));
      switch (rng() % 6) {
        case 0: device.sync->sync(); break;
        case 1: device.cut_power(); break;
        case 2: {
          std::string key = "own" + std::to_string(who) + "-" + std::to_string(rng() % 3);
          device.store->store(key, {{"v", step}});
          mine[key] = step;
          break;
        }
        case 3: device.store->remove("shared" + std::to_string(rng() % 2)); break;
        default:
          device.store->store("shared" + std::to_string(rng() % 2),
                              {{"f" + std::to_string(rng() % 3), step}, {"g", rng() % 4}});
      }
    }
    lossy = false;
    vault.settle();
    for (auto& device : vault.devices) {
      ASSERT_EQ(device->state(), vault[0].state()) << "seed " << seed;
      ASSERT_EQ(device->sync->count_pending(), 0u);
      for (const auto& [key, value] : mine) {
        ASSERT_EQ(device->store->retrieve(key)->at("v"), value) << "seed " << seed << " " << key;
      }
    }
  }
}

TEST(Sync, ALostAnswerToAPushStoresNothingTwice) {
  TestVault vault;
  vault[0].store->store("r", {{"n", 1}});
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.ends_with("/batches")) response = {0, {}, 0, "cut"};
  };
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::offline);
  vault[0].cut_power();
  vault.relay.after = nullptr;
  vault[0].store->store("r", {{"n", 2}});
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(
      vault.relay.storage
          .batches(base::Reader(base::from_hex(vault[0].vault().id()).value(), "id").array<32>(), 0,
                   1 << 20)
          .size(),
      2u);
}

TEST(Sync, WorksWithoutARelayByPackages) {
  TestVault vault(3);
  vault.settle();  // everybody knows everybody
  vault.relay.down = true;
  vault[0].store->store("r", {{"n", 1}});
  SyncPackage first = vault[0].sync->prepare_sync_package();
  EXPECT_EQ(vault[0].sync->prepare_sync_package(), first);  // the same bytes until confirmed
  vault[1].sync->apply_remote_changes(first);
  vault[1].store->patch("r", {{"n", 2}});
  SyncPackage second = vault[1].sync->prepare_sync_package();
  // The third device gets the later one first: it waits, durably, for what it builds on.
  ApplyResult waiting = vault[2].sync->apply_remote_changes(second);
  EXPECT_EQ(waiting.applied, 0u);
  EXPECT_EQ(waiting.waiting, 1u);
  EXPECT_EQ(vault[2].store->retrieve("r"), std::nullopt);
  vault[2].cut_power();
  vault[2].sync->apply_remote_changes(first);
  EXPECT_EQ(vault[2].store->retrieve("r")->at("n"), 2);
  EXPECT_EQ(vault[2].sync->apply_remote_changes(first).applied, 0u);  // again: nothing
  EXPECT_EQ(vault[2].sync->apply_remote_changes({}).applied, 0u);
  vault[0].sync->mark_delivered(first);
  EXPECT_TRUE(vault[0].sync->prepare_sync_package().empty());
  vault.relay.down = false;  // the relay gets them all the same
  vault.settle();
  expect_equal(vault);
}

TEST(Sync, ABadItemInAPackageDoesNotStopTheRest) {
  TestVault vault;
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  SyncPackage package = vault[0].sync->prepare_sync_package();
  Bytes changed = package[0];
  changed[300] ^= 1;
  package.insert(package.begin(), {changed, Bytes{}, Bytes(512, 0), Bytes(2 << 20, 1)});
  ApplyResult result = vault[1].sync->apply_remote_changes(package);
  EXPECT_EQ(result.applied, 1u);
  EXPECT_EQ(result.rejected.size(), 4u);
  EXPECT_EQ(vault[1].store->retrieve("a")->at("n"), 1);
}

TEST(Sync, ListsLocalChangesUntilTheyAreConfirmed) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault[0].store->patch("a", {{"n", 2}});
  auto changes = vault[0].sync->get_local_changes();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].path, "$");
  EXPECT_EQ(changes[1].path, "$.n");
  vault[0].sync->prepare_sync_package();  // sealed now, still unconfirmed
  EXPECT_EQ(vault[0].sync->get_local_changes().size(), 2u);
  EXPECT_EQ(vault[0].sync->get_local_changes(changes[0].sequence).size(), 1u);
  vault[0].sync->sync();
  EXPECT_TRUE(vault[0].sync->get_local_changes().empty());
}

TEST(Sync, LargeTransactionsTravelInManyBatches) {
  TestVault vault;
  std::mt19937_64 rng(1);
  vault[0].store->transaction([&] {
    for (int i = 0; i < 3000; ++i) {
      std::string noise(600, ' ');
      for (char& c : noise) c = static_cast<char>('!' + rng() % 90);
      vault[0].store->store("k" + std::to_string(i), {{"noise", noise}});
    }
  });
  std::string big;
  for (int i = 0; i < 500'000; ++i) big += static_cast<char>('#' + rng() % 50);
  vault[0].store->store("big", {{"noise", big}});
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[1].store->list().size(), 3001u);
}

// A link that is cut before much has gone over it, each time anew.
TEST(Sync, GoesOverALinkThatCarriesLittleAtATime) {
  TestVault vault;
  vault.settle();
  std::mt19937_64 rng(1);
  for (int i = 0; i < 3000; ++i) {
    std::string noise(200, ' ');
    for (char& c : noise) c = static_cast<char>('!' + rng() % 90);
    vault[0].store->store("k" + std::to_string(i), {{"noise", noise}});
  }
  constexpr std::size_t kCarries = 300'000;
  std::size_t most = 0;
  vault.relay.before = [&](const base::HttpRequest& request) {
    most = std::max(most, request.body.size());
    return request.body.size() > kCarries;
  };
  vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
    most = std::max(most, response.body.size());
    if (response.body.size() > kCarries) response = {0, {}, 0, "cut"};
  };
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  EXPECT_GT(most, kCarries);
  expect_equal(vault);
}

TEST(Sync, TellsHowLongAPhaseWillTake) {
  TestVault vault;
  vault.settle();
  for (int i = 0; i < 40; ++i) {
    vault[0].store->store("r", {{"n", i}});
    vault[0].sync->prepare_sync_package();  // a batch each
  }
  vault[0].sync->sync();
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") == std::string::npos) return;
    wire::LogPage page = wire::decode_log_page(response.body);
    page.batches.resize(std::min<std::size_t>(page.batches.size(), 10));
    page.end_chain = page.start_chain;
    std::uint64_t position = Membership(vault[1].store->engine()).log()->position;
    for (const Bytes& batch : page.batches) {
      page.end_chain = wire::chain_next(page.end_chain, ++position, wire::leaf_of(batch));
    }
    response.body = wire::encode(page);
    vault.clock->advance_ms(1000);
  };
  std::vector<SyncProgress> seen;
  vault[1].sync->sync([&](const SyncProgress& progress) {
    if (progress.phase == SyncProgress::Phase::receiving) seen.push_back(progress);
  });
  std::erase_if(seen, [](const SyncProgress& progress) { return progress.items == 0; });
  ASSERT_GE(seen.size(), 3u);
  EXPECT_EQ(seen[1].items, 20u);
  EXPECT_EQ(seen[1].total, 40u);
  EXPECT_EQ(seen[1].remaining_ms, 2000);
  EXPECT_EQ(seen[2].remaining_ms, 1000);
  expect_equal(vault);
}

TEST(Sync, ALoneChangeCostsItsPaddedFloorAndOneRequestUp) {
  TestVault vault;
  vault[0].store->store("a", {{"title", "0123456789"}});
  vault.settle();
  vault[0].store->patch("a", {{"title", "9876543210"}});
  SyncPackage package = vault[0].sync->prepare_sync_package();
  ASSERT_EQ(package.size(), 1u);
  EXPECT_EQ(package[0].size(), wire::kMinBatch);
}

TEST(Sync, NeitherRelayNorWireHoldsPlaintext) {
  TestVault vault;
  vault[0].conflicts().set_policy({"canary-collection", "$.canary-field", Strategy::merge});
  vault[0].store->store({"canary-collection", "canary-id"}, {{"canary-field", "canary-value"}});
  vault.settle();
  std::string_view wire = base::text(vault.relay.wire_bytes);
  for (const char* needle : {"canary", "device-1", "merge", "records"}) {
    EXPECT_EQ(wire.find(needle), std::string_view::npos) << needle;
  }
  EXPECT_GT(wire.size(), 1000u);
}

TEST(Sync, CancelsAndGoesOnLater) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse&) {
    vault[0].sync->cancel();
  };
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.error, ErrorCode::cancelled);
  vault.relay.after = nullptr;
  vault.settle();
  expect_equal(vault);
}

// Whatever the store takes, it can send, and the others can read.
TEST(Sync, WhatIsAcceptedCanBeSent) {
  TestVault vault;
  auto code = [&](const Json& document) {
    try {
      vault[0].store->store("r", document);
      return std::string("stored");
    } catch (const Error& error) {
      return std::string(error_code_name(error.code()));
    }
  };
  EXPECT_EQ(code({{"x", std::numeric_limits<double>::infinity()}}), "invalid_argument");
  EXPECT_EQ(code({{"x", {1.0, std::nan("")}}}), "invalid_argument");
  EXPECT_EQ(code({{"x", Json::binary({1, 2})}}), "invalid_argument");
  EXPECT_EQ(code({{std::string(600, '/'), 1}}), "too_large");
  EXPECT_EQ(code({{std::string(600, '/').substr(0, 500), 1}}), "stored");
  EXPECT_EQ(code({{std::string(1020, 'k'), 1}}), "stored");
  Json wide;
  for (int i = 0; i < 20'000; ++i) wide["name"]["k" + std::to_string(i)] = i;
  EXPECT_EQ(code(wide), "stored");
  for (auto& [key, value] : wide["name"].items()) value = value.get<int>() + 1;
  EXPECT_EQ(code(wide), "stored");  // 20,000 fields at once
  Json deep;
  for (int i = 0; i < 1000; ++i) deep[std::string(1000, 'p')]["k" + std::to_string(i)] = i;
  EXPECT_EQ(code(deep), "stored");
  for (auto& [key, value] : deep[std::string(1000, 'p')].items()) value = value.get<int>() + 1;
  EXPECT_EQ(code(deep), "stored");
  vault[0].store->store("last", {{"n", 1}});
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  expect_equal(vault);
}

TEST(Sync, IsNoPartOfATransaction) {
  TestVault vault;
  vault[0].store->transaction([&] {
    vault[0].store->store("a", {{"n", 1}});
    EXPECT_EQ(code_of([&] { vault[0].sync->sync(); }), ErrorCode::invalid_argument);
    EXPECT_EQ(code_of([&] { vault[0].sync->prepare_sync_package(); }), ErrorCode::invalid_argument);
  });
  vault.settle();
  expect_equal(vault);
}

TEST(SyncStates, OnlyLegalTransitionsAndMetadataAcrossRestarts) {
  TestVault vault;
  using S = SyncState;
  int legal = 0;
  for (S from : {S::offline, S::syncing, S::conflict, S::up_to_date, S::error}) {
    EXPECT_FALSE(SyncStateManager::is_legal(from, from));
    for (S to : {S::offline, S::syncing, S::conflict, S::up_to_date, S::error}) {
      legal += SyncStateManager::is_legal(from, to);
    }
  }
  EXPECT_EQ(legal, 13);
  EXPECT_FALSE(SyncStateManager::is_legal(S::offline, S::up_to_date));
  SyncStateManager& states = vault[0].sync->states();
  EXPECT_THROW(states.transition(S::up_to_date), std::logic_error);
  std::vector<SyncState> seen;
  int subscription = states.subscribe([&](const SyncMetadata& m) { seen.push_back(m.state); });
  vault[0].store->store("a", {{"n", 1}});
  vault[0].sync->sync();
  EXPECT_EQ(seen, (std::vector<SyncState>{S::syncing, S::up_to_date}));
  states.unsubscribe(subscription);
  states.set_network_type("wifi");
  vault[0].open();
  SyncMetadata kept = vault[0].sync->states().metadata();
  EXPECT_EQ(kept.state, S::up_to_date);
  EXPECT_EQ(kept.items_synced, 1u);
  EXPECT_EQ(kept.network_type, "wifi");
  EXPECT_EQ(kept.last_sync_timestamp, vault.clock->now_ms());
}

}  // namespace
}  // namespace holdfast::sync
