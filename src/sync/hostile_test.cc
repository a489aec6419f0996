// A relay that lies: every answer ends in an honest prefix or a named error, and nothing is lost.

#include <gtest/gtest.h>

#include <random>

#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

TEST(HostileRelay, GarbageIsANamedErrorAndLosesNothing) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault.settle();
  std::mt19937_64 rng(3);
  for (int i = 0; i < 400; ++i) {
    vault[0].store->store("b", {{"n", i}});
    vault[1].store->store("c", {{"n", i}});
    std::uint64_t target = rng() % 6;
    std::uint64_t seen = 0;
    vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (seen++ != target) return;
      switch (rng() % 4) {
        case 0: response.body = Bytes(rng() % 300, static_cast<std::uint8_t>(rng())); break;
        case 1: response.status = 100 + static_cast<int>(rng() % 500); break;
        case 2:
          if (!response.body.empty()) {
            response.body[rng() % response.body.size()] ^=
                static_cast<std::uint8_t>(1 + rng() % 255);
          }
          break;
        default: response.body.resize(rng() % (response.body.size() + 1));
      }
    };
    SyncResult result = vault[0].sync->sync();
    if (result.error) {
      EXPECT_FALSE(result.message.empty());
    }
    vault.relay.after = nullptr;
    ASSERT_EQ(vault[0].store->retrieve("b")->at("n"), i);
  }
  vault.settle();
  EXPECT_EQ(vault[0].state(), vault[1].state());
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
}

// Changes one page of the log on its way to the second device and returns the result of its sync.
SyncResult sync_with_page(TestVault& vault, const std::function<void(wire::LogPage&)>& change) {
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") == std::string::npos) return;
    wire::LogPage page = wire::decode_log_page(response.body);
    change(page);
    response.body = wire::encode(page);
  };
  SyncResult result = vault[1].sync->sync();
  vault.relay.after = nullptr;
  return result;
}

struct ThreeBatches {
  ThreeBatches() {
    vault.settle();
    for (int i = 0; i < 3; ++i) {
      vault[0].store->store("r" + std::to_string(i), {{"n", i}});
      vault[0].sync->sync();
    }
  }
  void expect_healed() {
    EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(vault[0].state(), vault[1].state());
  }
  TestVault vault;
};

TEST(HostileRelay, ReorderedWithheldReplayedAndAlteredBatchesAreNoticed) {
  using Change = std::function<void(wire::LogPage&)>;
  const std::vector<std::pair<const char*, Change>> attacks = {
      {"reorder", [](wire::LogPage& p) { std::swap(p.batches[0], p.batches[1]); }},
      {"withhold the first", [](wire::LogPage& p) { p.batches.erase(p.batches.begin()); }},
      {"withhold the middle", [](wire::LogPage& p) { p.batches.erase(p.batches.begin() + 1); }},
      {"replay", [](wire::LogPage& p) { p.batches[1] = p.batches[0]; }},
      {"alter", [](wire::LogPage& p) { p.batches[1][200] ^= 1; }},
      {"alter a header", [](wire::LogPage& p) { p.batches[1][40] ^= 1; }},
      {"another log", [](wire::LogPage& p) { p.log_id[0] ^= 1; }},
      {"a false chain", [](wire::LogPage& p) { p.chain[0] ^= 1; }},
      {"more than the head", [](wire::LogPage& p) { p.head = 1; }},
      {"nothing", [](wire::LogPage& p) { p.batches.clear(); }},
      {"an older device list", [](wire::LogPage& p) { p.control_head[0] ^= 1; }},
  };
  for (const auto& [name, change] : attacks) {
    ThreeBatches three;
    SyncResult result = sync_with_page(three.vault, change);
    EXPECT_EQ(result.state, SyncState::error) << name;
    EXPECT_TRUE(result.error == ErrorCode::protocol || result.error == ErrorCode::fork)
        << name << ": " << result.message;
    three.expect_healed();
  }
}

// The relay serves two devices different histories; their next exchange of views shows it.
TEST(HostileRelay, AForkIsNoticedAsSoonAsViewsMeet) {
  ThreeBatches three;
  TestVault& vault = three.vault;
  vault[1].sync->sync();
  // The second device is shown a log in which the first one's next batch is missing …
  vault[0].store->store("hidden", {{"n", 1}});
  vault[0].sync->sync();
  vault[1].store->store("other", {{"n", 2}});
  SyncPackage other = vault[1].sync->prepare_sync_package();
  Bytes forked = other[0];
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") != std::string::npos) {
      wire::LogPage page = wire::decode_log_page(response.body);
      page.head = 3;
      page.batches.clear();
      page.chain = page.end_chain = Membership(vault[1].store->engine()).log()->chain;
      response.body = wire::encode(page);
    }
    if (request.url.ends_with("/batches")) {
      LogPosition log = *Membership(vault[1].store->engine()).log();
      wire::PushAnswer answer = wire::decode_push_answer(response.body);
      answer.head = log.position + 1;
      answer.chain = wire::chain_next(log.chain, answer.head, wire::leaf_of(forked));
      answer.items.assign(1, {wire::PushStatus::ok, answer.head});
      response.body = wire::encode(answer);
    }
  };
  ASSERT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  // … and its next batch names that log; it reaches the first device.
  vault.relay.after = nullptr;
  vault[1].store->store("later", {{"n", 3}});
  Bytes later = vault[1].sync->prepare_sync_package()[0];
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") == std::string::npos) return;
    LogPosition log = *Membership(vault[0].store->engine()).log();
    wire::LogPage page = wire::decode_log_page(response.body);
    page.batches = {forked, later};
    page.head = log.position + 2;
    page.chain = wire::chain_next(log.chain, log.position + 1, wire::leaf_of(forked));
    page.chain = wire::chain_next(page.chain, log.position + 2, wire::leaf_of(later));
    page.end_chain = page.chain;
    response.body = wire::encode(page);
  };
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.state, SyncState::error);
  EXPECT_EQ(result.error, ErrorCode::fork);
  EXPECT_EQ(vault[0].store->retrieve("hidden")->at("n"), 1);
}

TEST(HostileRelay, AFailingRelayIsRetriedWithBackOff) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  int failures = 2;
  vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
    if (failures-- > 0) response = {503, {}, 2000, ""};
  };
  std::int64_t start = vault.clock->monotonic_ms();
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_GE(vault.clock->monotonic_ms() - start, 4000);  // obeys Retry-After, twice
  vault.relay.after = [](const base::HttpRequest&, base::HttpResponse& response) {
    response = {503, {}, 0, ""};
  };
  vault.relay.requests = 0;
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.error, ErrorCode::busy);
  EXPECT_EQ(result.state, SyncState::offline);
  EXPECT_EQ(vault.relay.requests, 4);
}

TEST(HostileRelay, AnExpiredSessionIsRenewedOnce) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  int refusals = 1;
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") != std::string::npos && refusals-- > 0)
      response = {401, {}, 0, ""};
  };
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  refusals = 100;
  EXPECT_EQ(vault[0].sync->sync().error, ErrorCode::refused);
}

TEST(HostileRelay, AnInventedHistoryIsNoticedByANewcomer) {
  TestVault vault(1);
  vault[0].store->store("a", {{"n", 1}});
  vault[0].sync->sync();
  std::string ticket = vault[0].vault().invite_ticket();
  TestDevice device(vault.relay, 9);
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.ends_with("/v1/vaults")) response.body[0] ^= 1;
  };
  EXPECT_EQ(store::code_of([&] { device.vault().join(ticket, "d"); }), ErrorCode::protocol);
  vault.relay.after = nullptr;
  device.vault().join(ticket, "d");
  EXPECT_EQ(device.sync->sync().state, SyncState::up_to_date);
}

TEST(HostileRelay, APushThatNeverShowsUpEndsTheSync) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (!request.url.ends_with("/batches")) return;
    wire::PushAnswer answer = wire::decode_push_answer(response.body);
    answer.head = 100;
    answer.items[0].position = 99;
    response.body = wire::encode(answer);
  };
  vault.relay.requests = 0;
  EXPECT_EQ(vault[0].sync->sync().error, ErrorCode::protocol);
  EXPECT_LT(vault.relay.requests, 20);
}

TEST(HostileRelay, AnAlteredBatchOfOurOwnStaysInTheOutbox) {
  TestVault vault;
  vault[0].store->store("a", {{"n", 1}});
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.ends_with("/batches")) response = {0, {}, 0, "cut"};
  };
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::offline);
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/log?") == std::string::npos) return;
    wire::LogPage page = wire::decode_log_page(response.body);
    page.batches.at(0).at(300) ^= 1;
    page.chain = page.end_chain =
        wire::chain_next(wire::chain_start(page.log_id), 1, wire::leaf_of(page.batches[0]));
    response.body = wire::encode(page);
  };
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::error);
  EXPECT_EQ(vault[0].sync->count_pending(), 1u);
  vault.relay.after = nullptr;
  vault.settle();
  EXPECT_EQ(vault[1].store->retrieve("a")->at("n"), 1);
}

}  // namespace
}  // namespace holdfast::sync
