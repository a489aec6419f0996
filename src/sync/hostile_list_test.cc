// A relay, or a device, that lies about who is in the vault and under which key.

#include <gtest/gtest.h>

#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

using store::code_of;

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
  vault[1].open();  // it has no session with the relay, by which it would send first
  for (int i = 0; i < 3; ++i) {
    SyncResult result = vault[1].sync->sync();
    EXPECT_EQ(result.error, ErrorCode::fork);
    EXPECT_NE(result.message.find("another list"), std::string::npos) << result.message;
  }
  vault[1].open();  // nor after a restart
  EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::fork);
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
         r.through = *Membership(vault[0].store->engine()).log();
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
         r.through = *Membership(vault[0].store->engine()).log();
         r.epoch = epoch_for(vault[0], {id_of(vault[0])});
       }},
      {"takes out nobody",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.through = *Membership(vault[0].store->engine()).log();
         r.epoch = epoch_for(vault[0]);
       }},
      {"takes out a stranger",
       [&](ControlRecord& r) {
         r.type = ControlType::revoke;
         r.revoked = {base::Id16{5}};
         r.through = *Membership(vault[0].store->engine()).log();
         r.epoch = epoch_for(vault[0]);
       }},
      {"renames a stranger", [&](ControlRecord& r) { r.type = ControlType::rename; }},
      {"sets a recovery key that nobody holds",
       [&](ControlRecord& r) {
         r.type = ControlType::recovery_key;
         r.recovery.sign = r.recovery.box = {9};
         r.epoch = epoch_for(vault[0]);
       }},
      {"adds one twice",
       [&](ControlRecord& r) {
         r.type = ControlType::enrol;
         r.device_sign = vault[1].store->engine().identity().sign.public_key();
         r.device_box = vault[1].store->engine().identity().box.public_key();
       }},
      {"adds one to whom nothing can be boxed",
       [&](ControlRecord& r) {
         r.type = ControlType::enrol;
         r.device_sign = sign;
       }},
      {"boxes a key of another size",
       [&](ControlRecord& r) {
         r.type = ControlType::epoch;
         r.epoch = epoch_for(vault[0]);
         r.epoch.boxes[0].box.resize(2000);
       }},
      {"recovers without the code",
       [&](ControlRecord& r) {
         r.type = ControlType::recover;
         r.through = *Membership(vault[0].store->engine()).log();
         r.epoch = epoch_for(vault[0]);
       }},
  };
  for (const auto& [name, fill] : attacks) {
    Bytes record = next_record(vault[0], fill);
    MemberClient member(vault[0].store->engine());
    base::HttpRequest post =
        member.client().post_control(member.membership().control().head(), record);
    int status = vault.relay.perform(post).status;
    EXPECT_EQ(status, 400) << name;
    wire::ControlState state = member.membership().control();
    ErrorCode code = code_of([&] { state.append(record); });
    EXPECT_TRUE(code == ErrorCode::protocol || code == ErrorCode::malformed) << name;
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
  vault.relay.restart();
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

// One member boxes garbage to everybody, the recovery key included: whoever is left takes the liar
// out, or recovers, with the keys that it has.
TEST(HostileList, AKeyThatNobodyGotBlocksNobody) {
  for (int way = 1; way <= 2; ++way) {
    TestVault vault(0);
    std::string code;
    for (std::uint64_t i = 0; i < 3; ++i) {
      vault.devices.push_back(std::make_unique<TestDevice>(vault.relay, 20 + i));
      if (i == 0) {
        vault[0].vault().create("device-1", [&](const std::string& shown) { code = shown; });
        vault[0].vault().use_relay(kRelayUrl);
      } else {
        vault[i].vault().join(vault[0].vault().invite_ticket(), "device-" + std::to_string(i + 1));
      }
    }
    vault[1].store->store("a", {{"n", 1}});
    vault.settle();
    vault[1].store->store("b", {{"n", 2}});
    force(vault, next_record(vault[0], [&](ControlRecord& r) {
            r.type = ControlType::epoch;
            r.epoch = epoch_for(vault[0]);
            for (wire::KeyBox& box : r.epoch.boxes) {
              box.box = crypto::box_to(box.receiver, Bytes(32, 9), *vault[0].world.random);
            }
          }));
    vault.relay.restart();
    EXPECT_EQ(vault[1].sync->sync().error, ErrorCode::protocol);
    EXPECT_EQ(code_of([&] { vault[1].vault().rotate_key(); }), ErrorCode::protocol);
    if (way == 1) vault[1].vault().revoke(id_of(vault[0]));
    if (way == 1) {
      EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
      EXPECT_EQ(vault[2].sync->sync().state, SyncState::up_to_date);
      EXPECT_EQ(vault[2].store->retrieve("b")->at("n"), 2);
    }
    TestDevice fresh(vault.relay, 90);
    if (way == 2) {
      fresh.vault().recover(code, kRelayUrl, "fresh", [](const std::string&) {});
    } else {
      fresh.vault().join(vault[2].vault().invite_ticket(), "fresh");
    }
    EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
  }
}

// One is given a wrong key and revokes the liar without the right one: what the others sealed under
// that comes to it once one of them changes the key.
TEST(HostileList, WhatLiesUnderAKeyThatOneMissedComesWithTheNext) {
  TestVault vault(4);
  vault.settle();
  base::Hash32 victim = vault[1].store->engine().identity().box.public_key();
  force(vault, next_record(vault[0], [&](ControlRecord& r) {
          r.type = ControlType::epoch;
          r.epoch = epoch_for(vault[0]);
          for (wire::KeyBox& box : r.epoch.boxes) {
            if (box.receiver != victim) continue;
            box.box = crypto::box_to(victim, Bytes(32, 9), *vault[0].world.random);
          }
        }));
  vault.relay.restart();
  vault[2].store->store("a", {{"n", 1}});
  EXPECT_EQ(vault[2].sync->sync().state, SyncState::up_to_date);
  vault[1].vault().revoke(id_of(vault[0]));
  SyncResult missing = vault[1].sync->sync();
  ASSERT_EQ(missing.rejected.size(), 1u);
  EXPECT_NE(missing.rejected[0].find("on a device that reads it"), std::string::npos);
  vault[3].sync->sync();
  vault[3].vault().rotate_key();
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[1].store->retrieve("a")->at("n"), 1);
}

// Whoever made the code in force is not taken out without it, whatever the client says.
TEST(HostileList, ARevokedDevicesCodeIsReplacedByRule) {
  TestVault vault(3);
  vault.settle();
  vault[1].vault().replace_recovery_code([](const std::string&) {});
  vault[0].sync->sync();
  Bytes record = next_record(vault[0], [&](ControlRecord& r) {
    r.type = ControlType::revoke;
    r.revoked = {id_of(vault[1])};
    r.through = *Membership(vault[0].store->engine()).log();
    r.epoch = epoch_for(vault[0], {id_of(vault[1])});
  });
  wire::ControlState state = Membership(vault[0].store->engine()).control();
  EXPECT_EQ(code_of([&] { state.append(record); }), ErrorCode::protocol);
}

// More lies than a record has room for: the newest key and the oldest are passed on.
TEST(HostileList, WhatIsPassedOnFitsIntoARecord) {
  TestVault vault(1);
  for (int i = 0; i < 130; ++i) {
    force(vault, next_record(vault[0], [&](ControlRecord& r) {
            Membership membership(vault[0].store->engine());
            r.type = ControlType::epoch;
            r.epoch = fresh_epoch(membership.control(), {}, membership.control().recovery().box,
                                  std::nullopt, {}, *vault[0].world.random)
                          .start;
          }));
    vault.relay.restart();
    vault[0].sync->sync();
  }
  EpochKeys passed = Membership(vault[0].store->engine()).keys_to_pass_on();
  EXPECT_EQ(passed.size(), 112u);
  EXPECT_EQ(passed.begin()->first, 0u);
  EXPECT_EQ(passed.rbegin()->first, 130u);
  vault[0].vault().rotate_key();
  vault[0].vault().rotate_key();
  EXPECT_EQ(Membership(vault[0].store->engine()).keys_to_pass_on().size(), 1u);
}

// The record of an epoch holds a wrong key as the one before: whoever has the right one passes it
// on with the next change of the key.
TEST(HostileList, ABrokenChainOfKeysIsMendedByTheNextEpoch) {
  TestVault vault(3);
  vault[1].store->store("a", {{"n", 1}});
  vault.settle();
  force(vault, next_record(vault[0], [&](ControlRecord& r) {
          Membership membership(vault[0].store->engine());
          EpochKeys wrong;
          wrong.emplace(0, crypto::Secret(Bytes(32, 9)));
          r.type = ControlType::epoch;
          r.epoch = fresh_epoch(membership.control(), {}, membership.control().recovery().box,
                                std::nullopt, wrong, *vault[0].world.random)
                        .start;
        }));
  vault.relay.restart();
  EXPECT_EQ(vault[1].sync->sync().state, SyncState::up_to_date);
  vault[1].vault().rotate_key();
  vault[1].vault().rotate_key();  // and those after it need not say it again
  TestDevice fresh(vault.relay, 90);
  fresh.vault().join(vault[1].vault().invite_ticket(), "fresh");
  EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
  EXPECT_EQ(Membership(fresh.store->engine()).keys_to_pass_on().size(), 1u);
}

}  // namespace
}  // namespace holdfast::sync
