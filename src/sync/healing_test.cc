// A relay that lost what it had said it stored: its devices notice, and bring it back.

#include "src/sync/rewind.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

bool has_notice(const SyncResult& result, const std::string& text) {
  return std::any_of(result.notices.begin(), result.notices.end(), [&](const std::string& notice) {
    return notice.find(text) != std::string::npos;
  });
}

void expect_healed(TestVault& vault) {
  vault.clock->advance_ms(2 * 60'000);  // a log begins anew once a minute at most
  vault.settle();
  for (auto& device : vault.devices) {
    SyncResult result = device->sync->sync();
    EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
    EXPECT_TRUE(result.notices.empty());
    EXPECT_EQ(LostBatches(device->store->engine()).count(), 0u);
  }
  expect_equal(vault);
}

// Two devices have written; the relay has all of it, and a copy of what it had before.
struct Lossy {
  explicit Lossy(int devices = 2) : vault(devices) {
    vault[0].store->store("early", {{"n", 1}});
    vault.settle();
    copy = vault.relay.backup();
    for (int i = 0; i < 5; ++i) {
      vault[0].store->store("a" + std::to_string(i), {{"n", i}});
      vault[0].sync->sync();
      vault[1].store->store("b" + std::to_string(i), {{"n", i}});
      vault[1].sync->sync();
    }
  }
  TestVault vault;
  Bytes copy;
};

TEST(Healing, WhatARelayLostComesBackFromItsDevices) {
  for (bool is_told : {false, true}) {
    Lossy lossy;
    lossy.vault.relay.put_back(lossy.copy, is_told);
    SyncResult result = lossy.vault[1].sync->sync();
    EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
    EXPECT_TRUE(has_notice(result, "10 batches are brought back"));
    expect_healed(lossy.vault);
    // A device that has none of it gets all of it.
    TestDevice& late = lossy.vault.add(77);
    EXPECT_EQ(late.sync->sync().state, SyncState::up_to_date);
    expect_equal(lossy.vault);
  }
}

TEST(Healing, ToEveryEarlierStateAndWithWritesMeanwhile) {
  for (int back_to = 0; back_to < 12; ++back_to) {
    TestVault vault(3);
    Bytes copy = vault.relay.backup();
    for (int i = 0; i < 12; ++i) {
      if (i == back_to) copy = vault.relay.backup();
      auto who = static_cast<std::size_t>(i % 3);
      vault[who].store->store("r" + std::to_string(i), {{"n", i}});
      vault[who].sync->sync();
    }
    vault.relay.put_back(copy, back_to % 2 == 0);
    // Whoever comes first builds upon the old state; the others come back on top of it.
    vault[2].store->store("new", {{"n", 1}});
    vault[2].sync->sync();
    vault[1].store->store("newer", {{"n", 2}});
    expect_healed(vault);
    EXPECT_EQ(vault[0].store->list().size(), 14u) << back_to;
  }
}

TEST(Healing, WhatItsAuthorCannotBringBackOthersDo) {
  Lossy lossy;
  SyncResult result = lossy.vault[0].sync->sync();
  lossy.vault.relay.put_back(lossy.copy, true);
  lossy.vault.devices.pop_back();  // and its store is gone
  result = lossy.vault[0].sync->sync();
  EXPECT_TRUE(has_notice(result, "10 batches"));
  TestDevice& late = lossy.vault.add(78);
  late.sync->sync();
  EXPECT_EQ(late.store->retrieve("b4")->at("n"), 4);
  EXPECT_EQ(late.state(), lossy.vault[0].state());
}

TEST(Healing, AnEmptyRelayIsFilledOnceTheUserSaysSo) {
  Lossy lossy;
  TestVault& vault = lossy.vault;
  vault.relay.put_back(FakeRelay(vault.clock).backup(), false);
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.error, ErrorCode::not_found);
  EXPECT_NE(result.message.find("'holdfast relay URL'"), std::string::npos) << result.message;
  EXPECT_EQ(vault[0].store->list().size(), 10u);
  vault[0].vault().use_relay(kRelayUrl);
  result = vault[0].sync->sync();
  EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
  EXPECT_TRUE(has_notice(result, "device list"));
  expect_healed(vault);
}

// The device list was lost, too: devices that came later, keys that were changed, one taken out.
TEST(Healing, ALostDeviceListComesBack) {
  for (std::size_t first = 0; first < 3; ++first) {
    TestVault vault(1);
    Bytes copy = vault.relay.backup();
    vault.add(201);
    vault.add(202);
    TestDevice& out = vault.add(203);
    out.store->store("by-the-lost-one", {{"n", 1}});
    vault.settle();
    vault[0].vault().rotate_key();
    vault[1].sync->sync();
    vault[1].store->store("under-the-second-key", {{"n", 2}});
    vault[1].sync->sync();
    vault[2].sync->sync();
    vault[2].vault().revoke(id_of(out));
    vault.settle();
    std::unique_ptr<TestDevice> gone = std::move(vault.devices.back());
    vault.devices.pop_back();
    // Some who come first are not even known to the relay any more: it has to be told.
    vault.relay.put_back(copy, false);
    if (first > 0) {
      SyncResult unknown = vault[first].sync->sync();
      EXPECT_NE(unknown.message.find("--restored"), std::string::npos) << unknown.message;
      vault.relay.put_back(copy, true);
    }
    SyncResult result = vault[first].sync->sync();
    EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
    expect_healed(vault);
    EXPECT_EQ(gone->sync->sync().error, ErrorCode::revoked);
    TestDevice& late = vault.add(204);
    late.sync->sync();
    EXPECT_EQ(late.store->retrieve("by-the-lost-one")->at("n"), 1);
    EXPECT_EQ(late.store->retrieve("under-the-second-key")->at("n"), 2);
  }
}

// A device that was taken out cannot use the relay's loss to get more into the log.
TEST(Healing, NothingOfARevokedDeviceComesInWithIt) {
  TestVault vault(3);
  vault[2].store->store("before", {{"n", 1}});
  vault.settle();
  Bytes copy = vault.relay.backup();
  vault[2].store->store("counts", {{"n", 2}});
  vault[2].sync->sync();
  vault[0].sync->sync();
  vault[0].vault().revoke(id_of(vault[2]));
  vault[2].store->store("does-not", {{"n", 3}});
  Bytes late = vault[2].sync->prepare_sync_package().at(0);
  vault.relay.put_back(copy, true);
  ASSERT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  // Now a friend in the vault tries.
  RelayClient client(kRelayUrl);
  client.set_vault(Membership(vault[1].store->engine()).vault());
  store::Engine& engine = vault[1].store->engine();
  sign_in(engine, client, engine.identity().sign);
  wire::PushAnswer answer = wire::decode_push_answer(ask(engine, client.push({late}, true)));
  EXPECT_EQ(answer.items.at(0).status, wire::PushStatus::refused);
  vault[1].sync->sync();
  EXPECT_EQ(vault[1].store->retrieve("counts")->at("n"), 2);
  EXPECT_EQ(vault[1].store->retrieve("does-not"), std::nullopt);
}

// Only while a vault is healed, and then all its devices are told, are records taken from anybody.
TEST(Healing, RecordsComeBackOnlyWhereSomethingWasLost) {
  TestVault vault(3);
  vault.settle();
  vault.clock->advance_ms(8 * 24 * kHourMs);  // the vault is not new at the relay any more
  Bytes record = next_record(vault[1], [&](ControlRecord& r) {
    r.type = ControlType::revoke;
    r.revoked = {id_of(vault[2])};
    r.through.position = 1;  // of a log that never was
    r.epoch = epoch_for(vault[1], {id_of(vault[2])});
  });
  RelayClient client(kRelayUrl);
  client.set_vault(Membership(vault[1].store->engine()).vault());
  base::HttpRequest request = client.restore_control(list_of(vault).size(), record);
  EXPECT_EQ(vault.relay.perform(request).status, 409);
  EXPECT_EQ(vault.relay.perform(client.restore_control(0, list_of(vault)[0])).status, 200);
  EXPECT_EQ(vault[2].sync->sync().state, SyncState::up_to_date);
}

// What a relay says without showing it makes no new device.
TEST(Healing, AForkThatIsOnlyClaimedChangesNothing) {
  TestVault vault(2);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  Bytes before_push = vault.relay.backup();
  LogPosition log = Membership(vault[0].store->engine()).log().value();
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (!request.url.ends_with("/batches")) return;
    vault.relay.put_back(before_push, false);  // it keeps nothing of it
    wire::PushAnswer answer{
        log.log_id, log.position, log.chain, {{wire::PushStatus::device_fork, 0}}};
    response = {200, wire::encode(answer), 0, ""};
  };
  base::Id16 before = id_of(vault[0]);
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.error, ErrorCode::protocol);
  EXPECT_NE(result.message.find("does not show them"), std::string::npos) << result.message;
  vault.relay.after = nullptr;
  vault.settle();
  EXPECT_EQ(id_of(vault[0]), before);
  EXPECT_EQ(vault[1].store->retrieve("a")->at("n"), 1);
}

TEST(Healing, NobodyPutsWordsIntoADevicesMouth) {
  TestVault vault(2);
  vault.settle();
  store::Engine& engine = vault[1].store->engine();
  vault[1].store->store("a", {{"n", 1}});
  Bytes batch = vault[1].sync->prepare_sync_package().at(0);
  wire::BatchHeader header = wire::decode_batch_header(batch);
  Bytes forged = batch;
  base::Id16 victim = id_of(vault[0]);
  std::copy(victim.begin(), victim.end(), forged.begin() + 1 + 32 + 16);
  RelayClient client(kRelayUrl);
  client.set_vault(header.vault);
  sign_in(engine, client, engine.identity().sign);
  for (bool restores : {false, true}) {
    wire::PushAnswer answer =
        wire::decode_push_answer(ask(engine, client.push({forged}, restores)));
    EXPECT_EQ(answer.items.at(0).status, wire::PushStatus::refused);
  }
}

TEST(Healing, AnotherRelayGetsAllOfIt) {
  Lossy lossy;
  FakeRelay second(lossy.vault.clock);
  for (auto& device : lossy.vault.devices) {
    device->world.environment.network = std::make_shared<base::FakeNetwork>(
        [&second](const base::HttpRequest& request) { return second.perform(request); });
    device->open();
    device->vault().use_relay(kRelayUrl);
    EXPECT_EQ(device->sync->sync().state, SyncState::up_to_date);
  }
  lossy.vault[0].sync->sync();
  expect_equal(lossy.vault);
  EXPECT_GT(second.requests, 10);
}

// Cut at each request of a healing sync, and with the power gone: the next one goes on.
TEST(Healing, GoesOnAfterACutAnywhere) {
  for (int cut = 0;; ++cut) {
    Lossy lossy;
    TestVault& vault = lossy.vault;
    vault.relay.put_back(lossy.copy, cut % 2 == 0);
    int seen = 0;
    vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (seen++ >= cut) response = {0, {}, 0, "cut"};
    };
    SyncResult result = vault[1].sync->sync();
    vault.relay.after = nullptr;
    if (result.state == SyncState::up_to_date) {
      EXPECT_GT(cut, 4);
      break;
    }
    vault[1].cut_power();
    expect_healed(vault);
    if (HasFailure()) FAIL() << "cut at " << cut;
  }
}

}  // namespace
}  // namespace holdfast::sync
