// A device that was taken out, or is about to be, alone and in league with the relay.

#include <gtest/gtest.h>

#include "holdfast/backup.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

// The relay shows whose request it followed: its word alone is not taken for one.
TEST(ErasedVault, DevicesLearnWhoErasedTheVaultFromTheRelay) {
  for (bool by_operator : {false, true}) {
    TestVault vault(2);
    vault[1].store->store("a", {{"n", 1}});
    vault.settle();
    if (by_operator) {
      base::Hash32 id = Membership(vault[0].store->engine()).vault();
      vault.relay.storage.erase(id, {}, 1);
      vault.relay.restart();
    } else {
      EXPECT_EQ(vault[0].vault().erase_from_relay(), std::nullopt);
    }
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::refused);
    EXPECT_EQ(result.message.find("'device-1' has erased") != std::string::npos, !by_operator);
    EXPECT_EQ(result.message.find("shows no request of a device") != std::string::npos, by_operator)
        << result.message;
    EXPECT_TRUE(vault[1].store->retrieve("a"));
    if (by_operator) continue;
    // A request that is not this vault's device's proves nothing.
    vault.relay.after = [](const base::HttpRequest&, base::HttpResponse& response) {
      if (response.status == 410) response.body.back() ^= 1;
    };
    EXPECT_NE(vault[1].sync->sync().message.find("shows no request of a device"),
              std::string::npos);
  }
}

// A device that is about to be taken out pushes and renames as fast as it can.
TEST(HostileDevice, ItCannotOutrunItsRevocation) {
  TestVault vault(3);
  vault.settle();
  int races = 0;
  bool inside = false;
  vault.relay.before = [&](const base::HttpRequest& request) {
    if (inside || request.method != "POST" || !request.url.ends_with("/control")) return false;
    inside = true;
    ++races;
    vault[2].store->store("race", {{"n", races}});
    vault[2].sync->sync();
    try {
      vault[2].vault().rename(id_of(vault[2]), "n" + std::to_string(races));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::busy);
    }
    inside = false;
    return false;
  };
  vault[0].vault().revoke(id_of(vault[2]));
  vault.relay.before = nullptr;
  EXPECT_EQ(races, 2);
  EXPECT_EQ(vault[2].sync->sync().error, ErrorCode::revoked);
  // Whoever is not taken out after all goes on a little later.
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
}

// A batch of a device that is out, put into the log by a relay in league with it.
void smuggle(TestVault& vault, const Bytes& batch) {
  base::Hash32 id = Membership(vault[0].store->engine()).vault();
  relay::Vault row = vault.relay.storage.vault(id).value();
  ++row.head;
  row.chain = wire::chain_next(row.chain, row.head, wire::leaf_of(batch));
  wire::BatchHeader header = wire::decode_batch_header(batch);
  vault.relay.storage.transaction([&] {
    vault.relay.storage.add_batch(id, {row.head, row.chain, 0},
                                  {header.batch, header.device, wire::leaf_of(batch)}, batch);
    vault.relay.storage.put_vault(id, row);
  });
}

TEST(HostileRelayAndDevice, WhatComesAfterTheRemovalIsIgnored) {
  TestVault vault(3);
  vault[2].store->store("before", {{"n", 1}});
  vault.settle();
  vault[0].vault().revoke(id_of(vault[2]));
  vault[2].store->store("after", {{"n", 2}});
  smuggle(vault, vault[2].sync->prepare_sync_package().at(0));
  vault[0].store->store("mine", {{"n", 3}});
  for (std::size_t i : {std::size_t{0}, std::size_t{1}}) {
    SyncResult result = vault[i].sync->sync();
    EXPECT_EQ(result.state, SyncState::error);
    ASSERT_EQ(result.rejected.size(), 1u);
    EXPECT_NE(result.rejected[0].find("Do not trust this relay"), std::string::npos);
    EXPECT_EQ(vault[i].store->retrieve("after"), std::nullopt);
    EXPECT_EQ(vault[i].store->retrieve("before")->at("n"), 1);
  }
  vault[0].sync->sync();
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);  // the log goes on behind it
  EXPECT_EQ(vault[1].store->retrieve("mine")->at("n"), 3);
  EXPECT_EQ(vault[0].state(), vault[1].state());
}

TEST(HostileRelayAndDevice, ARemovalThatWasHiddenFromOneHealsAndIsTold) {
  TestVault vault(3);
  vault.settle();
  vault[0].vault().revoke(id_of(vault[2]));
  vault[2].store->store("after", {{"n", 2}});
  smuggle(vault, vault[2].sync->prepare_sync_package().at(0));
  // The second device is shown the old list, and the batch.
  base::Hash32 old = Membership(vault[1].store->engine()).control().head();
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (is_list(request)) response = {200, wire::encode_list({}), 0, ""};
    if (request.url.find("/log?") == std::string::npos) return;
    wire::LogPage page = wire::decode_log_page(response.body);
    page.control_head = old;
    response.body = wire::encode(page);
  };
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[1].store->retrieve("after")->at("n"), 2);
  vault[1].store->store("mine", {{"n", 3}});
  // Once it learns of the removal it says what happened, and begins again without what does not
  // count.
  vault.relay.after = nullptr;
  SyncResult result = vault[1].sync->sync();
  EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
  ASSERT_FALSE(result.notices.empty());
  EXPECT_NE(result.notices.back().find("kept from this device"), std::string::npos);
  EXPECT_NE(result.notices.back().find("Do not trust this relay"), std::string::npos);
  EXPECT_EQ(vault[1].store->retrieve("after"), std::nullopt);
  vault[0].sync->sync();
  EXPECT_EQ(vault[0].store->retrieve("mine")->at("n"), 3);
  EXPECT_EQ(vault[0].state(), vault[1].state());
}

// The one who takes a device out was shown another log than the rest.
TEST(HostileRelayAndDevice, ARemovalOnAnotherHistoryIsAFork) {
  TestVault vault(3);
  vault[1].store->store("a", {{"n", 1}});
  vault[1].sync->sync();
  vault[0].sync->sync();
  vault[2].sync->sync();
  Bytes record = next_record(vault[0], [&](ControlRecord& r) {
    r.type = ControlType::revoke;
    r.revoked = {id_of(vault[2])};
    r.through = Membership(vault[0].store->engine()).log().value();
    r.through.chain[0] ^= 1;
    r.epoch = epoch_for(vault[0], {id_of(vault[2])});
  });
  force(vault, record);
  for (int i = 0; i < 2; ++i) {
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::fork);
    EXPECT_NE(result.message.find("another history"), std::string::npos) << result.message;
  }
}

// As the message says: make a backup, restore it as a new store, and join with that.
TEST(RevokedDevice, ItsBackupJoinsAgainWithWhatItHadNotSent) {
  TestVault vault;
  vault[1].store->store("sent", {{"n", 1}});
  vault.settle();
  vault[1].store->store("unsent", {{"n", 2}});
  vault[0].vault().revoke(id_of(vault[1]));
  EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::revoked);
  backup(*vault[1].store, "b", store::FakeWorld::key());
  TestDevice again(vault.relay, 9);
  again.sync.reset();
  again.store.reset();
  again.world.environment.files = again.world.files = vault[1].world.files;
  RestoreOptions options;
  options.store = again.world.options();
  restore("b", store::FakeWorld::key(), "new.db", store::FakeWorld::key(), options);
  again.store.emplace(again.world.open("new.db"));
  again.sync.emplace(*again.store);
  again.vault().join(vault[0].vault().invite_ticket(), "again");
  for (int round = 0; round < 2; ++round) {
    SyncResult result = again.sync->sync();
    EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
    EXPECT_TRUE(result.notices.empty());
    ASSERT_TRUE(again.store->retrieve("unsent"));
  }
  again.store->patch("unsent", {{"n", 3}});
  again.sync->sync();
  vault[0].sync->sync();
  EXPECT_EQ(vault[0].store->retrieve("unsent"), (Json{{"n", 3}}));
  EXPECT_EQ(again.store->list(), vault[0].store->list());
}

}  // namespace
}  // namespace holdfast::sync
