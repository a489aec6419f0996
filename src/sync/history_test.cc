// What records said before, undoing, and forgetting what everybody has.

#include "holdfast/history.h"

#include <gtest/gtest.h>

#include "holdfast/fields.h"
#include "src/model/purge.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

TEST(HistoryOf, ARecordSaysWhatItSaidBeforeAndWho) {
  TestVault vault;
  vault[0].store->store("r", {{"a", 1}, {"b", 1}});
  vault.settle();
  vault.relay.clock->advance_ms(1000);
  vault[1].store->patch("r", {{"a", 2}, {"c", 1}});
  vault.settle();
  std::vector<PastChange> past = History(*vault[0].store).changes("r");
  ASSERT_EQ(past.size(), 2u);
  EXPECT_EQ(past[0].change.device, vault[1].store->engine().identity().id);
  ASSERT_EQ(past[0].values.size(), 2u);
  EXPECT_EQ(past[0].values[0].path, "$.a");
  EXPECT_EQ(past[0].values[0].value, Json(1));
  EXPECT_EQ(past[0].values[0].device, vault[0].store->engine().identity().id);
  EXPECT_FALSE(past[0].values[1].value);
  EXPECT_TRUE(past[1].created);
  // Kept for a month.
  vault.relay.clock->advance_ms(31 * 24 * kHourMs);
  vault[0].conflicts().settle();
  EXPECT_EQ(History(*vault[0].store).changes("r").size(), 1u);  // that it was created stays known
}

TEST(HistoryOf, AChangeIsUndoneAsANewOneInAllItsRecords) {
  TestVault vault;
  Policy counter = policy("$.n", Strategy::timestamp, FieldType::counter);
  vault[0].conflicts().set_policy(counter);
  vault[0].store->store("r", {{"a", 1}, {"n", 10}});
  vault[0].store->store("gone", {{"x", 1}});
  vault.settle();
  vault[0].store->transaction([&] {
    vault[0].store->patch("r", {{"a", 2}, {"new", true}, {"n", 15}});
    vault[0].store->remove("gone");
    vault[0].store->store("fresh", {{"y", 1}});
  });
  Dot change = History(*vault[0].store).changes("r").at(0).change;
  vault.settle();
  Fields(*vault[1].store).add("r", "$.n", 100);
  vault.settle();
  // On the other device, which has it in its history as well.
  UndoReport report = History(*vault[1].store).undo(change);
  EXPECT_EQ(report.records, 3u);
  EXPECT_TRUE(report.skipped.empty());
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[0].store->retrieve("r"), (Json{{"a", 1}, {"n", 110}}));
  EXPECT_EQ(*vault[0].store->retrieve("gone"), (Json{{"x", 1}}));
  EXPECT_FALSE(vault[0].store->retrieve("fresh"));
  EXPECT_THROW(History(*vault[0].store).undo({change.device, 12345}), Error);
}

TEST(HistoryOf, UndoLeavesWhatWasChangedAgain) {
  FakeRelay relay(std::make_shared<base::FakeClock>());
  TestDevice device(relay, 1);
  device.store->store("r", {{"a", 1}, {"b", 1}});
  device.store->patch("r", {{"a", 2}, {"b", 2}});
  Dot change = History(*device.store).changes("r").at(0).change;
  device.store->patch("r", {{"a", 3}});
  UndoReport report = History(*device.store).undo(change);
  EXPECT_EQ(report.skipped, std::vector<std::string>{"records/r $.a"});
  EXPECT_EQ(*device.store->retrieve("r"), (Json{{"a", 3}, {"b", 1}}));
}

TEST(PurgeInVault, DeletedRecordsGoOnceEveryDeviceHasSaidThatItHasThem) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.text", Strategy::timestamp, FieldType::text));
  vault[0].store->store("kept", {{"a", 1}, {"b", 1}, {"text", "abc"}});
  vault[0].store->store("gone", {{"x", 1}});
  vault.settle();
  vault[0].store->remove("gone");
  vault[0].store->patch("kept", {{"a", nullptr}});
  Fields(*vault[1].store).edit_text("kept", "$.text", 3, 0, "def");
  vault.settle();
  auto hidden = [&](std::size_t i) {
    return vault[i].store->engine().locked()->records().with_hidden().size();
  };
  EXPECT_EQ(hidden(0), 2u);
  // Nobody writes anything more: a day later each says what it has, and then it goes.
  for (int day = 0; day < 4; ++day) {
    vault.relay.clock->advance_ms(25 * kHourMs);
    vault.settle();
  }
  expect_equal(vault);
  EXPECT_FALSE(vault[0].store->engine().locked()->records().load("records", "gone"));
  EXPECT_FALSE(vault[1].store->engine().locked()->records().load("records", "gone"));
  EXPECT_EQ(*vault[1].store->retrieve("kept"), (Json{{"b", 1}, {"text", "abcdef"}}));
  // Then there is peace: nothing more is sent.
  vault.relay.clock->advance_ms(25 * kHourMs);
  vault.settle();
  vault.relay.clock->advance_ms(25 * kHourMs);
  vault.settle();
  int requests = vault.relay.requests;
  std::uint64_t position = Membership(vault[0].store->engine()).log()->position;
  vault.relay.clock->advance_ms(25 * kHourMs);
  vault.settle();
  EXPECT_EQ(Membership(vault[0].store->engine()).log()->position, position);
  EXPECT_GT(vault.relay.requests, requests);
}

TEST(PurgeInVault, WaitsForADeviceThatIsAwayAndItsEditsAreNotLost) {
  TestVault vault(3);
  vault[0].store->store("r", {{"a", 1}, {"b", 1}});
  vault.settle();
  vault[2].store->patch("r", {{"a", 2}});  // and stays away
  vault[0].store->remove("r");
  for (int day = 0; day < 40; ++day) {
    vault.relay.clock->advance_ms(25 * kHourMs);
    vault[0].sync->sync();
    vault[1].sync->sync();
  }
  EXPECT_TRUE(vault[0].store->engine().locked()->records().load("records", "r"));
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[0].store->retrieve("r"), (Json{{"a", 2}, {"b", 1}}));
  EXPECT_EQ(vault[1].conflicts().conflicts(true).at(0).type, ConflictType::update_delete);
}

TEST(PurgeInVault, AnEarlierVersionOfADeletedRecordIsStoredWhole) {
  TestVault vault;
  vault[0].store->store("r", {{"a", 1}, {"b", 2}});
  vault.settle();
  auto read = vault[1].store->retrieve_versioned("r");
  vault[0].store->remove("r");
  vault.settle();
  vault[1].store->store("r", {{"a", 5}, {"b", 2}}, read->version);
  // What lay hidden is forgotten at the same time.
  store::Engine& engine = vault[0].store->engine();
  auto row = engine.locked()->records().load("records", "r");
  std::vector<model::Op> purge =
      model::purge_ops(engine.locked()->records().decode(*row), engine.seen());
  ASSERT_FALSE(purge.empty());
  engine.write("r", std::move(purge));
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(*vault[0].store->retrieve("r"), (Json{{"a", 5}, {"b", 2}}));
}

TEST(PurgeInVault, ADeviceWithAPartOfItsVaultDoesNotWrite) {
  TestVault vault(1);
  for (int i = 0; i < 12; ++i) {
    Json document;
    for (int k = 0; k < 10; ++k) {
      std::string noise(40'000, 'x');
      base::SeededRandom random(static_cast<std::uint64_t>(i * 100 + k));
      for (char& c : noise) c = static_cast<char>('a' + random.below(26));
      document["k" + std::to_string(k)] = noise;
    }
    vault[0].store->store("r" + std::to_string(i), document);
  }
  vault[0].sync->sync();
  TestDevice& late = vault.add(900);
  late.store->store("before", {{"n", 1}});
  int pages = 0;
  vault.relay.before = [&](const base::HttpRequest& request) {
    return request.url.find("/log") != std::string::npos && request.method == "GET" && ++pages > 1;
  };
  SyncResult cut = late.sync->sync();
  ASSERT_EQ(cut.state, SyncState::offline);
  ASSERT_GT(cut.applied, 0u);
  try {
    late.store->store("r0", {{"n", 1}});
    FAIL() << "it wrote";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::busy);
  }
  vault.relay.before = nullptr;
  vault.settle();
  late.store->store("r0", {{"n", 1}});
  vault.settle();
  expect_equal(vault);
}

}  // namespace
}  // namespace holdfast::sync
