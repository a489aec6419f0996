// What a relay can show of a vault's history: every short one it could make up out of real batches,
// and long ones that fork and merge at random. A device takes an honest prefix or names the fault,
// and nothing is lost once the relay is honest again.

#include <gtest/gtest.h>

#include <random>

#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

constexpr std::uint64_t kMostShown = 3;  // batches in one made-up history

std::vector<Bytes> log_of(TestVault& vault) {
  return vault.relay.storage.batches(Membership(vault[0].store->engine()).vault(), 0, SIZE_MAX);
}

// A device as it was: on a copy of its files, with a network of its own.
struct CopiedDevice {
  CopiedDevice(TestDevice& device, const std::shared_ptr<base::MemoryFiles>& its_files)
      : world(77) {
    world.clock = device.world.clock;
    world.environment.clock = device.world.clock;
    world.environment.network = device.world.environment.network;
    world.environment.files = world.files = its_files->after_kill();
    store.emplace(world.open());
    sync.emplace(*store);
  }
  store::FakeWorld world;
  std::optional<EncryptedLocalStore> store;
  std::optional<IncrementalSync> sync;
};

// Batches of two devices, in two epochs, and a third device that has read none to all of them.
struct ShortHistory {
  ShortHistory() : vault(3), other(1, 5) {
    vault[0].store->store("known", {{"n", 1}});
    vault.settle();
    start = log_of(vault).size();
    keep();
    write(0, "a");
    write(1, "b");
    vault[0].vault().rotate_key();
    write(0, "c");
    write(1, "d");
    log = log_of(vault);
    for (std::size_t i = start; i < log.size(); ++i) pool.push_back(log[i]);
    pool.push_back(log[start - 1]);  // one that every device has
    vault[1].store->store("elsewhere", {{"n", 9}});
    pool.push_back(vault[1].sync->prepare_sync_package().at(0));  // one that is in no log yet
    other.settle();
    other[0].store->store("a", {{"n", 1}});
    pool.push_back(other[0].sync->prepare_sync_package().at(0));  // one of another vault
  }
  void write(std::size_t device, const std::string& id) {
    vault[device].sync->sync();
    vault[device].store->store(id, {{"n", 1}});
    vault[device].sync->sync();
    vault[2].sync->sync();
    keep();
  }
  void keep() {
    files.push_back(vault[2].world.files->after_kill());
    states.push_back(vault[2].state());
  }
  TestVault vault;
  TestVault other;
  std::size_t start = 0;
  std::vector<Bytes> log;
  std::vector<Bytes> pool;
  std::vector<std::shared_ptr<base::MemoryFiles>> files;  // of the third device, by its place
  std::vector<Bytes> states;
};

// A page that says so, with chains that fit: anybody can compute them.
wire::LogPage page_of(const LogPosition& at, const base::Hash32& control_head,
                      const std::vector<Bytes>& batches) {
  wire::LogPage page;
  page.log_id = at.log_id;
  page.start_chain = page.end_chain = at.chain;
  page.head = at.position + batches.size();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    page.end_chain =
        wire::chain_next(page.end_chain, at.position + i + 1, wire::leaf_of(batches[i]));
  }
  page.chain = page.end_chain;
  page.control_head = control_head;
  page.batches = batches;
  return page;
}

// Every history of at most three batches out of the pool, shown to a device at every place.
TEST(HostileHistories, EveryShortOneIsAnHonestPrefixOrANamedError) {
  ShortHistory short_one;
  TestVault& vault = short_one.vault;
  std::uint64_t shown = 0;
  std::uint64_t taken = 0;
  std::uint64_t cases = 0;
  const std::size_t pool = short_one.pool.size();
  for (std::size_t place = 0; place < short_one.files.size(); ++place) {
    for (std::size_t code = 0; code < (pool + 1) * (pool + 1) * (pool + 1); ++code) {
      std::vector<Bytes> batches;
      std::size_t rest = code;
      bool ended = false;
      bool is_repeated = false;  // the same history, written with gaps
      for (std::uint64_t i = 0; i < kMostShown; ++i, rest /= pool + 1) {
        std::size_t pick = rest % (pool + 1);
        is_repeated = is_repeated || (ended && pick > 0);
        ended = ended || pick == 0;
        if (pick > 0 && !ended) batches.push_back(short_one.pool[pick - 1]);
      }
      if (is_repeated || cases++ % store::test_stride() != 0) continue;
      CopiedDevice device(vault[2], short_one.files[place]);
      auto at = [&] { return *Membership(device.store->engine()).log(); };
      const LogPosition before = at();
      vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
        if (request.url.find("/log?") == std::string::npos) return;
        wire::LogPage real = wire::decode_log_page(response.body);
        bool is_first = at().position == before.position;
        response.body = wire::encode(
            page_of(at(), real.control_head, is_first ? batches : std::vector<Bytes>()));
      };
      SyncResult result = device.sync->sync();
      vault.relay.after = nullptr;
      ++shown;
      bool is_named = !result.error || result.error == ErrorCode::protocol ||
                      result.error == ErrorCode::fork || result.error == ErrorCode::malformed;
      ASSERT_TRUE(is_named) << place << " " << code << ": " << result.message;
      // What it took is the log's own beginning, with the batch behind its end perhaps.
      std::uint64_t took = at().position - before.position;
      taken += took;
      std::size_t reached = place + took;
      ASSERT_LE(reached, short_one.states.size()) << place << " " << code;
      for (std::uint64_t i = 0; i < took; ++i) {
        const Bytes& expected = short_one.start + place + i < short_one.log.size()
                                    ? short_one.log[short_one.start + place + i]
                                    : short_one.pool[pool - 2];
        ASSERT_EQ(batches[i], expected) << place << " " << code;
      }
      if (reached < short_one.states.size()) {
        ASSERT_EQ(device.store->engine().locked()->records().canonical_state(),
                  short_one.states[reached])
            << place << " " << code;
      }
    }
  }
  std::printf("%llu histories shown, %llu batches taken\n", static_cast<unsigned long long>(shown),
              static_cast<unsigned long long>(taken));
  vault.settle();
  expect_equal(vault);
}

// Two relays that were one, each with a part of the devices, again and again: what one of them took
// and the other never had comes back with the devices that know it.
struct ForkedVault {
  explicit ForkedVault(std::uint64_t seed) : rng(seed), vault(1, seed), branch(vault.clock) {
    while (vault.devices.size() < 4) vault.add(seed * 100 + 10 + vault.devices.size());
    for (std::size_t i = 0; i < vault.devices.size(); ++i) {
      on_branch.push_back(false);
      TestDevice& device = *vault.devices[i];
      device.world.environment.network =
          std::make_shared<base::FakeNetwork>([this, i](const base::HttpRequest& request) {
            return (on_branch[i] ? branch : vault.relay).perform(request);
          });
      device.open();
    }
    vault.settle();
  }
  void fork() {
    if (is_forked) return;
    branch.put_back(vault.relay.backup(), false);
    is_forked = true;
    for (std::size_t i = 0; i < on_branch.size(); ++i) on_branch[i] = rng() % 2 == 0;
  }
  // One of the two histories is shown to everybody from now on.
  void merge() {
    if (!is_forked) return;
    if (rng() % 2 == 0) vault.relay.put_back(branch.backup(), false);
    std::fill(on_branch.begin(), on_branch.end(), false);
    is_forked = false;
    vault.clock->advance_ms(2 * 60'000);
  }
  void step() {
    std::size_t who = rng() % vault.devices.size();
    std::uint64_t what = rng() % 100;
    if (what < 40) {
      std::string id = "r" + std::to_string(written++);
      vault[who].store->store(id, {{"n", written}});
    } else if (what < 80) {
      SyncResult result = vault[who].sync->sync();
      bool is_named = !result.error || result.error == ErrorCode::protocol ||
                      result.error == ErrorCode::fork || result.error == ErrorCode::refused ||
                      result.error == ErrorCode::busy;
      EXPECT_TRUE(is_named) << result.message;
    } else if (what < 85) {
      on_branch[who] = is_forked && !on_branch[who];  // shown the other one
    } else if (what < 92) {
      fork();
    } else if (what < 98) {
      merge();
    } else if (!is_forked) {  // a list of devices that has forked stays forked, and says so
      vault[who].vault().rotate_key();
    }
    vault.clock->advance_ms(static_cast<std::int64_t>(rng() % 20'000));
  }
  std::mt19937_64 rng;
  TestVault vault;
  FakeRelay branch;
  std::vector<bool> on_branch;
  bool is_forked = false;
  std::uint64_t written = 0;
};

TEST(HostileHistories, ForksAndMergesAtRandomLoseNothing) {
  std::uint64_t runs = std::max<std::uint64_t>(2, 60 / store::test_stride());
  for (std::uint64_t seed = 1; seed <= runs; ++seed) {
    ForkedVault forked(seed);
    for (int i = 0; i < 80; ++i) {
      try {
        forked.step();
      } catch (const Error& error) {  // a change of the key where the list has forked
        EXPECT_TRUE(error.code() == ErrorCode::protocol || error.code() == ErrorCode::fork ||
                    error.code() == ErrorCode::refused || error.code() == ErrorCode::busy ||
                    error.code() == ErrorCode::exists)
            << seed << ": " << error.what();
      }
    }
    forked.merge();
    for (int round = 0; round < 6; ++round) {
      forked.vault.clock->advance_ms(2 * 60'000);
      for (auto& device : forked.vault.devices) device->sync->sync();
    }
    for (auto& device : forked.vault.devices) {
      SyncResult result = device->sync->sync();
      ASSERT_EQ(result.state, SyncState::up_to_date) << seed << ": " << result.message;
      ASSERT_EQ(device->store->list().size(), forked.written) << seed;
    }
    expect_equal(forked.vault);
  }
}

}  // namespace
}  // namespace holdfast::sync
