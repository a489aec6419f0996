// Conflicts that people settle: exactly what they saw, on every device.

#include <gtest/gtest.h>

#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

TEST(Resolve, ResolvingCoversOnlyWhatWasListed) {
  TestVault vault;
  vault[0].conflicts().set_policy({"records", "$", Strategy::user_choice});
  vault[0].store->store("r", {{"t", 0}});
  vault.settle();
  vault[0].store->patch("r", {{"t", 1}});
  vault[1].store->patch("r", {{"t", 2}});
  vault.settle();
  Conflict listed = vault[0].conflicts().conflicts(true).at(0);
  vault[1].store->patch("r", {{"t", 3}});  // lands between listing and resolving
  vault.settle();
  vault[0].conflicts().resolve(listed, Json(7));
  vault.settle();
  expect_equal(vault);
  Conflict now = vault[0].conflicts().conflicts(true).at(0);
  ASSERT_EQ(now.candidates.size(), 2u);
  vault[1].conflicts().resolve(now, 0);
  vault.settle();
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
}

TEST(Resolve, AnEditBesideADeleteIsPendingAndResolvesBothWays) {
  for (bool keep : {true, false}) {
    TestVault vault;
    vault[0].store->store("r", {{"t", 0}, {"u", 0}});
    vault.settle();
    vault[0].store->remove("r");
    vault[1].store->patch("r", {{"t", 1}});
    vault.settle();
    Conflict conflict = vault[0].conflicts().conflicts(true).at(0);
    EXPECT_EQ(conflict.type, ConflictType::update_delete);
    std::size_t kept = conflict.candidates[0].value ? 0 : 1;
    vault[0].conflicts().resolve(conflict, keep ? kept : 1 - kept);
    vault.settle();
    expect_equal(vault);
    EXPECT_EQ(vault[1].conflicts().count_pending(), 0u);
    EXPECT_EQ(vault[1].store->retrieve("r").has_value(), keep);
  }
}

TEST(Resolve, ARecordResolvedWithAValueKeepsWhatCameAfterTheListing) {
  TestVault vault;
  vault[0].store->store("r", {{"f", 1}, {"g", 1}});
  vault.settle();
  vault[0].store->remove("r");
  vault[1].store->patch("r", {{"f", 2}});
  vault.settle();
  Conflict listed = vault[0].conflicts().conflicts(true).at(0);
  vault[1].store->patch("r", {{"g", 99}});
  vault.settle();
  vault[0].conflicts().resolve(listed, Json{{"f", 3}, {"g", 5}});
  vault.settle();
  expect_equal(vault);
  bool kept = false;
  for (const Conflict& conflict : vault[1].conflicts().conflicts()) {
    for (const Candidate& side : conflict.candidates) kept = kept || side.value == 99;
  }
  EXPECT_TRUE(kept || vault[1].store->retrieve("r")->at("g") == 99);
}

TEST(Resolve, SettlingAFieldLeavesOtherConflictsOfTheRecord) {
  TestVault vault;
  vault[0].store->store("r", {{"f", 1}});
  vault.settle();
  auto read = vault[0].store->retrieve_versioned("r");
  vault[0].store->remove("r");
  vault[0].store->store("r", {{"f", 7}}, read->version);
  vault[1].store->patch("r", {{"f", 8}});
  vault.settle();
  auto conflicts = vault[0].conflicts().conflicts();
  ASSERT_EQ(conflicts.size(), 2u);
  EXPECT_EQ(conflicts[0].path, "$");
  EXPECT_TRUE(conflicts[0].pending);
  vault[0].conflicts().resolve(conflicts[1], 0);
  vault.settle();
  expect_equal(vault);
  ASSERT_EQ(vault[1].conflicts().conflicts(true).size(), 1u);
  EXPECT_EQ(vault[1].conflicts().conflicts(true)[0].path, "$");
}

TEST(Resolve, SettlingAFieldLeavesConflictsBelowIt) {
  TestVault vault(3);
  vault[0].conflicts().set_policy({"records", "$", Strategy::user_choice});
  vault[0].store->store("r", {{"a", 0}});
  vault.settle();
  vault[0].store->store("r", {{"a", 5}});
  vault[1].store->store("r", {{"a", {{"b", "one"}}}});
  vault[2].store->store("r", {{"a", {{"b", "two"}}}});
  vault.settle();
  for (const Conflict& conflict : vault[0].conflicts().conflicts(true)) {
    if (conflict.path != "$.a") continue;
    std::size_t object = conflict.candidates[0].value->is_object() ? 0 : 1;
    vault[0].conflicts().resolve(conflict, object);
  }
  vault.settle();
  expect_equal(vault);
  auto rest = vault[1].conflicts().conflicts(true);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].path, "$.a.b");
  EXPECT_EQ(rest[0].candidates.size(), 2u);
}

TEST(Resolve, AUserChoiceIsPendingOnBothUntilOneResolvesIt) {
  TestVault vault;
  vault[0].conflicts().set_policy({"records", "$.title", Strategy::user_choice});
  vault[0].store->store("r", {{"title", "base"}});
  vault.settle();
  vault[0].store->patch("r", {{"title", "left"}});
  vault[1].store->patch("r", {{"title", "right"}});
  vault.settle();
  for (auto& device : vault.devices) EXPECT_EQ(device->conflicts().count_pending(), 1u);
  Conflict conflict = vault[1].conflicts().conflicts(true).at(0);
  std::size_t left = conflict.candidates[0].value == "left" ? 0 : 1;
  vault[1].conflicts().resolve(conflict, left);
  vault[1].cut_power();
  EXPECT_EQ(vault[1].conflicts().count_pending(), 0u);
  vault.settle();
  for (auto& device : vault.devices) {
    EXPECT_EQ(device->conflicts().count_pending(), 0u);
    EXPECT_EQ(device->store->retrieve("r")->at("title"), "left");
    EXPECT_EQ(device->sync->states().state(), SyncState::up_to_date);
  }
  expect_equal(vault);
}

}  // namespace
}  // namespace holdfast::sync
