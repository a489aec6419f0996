// All ceremonies together: what is on the wire, and long random lives of a vault.

#include <gtest/gtest.h>

#include <random>

#include "src/crypto/recovery_code.h"
#include "src/sync/pairing.h"
#include "src/sync/test_turns.h"
#include "src/sync/ticket.h"

namespace holdfast::sync {
namespace {

// In whatever form it might have slipped out.
std::vector<std::string> forms(const std::string& what, ByteView secret) {
  return {what + ", raw:" + std::string(base::text(secret)), what + ", hex:" + base::to_hex(secret),
          what + ", base64url:" + base::to_base64url(secret)};
}

bool contains(const Bytes& haystack, const std::string& needle) {
  return base::text(haystack).find(needle) != std::string_view::npos;
}

// Every secret of every ceremony, by name; of each, what the wire holds.
TEST(Ceremonies, TheWireHoldsNoSecretOfAny) {
  PairingScene scene;
  TestVault& vault = scene.vault;
  vault.relay.capture = true;
  std::vector<std::string> secrets;
  auto add = [&](const std::string& what, ByteView secret) {
    for (std::string& form : forms(what, secret)) secrets.push_back(std::move(form));
  };
  std::vector<std::string> codes;
  auto keep = [&](const std::string& code) { codes.push_back(code); };

  TestDevice other(vault.relay, 300);
  scene.take_turns(other);
  std::vector<std::string> shown;
  for (InviteOptions::Code kind : {InviteOptions::Code::typed, InviteOptions::Code::scanned}) {
    scene.shown.clear();
    TestDevice& joiner = kind == InviteOptions::Code::typed ? scene.newcomer : other;
    scene.turns.run({[&] { vault[0].vault().invite(scene.inviting(kind)); },
                     [&] {
                       while (scene.shown.empty()) joiner.world.environment.clock->sleep_ms(10);
                       JoinOptions options;
                       options.relay = kRelayUrl;
                       joiner.vault().join(scene.shown, {"phone-canary", "kind-canary"}, options);
                     }});
    shown.push_back(scene.shown);
    PairingCode code = parse_pairing_code(scene.shown);
    add("a pairing code's secret", code.secret.view());
    add("a pairing code", base::view(scene.shown));
    add("a fingerprint", base::view(scene.asked.fingerprint));
  }
  std::string ticket = vault[0].vault().invite_ticket();
  TestDevice third(vault.relay, 301);
  third.vault().join(ticket, "third-canary");
  Ticket parsed = parse_ticket(ticket);
  add("a ticket's secret", parsed.secret);
  vault[0].store->store("record-canary", {{"field-canary", "value-canary"}});
  for (TestDevice* device : {&vault[0], &scene.newcomer, &other, &third}) device->sync->sync();
  vault[0].vault().rename(third.store->engine().identity().id, "renamed-canary");
  vault[0].vault().rotate_key();
  vault[0].vault().revoke(third.store->engine().identity().id);
  vault[0].vault().replace_recovery_code(keep);
  TestDevice fresh(vault.relay, 302);
  fresh.vault().recover(codes.at(0), kRelayUrl, "recovered-canary", keep);
  fresh.sync->sync();
  third.sync->sync();

  for (const std::string& code : codes) {
    add("a recovery code", base::view(code));
    crypto::Secret secret = std::move(*crypto::parse_recovery_code(code));
    add("a recovery secret", secret.view());
    RecoveryKeys keys = recovery_keys(secret.view());
    add("a recovery signing key", keys.sign.seed());
    add("a recovery box key", keys.box.secret());
  }
  Membership membership(fresh.store->engine());
  ASSERT_EQ(membership.control().epoch(), 4u);
  for (std::uint32_t epoch = 0; epoch <= 4; ++epoch) {
    add("epoch key " + std::to_string(epoch), membership.epoch_key(epoch).view());
  }
  for (TestDevice* device : {&vault[0], &scene.newcomer, &other, &third, &fresh}) {
    add("a device's signing key", device->store->engine().identity().sign.seed());
    add("a device's box key", device->store->engine().identity().box.secret());
  }
  secrets.push_back("a name:canary");

  ASSERT_GT(vault.relay.wire_bytes.size(), 10'000u);
  for (const std::string& secret : secrets) {
    std::size_t at = secret.find(':');
    EXPECT_FALSE(contains(vault.relay.wire_bytes, secret.substr(at + 1))) << secret.substr(0, at);
  }
  // The search finds what is there: the vault's id, in requests; and a planted secret.
  EXPECT_TRUE(contains(vault.relay.wire_bytes, base::to_hex(membership.vault())));
  Bytes planted = vault.relay.wire_bytes;
  crypto::Secret key = membership.epoch_key(2);
  planted.insert(planted.begin() + 777, key.view().begin(), key.view().end());
  EXPECT_TRUE(contains(planted, std::string(base::text(key.view()))));
}

// Devices come, go, rename each other, change the key and write, in any order, some long away. In
// the end those that are in hold the same, under the same keys, and those that are out know it.
struct RandomLife {
  explicit RandomLife(std::uint64_t seed) : rng(seed), vault(1, seed), next_seed(seed * 1000) {}

  TestDevice* pick_member() {
    std::vector<TestDevice*> members;
    for (auto& device : vault.devices) {
      if (is_member(*device)) members.push_back(device.get());
    }
    return members[rng() % members.size()];
  }
  bool is_member(TestDevice& device) {
    base::Hash32 id = Membership(vault[0].store->engine()).vault();
    wire::ControlState state;
    for (const Bytes& record : vault.relay.storage.control(id, 0)) {
      state.append(record, wire::ControlState::Origin::stored);
    }
    return state.member(device.store->engine().identity().id) != nullptr;
  }
  void step() {
    TestDevice& one = *vault.devices[rng() % vault.devices.size()];
    try {
      switch (rng() % 12) {
        case 0:
          if (vault.devices.size() < 8) join(one.vault().invite_ticket());
          break;
        case 1: one.vault().rotate_key(); break;
        case 2: one.vault().revoke(pick_member()->store->engine().identity().id); break;
        case 3:
          one.vault().rename(pick_member()->store->engine().identity().id,
                             "n" + std::to_string(rng() % 100));
          break;
        case 4: one.vault().replace_recovery_code([](const std::string&) {}); break;
        case 5: one.sync->prepare_sync_package(); break;
        case 6:
        case 7: one.sync->sync(); break;
        default:
          one.store->patch("r" + std::to_string(rng() % 3), {{"f", rng() % 100}}) ||
              (one.store->store("r" + std::to_string(rng() % 3), {{"f", 0}}), true);
      }
    } catch (const Error& error) {
      // Out of the vault, itself, or gone in between; or still without all of its vault.
      EXPECT_TRUE(error.code() == ErrorCode::revoked || error.code() == ErrorCode::not_found ||
                  error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::busy)
          << error.what();
    }
  }
  void join(const std::string& ticket) {
    vault.devices.push_back(std::make_unique<TestDevice>(vault.relay, ++next_seed));
    vault.devices.back()->vault().join(ticket, "device");
  }
  void check() {
    std::vector<TestDevice*> members;
    for (auto& device : vault.devices) {
      if (is_member(*device)) members.push_back(device.get());
    }
    ASSERT_FALSE(members.empty());
    for (int round = 0; round < 4; ++round) {
      for (TestDevice* device : members) {
        SyncResult result = device->sync->sync();
        ASSERT_FALSE(result.error) << result.message;
      }
    }
    Membership first(members[0]->store->engine());
    for (TestDevice* device : members) {
      EXPECT_EQ(device->state(), members[0]->state());
      Membership own(device->store->engine());
      ASSERT_EQ(own.control().epoch(), first.control().epoch());
      for (std::uint32_t e = 0; e <= first.control().epoch(); ++e) {
        EXPECT_TRUE(crypto::equal(own.epoch_key(e).view(), first.epoch_key(e).view()));
      }
      EXPECT_EQ(device->store->engine().count_waiting(), 0u);
      EXPECT_EQ(device->sync->count_pending(), 0u);
    }
    for (auto& device : vault.devices) {
      if (is_member(*device)) continue;
      EXPECT_EQ(device->sync->sync().error, ErrorCode::revoked);
      EXPECT_FALSE(Membership(device->store->engine()).has_epoch_key(first.control().epoch()));
    }
  }

  std::mt19937_64 rng;
  TestVault vault;
  std::uint64_t next_seed;
};

TEST(Ceremonies, RandomLivesOfAVaultConverge) {
  std::uint64_t lives = 60;
  if (std::getenv("HOLDFAST_TEST_STRIDE")) lives = 6;
  if (std::getenv("HOLDFAST_MODEL_FULL")) lives = 400;
  for (std::uint64_t seed = 1; seed <= lives; ++seed) {
    RandomLife life(seed);
    for (int i = 0; i < 60; ++i) life.step();
    life.check();
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  std::printf("%llu lives of a vault, 60 steps each\n", static_cast<unsigned long long>(lives));
}

}  // namespace
}  // namespace holdfast::sync
