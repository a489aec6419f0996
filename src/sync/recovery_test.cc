// The vault's recovery code: when every device is lost, and when the code itself is to be replaced.

#include <gtest/gtest.h>

#include "src/crypto/recovery_code.h"
#include "src/sync/control_client.h"
#include "src/sync/outbox.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

using store::code_of;

// A vault whose code somebody wrote down.
struct Recoverable {
  explicit Recoverable(int devices = 2) : vault(0) {
    for (int i = 0; i < devices; ++i) {
      vault.devices.push_back(
          std::make_unique<TestDevice>(vault.relay, 100 + static_cast<std::uint64_t>(i)));
      TestDevice& device = *vault.devices.back();
      if (i == 0) {
        device.vault().create("device-1", keep(code));
        device.vault().use_relay(kRelayUrl);
      } else {
        device.vault().join(vault[0].vault().invite_ticket(), "device-" + std::to_string(i + 1));
      }
    }
    vault[0].store->store("a", {{"n", 1}});
    vault.settle();
  }
  static std::function<void(const std::string&)> keep(std::string& where) {
    return [&where](const std::string& shown) { where = shown; };
  }
  void recover(TestDevice& device, const std::string& with) {
    device.vault().recover(with, kRelayUrl, {"new phone", "phone"}, keep(next));
  }
  TestVault vault;
  std::string code, next;
};

TEST(Recovery, OpensTheVaultAfterAnyNumberOfChangesOfTheKey) {
  for (int rotations : {0, 1, 5}) {
    Recoverable lost;
    for (int i = 0; i < rotations; ++i) {
      lost.vault[static_cast<std::size_t>(i) % 2].vault().rotate_key();
      lost.vault[0].store->store("r" + std::to_string(i), {{"n", i}});
      lost.vault.settle();
    }
    TestDevice fresh(lost.vault.relay, 900);
    lost.recover(fresh, lost.code);
    EXPECT_NE(lost.next, lost.code);
    EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
    for (int i = 0; i < rotations; ++i) {
      EXPECT_EQ(fresh.store->retrieve("r" + std::to_string(i))->at("n"), i);
    }
    EXPECT_EQ(fresh.vault().epoch(), static_cast<std::uint32_t>(rotations) + 1);
    // It is alone now, and says that nobody else has confirmed what the relay showed it.
    std::vector<Device> devices = fresh.vault().devices();
    ASSERT_EQ(devices.size(), 3u);
    EXPECT_EQ(devices[0].state, Device::State::revoked);
    EXPECT_EQ(devices[0].revoked_by, "the recovery code");
    EXPECT_EQ(devices[1].state, Device::State::revoked);
    EXPECT_EQ(devices[2].state, Device::State::unconfirmed);
    EXPECT_TRUE(devices[2].by_recovery);
    EXPECT_EQ(devices[2].name, "new phone");
    // What turns up again learns that it is out.
    SyncResult told = lost.vault[1].sync->sync();
    EXPECT_EQ(told.error, ErrorCode::revoked);
    EXPECT_NE(told.message.find("the recovery code"), std::string::npos);
    // Another device joins and syncs: confirmed.
    TestDevice second(lost.vault.relay, 901);
    second.vault().join(fresh.vault().invite_ticket(), "second");
    second.store->store("b", {{"n", 2}});
    EXPECT_EQ(second.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(fresh.vault().devices()[2].state, Device::State::active);
    EXPECT_EQ(fresh.state(), second.state());
    // And once more, with the code that took the first one's place.
    TestDevice third(lost.vault.relay, 902);
    std::string used = lost.next;
    lost.recover(third, used);
    EXPECT_EQ(third.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(third.state(), second.state());
  }
}

TEST(Recovery, AReplacedCodeOpensNothingNew) {
  Recoverable lost;
  std::string newer;
  lost.vault[1].vault().replace_recovery_code(Recoverable::keep(newer));
  EXPECT_EQ(lost.vault[1].vault().epoch(), 1u);
  TestDevice fresh(lost.vault.relay, 900);
  EXPECT_EQ(code_of([&] { lost.recover(fresh, lost.code); }), ErrorCode::refused);
  EXPECT_TRUE(lost.next.empty());
  EXPECT_FALSE(fresh.vault().exists());
  // It opens no box of the new epoch.
  Membership membership(lost.vault[1].store->engine());
  RecoveryKeys old = recovery_keys(crypto::parse_recovery_code(lost.code)->view());
  std::vector<Bytes> records = lost.vault.relay.storage.control(membership.vault(), 0);
  int opened = 0;
  for (const wire::KeyBox& box : wire::decode_control(records.back()).epoch.boxes) {
    opened += old.box.open(box.box).has_value();
  }
  EXPECT_EQ(opened, 0);
  lost.recover(fresh, newer);
  EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
}

TEST(Recovery, ChangesNothingWhereTheNewCodeCannotBeKept) {
  Recoverable lost;
  auto full = [](const std::string&) { throw std::runtime_error("no paper"); };
  EXPECT_THROW(lost.vault[0].vault().replace_recovery_code(full), std::runtime_error);
  TestDevice fresh(lost.vault.relay, 900);
  EXPECT_THROW(fresh.vault().recover(lost.code, kRelayUrl, "x", full), std::runtime_error);
  EXPECT_FALSE(fresh.vault().exists());
  EXPECT_EQ(lost.vault[1].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(lost.vault[1].vault().epoch(), 0u);
  lost.recover(fresh, lost.code);
  EXPECT_EQ(fresh.vault().epoch(), 1u);
}

TEST(Recovery, RefusesWrongCodesAndRelays) {
  Recoverable lost;
  TestDevice fresh(lost.vault.relay, 900);
  base::SeededRandom random(5);
  EXPECT_EQ(code_of([&] { lost.recover(fresh, crypto::recovery_text(random.array<16>())); }),
            ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { lost.recover(fresh, "XXXXX"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] {
              fresh.vault().recover(lost.code, "http://relay.example", "x",
                                    Recoverable::keep(lost.next));
            }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { lost.recover(lost.vault[1], lost.code); }), ErrorCode::exists);
  // The code as people type it.
  std::string typed;
  for (char c : lost.code) typed += static_cast<char>(std::tolower(c));
  lost.recover(fresh, typed);
}

// Cut at any request, and the power gone with it: with the same store and the same code it is
// finished; where the relay had taken it already, the code that was shown then counts.
TEST(Recovery, SurvivesACutAtEveryRequest) {
  for (int cut = 0;; ++cut) {
    Recoverable lost;
    TestDevice fresh(lost.vault.relay, 900);
    int requests = 0;
    lost.vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (requests++ == cut) response = {0, {}, 0, "cut"};
    };
    bool failed = false;
    try {
      lost.recover(fresh, lost.code);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unreachable);
      failed = true;
    }
    lost.vault.relay.after = nullptr;
    if (failed) {
      fresh.cut_power();
      lost.recover(fresh, lost.code);
    }
    EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
    TestDevice again(lost.vault.relay, 901);
    std::string used = lost.next;
    lost.recover(again, used);
    EXPECT_EQ(again.sync->sync().state, SyncState::up_to_date);
    if (!failed) break;
    ASSERT_LT(cut, 40);
  }
}

// A relay that lets an old code recover the vault as it was convinces nobody who saw it since.
TEST(Recovery, ARelayThatTakesAnOldCodeConvincesNoDevice) {
  Recoverable lost;
  base::Hash32 id = Membership(lost.vault[0].store->engine()).vault();
  std::vector<Bytes> before = lost.vault.relay.storage.control(id, 0);
  std::string newer;
  lost.vault[0].vault().replace_recovery_code(Recoverable::keep(newer));
  lost.vault[1].sync->sync();
  // What the thief of the old code would sign, upon today's list.
  RecoveryKeys old = recovery_keys(crypto::parse_recovery_code(lost.code)->view());
  Membership membership(lost.vault[0].store->engine());
  base::SeededRandom random(8);
  auto seed = random.array<32>();
  crypto::SigningKey thief(seed);
  wire::ControlRecord record;
  record.type = wire::ControlType::recover;
  record.previous = membership.control().head();
  record.signer = old.sign.public_key();
  record.device_sign = thief.public_key();
  record.device_box = old.box.public_key();
  record.through = membership.log().value();
  std::set<base::Id16> everybody;
  for (const auto& [device, enrolled] : membership.control().members()) everybody.insert(device);
  for (const base::Id16& out : everybody) {
    record.last_leaves.emplace_back(out, device_leaf(lost.vault[0].store->engine(), out));
  }
  record.epoch =
      fresh_epoch(membership.control(), everybody, old.box.public_key(), std::nullopt, {}, random)
          .start;
  set_recovery(record, old, id);
  record.signature =
      old.sign.sign(wire::signed_message(wire::kSignControl, id, wire::encode_unsigned(record)));
  lost.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.method == "GET" && request.url.find("/control?") != std::string::npos) {
      response.body = wire::encode_list({wire::encode(record)});
    }
  };
  EXPECT_EQ(lost.vault[1].sync->sync().error, ErrorCode::protocol);
  EXPECT_EQ(lost.vault[1].vault().devices().size(), 2u);
  // The relay itself, where it is honest, takes nothing of the old code's either.
  lost.vault.relay.after = nullptr;
  RelayClient client(kRelayUrl);
  client.set_vault(id);
  store::Engine& engine = lost.vault[1].store->engine();
  sign_in(engine, client, old.sign);  // it may read the list, to learn that it was replaced
  EXPECT_EQ(
      lost.vault.relay.perform(client.post_control(record.previous, wire::encode(record))).status,
      403);
  EXPECT_EQ(lost.vault.relay.perform(client.get_log(0, 1000)).status, 403);
}

// The relay saw the keys of the new device in an attempt that was cut off, and puts them into a
// vault of its own.
TEST(Recovery, TheRelayCannotMoveARepeatedAttemptElsewhere) {
  Recoverable lost;
  TestDevice fresh(lost.vault.relay, 900);
  lost.vault.relay.before = [](const base::HttpRequest& request) {
    return request.method == "POST" && request.url.ends_with("/control");
  };
  EXPECT_EQ(code_of([&] { lost.recover(fresh, lost.code); }), ErrorCode::unreachable);
  lost.vault.relay.before = nullptr;
  // A vault of the relay's, and the victim's device in it, with everything else in order.
  TestDevice evil(lost.vault.relay, 950);
  evil.vault().create("evil", [](const std::string&) {});
  evil.vault().use_relay(kRelayUrl);
  const store::Identity& victim = fresh.store->engine().identity();
  {
    MemberClient member(evil.store->engine());
    member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
      if (state.device(victim.id)) return false;
      record.type = wire::ControlType::enrol;
      record.device_sign = victim.sign.public_key();
      record.device_box = victim.box.public_key();
      record.name = member.membership().seal_name("x", 0, member.membership().epoch_key(0).view());
      return true;
    });
  }
  evil.vault().rotate_key();
  base::Hash32 evil_id = Membership(evil.store->engine()).vault();
  lost.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/v1/recovery/") != std::string::npos) {
      response.body = base::to_bytes(evil_id);
    }
  };
  EXPECT_EQ(code_of([&] { lost.recover(fresh, lost.code); }), ErrorCode::protocol);
  EXPECT_FALSE(fresh.vault().exists());
  lost.vault.relay.after = nullptr;
  lost.recover(fresh, lost.code);
  EXPECT_EQ(fresh.store->engine().identity().id, victim.id);
  EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
}

// The answer was lost; the user tries the code that was shown then.
TEST(Recovery, IsFinishedWithTheNewCodeAsWell) {
  Recoverable lost;
  TestDevice fresh(lost.vault.relay, 900);
  lost.vault.relay.after = [](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.method == "POST" && request.url.ends_with("/control")) {
      response = {0, {}, 0, "cut"};
    }
  };
  EXPECT_EQ(code_of([&] { lost.recover(fresh, lost.code); }), ErrorCode::unreachable);
  lost.vault.relay.after = nullptr;
  std::string shown = lost.next;
  lost.recover(fresh, shown);
  EXPECT_EQ(lost.next, shown);
  EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(fresh.store->retrieve("a")->at("n"), 1);
  // A store whose device is in another way is told so, and nobody is accused.
  TestDevice other(lost.vault.relay, 901);
  std::string ticket = fresh.vault().invite_ticket();
  int posts = 0;
  lost.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.ends_with("/control") && posts++ == 0) response = {0, {}, 0, "cut"};
  };
  EXPECT_EQ(code_of([&] { other.vault().join(ticket, "x"); }), ErrorCode::unreachable);
  lost.vault.relay.after = nullptr;
  EXPECT_EQ(code_of([&] { lost.recover(other, shown); }), ErrorCode::exists);
}

// A stolen device makes a recovery code of its own before it is taken out: that goes with it.
TEST(Recovery, ACodeThatARevokedDeviceMadeGoesWithIt) {
  Recoverable lost;
  std::string thiefs, owners;
  lost.vault[1].vault().replace_recovery_code(Recoverable::keep(thiefs));
  EXPECT_EQ(lost.vault[0].vault().recovery_set_by(), "");
  lost.vault[0].sync->sync();
  EXPECT_EQ(lost.vault[0].vault().recovery_set_by(), "device-2");
  base::Id16 thief = lost.vault[1].store->engine().identity().id;
  EXPECT_EQ(code_of([&] { lost.vault[0].vault().revoke(thief); }), ErrorCode::invalid_argument);
  lost.vault[0].vault().revoke(thief, Recoverable::keep(owners));
  TestDevice fresh(lost.vault.relay, 900);
  EXPECT_EQ(code_of([&] { lost.recover(fresh, thiefs); }), ErrorCode::refused);
  lost.vault[0].store->store("later", {{"n", 2}});
  lost.vault[0].sync->sync();
  lost.recover(fresh, owners);
  EXPECT_EQ(fresh.sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(fresh.store->retrieve("later")->at("n"), 2);
  EXPECT_EQ(fresh.vault().recovery_set_by(), "");
}

// A relay that invents a vault for a code it does not know cannot: the code vouches for its vault.
TEST(Recovery, TheRelayCannotPassOffAnotherVault) {
  Recoverable lost;
  Recoverable other(1);
  TestDevice fresh(lost.vault.relay, 900);
  base::Hash32 id = Membership(lost.vault[0].store->engine()).vault();
  wire::ControlRecord genesis =
      wire::decode_control(lost.vault.relay.storage.control(id, 0).front());
  // Its own device, the victim's public recovery keys: all that it knows of them.
  base::SeededRandom random(8);
  auto seed = random.array<32>();
  crypto::SigningKey evil(seed);
  genesis.device_sign = genesis.signer = evil.public_key();
  FreshEpoch epoch = fresh_epoch({}, {}, genesis.recovery.box, genesis.device_box, {}, random);
  genesis.epoch = epoch.start;
  genesis.signature =
      evil.sign(wire::signed_message(wire::kSignControl, {}, wire::encode_unsigned(genesis)));
  Bytes forged = wire::encode(genesis);
  wire::ControlState state;
  EXPECT_EQ(code_of([&] { state.append(forged); }), ErrorCode::protocol);
  genesis.version = 1;  // as from before there were proofs
  genesis.signature =
      evil.sign(wire::signed_message(wire::kSignControl, {}, wire::encode_unsigned(genesis)));
  forged = wire::encode(genesis);
  lost.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/v1/recovery/") != std::string::npos) {
      response.body = base::to_bytes(base::sha256({forged}));
    }
    if (request.url.ends_with("/v1/session")) {
      response = {200, wire::encode(wire::SessionAnswer{"AAAA", 1000, 0}), 0, ""};
    }
    if (request.method == "GET" && request.url.find("/control?") != std::string::npos) {
      bool first = request.url.ends_with("after=0");
      response = {200, wire::encode_list(first ? std::vector<Bytes>{forged} : std::vector<Bytes>{}),
                  0, ""};
    }
  };
  EXPECT_EQ(code_of([&] { lost.recover(fresh, lost.code); }), ErrorCode::protocol);
  EXPECT_TRUE(lost.next.empty() || !fresh.vault().exists());
}

}  // namespace
}  // namespace holdfast::sync
