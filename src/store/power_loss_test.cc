// The power goes at every moment of every way to write: what was acknowledged is there, and the
// rest is there whole or not at all.
//
// Every state is opened, checked page by page and by SQLite, and read. HOLDFAST_POWER_LOSS_ROUNDS
// makes more of them (default 1), and HOLDFAST_TEST_STRIDE looks at fewer.

#include <gtest/gtest.h>

#include <cstdlib>

#include "holdfast/backup.h"
#include "src/store/logged_files.h"
#include "src/store/schema.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;
using Contents = std::map<std::string, Json>;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* set = std::getenv(name);
  return set ? std::strtoull(set, nullptr, 10) : otherwise;
}

Contents contents(const EncryptedLocalStore& store) {
  Contents all;
  store.for_each("records", [&](const std::string& id, const Json& document) {
    all[id] = document;
    return true;
  });
  return all;
}

// A device whose disk logs. `acknowledge` says what must be there from now on.
class Device {
 public:
  explicit Device(std::uint64_t seed, const LoggedFiles::Image& image = {})
      : files(std::make_shared<LoggedFiles>(image)),
        random(std::make_shared<base::SeededRandom>(seed)),
        environment{std::make_shared<base::FakeClock>(), random, files, nullptr} {}

  StoreOptions options() const {
    StoreOptions out;
    out.environment = &environment;
    out.cache_mib = 2;
    return out;
  }
  EncryptedLocalStore open() const {
    return EncryptedLocalStore("test.db", FakeWorld::key(), options());
  }
  void acknowledge(const EncryptedLocalStore& store) { acknowledge(contents(store)); }
  void acknowledge(Contents now) {
    history.push_back(std::move(now));
    files->mark(history.size());
  }

  std::shared_ptr<LoggedFiles> files;
  std::shared_ptr<base::SeededRandom> random;
  base::Environment environment;
  std::vector<Contents> history;  // after each acknowledgement
};

// What a state holds; nothing where there is no store yet.
std::optional<Contents> look(const LoggedFiles::Image& image, const UserKey& key) {
  base::Environment environment{std::make_shared<base::FakeClock>(),
                                std::make_shared<base::SeededRandom>(99),
                                std::make_shared<LoggedFiles>(image), nullptr};
  if (!environment.files->exists("test.db")) return std::nullopt;
  StoreOptions options;
  options.open = StoreOptions::Open::existing;
  options.environment = &environment;
  options.cache_mib = 2;
  EncryptedLocalStore store("test.db", key, options);
  store.verify();
  std::optional<Contents> out;
  store.transaction([&] { out = contents(store); });  // by the connection that is open already
  return out;
}

std::uint64_t check_every_state(const Device& device, const UserKey& key = FakeWorld::key()) {
  std::uint64_t stride = test_stride();
  std::uint64_t states = 0;
  std::uint64_t wrong = 0;
  device.files->for_each_state([&](const LoggedFiles::Image& image, std::uint64_t acknowledged) {
    if (states++ % stride != 0 || wrong > 3) return;
    try {
      // Before the first acknowledgement anything that opens will do.
      if (acknowledged == 0) look(image, FakeWorld::key());
      if (acknowledged == 0) return;
      std::optional<Contents> found = look(image, key);
      bool as_acknowledged = found == device.history[acknowledged - 1];
      // What was on its way may have made it, whole.
      bool as_next = acknowledged < device.history.size() && found == device.history[acknowledged];
      if (!as_acknowledged && !as_next) {
        ++wrong;
        ADD_FAILURE() << "state " << states << " after " << acknowledged
                      << " acknowledgements holds "
                      << (found ? Json(*found).dump().substr(0, 300) : "no store");
      }
    } catch (const Error& error) {
      ++wrong;
      ADD_FAILURE() << "state " << states << " after " << acknowledged
                    << " acknowledgements: " << error.what();
    }
  });
  std::printf("%llu states\n", static_cast<unsigned long long>(states));
  ::testing::Test::RecordProperty("states", std::to_string(states));
  return states;
}

std::uint64_t rounds() { return setting("HOLDFAST_POWER_LOSS_ROUNDS", 1); }

std::string id(std::uint64_t n) { return "k" + std::to_string(n); }

TEST(PowerLoss, WhileAStoreIsMadeAndRecordsAreStored) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round);
    auto store = device.open();
    device.acknowledge(store);
    for (std::uint64_t n = 0; n < 24; ++n) {
      std::uint64_t which = n % 7;
      if (n % 5 == 4) {
        store.remove(id(which));
      } else {
        store.store(id(which), {{"n", n}, {"t", std::string(n * 37 % 900, 'x')}});
      }
      device.acknowledge(store);
    }
    EXPECT_GT(check_every_state(device), 1000u);
  }
}

TEST(PowerLoss, InTheMiddleOfATransactionOfManyRecords) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 100);
    auto store = device.open();
    device.acknowledge(store);
    for (std::uint64_t batch = 0; batch < 4; ++batch) {
      store.transaction([&] {
        for (std::uint64_t n = 0; n < 12; ++n) {
          store.store(id(n + batch * 3), {{"n", batch}, {"t", std::string(700, 'y')}});
        }
      });
      device.acknowledge(store);
    }
    EXPECT_GT(check_every_state(device), 1000u);
  }
}

// Closing writes the log into the pages and removes it; opening starts another.
TEST(PowerLoss, DuringCheckpoints) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 200);
    for (std::uint64_t n = 0; n < 7; ++n) {
      auto store = device.open();
      for (std::uint64_t i = 0; i < 3; ++i) {
        store.store(id(n % 3 * 10 + i), {{"n", n}, {"t", std::string(1500, 'z')}});
        device.acknowledge(store);
      }
      if (n == 5) {
        store.transaction([&] {
          for (const std::string& one : store.list()) store.remove(one);
        });
        device.acknowledge(store);
      }
    }
    EXPECT_GT(check_every_state(device), 1000u);
  }
}

// The log restarts in place, while the store stays open.
TEST(PowerLoss, WhenTheLogStartsAnew) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 300);
    auto store = device.open();
    device.acknowledge(store);
    for (std::uint64_t n = 0; n < 12; ++n) {
      store.store(id(n % 4), {{"n", n}, {"t", std::string(400, 'w')}});
      device.acknowledge(store);
      if (n % 3 == 2) store.verify();  // checkpoints
    }
    EXPECT_GT(check_every_state(device), 1000u);
  }
}

TEST(PowerLoss, WhileKeysAreAddedChangedAndRemoved) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 400);
    auto store = device.open();
    for (std::uint64_t n = 0; n < 4; ++n) {
      store.store(id(n), {{"n", n}});
      device.acknowledge(store);
      std::uint8_t slot = store.add_key(FakeWorld::key(50));
      store.change_key(slot, FakeWorld::key(51));
      store.store(id(n + 10), {{"n", n}});
      device.acknowledge(store);
      store.remove_key(slot);
      if (n == 1) store.verify();
    }
    EXPECT_GT(check_every_state(device), 2000u);
  }
}

// Once remove_key returned, no state of the disk opens with the removed key.
TEST(PowerLoss, NeverBringsARemovedKeyBack) {
  Device device(450);
  auto store = device.open();
  std::uint8_t slot = store.add_key(FakeWorld::key(50));
  store.remove_key(slot);
  store.store("a", {{"n", 1}});
  device.acknowledge(store);
  for (int n = 0; n < 3; ++n) {
    store.store("a", {{"n", n + 2}});
    store.verify();
    device.acknowledge(store);
  }
  std::uint64_t states = 0;
  device.files->for_each_state([&](const LoggedFiles::Image& image, std::uint64_t acknowledged) {
    if (acknowledged == 0) return;
    ++states;
    EXPECT_EQ(code_of([&] { look(image, FakeWorld::key(50)); }), ErrorCode::wrong_key);
  });
  EXPECT_GT(states, 100u);
}

TEST(PowerLoss, DuringRekey) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 500);
    {
      auto store = device.open();
      store.add_key(FakeWorld::key(60));
      for (std::uint64_t n = 0; n < 4; ++n) {
        store.store(id(n), {{"n", n}, {"t", std::string(600, 'r')}});
      }
      device.acknowledge(store);
      store.rekey();
      device.acknowledge(store);
      store.store("after", {{"n", 1}});
      device.acknowledge(store);
    }
    {
      auto store = device.open();  // settles this key's slot
      store.store("again", {{"n", 2}});
      device.acknowledge(store);
      store.rekey();
      device.acknowledge(store);
    }
    EXPECT_GT(check_every_state(device, FakeWorld::key(60)), 2000u);
  }
}

// The tables of an older version are brought up when the store is opened.
TEST(PowerLoss, DuringAnUpgrade) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 600);
    {
      auto store = device.open();
      for (std::uint64_t n = 0; n < 5; ++n) {
        store.store(id(n), {{"n", n}, {"t", std::string(500, 'u')}});
      }
      store.engine().locked()->database().connection().execute(kToFirstTables);
      device.acknowledge(store);
    }
    auto store = device.open();
    EXPECT_EQ(schema_version(store.engine().locked()->database().connection()), kSchemaVersion);
    store.store("after", {{"n", 1}});
    device.acknowledge(store);
    std::uint32_t n = 0;
    auto step = [&](EncryptedLocalStore& s) {
      ++n;
      for (const std::string& one : s.list()) s.patch(one, {{"version", n}});
    };
    store.migrate({{1, "one", step}, {2, "two", step}});
    device.acknowledge(store);
    EXPECT_GT(check_every_state(device), 2000u);
  }
}

TEST(PowerLoss, WhileABackupTakesAStoresPlace) {
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    Device device(round + 700);
    auto store = std::make_unique<EncryptedLocalStore>(device.open());
    for (std::uint64_t n = 0; n < 4; ++n) store->store(id(n), {{"n", n}});
    device.acknowledge(*store);
    Contents saved = contents(*store);
    backup(*store, "b", FakeWorld::key(70));
    store->store("later", {{"n", 9}});
    device.acknowledge(*store);
    store.reset();
    RestoreOptions options;
    options.replace = true;
    options.store = device.options();
    restore("b", FakeWorld::key(70), "test.db", FakeWorld::key(), options);
    device.acknowledge(saved);
    auto restored = device.open();
    restored.store("new", {{"n", 10}});
    device.acknowledge(restored);
    EXPECT_GT(check_every_state(device), 1000u);
  }
}

// Opening after a power cut writes, too, and the power may go again.
TEST(PowerLoss, DuringRecoveryFromPowerLoss) {
  Device device(800);
  auto store = device.open();
  device.acknowledge(store);
  for (std::uint64_t n = 0; n < 4; ++n) {
    store.store(id(n % 2), {{"n", n}, {"t", std::string(800, 'q')}});
    device.acknowledge(store);
    if (n == 2) store.verify();
  }
  std::uint64_t first = 0;
  std::uint64_t states = 0;
  std::uint64_t stride = std::clamp<std::uint64_t>(test_stride(), 4, 32);  // of the first power cut
  device.files->for_each_state([&](const LoggedFiles::Image& image, std::uint64_t acknowledged) {
    if (acknowledged == 0 || first++ % (61 * stride) != 0) return;
    Device second(801 + first, image);
    Contents found;
    {
      auto reopened = second.open();
      found = contents(reopened);
      second.acknowledge(found);
      reopened.store("more", {{"n", 1}});
      second.acknowledge(reopened);
    }
    second.files->for_each_state([&](const LoggedFiles::Image& again, std::uint64_t marker) {
      ++states;
      std::optional<Contents> seen = look(again, FakeWorld::key());
      bool fits = seen == second.history[marker == 0 ? 0 : marker - 1] ||
                  (marker < 2 && seen == second.history[marker]);
      EXPECT_TRUE(fits) << "state " << first << "." << states;
    });
  });
  std::printf("%llu states\n", static_cast<unsigned long long>(states));
  EXPECT_GT(states, 1000u);
}

}  // namespace
}  // namespace holdfast::store
