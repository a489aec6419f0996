// Counters, sets, lists and texts, edited on several devices at once.

#include <gtest/gtest.h>

#include "holdfast/fields.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

TEST(TypedFields, ConcurrentEditsOfAllTypesHappenTogether) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.n", Strategy::timestamp, FieldType::counter));
  vault[0].conflicts().set_policy(policy("$.tags", Strategy::timestamp, FieldType::set));
  vault[0].conflicts().set_policy(policy("$.todo", Strategy::timestamp, FieldType::list));
  vault[0].conflicts().set_policy(policy("$.text", Strategy::timestamp, FieldType::text));
  Json start = {{"n", 1}, {"tags", {"a", "b"}}, {"text", "Hello"}};
  start["todo"] = Json::array({{{"t", "one"}}, {{"t", "two"}}, {{"t", "three"}}});
  vault[0].store->store("r", start);
  vault.settle();
  for (std::size_t i : {0, 1}) {
    Fields fields(*vault[i].store);
    EXPECT_TRUE(fields.add("r", "$.n", i == 0 ? 5 : 7));
    EXPECT_FALSE(fields.add("absent", "$.n", 1));
    EXPECT_THROW(fields.add("r", "$.text", 1), Error);
    EXPECT_THROW(fields.insert("r", "$.todo", 9, "x"), Error);
    EXPECT_THROW(fields.edit_text("r", "$.text", 9, 0, "x"), Error);
  }
  Fields here(*vault[0].store);
  Fields there(*vault[1].store);
  here.remove_member("r", "$.tags", "a");
  there.insert_member("r", "$.tags", "c");
  here.move("r", "$.todo", 2, 0);
  there.move("r", "$.todo", 2, 0);
  there.insert("r", "$.todo", 1, {{"t", "four"}});
  here.edit_text("r", "$.text", 5, 0, ", Ada");
  there.edit_text("r", "$.text", 0, 5, "Dear");
  Json edited = *vault[0].store->retrieve("r");
  edited["todo"][1]["t"] = "ONE";  // by storing the whole document
  vault[0].store->store("r", edited);
  vault.settle();
  expect_equal(vault);
  Json now = *vault[1].store->retrieve("r");
  EXPECT_EQ(now["n"], 13);
  EXPECT_EQ(now["tags"], (Json{"b", "c"}));
  EXPECT_EQ(now["text"], "Dear, Ada");
  EXPECT_EQ(now["todo"].size(), 4u);
  EXPECT_EQ(now["todo"][0]["t"], "three");  // once, though both moved it
  EXPECT_EQ(std::count(now["todo"].begin(), now["todo"].end(), Json{{"t", "ONE"}}), 1);
  EXPECT_TRUE(vault[0].conflicts().conflicts().empty());
}

TEST(TypedFields, AValueOfTheWrongTypeIsAQuestionAndNotAnError) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.n", Strategy::timestamp, FieldType::counter));
  vault[0].store->store("r", {{"n", 1}});
  vault[0].store->patch("r", {{"n", "many"}});
  vault.settle();
  expect_equal(vault);
  std::vector<Conflict> pending = vault[1].conflicts().conflicts(true);
  ASSERT_EQ(pending.size(), 1u);
  EXPECT_EQ(pending[0].type, ConflictType::type_mismatch);
  std::size_t number = pending[0].candidates[0].value->is_number() ? 0 : 1;
  vault[1].conflicts().resolve(pending[0], number);
  vault.settle();
  EXPECT_EQ(vault[0].store->retrieve("r")->at("n"), 1);
  EXPECT_EQ(vault[0].conflicts().count_pending(), 0u);
}

TEST(TypedFields, AnElementEditedWhileItIsRemovedIsKeptAndAskedAbout) {
  for (bool keep : {true, false}) {
    TestVault vault;
    vault[0].conflicts().set_policy(policy("$.todo", Strategy::timestamp, FieldType::list));
    vault[0].store->store("r", {{"todo", {"a", "b", "c"}}});
    vault.settle();
    Fields(*vault[0].store).erase("r", "$.todo", 1);
    Json edited = *vault[1].store->retrieve("r");
    edited["todo"][1] = "B";
    vault[1].store->store("r", edited);
    vault.settle();
    expect_equal(vault);
    EXPECT_EQ(vault[0].store->retrieve("r")->at("todo"), (Json{"a", "c", "B"}));
    Conflict conflict = vault[0].conflicts().conflicts(true).at(0);
    EXPECT_EQ(conflict.type, ConflictType::update_delete);
    std::size_t value = conflict.candidates[0].value ? 0 : 1;
    vault[0].conflicts().resolve(conflict, keep ? value : 1 - value);
    vault.settle();
    expect_equal(vault);
    EXPECT_EQ(vault[1].conflicts().count_pending(), 0u);
    Json left = keep ? Json{"a", "c", "B"} : Json{"a", "c"};
    EXPECT_EQ(vault[1].store->retrieve("r")->at("todo"), left) << keep;
  }
}

TEST(TypedFields, AnEarlierVersionOfATextIsMergedWithWhatCameBetween) {
  TestVault vault;
  vault[0].conflicts().set_policy(policy("$.text", Strategy::timestamp, FieldType::text));
  vault[0].store->store("r", {{"text", "one two three"}});
  auto read = vault[0].store->retrieve_versioned("r");
  vault[0].store->patch("r", {{"text", "one two three four"}});
  Json edited = read->document;
  edited["text"] = "zero one two three";
  vault[0].store->store("r", edited, read->version);
  EXPECT_EQ(vault[0].store->retrieve("r")->at("text"), "zero one two three four");
}

}  // namespace
}  // namespace holdfast::sync
