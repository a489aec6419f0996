// A relay, or a device, that lies about who is in the vault and under which key.

#include <gtest/gtest.h>

#include "src/sync/control_client.h"
#include "src/sync/outbox.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

using store::code_of;
using wire::ControlRecord;
using wire::ControlType;

base::Id16 id_of(TestDevice& device) { return device.store->engine().identity().id; }

bool is_list(const base::HttpRequest& request) {
  return request.method == "GET" && request.url.find("/control?") != std::string::npos;
}

// Serves `records` as the whole list, whatever the relay holds.
void serve(FakeRelay& relay, std::vector<Bytes> records) {
  relay.after = [records = std::move(records)](const base::HttpRequest& request,
                                               base::HttpResponse& response) {
    if (!is_list(request)) return;
    std::size_t after = std::stoul(request.url.substr(request.url.find("after=") + 6));
    std::vector<Bytes> rest;
    for (std::size_t i = after; i < records.size(); ++i) rest.push_back(records[i]);
    response = {200, wire::encode_list(rest), 0, ""};
  };
}

std::vector<Bytes> list_of(TestVault& vault) {
  return vault.relay.storage.control(Membership(vault[0].store->engine()).vault(), 0);
}

// The next record, signed by a device as the code would; not posted.
Bytes next_record(TestDevice& device, const std::function<void(ControlRecord&)>& fill,
                  const crypto::SigningKey* key = nullptr) {
  Membership membership(device.store->engine());
  const crypto::SigningKey& signer = key ? *key : device.store->engine().identity().sign;
  ControlRecord record;
  record.previous = membership.control().head();
  record.signer = signer.public_key();
  fill(record);
  record.signature = signer.sign(
      wire::signed_message(wire::kSignControl, membership.vault(), wire::encode_unsigned(record)));
  return wire::encode(record);
}

wire::EpochStart epoch_for(TestDevice& device, const std::set<base::Id16>& without = {}) {
  Membership membership(device.store->engine());
  const wire::ControlState& state = membership.control();
  return fresh_epoch(state, without, state.recovery().box, std::nullopt,
                     membership.epoch_key(state.epoch()).view(), *device.world.random)
      .start;
}

// Puts a record behind the others as a relay in league with its author would, rules or not.
void force(TestVault& vault, const Bytes& record) {
  base::Hash32 id = Membership(vault[0].store->engine()).vault();
  relay::Vault row = vault.relay.storage.vault(id).value();
  vault.relay.storage.transaction([&] {
    vault.relay.storage.add_control(id, row.control_count, record, 0);
    ++row.control_count;
    row.control_head = base::sha256({record});
    vault.relay.storage.put_vault(id, row);
  });
}

TEST(HostileList, AnOldOneIsRefusedForEver) {
  TestVault vault(3);
  vault.settle();
  std::vector<Bytes> before = list_of(vault);
  relay::Vault old =
      vault.relay.storage.vault(Membership(vault[0].store->engine()).vault()).value();
  vault[0].vault().revoke(id_of(vault[2]));
  vault[1].sync->sync();
  ASSERT_EQ(vault[1].vault().epoch(), 1u);
  vault[1].store->store("a", {{"n", 1}});
  // The relay goes back to the list with the third device in it, in the pages of the log as well.
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (is_list(request)) response = {200, wire::encode_list({}), 0, ""};
    if (request.url.find("/log?") == std::string::npos) return;
    wire::LogPage page = wire::decode_log_page(response.body);
    page.control_head = old.control_head;
    response.body = wire::encode(page);
  };
  for (int i = 0; i < 3; ++i) {
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::protocol);
    EXPECT_NE(result.message.find("older list"), std::string::npos) << result.message;
  }
  vault[1].open();  // nor after a restart
  EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::protocol);
  EXPECT_EQ(vault[1].sync->count_pending(), 1u);
  vault.relay.after = nullptr;
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
}

TEST(HostileList, SplicedSwappedAndInventedRecordsAreRefused) {
  TestVault vault(2), other(2, 7);
  vault.settle();
  std::vector<Bytes> right = list_of(vault);
  std::vector<Bytes> foreign = list_of(other);
  base::SeededRandom random(3);
  auto seed = random.array<32>();
  crypto::SigningKey intruder(seed);
  Bytes enrol = next_record(vault[0], [&](ControlRecord& record) {
    record.type = ControlType::enrol;
    record.device_sign = record.device_box = intruder.public_key();
  });
  auto altered = [&](const std::function<void(ControlRecord&)>& change) {
    ControlRecord record = wire::decode_control(enrol);
    change(record);
    return wire::encode(record);
  };
  std::vector<std::pair<const char*, Bytes>> attacks = {
      {"spliced from another vault", foreign[2]},
      {"its own", next_record(
                      vault[0],
                      [&](ControlRecord& record) {
                        record.type = ControlType::enrol;
                        record.device_sign = intruder.public_key();
                      },
                      &intruder)},
      {"its own removal", next_record(
                              vault[0],
                              [&](ControlRecord& record) {
                                record.type = ControlType::revoke;
                                record.revoked = {id_of(vault[1])};
                                record.epoch = epoch_for(vault[0], {id_of(vault[1])});
                              },
                              &intruder)},
      {"its own recovery", next_record(
                               vault[0],
                               [&](ControlRecord& record) {
                                 record.type = ControlType::recover;
                                 record.device_sign = intruder.public_key();
                               },
                               &intruder)},
      {"a swapped signing key", altered([&](ControlRecord& r) { r.device_sign[0] ^= 1; })},
      {"a swapped box key", altered([&](ControlRecord& r) { r.device_box[0] ^= 1; })},
      {"an altered signature", altered([&](ControlRecord& r) { r.signature[9] ^= 1; })},
      {"a replay", right.back()},
      {"garbage", Bytes(80, 7)},
  };
  for (const auto& [name, record] : attacks) {
    std::vector<Bytes> records = right;
    records.push_back(record);
    serve(vault.relay, records);
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.state, SyncState::error) << name;
    EXPECT_TRUE(result.error == ErrorCode::protocol || result.error == ErrorCode::malformed ||
                result.error == ErrorCode::newer_version)
        << name;
    EXPECT_EQ(vault[1].vault().devices().size(), 2u) << name;
  }
  vault.relay.after = nullptr;
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
}

// Records that a member signs and that break the rules: the relay takes none, no device would.
TEST(HostileList, AMemberCannotBreakTheRules) {
  TestVault vault(3);
  vault.settle();
  base::Hash32 sign{1};
  std::vector<std::pair<const char*, std::function<void(ControlRecord&)>>> attacks = {
      {"leaves one out",
       [&](ControlRecord& r) {
         r.type = ControlType::epoch;
         r.epoch = epoch_for(vault[0]);
         r.epoch.boxes.pop_back();
       }},
      {"keeps one in that is out",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.revoked = {id_of(vault[1])};
         r.epoch = epoch_for(vault[0]);
       }},
      {"skips an epoch",
       [&](ControlRecord& r) {
         r.type = ControlType::epoch;
         r.epoch = epoch_for(vault[0]);
         r.epoch.number = 2;
       }},
      {"takes out itself",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.revoked = {id_of(vault[0])};
         r.epoch = epoch_for(vault[0], {id_of(vault[0])});
       }},
      {"takes out nobody",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.epoch = epoch_for(vault[0]);
       }},
      {"takes out a stranger",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.revoked = {base::Id16{5}};
         r.epoch = epoch_for(vault[0]);
       }},
      {"renames a stranger", [&](ControlRecord& r) { r.type = ControlType::rename; }},
      {"sets a recovery key that nobody holds",
       [&](ControlRecord& r) {
         r.type = ControlType::recovery_key;
         r.recovery.sign = r.recovery.box = sign;
         r.epoch = epoch_for(vault[0]);
       }},
      {"adds one twice",
       [&](ControlRecord& r) {
         r.type = ControlType::enrol;
         r.device_sign = vault[1].store->engine().identity().sign.public_key();
       }},
      {"recovers without the code",
       [&](ControlRecord& r) {
         r.type = ControlType::recover;
         r.epoch = epoch_for(vault[0]);
       }},
  };
  for (const auto& [name, fill] : attacks) {
    Bytes record = next_record(vault[0], fill);
    MemberClient member(vault[0].store->engine());
    base::HttpRequest post =
        member.client().post_control(member.membership().control().head(), record);
    int status = vault.relay.perform(post).status;
    EXPECT_TRUE(status == 400 || status == 403 || status == 409) << name << " " << status;
    wire::ControlState state = member.membership().control();
    EXPECT_EQ(code_of([&] { state.append(record); }), ErrorCode::protocol) << name;
  }
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[1].vault().epoch(), 0u);
}

// The author of an epoch boxes one device another key than the rest: that one says so, sends and
// takes nothing, and is well again with the next change of the key.
TEST(HostileList, AnotherKeyForOneDeviceIsNoticedByIt) {
  TestVault vault(3);
  vault.settle();
  vault[1].store->store("a", {{"n", 1}});
  base::Hash32 victim = vault[1].store->engine().identity().box.public_key();
  Bytes record = next_record(vault[0], [&](ControlRecord& r) {
    r.type = ControlType::epoch;
    r.epoch = epoch_for(vault[0]);
    for (wire::KeyBox& box : r.epoch.boxes) {
      if (box.receiver == victim) {
        box.box = crypto::box_to(victim, Bytes(32, 0x5a), *vault[0].world.random);
      }
    }
  });
  force(vault, record);
  vault.relay.service.~Service();  // its cache knows nothing of it
  new (&vault.relay.service)
      relay::Service(vault.relay.storage, *vault.clock, vault.relay.random, {kRelayUrl});
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[2].sync->sync().state, SyncState::up_to_date);
  for (int i = 0; i < 2; ++i) {
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::protocol);
    EXPECT_NE(result.message.find("'device-1' changed the vault's key"), std::string::npos);
  }
  EXPECT_EQ(vault[1].store->retrieve("a")->at("n"), 1);
  vault[2].vault().rotate_key();
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  vault.settle();
  EXPECT_EQ(vault[0].store->retrieve("a")->at("n"), 1);
  EXPECT_TRUE(Membership(vault[1].store->engine()).has_epoch_key(1));
}

// A batch of a device that is out, put into the log by a relay in league with it.
void smuggle(TestVault& vault, const Bytes& batch) {
  base::Hash32 id = Membership(vault[0].store->engine()).vault();
  relay::Vault row = vault.relay.storage.vault(id).value();
  ++row.head;
  row.chain = wire::chain_next(row.chain, row.head, wire::leaf_of(batch));
  wire::BatchHeader header = wire::decode_batch_header(batch);
  vault.relay.storage.transaction([&] {
    vault.relay.storage.add_batch(id, row.head, header.batch, row.chain, batch);
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

TEST(HostileRelayAndDevice, ARemovalThatWasHiddenFromOneIsAFork) {
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
  // Once it learns of the removal it says what happened, and stops.
  vault.relay.after = nullptr;
  for (int i = 0; i < 2; ++i) {
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::fork);
    EXPECT_NE(result.message.find("kept from this device"), std::string::npos) << result.message;
  }
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
  std::vector<Bytes> records = list_of(vault);
  records.push_back(record);
  serve(vault.relay, records);
  EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::fork);
  vault.relay.after = nullptr;
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
}

}  // namespace
}  // namespace holdfast::sync
