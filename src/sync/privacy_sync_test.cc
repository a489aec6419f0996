// Permissions travel in the vault: between devices, against each other, and where one begins again.

#include <gtest/gtest.h>

#include "holdfast/backup.h"
#include "holdfast/privacy_first_sync.h"
#include "src/privacy/budget.h"
#include "src/privacy/test_privacy.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

constexpr const char* kType = "model_usage_stats";
constexpr const char* kPurpose = "improve_model_quality";
constexpr const char* kDestination = "model_improvement_server";

struct PrivateVault : TestVault {
  explicit PrivateVault(int count = 2) : TestVault(count) {
    for (auto& device : devices) {
      FakeRelay& to = relay;
      device->world.environment.network =
          std::make_shared<base::FakeNetwork>([this, &to](const base::HttpRequest& request) {
            if (request.url.starts_with(kRelayUrl)) return to.perform(request);
            ++received;
            return base::HttpResponse{200, {}, 0, ""};
          });
      device->open();
    }
    settle();
  }
  PrivacyFirstSync gate(std::size_t i) {
    return PrivacyFirstSync(*devices[i]->store, world.policy(),
                            [](const PermissionRequest&) { return true; });
  }
  bool permit(std::size_t i) { return gate(i).request_sync_permission(kType, kPurpose); }
  SendResult send(std::size_t i) {
    return gate(i).sync_with_privacy(privacy::PrivateWorld::usage(), kDestination);
  }

  privacy::PrivateWorld world;
  int received = 0;
};

TEST(PrivacySync, APermissionHoldsOnEveryDeviceAndSoDoesItsRevocation) {
  PrivateVault vault;
  ASSERT_TRUE(vault.permit(0));
  EXPECT_EQ(vault.send(1).reason, "no_permission");
  vault.settle();
  EXPECT_EQ(vault.send(0).status, SendResult::Status::sent);
  EXPECT_EQ(vault.send(1).status, SendResult::Status::sent);
  vault.gate(1).revoke(kType);
  EXPECT_EQ(vault.send(1).reason, "revoked");
  vault.settle();
  EXPECT_EQ(vault.send(0).reason, "revoked");
  EXPECT_EQ(vault.received, 2);
}

TEST(PrivacySync, ARevocationBeatsWhatWasGrantedMeanwhileWhateverTheTimes) {
  for (bool grant_is_later : {false, true}) {
    PrivateVault vault;
    ASSERT_TRUE(vault.permit(0));
    vault.settle();
    vault.relay.down = true;
    if (grant_is_later) {
      vault.gate(0).revoke(kType);
      vault.clock->advance_ms(kHourMs);
    }
    PermissionOptions renew;
    renew.renew = true;
    ASSERT_TRUE(vault.gate(1).request_sync_permission(kType, kPurpose, renew));
    if (!grant_is_later) {
      vault.clock->advance_ms(kHourMs);
      vault.gate(0).revoke(kType);
    }
    EXPECT_EQ(vault.send(1).status, SendResult::Status::sent);  // it knows nothing of it yet
    vault.relay.down = false;
    vault.settle();
    EXPECT_EQ(vault.send(0).reason, "revoked");
    EXPECT_EQ(vault.send(1).reason, "revoked");
    // Asked again, knowing of the revocation, the user can permit it again.
    ASSERT_TRUE(vault.permit(1));
    vault.settle();
    EXPECT_EQ(vault.send(0).status, SendResult::Status::sent);
  }
}

TEST(PrivacySync, ARevocationFromElsewherePurgesWhatWaits) {
  PrivateVault vault;
  ASSERT_TRUE(vault.permit(0));
  vault.settle();
  {
    auto real = vault[1].world.environment.network;
    vault[1].world.environment.network = std::make_shared<base::FakeNetwork>(
        [](const base::HttpRequest&) { return base::HttpResponse{0, {}, 0, "offline"}; });
    vault[1].open();
    EXPECT_EQ(vault.send(1).status, SendResult::Status::queued);
    vault[1].world.environment.network = real;
    vault[1].open();
  }
  vault.gate(0).revoke(kType);
  vault.settle();
  QueueReport report = vault.gate(1).send_queued(true);
  EXPECT_EQ(report.dropped, 1u);
  EXPECT_EQ(report.sent, 0u);
  EXPECT_EQ(vault.received, 0);
}

TEST(PrivacySync, DevicesShareTheBudgetByTheirPlaces) {
  PrivateVault vault(3);
  for (std::size_t i = 0; i < 3; ++i) {
    store::Engine::Transaction transaction(vault[i].store->engine());
    EXPECT_EQ(privacy::device_place(vault[i].store->engine()), i);
    transaction.commit();
    // The policy provides for two devices: the third has none.
    EXPECT_EQ(vault.gate(i).budget("", "", "").lifetime, i < 2 ? "4" : "0");
  }
  ASSERT_TRUE(vault.permit(0));
  vault.settle();
  EXPECT_EQ(vault.send(2).reason, "budget_spent");
}

TEST(PrivacySync, ARemovedDeviceSendsNothing) {
  PrivateVault vault;
  ASSERT_TRUE(vault.permit(0));
  vault.settle();
  vault[0].vault().revoke(vault[1].store->engine().identity().id);
  vault[1].sync->sync();
  EXPECT_EQ(vault.send(1).reason, "revoked");
  EXPECT_EQ(vault.received, 0);
}

// A copy of a device's file, in use beside the original: it becomes a device of its own, without
// what the original has waiting.
TEST(PrivacySync, ACopyDoesNotSendWhatItsOriginalHasWaiting) {
  PrivateVault vault;
  ASSERT_TRUE(vault.permit(0));
  vault.settle();
  auto real = vault[1].world.environment.network;
  vault[1].world.environment.network = std::make_shared<base::FakeNetwork>(
      [](const base::HttpRequest&) { return base::HttpResponse{0, {}, 0, "offline"}; });
  vault[1].open();
  EXPECT_EQ(vault.send(1).status, SendResult::Status::queued);
  vault[1].world.environment.network = real;
  auto copied = vault[1].world.files->after_kill();
  vault[1].open();
  vault[1].store->store("x", {{"n", 1}});
  vault[1].sync->sync();
  EXPECT_EQ(vault.gate(1).send_queued(true).sent, 1u);
  vault[1].world.environment.files = vault[1].world.files = copied;
  vault[1].open();
  vault[1].store->store("x", {{"n", 2}});
  for (int i = 0; i < 4; ++i) vault[1].sync->sync();
  EXPECT_EQ(vault.gate(1).send_queued(true).sent, 0u);
  EXPECT_TRUE(vault.gate(1).queue().empty());
  EXPECT_EQ(vault.received, 1);
}

// What was taken back since the backup is not known in a restored store: its new vault starts
// without permissions, on every device.
TEST(PrivacySync, ARestoredVaultStartsWithoutPermissions) {
  PrivateVault vault(1);
  ASSERT_TRUE(vault.permit(0));
  backup(*vault[0].store, "kept", store::FakeWorld::key(9), {});
  RestoreOptions options;
  options.store = vault[0].world.options();
  restore("kept", store::FakeWorld::key(9), "restored.db", store::FakeWorld::key(), options);
  auto store = vault[0].world.open("restored.db");
  Vault(store).create("restored", [](const std::string&) {});
  PrivacyFirstSync sync(store, vault.world.policy());
  EXPECT_EQ(sync.sync_with_privacy(privacy::PrivateWorld::usage(), kDestination).reason, "revoked");
  EXPECT_EQ(sync.budget("", "", "").lifetime, "0");
  EXPECT_EQ(vault.received, 0);
}

}  // namespace
}  // namespace holdfast::sync
