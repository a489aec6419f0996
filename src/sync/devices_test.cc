// Who is in the vault and under which key: names, changes of the key, and devices taken out.

#include <gtest/gtest.h>

#include "src/sync/outbox.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

using store::code_of;

base::Id16 id_of(TestDevice& device) { return device.store->engine().identity().id; }

Device entry(TestDevice& of, TestDevice& at) {
  for (Device& device : at.vault().devices()) {
    if (device.id == id_of(of)) return device;
  }
  return {};
}

crypto::Secret key_of(TestDevice& device, std::uint32_t epoch) {
  return Membership(device.store->engine()).epoch_key(epoch);
}

void expect_same_keys(TestVault& vault, std::initializer_list<std::size_t> members) {
  std::uint32_t epoch = vault[*members.begin()].vault().epoch();
  for (std::size_t i : members) {
    EXPECT_EQ(vault[i].vault().epoch(), epoch);
    for (std::uint32_t e = 0; e <= epoch; ++e) {
      EXPECT_TRUE(
          crypto::equal(key_of(vault[i], e).view(), key_of(vault[*members.begin()], e).view()))
          << e;
    }
  }
}

void expect_synced(TestVault& vault, std::initializer_list<std::size_t> members) {
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i : members) {
      EXPECT_EQ(vault[i].sync->sync().state, SyncState::up_to_date) << i;
    }
  }
  for (std::size_t i : members) EXPECT_EQ(vault[i].state(), vault[*members.begin()].state());
}

TEST(Devices, HaveNamesKindsAndAHistory) {
  TestVault vault(2);
  TestDevice& third = vault.add(500);
  vault.settle();
  vault.clock->advance_ms(kHourMs);
  vault[1].store->store("a", {{"n", 1}});
  vault[1].sync->sync();
  std::int64_t then = vault.clock->now_ms();
  vault.clock->advance_ms(kHourMs);
  vault[0].sync->sync();
  vault[0].vault().rename(id_of(vault[1]), {"tablet of ada", "tablet"});
  third.sync->sync();
  std::vector<Device> seen = third.vault().devices();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[1].name, "tablet of ada");
  EXPECT_EQ(seen[1].kind, "tablet");
  EXPECT_EQ(seen[1].added_by, "device-1");
  EXPECT_EQ(seen[1].last_seen_ms, then);
  EXPECT_TRUE(seen[2].this_device);
  EXPECT_EQ(seen[0].added_by, "");
  EXPECT_STREQ(device_state_name(seen[0].state), "active");
  EXPECT_EQ(third.vault().find_device("tablet of ada").id, id_of(vault[1]));
  EXPECT_EQ(third.vault().find_device(base::to_hex(id_of(vault[1])).substr(0, 8)).id,
            id_of(vault[1]));
  EXPECT_EQ(code_of([&] { third.vault().find_device("nobody"); }), ErrorCode::not_found);
  vault[0].vault().rename(id_of(vault[1]), "device-1");
  EXPECT_EQ(code_of([&] { vault[0].vault().find_device("device-1"); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { vault[0].vault().rename(id_of(vault[1]), ""); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { vault[0].vault().rename({}, "x"); }), ErrorCode::not_found);
}

TEST(Devices, OneThatIsTakenOutLearnsItAndKeepsItsRecords) {
  TestVault vault(3);
  vault[1].store->store("from-1", {{"n", 1}});
  vault.settle();
  vault[1].store->store("unsent", {{"n", 2}});
  vault[0].store->store("unsent-0", {{"n", 3}});
  vault[0].sync->prepare_sync_package();  // sealed under the old key, and not sent
  vault[0].vault().revoke(id_of(vault[1]));
  EXPECT_EQ(vault[0].vault().epoch(), 1u);

  SyncResult told = vault[1].sync->sync();
  EXPECT_EQ(told.error, ErrorCode::revoked);
  EXPECT_NE(told.message.find("'device-1'"), std::string::npos) << told.message;
  EXPECT_EQ(vault[1].store->retrieve("from-1")->at("n"), 1);
  vault[1].store->store("later", {{"n", 4}});  // works on alone
  EXPECT_EQ(vault[1].store->retrieve("unsent")->at("n"), 2);
  EXPECT_EQ(code_of([&] { vault[1].vault().invite_ticket(); }), ErrorCode::revoked);
  EXPECT_EQ(code_of([&] { vault[1].vault().rotate_key(); }), ErrorCode::revoked);
  EXPECT_EQ(entry(vault[1], vault[1]).state, Device::State::revoked);

  expect_synced(vault, {0, 2});
  expect_same_keys(vault, {0, 2});
  EXPECT_EQ(vault[2].store->retrieve("from-1")->at("n"), 1);
  EXPECT_EQ(vault[2].store->retrieve("unsent-0")->at("n"), 3);
  EXPECT_EQ(vault[2].store->retrieve("unsent"), std::nullopt);
  EXPECT_EQ(entry(vault[1], vault[2]).revoked_by, "device-1");
  // The one that is out has no key of what was sealed since.
  EXPECT_FALSE(Membership(vault[1].store->engine()).has_epoch_key(1));
  // The name is free for somebody else, the device itself does not come back.
  EXPECT_EQ(code_of([&] { vault[0].vault().revoke(id_of(vault[1])); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { vault[0].vault().revoke(id_of(vault[0])); }),
            ErrorCode::invalid_argument);
}

TEST(Devices, OneThatIsOutHoldsForgettingUpNoLonger) {
  TestVault vault(3);
  vault[0].store->store("a", {{"n", 1}});
  vault.settle();
  vault[0].store->remove("a");
  auto forgotten = [&] {
    return !vault[0].store->engine().locked()->records().load("records", "a");
  };
  auto live_on = [&](int days) {
    for (int day = 0; day < days; ++day) {
      vault.clock->advance_ms(25 * kHourMs);
      for (std::size_t i : {std::size_t{0}, std::size_t{1}}) {
        vault[i].store->store("day", {{"n", day}});
        vault[i].sync->sync();
      }
    }
  };
  live_on(10);  // the third is never heard of again
  EXPECT_FALSE(forgotten());
  vault[0].vault().revoke(id_of(vault[2]));
  live_on(3);
  EXPECT_TRUE(forgotten());
}

TEST(Devices, TwoTakeEachOtherOutAtOnceAndOneStays) {
  TestVault vault(3);
  vault.settle();
  // The second one's removal of the first arrives while the first one's of the second is on its
  // way.
  bool crossed = false;
  vault.relay.before = [&](const base::HttpRequest& request) {
    bool post = request.method == "POST" && request.url.ends_with("/control");
    if (post && !crossed) {
      crossed = true;
      vault[1].vault().revoke(id_of(vault[0]));
    }
    return false;
  };
  EXPECT_EQ(code_of([&] { vault[0].vault().revoke(id_of(vault[1])); }), ErrorCode::revoked);
  EXPECT_TRUE(crossed);
  EXPECT_EQ(vault[0].sync->sync().error, ErrorCode::revoked);
  expect_synced(vault, {1, 2});
  EXPECT_EQ(entry(vault[0], vault[2]).revoked_by, "device-2");
}

TEST(Devices, ARemovalThatRacesAPushComesAfterIt) {
  TestVault vault(3);
  vault.settle();
  vault[1].store->store("last words", {{"n", 1}});
  int posts = 0;
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (request.method == "POST" && request.url.ends_with("/control") && posts++ == 0) {
      vault[1].sync->sync();
    }
    return false;
  };
  vault[0].vault().revoke(id_of(vault[1]));
  EXPECT_EQ(posts, 2);  // the first named a head of the log that was none any more
  vault.relay.before = nullptr;
  expect_synced(vault, {0, 2});
  EXPECT_EQ(vault[2].store->retrieve("last words")->at("n"), 1);

  // The other way round: the device is taken out between its pull and its push.
  vault[2].store->store("too late", {{"n", 2}});
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (request.url.ends_with("/batches")) {
      vault.relay.before = nullptr;
      vault[0].vault().revoke(id_of(vault[2]));
    }
    return false;
  };
  EXPECT_EQ(vault[2].sync->sync().error, ErrorCode::revoked);
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[0].store->retrieve("too late"), std::nullopt);
  EXPECT_EQ(vault[2].store->retrieve("too late")->at("n"), 2);
}

// … and what others have built on that push by then stays, too.
TEST(Devices, WhatWasBuiltOnAPushThatRacedARemovalStays) {
  TestVault vault(3);
  vault[0].store->store("r", {{"a", 1}, {"b", 1}});
  vault.settle();
  vault[1].store->patch("r", {{"a", 2}});
  bool raced = false;
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (raced || request.method != "POST" || !request.url.ends_with("/control")) return false;
    raced = true;
    vault[1].sync->sync();
    vault[2].sync->sync();
    vault[2].store->patch("r", {{"a", 3}});  // knows the 2
    vault[2].sync->sync();
    return false;
  };
  vault[0].vault().revoke(id_of(vault[1]));
  EXPECT_TRUE(raced);
  vault.relay.before = nullptr;
  vault[2].store->patch("r", {{"b", 2}});
  expect_synced(vault, {0, 2});
  EXPECT_EQ(*vault[0].store->retrieve("r"), (Json{{"a", 3}, {"b", 2}}));
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
}

TEST(Epochs, AChangeOfTheKeyRacesAPush) {
  TestVault vault(2);
  vault.settle();
  // Several batches, the first of which the relay takes and cannot say so before the key changes.
  for (int i = 0; i < 3; ++i) {
    vault[1].store->store("r" + std::to_string(i), {{"n", i}});
    vault[1].sync->prepare_sync_package();
  }
  int pushes = 0;
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (!request.url.ends_with("/batches") || pushes++ > 0) return;
    response = {0, {}, 0, "the answer is lost"};
    vault[1].store->store("r3", {{"n", 3}});
  };
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  vault.relay.after = nullptr;
  vault[1].store->store("r4", {{"n", 4}});
  vault[1].sync->prepare_sync_package();
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (request.url.ends_with("/batches")) {
      vault.relay.before = nullptr;
      vault[0].vault().rotate_key();
    }
    return false;
  };
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  expect_synced(vault, {0, 1});
  expect_same_keys(vault, {0, 1});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(vault[0].store->retrieve("r" + std::to_string(i))->at("n"), i);
  }
}

TEST(Epochs, ALyingRelayMakesNobodySealTwice) {
  TestVault vault(2);
  vault.settle();
  vault[1].store->store("a", {{"n", 1}});
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (!request.url.ends_with("/batches")) return;
    wire::PushAnswer answer = wire::decode_push_answer(response.body);
    for (auto& item : answer.items) item.status = wire::PushStatus::epoch_stale;
    response.body = wire::encode(answer);
  };
  Bytes sealed = vault[1].sync->prepare_sync_package().at(0);
  vault.relay.requests = 0;
  SyncResult result = vault[1].sync->sync();
  EXPECT_TRUE(result.state == SyncState::error || result.state == SyncState::up_to_date);
  EXPECT_LT(vault.relay.requests, 40);
  vault.relay.after = nullptr;
  expect_synced(vault, {0, 1});
  EXPECT_EQ(vault[0].store->retrieve("a")->at("n"), 1);
}

TEST(Epochs, ADeviceThatWasAwayForThreeGetsAllItsKeys) {
  TestVault vault(3);
  vault.settle();
  vault[2].store->store("written away", {{"n", 0}});
  vault[2].sync->prepare_sync_package();
  for (int i = 1; i <= 3; ++i) {
    vault[0].vault().rotate_key();
    vault[1].store->store("r" + std::to_string(i), {{"n", i}});
    vault[1].sync->sync();
    vault.clock->advance_ms(7 * 24 * kHourMs);
  }
  expect_synced(vault, {2, 0, 1});
  expect_same_keys(vault, {0, 1, 2});
  EXPECT_EQ(vault[2].vault().epoch(), 3u);
  EXPECT_EQ(vault[0].store->retrieve("written away")->at("n"), 0);
  // And one that comes later still reads what lies under the first key.
  vault.add(900);
  expect_synced(vault, {3, 0});
  expect_same_keys(vault, {0, 3});
}

TEST(Epochs, AChangeOfTheKeyVoidsTickets) {
  TestVault vault(2);
  vault.settle();
  std::string ticket = vault[0].vault().invite_ticket();
  vault[1].vault().rotate_key();
  TestDevice late(vault.relay, 50);
  EXPECT_EQ(code_of([&] { late.vault().join(ticket, "late"); }), ErrorCode::not_found);
  // One that is on its way in finds its ticket void, too: nobody gets in with half of the keys.
  ticket = vault[0].vault().invite_ticket();
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (request.method == "POST" && request.url.ends_with("/control")) {
      vault.relay.before = nullptr;
      vault[1].vault().rotate_key();
    }
    return false;
  };
  EXPECT_EQ(code_of([&] { late.vault().join(ticket, "late"); }), ErrorCode::not_found);
  // One that was just in the list when the key changed gets the new one boxed.
  ticket = vault[0].vault().invite_ticket();
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse&) {
    if (request.method == "POST" && request.url.ends_with("/control")) {
      vault.relay.after = nullptr;
      vault[1].sync->sync();
      vault[1].vault().rotate_key();
    }
  };
  late.vault().join(ticket, "late");
  EXPECT_EQ(late.vault().epoch(), 3u);
  late.store->store("a", {{"n", 1}});
  EXPECT_EQ(late.sync->sync().state, SyncState::up_to_date);
  expect_synced(vault, {0, 1});
  EXPECT_EQ(vault[0].store->retrieve("a")->at("n"), 1);
}

TEST(Devices, WhatOneHandedOverPastTheRelayBlocksNobody) {
  TestVault vault(3);
  vault.settle();
  vault[1].store->store("carried", {{"n", 1}});
  SyncPackage package = vault[1].sync->prepare_sync_package();
  vault[2].sync->apply_remote_changes(package);
  vault[2].store->patch("carried", {{"m", 2}});  // builds on what the relay will never have
  vault[0].vault().revoke(id_of(vault[1]));
  SyncResult result = vault[2].sync->sync();
  EXPECT_EQ(result.state, SyncState::up_to_date);
  EXPECT_EQ(result.notices.size(), 1u);  // said once …
  EXPECT_TRUE(vault[2].sync->sync().notices.empty());
  EXPECT_EQ(vault[2].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[0].store->engine().count_waiting(), 0u);
  vault[2].store->store("after", {{"n", 3}});
  vault[2].sync->sync();
  vault[0].sync->sync();
  EXPECT_EQ(vault[0].store->retrieve("after")->at("n"), 3);
  // A package of the device that is out is taken by nobody any more.
  EXPECT_EQ(vault[0].sync->apply_remote_changes(package).rejected.size(), 1u);
  // Whoever had it brought it, as its own.
  EXPECT_EQ(*vault[0].store->retrieve("carried"), (Json{{"m", 2}, {"n", 1}}));
}

// One hands a change to another past the relay, which builds on it and is taken out; the first
// sends its own last of all. What is in the log waits for that, and is not lost.
TEST(Devices, WhatCountsOfARevokedOneWaitsForWhatItBuildsOn) {
  TestVault vault(4);
  vault.settle();
  vault[0].store->store("r", {{"n", 1}});
  SyncPackage package = vault[0].sync->prepare_sync_package();
  vault[1].sync->apply_remote_changes(package);
  vault[1].store->patch("r", {{"m", 2}});
  vault[1].sync->sync();
  vault[3].vault().revoke(id_of(vault[1]));
  vault[2].sync->sync();
  vault[3].sync->sync();
  vault[0].sync->sync();
  expect_synced(vault, {0, 2, 3});
  EXPECT_EQ(*vault[2].store->retrieve("r"), (Json{{"m", 2}, {"n", 1}}));
}

// The disk fills up once the relay has taken the record: the command says so, and repeated with
// room again it, or the next sync, comes to the same end.
TEST(Devices, AFullDiskAfterTheRelayTookItIsMadeGood) {
  TestVault vault(2);
  vault.settle();
  auto full_after_post = [&](TestDevice& device, const std::function<void()>& work) {
    vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse&) {
      bool post = request.method == "POST" && request.url.ends_with("/control");
      if (post) device.world.files->fail_writes = true;
    };
    EXPECT_EQ(code_of(work), ErrorCode::io);
    vault.relay.after = nullptr;
    device.world.files->fail_writes = false;
    device.cut_power();
  };
  TestDevice third(vault.relay, 60);
  std::string ticket = vault[0].vault().invite_ticket();
  full_after_post(third, [&] { third.vault().join(ticket, "third"); });
  EXPECT_FALSE(third.vault().exists());
  third.vault().join(ticket, "third");
  EXPECT_EQ(third.sync->sync().state, SyncState::up_to_date);

  full_after_post(vault[0], [&] { vault[0].vault().rotate_key(); });
  full_after_post(vault[0], [&] { vault[0].vault().revoke(id_of(vault[1])); });
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[0].vault().epoch(), 2u);
  EXPECT_EQ(code_of([&] { vault[0].vault().revoke(id_of(vault[1])); }), ErrorCode::not_found);
  EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::revoked);
  EXPECT_EQ(third.sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(third.vault().epoch(), 2u);
}

TEST(Vaults, OneAppHasSeveralAndAnotherPersonsDeviceMayJoin) {
  auto clock = std::make_shared<base::FakeClock>();
  FakeRelay relay(clock);
  TestDevice mine(relay, 1), work(relay, 2), friends(relay, 3), friends_own(relay, 4);
  for (TestDevice* device : {&mine, &work, &friends_own}) {
    device->vault().create("laptop", [](const std::string&) {});
    device->vault().use_relay(kRelayUrl);
  }
  friends.vault().join(mine.vault().invite_ticket(), {"laptop of bob", "laptop"});
  mine.store->store("shared", {{"n", 1}});
  work.store->store("secret", {{"n", 2}});
  for (TestDevice* device : {&mine, &work, &friends, &friends_own}) {
    EXPECT_EQ(device->sync->sync().state, SyncState::up_to_date);
  }
  EXPECT_EQ(friends.store->retrieve("shared")->at("n"), 1);
  EXPECT_EQ(friends.store->retrieve("secret"), std::nullopt);
  EXPECT_EQ(friends_own.store->retrieve("shared"), std::nullopt);
  EXPECT_NE(mine.vault().id(), work.vault().id());
  mine.vault().revoke(mine.vault().find_device("laptop of bob").id);
  EXPECT_EQ(friends.sync->sync().error, ErrorCode::revoked);
  EXPECT_EQ(friends_own.sync->sync().state, SyncState::up_to_date);
}

}  // namespace
}  // namespace holdfast::sync
