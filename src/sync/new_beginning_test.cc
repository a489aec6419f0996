// Stores that were copied, or put back from a copy, while their device went on elsewhere.

#include "src/sync/rewind.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

// A vault of two devices, and a copy of the first's files.
struct Copied {
  Copied() {
    vault[0].conflicts().set_policy(policy("$.text", Strategy::merge, FieldType::text));
    vault[0].conflicts().set_policy(policy("$.count", Strategy::merge, FieldType::counter));
    vault[0].store->store("a", {{"n", 1}, {"text", "one two"}, {"count", 5}});
    vault.settle();
  }
  // What a copy of the files would be now.
  void take() { copied = vault[0].world.files->after_kill(); }
  TestDevice& open_copy() {
    vault.devices.push_back(std::make_unique<TestDevice>(vault.relay, 900 + vault.devices.size()));
    TestDevice& copy = *vault.devices.back();
    copy.sync.reset();
    copy.store.reset();
    copy.world.environment.files = copy.world.files = copied->after_kill();
    copy.open();
    return copy;
  }
  void edit(TestDevice& device, const std::string& word, int add) {
    nlohmann::json document = *device.store->retrieve("a");
    document["text"] = document["text"].get<std::string>() + " " + word;
    document["count"] = document["count"].get<int>() + add;
    device.store->store("a", document);
  }
  void expect_healed() {
    vault.settle();
    for (auto& device : vault.devices) {
      SyncResult result = device->sync->sync();
      EXPECT_TRUE(result.state == SyncState::up_to_date || result.state == SyncState::conflict)
          << result.message;
      EXPECT_EQ(device->store->engine().count_waiting(), 0u);
      EXPECT_EQ(device->sync->count_pending(), 0u);
    }
    expect_equal(vault);
  }
  TestVault vault;
  std::shared_ptr<base::MemoryFiles> copied;
};

TEST(NewBeginning, BecomesADeviceOfItsOwnWithAllThatItAloneWrote) {
  for (bool copy_first : {false, true}) {
    Copied scene;
    TestVault& vault = scene.vault;
    scene.take();
    TestDevice& copy = scene.open_copy();
    // Both write change sets of the same numbers.
    scene.edit(vault[0], "original", 1);
    vault[0].store->store("by-original", {{"n", 1}});
    scene.edit(copy, "copy", 10);
    copy.store->store("by-copy", {{"n", 2}});
    copy.store->remove("by-copy");
    copy.store->store("by-copy", {{"n", 3}});
    if (copy_first) {
      EXPECT_EQ(copy.sync->sync().state, SyncState::up_to_date);
      EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
    } else {
      EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
      SyncResult result = copy.sync->sync();
      EXPECT_EQ(result.state, SyncState::up_to_date) << result.message;
      ASSERT_EQ(result.notices.size(), 1u);
      EXPECT_NE(result.notices[0].find("copy of 'device-1'"), std::string::npos);
    }
    scene.expect_healed();
    nlohmann::json a = *vault[1].store->retrieve("a");
    EXPECT_EQ(a["count"], 16);
    EXPECT_NE(a["text"].get<std::string>().find("original"), std::string::npos);
    EXPECT_NE(a["text"].get<std::string>().find("copy"), std::string::npos);
    EXPECT_EQ(vault[1].store->retrieve("by-original")->at("n"), 1);
    EXPECT_EQ(vault[1].store->retrieve("by-copy")->at("n"), 3);
    EXPECT_EQ(vault[1].vault().devices().size(), 3u);
    EXPECT_EQ(vault[1].vault().devices()[2].name, "device-1 (copy)");
  }
}

TEST(NewBeginning, APhoneThatIsPutBackMissesNothing) {
  Copied scene;
  TestVault& vault = scene.vault;
  scene.edit(vault[0], "unsent", 1);
  vault[0].sync->prepare_sync_package();  // sealed in the copy, and sent after it was taken
  vault[0].store->store("unsealed", {{"n", 1}});
  scene.take();
  vault[0].sync->sync();
  scene.edit(vault[0], "later", 1);
  vault[0].sync->sync();
  vault.devices.erase(vault.devices.begin());  // the phone is lost …
  TestDevice& phone = scene.open_copy();       // … and its files are put back
  phone.store->store("new", {{"n", 2}});
  scene.expect_healed();
  nlohmann::json a = *phone.store->retrieve("a");
  EXPECT_EQ(a["count"], 7);
  EXPECT_EQ(a["text"], "one two unsent later");
  EXPECT_EQ(phone.store->retrieve("unsealed")->at("n"), 1);
  EXPECT_EQ(vault[0].store->retrieve("new")->at("n"), 2);
}

TEST(NewBeginning, SeesItsOwnConflictsWithWhatTheOriginalWrote) {
  Copied scene;
  TestVault& vault = scene.vault;
  scene.take();
  TestDevice& copy = scene.open_copy();
  vault[0].store->patch("a", {{"n", 2}});
  copy.store->patch("a", {{"n", 3}});
  vault[0].sync->sync();
  copy.sync->sync();
  scene.expect_healed();
  std::vector<Conflict> conflicts = copy.conflicts().conflicts(false);
  ASSERT_EQ(conflicts.size(), 1u);
  EXPECT_EQ(conflicts[0].candidates.size(), 2u);
}

TEST(NewBeginning, DeletesStayAndAreAskedAbout) {
  Copied scene;
  TestVault& vault = scene.vault;
  vault[0].store->store("b", {{"n", 1}});
  vault[0].store->store("c", {{"n", 1}});
  vault.settle();
  scene.take();
  TestDevice& copy = scene.open_copy();
  copy.store->remove("b");
  copy.store->remove("c");
  vault[0].store->patch("c", {{"n", 2}});
  vault[0].sync->sync();
  copy.sync->sync();
  scene.expect_healed();
  EXPECT_EQ(vault[1].store->retrieve("b"), std::nullopt);
  EXPECT_EQ(vault[1].store->retrieve("c")->at("n"), 2);  // an update beside a delete
  EXPECT_EQ(vault[1].conflicts().conflicts(false).size(), 1u);
}

// Cut at each request, with the power gone: the next sync goes on.
TEST(NewBeginning, GoesOnAfterACutAnywhere) {
  for (int cut = 0;; ++cut) {
    Copied scene;
    TestVault& vault = scene.vault;
    scene.take();
    TestDevice& copy = scene.open_copy();
    scene.edit(vault[0], "original", 1);
    scene.edit(copy, "copy", 10);
    vault[0].sync->sync();
    int seen = 0;
    bool lose_answer = cut % 2 == 1;
    auto is_cut = [&] { return seen++ >= cut / 2; };
    if (lose_answer) {
      vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
        if (is_cut()) response = {0, {}, 0, "cut"};
      };
    } else {
      vault.relay.before = [&](const base::HttpRequest&) { return is_cut(); };
    }
    SyncResult result = copy.sync->sync();
    vault.relay.after = nullptr;
    vault.relay.before = nullptr;
    if (result.state == SyncState::up_to_date) {
      EXPECT_GT(cut, 16);
      break;
    }
    copy.cut_power();
    scene.expect_healed();
    EXPECT_EQ(vault[1].store->retrieve("a")->at("count"), 16);
    EXPECT_EQ(vault[1].vault().devices().size(), 3u);
    if (HasFailure()) FAIL() << "cut at " << cut;
  }
}

TEST(NewBeginning, ManyCopiesOfOneStore) {
  Copied scene;
  TestVault& vault = scene.vault;
  scene.take();
  for (int i = 0; i < 4; ++i) {
    TestDevice& copy = scene.open_copy();
    scene.edit(copy, "c" + std::to_string(i), 1);
    copy.sync->sync();
  }
  scene.edit(vault[0], "original", 1);
  scene.expect_healed();
  EXPECT_EQ(vault[1].store->retrieve("a")->at("count"), 10);
  EXPECT_EQ(vault[1].vault().devices().size(), 6u);
}

TEST(NewBeginning, WhatCameByPackageIsNotTakenForItsOwn) {
  Copied scene;
  TestVault& vault = scene.vault;
  scene.edit(vault[1], "carried", 100);
  EXPECT_EQ(vault[0].sync->apply_remote_changes(vault[1].sync->prepare_sync_package()).applied, 1u);
  scene.take();
  TestDevice& copy = scene.open_copy();
  scene.edit(vault[0], "original", 1);
  vault[0].sync->sync();
  scene.edit(copy, "copy", 10);
  scene.expect_healed();
  EXPECT_EQ(vault[1].store->retrieve("a")->at("count"), 116);
}

}  // namespace
}  // namespace holdfast::sync
