// A month and a half in which three devices write ten thousand edits each, one of them cut off all
// the while; the others make checkpoints, forget what is deleted, and the relay lets go of the log.

#include <chrono>
#include <random>

#include "holdfast/fields.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

constexpr int kDays = 45;
constexpr std::int64_t kDayMs = 24 * kHourMs;

struct Writer {
  TestDevice* device;
  std::string prefix;
  std::mt19937 random;
  std::map<std::string, int> expected;  // of its own records, that nobody else touches
  std::int64_t added = 0;               // to the counter that all share

  void edit(int number) {
    EncryptedLocalStore& store = *device->store;
    std::string id = prefix + std::to_string(random() % 300);
    switch (random() % 4) {
      case 0:
        Fields(store).add({"records", "shared"}, "$.n", 1);
        ++added;
        break;
      case 1:
        if (expected.erase(id)) store.remove(id);
        break;
      default:
        store.store(id, {{"n", number}, {"text", "edit " + std::to_string(number)}});
        expected[id] = number;
    }
  }
};

TEST(LongOffline, NothingIsLostAfterFortyFiveDays) {
  const int edits = static_cast<int>(10'000 / store::test_stride()) / kDays * kDays;
  TestVault vault(0);
  for (std::uint64_t i = 0; i < 3; ++i) vault.add(500 + i, 200'000);
  Policy counter;
  counter.collection = "records";
  counter.path = "$.n";
  counter.type = FieldType::counter;
  vault[0].conflicts().set_policy(counter);
  vault[0].store->store("shared", {{"n", 0}});
  vault.relay.set_retention(7 * kDayMs);
  vault.settle();
  std::vector<Writer> writers;
  for (std::size_t i = 0; i < 3; ++i) {
    writers.push_back({&vault[i], "w" + std::to_string(i) + "-", std::mt19937(i), {}, 0});
  }
  for (int day = 0; day < kDays; ++day) {
    for (int n = 0; n < edits / kDays; ++n) {
      for (Writer& writer : writers) writer.edit(day * 1000 + n);
      vault.clock->advance_ms(kDayMs / (edits / kDays));
    }
    for (std::size_t i : {0, 1, 0, 1, 0}) {  // from the second time on with nothing to send
      SyncResult result = vault[i].sync->sync();
      ASSERT_FALSE(result.error) << result.message;
    }
  }
  EXPECT_GT(vault.relay.storage.vault(Membership(vault[0].store->engine()).vault())->floor, 0u);
  auto start = std::chrono::steady_clock::now();
  SyncResult back = vault[2].sync->sync();
  ASSERT_FALSE(back.error) << back.message;
  std::printf("45 days offline: %llu change sets received and sent in %lld ms\n",
              static_cast<unsigned long long>(back.applied + back.sent),
              static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                         std::chrono::steady_clock::now() - start)
                                         .count()));
  vault.settle();
  expect_equal(vault);
  std::int64_t added = 0;
  for (const Writer& writer : writers) added += writer.added;
  for (auto& device : vault.devices) {
    EXPECT_EQ(device->store->retrieve("shared")->at("n"), added);
    std::size_t count = 1;
    for (const Writer& writer : writers) {
      count += writer.expected.size();
      for (const auto& [id, n] : writer.expected) {
        ASSERT_EQ(device->store->retrieve(id).value().at("n"), n) << id;
      }
    }
    EXPECT_EQ(device->store->list().size(), count);
  }
}

}  // namespace
}  // namespace holdfast::sync
