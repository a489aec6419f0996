// Policies, deadlines, and decisions of the user and of the app, between devices.

#include <gtest/gtest.h>

#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

// The record {"t": 0}, edited at once on both devices.
void conflict_at(TestVault& vault, const char* field, Json here, Json there) {
  vault[0].store->store("r", {{field, nullptr}, {"other", 1}});
  vault.settle();
  vault[0].store->patch("r", {{field, std::move(here)}});
  vault.relay.clock->advance_ms(1000);
  vault[1].store->patch("r", {{field, std::move(there)}});
  vault.settle();
}

TEST(Policies, OfPatternsTheMostSpecificCountsAndAllOfItTravels) {
  TestVault vault;
  Policy wild = policy("$.lines.*.price", Strategy::user_choice);
  wild.critical = true;
  wild.deadline_ms = 5000;
  wild.fallback = Strategy::priority;
  vault[0].conflicts().set_policy(wild);
  vault[0].conflicts().set_policy(policy("$.lines.*", Strategy::merge));
  vault.settle();
  std::vector<Policy> there = vault[1].conflicts().policies();
  ASSERT_EQ(there.size(), 2u);
  EXPECT_EQ(there[1].path, "$.lines.*.price");
  EXPECT_TRUE(there[1].critical);
  EXPECT_EQ(there[1].deadline_ms, 5000);
  EXPECT_EQ(there[1].fallback, Strategy::priority);
  vault[0].store->store("r", {{"lines", {{"a", {{"price", 1}, {"note", "n"}}}}}});
  vault.settle();
  vault[0].store->patch("r", {{"lines", {{"a", {{"price", 2}, {"note", "x"}}}}}});
  vault[1].store->patch("r", {{"lines", {{"a", {{"price", 3}, {"note", "y"}}}}}});
  vault.settle();
  std::vector<Conflict> pending = vault[0].conflicts().conflicts(true);
  ASSERT_EQ(pending.size(), 1u);
  EXPECT_EQ(pending[0].path, "$.lines.a.price");
  EXPECT_EQ(vault[0].conflicts().conflicts().size(), 2u);
  EXPECT_THROW(vault[0].conflicts().set_policy(policy("$.a..b", Strategy::merge)), Error);
  EXPECT_THROW(vault[0].conflicts().set_policy(policy("$", Strategy::merge, FieldType::text)),
               Error);
}

TEST(Policies, ACriticalFieldWaitsForTheUserUnderAnyStrategy) {
  TestVault vault;
  Policy critical = policy("$.t", Strategy::timestamp);
  critical.critical = true;
  vault[0].conflicts().set_policy(critical);
  conflict_at(vault, "t", 1, 2);
  EXPECT_EQ(vault[1].conflicts().count_pending(), 1u);
  EXPECT_EQ(vault[1].store->retrieve("r")->at("t"), 2);
}

TEST(Policies, WholeRecordsConflictAsAWholeAndOneSideIsPickedWhole) {
  TestVault vault;
  Policy whole = policy("$", Strategy::user_choice);
  whole.whole_records = true;
  vault[0].conflicts().set_policy(whole);
  vault[0].store->store("r", {{"a", 1}, {"b", 1}});
  vault.settle();
  vault[0].store->patch("r", {{"a", 2}});
  vault[1].store->patch("r", {{"b", 2}});
  vault.settle();
  std::vector<Conflict> pending = vault[1].conflicts().conflicts(true);
  ASSERT_EQ(pending.size(), 1u);
  EXPECT_EQ(pending[0].path, "$");
  EXPECT_EQ(pending[0].type, ConflictType::concurrent_update);
  std::size_t mine = pending[0].candidates[0].value->at("b") == 2 ? 0 : 1;
  vault[1].conflicts().resolve(pending[0], mine);
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[0].store->retrieve("r"), (Json{{"a", 1}, {"b", 2}}));
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  // Back to fields: what was written whole is taken apart with the next write.
  vault[0].conflicts().set_policy(policy("$", Strategy::timestamp));
  vault[0].store->patch("r", {{"c", 3}});
  vault.settle();
  vault[0].store->patch("r", {{"a", 9}});
  vault[1].store->patch("r", {{"b", 9}});
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[1].store->retrieve("r"), (Json{{"a", 9}, {"b", 9}, {"c", 3}}));
  EXPECT_TRUE(vault[1].conflicts().conflicts().empty());
}

TEST(Policies, ADeletionCanWin) {
  TestVault vault;
  Policy wins = policy("$", Strategy::timestamp);
  wins.delete_wins = true;
  vault[0].conflicts().set_policy(wins);
  vault[0].store->store("r", {{"t", 0}});
  vault.settle();
  vault[0].store->remove("r");
  vault[1].store->patch("r", {{"t", 1}});
  vault.settle();
  expect_equal(vault);
  EXPECT_FALSE(vault[1].store->retrieve("r"));
  EXPECT_EQ(vault[1].conflicts().count_pending(), 0u);
}

TEST(Policies, MergedMapsAndListsNameWhatWasMerged) {
  TestVault vault;
  Policy whole = policy("$", Strategy::merge);
  whole.whole_records = true;
  vault[0].conflicts().set_policy(whole);
  vault[0].store->store("r", {{"m", {{"x", 0}}}, {"l", {"a"}}});
  vault.settle();
  vault[0].store->store("r", {{"m", {{"x", 1}, {"p", 1}}}, {"l", {"a", "b"}}});
  vault.relay.clock->advance_ms(10);
  vault[1].store->store("r", {{"m", {{"x", 2}, {"q", 1}}}, {"l", {"a", "c"}}});
  vault.settle();
  Json merged = {{"l", {"a", "b", "c"}}, {"m", {{"p", 1}, {"q", 1}, {"x", 2}}}};
  EXPECT_EQ(*vault[0].store->retrieve("r"), merged);
  Conflict conflict = vault[0].conflicts().conflicts().at(0);
  EXPECT_TRUE(conflict.merged);
  EXPECT_EQ(conflict.shown, merged);
  EXPECT_EQ(conflict.candidates.size(), 2u);
  EXPECT_NE(conflict.candidates[0].device, conflict.candidates[1].device);
  EXPECT_FALSE(conflict.pending);
}

TEST(Deadline, TheFallbackIsWrittenOnceItHasPassedAndDevicesDoNotDuel) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.t", Strategy::user_choice));
  std::vector<Conflict> told;
  vault[0].conflicts().subscribe([&](const std::vector<Conflict>& pending) { told = pending; });
  conflict_at(vault, "t", "here", "there");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].path, "$.t");
  Conflict pending = vault[0].conflicts().conflicts(true).at(0);
  EXPECT_EQ(pending.deadline_ms, vault.relay.clock->now_ms() + 24 * kHourMs);
  EXPECT_EQ(vault[0].conflicts().settle(), 0u);
  vault.relay.clock->advance_ms(23 * kHourMs);
  vault[0].open();  // the time it waits since is not lost with the process
  EXPECT_EQ(vault[0].conflicts().settle(), 0u);
  vault.relay.clock->advance_ms(kHourMs);
  EXPECT_EQ(vault[0].conflicts().settle(), 1u);  // both at once, without each other
  EXPECT_EQ(vault[1].conflicts().settle(), 1u);
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  EXPECT_TRUE(vault[0].conflicts().conflicts().empty());
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), "there");
  vault.relay.clock->advance_ms(100 * kHourMs);
  EXPECT_EQ(vault[0].conflicts().settle(), 0u);
}

TEST(Deadline, ASyncSettlesWhatIsDueAndNeverOverAUsersOwnDecision) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.t", Strategy::user_choice));
  conflict_at(vault, "t", "here", "there");
  vault.relay.clock->advance_ms(24 * kHourMs);
  // One device's user decides while the other's deadline passes.
  vault[1].conflicts().resolve(vault[1].conflicts().conflicts(true).at(0), Json("mine"));
  vault[0].conflicts().settle();
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), "mine");
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  EXPECT_EQ(vault[0].conflicts().settle(), 0u);
  // And by itself: settled in the sync after the deadline.
  conflict_at(vault, "t", "a", "b");
  vault.relay.clock->advance_ms(24 * kHourMs);
  vault.settle();
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  EXPECT_EQ(vault[1].store->retrieve("r")->at("t"), "b");
}

TEST(Deadline, AnEditOutlivesADeletionThatNobodyDecidedOn) {
  TestVault vault;
  vault[0].store->store("r", {{"t", 0}});
  vault.settle();
  vault[1].store->patch("r", {{"t", 1}});
  vault.relay.clock->advance_ms(10);
  vault[0].store->remove("r");
  vault.settle();
  ASSERT_EQ(vault[0].conflicts().count_pending(), 1u);
  vault.relay.clock->advance_ms(24 * kHourMs);
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), 1);
}

TEST(Deadline, SurvivesAPowerCutAtAnyPoint) {
  for (int step = 0; step < 3; ++step) {
    TestVault vault;
    vault[0].conflicts().set_policy(policy("$.t", Strategy::user_choice));
    conflict_at(vault, "t", "here", "there");
    if (step == 0) vault[0].cut_power();
    Conflict listed = vault[0].conflicts().conflicts(true).at(0);
    if (step == 1) vault[0].cut_power();
    vault[0].conflicts().resolve(listed, 0);
    if (step == 2) vault[0].cut_power();
    vault.settle();
    expect_equal(vault);
    EXPECT_EQ(vault[1].conflicts().count_pending(), 0u);
    EXPECT_EQ(vault[1].store->retrieve("r")->at("t"), "here");
  }
}

TEST(Custom, TheAppsFunctionDecidesOnADeviceThatHasIt) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.t", Strategy::custom));
  vault[1].conflicts().set_custom("records", [](const Conflict& conflict) -> std::optional<Json> {
    std::string all;
    for (const Candidate& side : conflict.candidates) all += side.value->get<std::string>();
    return all;
  });
  conflict_at(vault, "t", "a", "b");
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), "ab");
  EXPECT_TRUE(vault[0].conflicts().conflicts().empty());
  // One that throws leaves things as they are.
  vault[1].conflicts().set_custom("records",
                                  [](const Conflict&) -> std::optional<Json> { throw 7; });
  conflict_at(vault, "t", "c", "d");
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), "d");
}

TEST(Suggested, FollowsWhatTheUserChoseBeforeOnAnyDevice) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.t", Strategy::user_choice));
  for (int i = 0; i < 3; ++i) {
    conflict_at(vault, "t", "old" + std::to_string(i), "new" + std::to_string(i));
    Conflict conflict = vault[0].conflicts().conflicts(true).at(0);
    EXPECT_EQ(conflict.suggested, i == 0 ? 1u : 0u) << i;
    vault[0].conflicts().resolve(conflict, 0);  // always the earlier one
    vault.settle();
  }
  conflict_at(vault, "t", "x", "y");
  EXPECT_EQ(vault[1].conflicts().conflicts(true).at(0).suggested, 0u);
  EXPECT_EQ(vault[1].store->retrieve("r")->at("t"), "y");  // and only suggested
}

TEST(Policies, AFieldEditedBesideAWholeRecordIsNotLostWhenItIsStored) {
  TestVault vault;
  vault[0].store->store("r", {{"a", 0}, {"c", 0}});
  vault.settle();
  Policy whole = policy("$", Strategy::timestamp);
  whole.whole_records = true;
  vault[1].store->patch("r", {{"c", 3}});  // before it hears of the policy
  vault[0].conflicts().set_policy(whole);
  vault[0].store->store("r", {{"a", 1}, {"c", 3}});
  vault.settle();
  expect_equal(vault);
  vault[0].store->patch("r", {{"a", 2}});
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[1].store->retrieve("r"), (Json{{"a", 2}, {"c", 3}}));
}

TEST(Policies, EmptyingARecordBesideAnEditAsks) {
  TestVault vault;
  vault[0].store->store("r", {{"v", 1}, {"m", {{"x", 1}}}});
  vault.settle();
  vault[0].store->store("r", Json::object());
  vault[1].store->patch("r", {{"v", 2}});
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].conflicts().conflicts(true).at(0).type, ConflictType::update_delete);
  vault[0].store->store("e", {{"m", {{"x", 1}, {"y", 1}}}});
  vault.settle();
  vault[0].store->store("e", {{"m", Json::object()}});
  EXPECT_EQ(*vault[0].store->retrieve("e"), (Json{{"m", Json::object()}}));
  vault[1].store->patch("e", {{"m", {{"x", 2}}}});
  vault.settle();
  expect_equal(vault);
  std::vector<Conflict> pending = vault[1].conflicts().conflicts(true);
  EXPECT_EQ(std::count_if(pending.begin(), pending.end(),
                          [](const Conflict& c) { return c.path == "$.m.x"; }),
            1);
}

TEST(Custom, WhatIsCriticalIsTheUsersToDecide) {
  TestVault vault;
  Policy critical = policy("$.t", Strategy::custom);
  critical.critical = true;
  vault[0].conflicts().set_policy(critical);
  vault[1].conflicts().set_custom("records", [](const Conflict&) { return Json("auto"); });
  conflict_at(vault, "t", "a", "b");
  vault.settle();
  EXPECT_EQ(vault[0].conflicts().count_pending(), 1u);
  EXPECT_EQ(vault[0].store->retrieve("r")->at("t"), "b");
}

TEST(Deadline, AFallbackThatWouldBeTooLargeDoesNotStopSyncs) {
  TestVault vault;
  Policy merge = policy("$.t", Strategy::user_choice);
  merge.deadline_ms = 0;
  merge.fallback = Strategy::merge;
  vault[0].conflicts().set_policy(merge);
  auto list = [](char c) {
    Json out = Json::array();
    for (int i = 0; i < 4000; ++i) out.push_back(std::string(100, c) + std::to_string(i));
    return out;
  };
  conflict_at(vault, "t", list('a'), list('b'));
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
}

}  // namespace
}  // namespace holdfast::sync
