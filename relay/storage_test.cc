// What every storage of the relay must do: the same tests over SQLite and PostgreSQL.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "holdfast/error.h"
#include "relay/postgres/postgres_storage.h"
#include "relay/postgres/schema.h"
#include "relay/test_relay.h"

namespace holdfast::relay {
namespace {

// One database, opened as often as need be.
class Backend {
 public:
  explicit Backend(const std::string& kind) : is_postgres_(kind == "postgres") {
    static int number = 0;
    std::string name =
        "holdfast_test_" + std::to_string(::getpid()) + "_" + std::to_string(number++);
    if (is_postgres_) {
      server_ = std::getenv("HOLDFAST_TEST_POSTGRES");
      PgConnection(server_).execute(("CREATE DATABASE " + name).c_str());
      where_ = server_ + " dbname=" + name;
      migrate_postgres(where_);
    } else {
      where_ = std::filesystem::temp_directory_path() / (name + ".db");
    }
    name_ = name;
  }
  ~Backend() {
    if (is_postgres_) {
      PgConnection(server_).execute(("DROP DATABASE " + name_ + " WITH (FORCE)").c_str());
      return;
    }
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(where_ + end);
  }
  std::unique_ptr<Storage> open() const {
    if (is_postgres_) return std::make_unique<PostgresStorage>(where_);
    return std::make_unique<SqliteStorage>(where_);
  }
  const std::string& where() const { return where_; }
  bool is_postgres() const { return is_postgres_; }

 private:
  bool is_postgres_;
  std::string server_, where_, name_;
};

class StorageTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "postgres" && !std::getenv("HOLDFAST_TEST_POSTGRES")) {
      GTEST_SKIP() << "run by tests/with_postgres.sh";
    }
    backend.emplace(GetParam());
    storage = backend->open();
  }
  void write(const std::function<void()>& work) { storage->group(Storage::Access::write, work); }
  void read(const std::function<void()>& work) { storage->group(Storage::Access::read, work); }

  std::optional<Backend> backend;
  std::unique_ptr<Storage> storage;
};

Hash32 hash(std::uint8_t fill) {
  Hash32 out;
  out.fill(fill);
  return out;
}
Id16 id(std::uint8_t fill) {
  Id16 out;
  out.fill(fill);
  return out;
}

Vault some_vault() {
  Vault out;
  out.log_id = id(1);
  out.head = 7;
  out.chain = hash(2);
  out.control_head = hash(3);
  out.control_count = 5;
  out.floor = 2;
  out.bytes = 1'000'000'000'000;
  out.quota = 9;
  out.changes = 41;
  out.checkpoints = 3;
  out.healing_ms = 1'700'000'000'000;
  out.anew_ms = 11;
  out.reserved_ms = 12;
  out.reserved_by = hash(4);
  return out;
}

TEST_P(StorageTest, KeepsAVaultsRowAndCountsItsChanges) {
  EXPECT_FALSE(storage->vault(hash(9)));
  write([&] { storage->put_vault(hash(9), some_vault()); });
  Vault expected = some_vault();
  expected.changes = 42;
  read([&] { EXPECT_EQ(storage->vault(hash(9)), expected); });
  write([&] {
    Vault vault = storage->vault(hash(9)).value();
    vault.head = 8;
    storage->put_vault(hash(9), vault);
    EXPECT_EQ(storage->vault(hash(9))->head, 8u);  // within the group
    vault.head = 9;
    storage->put_vault(hash(9), vault);
    storage->put_vault(hash(5), vault);
  });
  auto other = backend->open();
  other->group(Storage::Access::read, [&] {
    EXPECT_EQ(other->vault(hash(9))->head, 9u);
    EXPECT_EQ(other->vaults({}, 10), (std::vector<Hash32>{hash(5), hash(9)}));
    EXPECT_EQ(other->vaults(hash(5), 10), (std::vector<Hash32>{hash(9)}));
    EXPECT_EQ(other->vaults({}, 1), (std::vector<Hash32>{hash(5)}));
    auto changes = other->changes({hash(9), hash(5), hash(1)});
    EXPECT_EQ(changes.size(), 2u);
    EXPECT_GT(changes.at(hash(9)), 42u);
  });
}

TEST_P(StorageTest, KeepsALogInItsOrder) {
  Hash32 chain{};
  write([&] {
    storage->put_vault(hash(9), some_vault());
    for (std::uint8_t i = 1; i <= 20; ++i) {
      chain = wire::chain_next(chain, i, hash(i));
      storage->add_batch(hash(9), {i, chain, 1000 + i}, {id(i), id(100), hash(i)},
                         Bytes(i * 10u, i));
      storage->set_device_leaf(hash(9), id(100), hash(i));
    }
    // Another vault's are never mixed in.
    storage->add_batch(hash(8), {1, hash(77), 5}, {id(1), id(100), hash(66)}, Bytes(5, 5));
  });
  read([&] {
    EXPECT_EQ(storage->batch_place(hash(9), id(3)), std::pair(std::uint64_t{3}, hash(3)));
    EXPECT_EQ(storage->batch_place(hash(8), id(1)), std::pair(std::uint64_t{1}, hash(66)));
    EXPECT_FALSE(storage->batch_place(hash(8), id(3)));
    EXPECT_EQ(storage->device_leaf(hash(9), id(100)), hash(20));
    EXPECT_EQ(storage->device_leaf(hash(8), id(100)), Hash32{});
    EXPECT_EQ(storage->chain_at(hash(9), 20), chain);
    EXPECT_FALSE(storage->chain_at(hash(9), 21));
    // At least one, then as many as fit.
    EXPECT_EQ(storage->batches(hash(9), 0, 1), (std::vector<Bytes>{Bytes(10, 1)}));
    EXPECT_EQ(storage->batches(hash(9), 0, 60).size(), 3u);
    EXPECT_EQ(storage->batches(hash(9), 0, 59).size(), 2u);
    EXPECT_EQ(storage->batches(hash(9), 17, 1 << 20).size(), 3u);
    EXPECT_TRUE(storage->batches(hash(9), 20, 1 << 20).empty());
    EXPECT_EQ(storage->stubs(hash(9), 18).size(), 2u);
    EXPECT_EQ(storage->stubs(hash(9), 18)[0].leaf, hash(19));
  });
  write([&] {
    Storage::Dropped none = storage->drop_bodies(hash(9), 10, 1001);
    EXPECT_EQ(none.upto, 0u);
    Storage::Dropped some = storage->drop_bodies(hash(9), 10, 1005);
    EXPECT_EQ(some.upto, 4u);
    EXPECT_EQ(some.bytes, 100u);
    EXPECT_EQ(storage->drop_bodies(hash(9), 10, 1005).bytes, 0u);
    EXPECT_TRUE(storage->batches(hash(9), 3, 1 << 20).empty());
    EXPECT_EQ(storage->batches(hash(9), 4, 1).size(), 1u);
  });
  Hash32 again = hash(50);
  for (std::uint8_t i = 1; i <= 20; ++i) again = wire::chain_next(again, i, hash(i));
  write([&] { EXPECT_EQ(storage->rechain(hash(9), hash(50)), again); });
  read([&] {
    EXPECT_EQ(storage->chain_at(hash(9), 20), again);
    EXPECT_EQ(storage->chain_at(hash(8), 1), hash(77));
  });
}

TEST_P(StorageTest, WhatWasExpectedIsWhatIsThere) {
  write([&] {
    storage->put_vault(hash(9), some_vault());
    for (std::uint8_t i = 1; i <= 5; ++i) {
      storage->add_batch(hash(9), {i, hash(i), 0}, {id(i), id(7), hash(i)}, Bytes(10, i));
    }
    storage->set_device_leaf(hash(9), id(7), hash(5));
  });
  std::vector<Storage::Expected> expected(5);
  expected[0].vault = hash(9);
  expected[0].batches = {{id(2), id(7)}, {id(99), id(98)}};
  expected[1].vault = hash(9);
  expected[1].log_after = 3;
  expected[1].log_bytes = 100;
  expected[2].vault = hash(44);  // nobody's
  expected[3] = expected[1];     // asked for twice
  expected[4].vault = hash(9);   // behind all that there can be
  expected[4].log_after = 1ULL << 62;
  expected[4].log_bytes = 100;
  for (auto access : {Storage::Access::read, Storage::Access::write}) {
    storage->group(access, [&] {
      if (storage->wants_expected()) storage->expect(expected);
      EXPECT_EQ(storage->vault(hash(9))->head, 7u);
      EXPECT_FALSE(storage->vault(hash(44)));
      EXPECT_EQ(storage->batch_place(hash(9), id(2)), std::pair(std::uint64_t{2}, hash(2)));
      EXPECT_FALSE(storage->batch_place(hash(9), id(99)));
      auto places = storage->batch_places(hash(9), {id(1), id(98), id(5)});
      EXPECT_EQ(places.size(), 2u);
      EXPECT_EQ(places.at(id(5)), std::pair(std::uint64_t{5}, hash(5)));
      EXPECT_EQ(storage->device_leaf(hash(9), id(7)), hash(5));
      EXPECT_EQ(storage->device_leaf(hash(9), id(98)), Hash32{});
      EXPECT_EQ(storage->chain_at(hash(9), 3), hash(3));
      EXPECT_EQ(storage->batches(hash(9), 3, 100).size(), 2u);
      EXPECT_EQ(storage->batches(hash(9), 0, 20).size(), 2u);
      if (access == Storage::Access::read) return;
      storage->add_batch(hash(9), {6, hash(6), 0}, {id(6), id(7), hash(6)}, Bytes(10, 6));
      storage->set_device_leaf(hash(9), id(7), hash(6));
      EXPECT_EQ(storage->batch_place(hash(9), id(6)), std::pair(std::uint64_t{6}, hash(6)));
      EXPECT_EQ(storage->device_leaf(hash(9), id(7)), hash(6));
      EXPECT_EQ(storage->batches(hash(9), 3, 100).size(), 3u);
    });
  }
}

TEST_P(StorageTest, AGroupIsStoredWholeOrNotAtAll) {
  EXPECT_THROW(write([&] {
                 storage->transaction([&] { storage->put_vault(hash(1), some_vault()); });
                 storage->add_control(hash(1), 0, Bytes{1}, 5);
                 throw Error(ErrorCode::io, "planted");
               }),
               Error);
  read([&] {
    EXPECT_FALSE(storage->vault(hash(1)));
    EXPECT_TRUE(storage->control(hash(1), 0).empty());
  });
  // A part that fails takes the rest with it, even where its error is caught within.
  EXPECT_THROW(write([&] {
                 storage->put_vault(hash(1), some_vault());
                 try {
                   storage->transaction([&] { throw Error(ErrorCode::io, "planted"); });
                 } catch (const Error&) {
                 }
               }),
               Error);
  read([&] { EXPECT_FALSE(storage->vault(hash(1))); });
  // And so does what the database itself refuses.
  EXPECT_THROW(write([&] {
                 storage->put_vault(hash(1), some_vault());
                 storage->add_control(hash(1), 0, Bytes{1}, 5);
                 storage->add_control(hash(1), 0, Bytes{2}, 5);
               }),
               Error);
  read([&] { EXPECT_FALSE(storage->vault(hash(1))); });
  write([&] { storage->put_vault(hash(1), some_vault()); });
  read([&] { EXPECT_TRUE(storage->vault(hash(1))); });
}

TEST_P(StorageTest, KeepsTheDeviceListCheckpointsChunksAndMail) {
  write([&] {
    for (std::uint8_t i = 0; i < 5; ++i) storage->add_control(hash(1), i, Bytes{i}, 100 + i);
    storage->put_checkpoint(hash(1), Storage::Checkpoint::proposed, Bytes{1, 2});
    EXPECT_TRUE(storage->put_blob(hash(1), hash(5), Bytes(100, 5), 10));
    EXPECT_FALSE(storage->put_blob(hash(1), hash(5), Bytes(100, 5), 20));
    EXPECT_TRUE(storage->put_blob(hash(1), hash(6), Bytes(50, 6), 20));
    EXPECT_TRUE(storage->put_blob(hash(2), hash(5), Bytes(100, 5), 10));
    EXPECT_EQ(storage->put_mail(id(1), Bytes{7}, 100, 200), Storage::Mail::stored);
    EXPECT_EQ(storage->put_mail(id(1), Bytes{7}, 100, 200), Storage::Mail::stored);
    EXPECT_EQ(storage->put_mail(id(1), Bytes{8}, 100, 200), Storage::Mail::taken);
    storage->set_vault_of_recovery(hash(3), hash(1));
    storage->set_vault_of_recovery(hash(3), hash(2));
    storage->set_reserve_again(hash(1), hash(2), 5);
    storage->set_reserve_again(hash(1), hash(2), 6);
    storage->add_invite(hash(1), 100);
    storage->add_invite(hash(2), 100);
  });
  read([&] {
    EXPECT_EQ(storage->control(hash(1), 3), (std::vector<Bytes>{{3}, {4}}));
    EXPECT_EQ(storage->control(hash(1), 3, 1), (std::vector<Bytes>{{3}}));
    EXPECT_EQ(storage->control_time(hash(1), 2), 102);
    EXPECT_FALSE(storage->control_time(hash(1), 9));
    EXPECT_EQ(storage->checkpoint(hash(1), Storage::Checkpoint::proposed), (Bytes{1, 2}));
    EXPECT_TRUE(storage->checkpoint(hash(1), Storage::Checkpoint::counts).empty());
    EXPECT_EQ(storage->blob(hash(1), hash(5)), Bytes(100, 5));
    EXPECT_EQ(storage->blobs_of(hash(1), {hash(99), hash(6), hash(98)}), std::set{hash(6)});
    EXPECT_TRUE(storage->blobs_of(hash(2), {hash(6)}).empty());
    EXPECT_TRUE(storage->blobs_of(hash(1), {}).empty());
    EXPECT_EQ(storage->mail(id(1), 199), Bytes{7});
    EXPECT_FALSE(storage->mail(id(1), 200));
    EXPECT_EQ(storage->vault_of_recovery(hash(3)), hash(1));
    EXPECT_FALSE(storage->vault_of_recovery(hash(4)));
    EXPECT_EQ(storage->reserve_again(hash(1), hash(2)), 6);
    EXPECT_EQ(storage->reserve_again(hash(1), hash(3)), 0);
  });
  write([&] {
    EXPECT_EQ(storage->drop_blobs(hash(1), {hash(6)}, 15), 100u);
    EXPECT_EQ(storage->drop_blobs(hash(1), {}, 15), 0u);
    EXPECT_EQ(storage->blobs_of(hash(2), {hash(5)}).size(), 1u);
    storage->put_checkpoint(hash(1), Storage::Checkpoint::proposed, {});
    EXPECT_TRUE(storage->checkpoint(hash(1), Storage::Checkpoint::proposed).empty());
    EXPECT_TRUE(storage->spend_invite(hash(1), hash(8), 50));
    EXPECT_TRUE(storage->spend_invite(hash(1), hash(8), 50));
    EXPECT_FALSE(storage->spend_invite(hash(1), hash(9), 50));
    EXPECT_FALSE(storage->spend_invite(hash(2), hash(8), 100));  // too late
    EXPECT_FALSE(storage->spend_invite(hash(3), hash(8), 50));
    storage->expire(100);
    EXPECT_FALSE(storage->spend_invite(hash(1), hash(8), 50));
    EXPECT_EQ(storage->put_mail(id(1), Bytes{8}, 200, 300), Storage::Mail::stored);
  });
}

TEST_P(StorageTest, ErasureLeavesNothingButItsRequest) {
  write([&] {
    for (std::uint8_t v : {1, 2}) {
      storage->put_vault(hash(v), some_vault());
      storage->add_batch(hash(v), {1, hash(1), 0}, {id(1), id(7), hash(1)}, Bytes(10, 1));
      storage->set_device_leaf(hash(v), id(7), hash(1));
      storage->add_control(hash(v), 0, Bytes{1}, 0);
      storage->put_checkpoint(hash(v), Storage::Checkpoint::counts, Bytes{1});
      storage->put_blob(hash(v), hash(5), Bytes(9, 9), 0);
      storage->set_vault_of_recovery(hash(100 + v), hash(v));
      storage->set_reserve_again(hash(v), hash(2), 6);
    }
  });
  write([&] { storage->erase(hash(1), Bytes{42}, 77); });
  read([&] {
    EXPECT_EQ(storage->erased(hash(1)), Bytes{42});
    EXPECT_FALSE(storage->vault(hash(1)));
    EXPECT_TRUE(storage->stubs(hash(1), 0).empty());
    EXPECT_EQ(storage->device_leaf(hash(1), id(7)), Hash32{});
    EXPECT_TRUE(storage->control(hash(1), 0).empty());
    EXPECT_TRUE(storage->checkpoint(hash(1), Storage::Checkpoint::counts).empty());
    EXPECT_TRUE(storage->blobs_of(hash(1), {hash(5)}).empty());
    EXPECT_FALSE(storage->vault_of_recovery(hash(101)));
    EXPECT_EQ(storage->reserve_again(hash(1), hash(2)), 0);
    EXPECT_FALSE(storage->erased(hash(2)));
    EXPECT_TRUE(storage->vault(hash(2)));
    EXPECT_EQ(storage->stubs(hash(2), 0).size(), 1u);
    EXPECT_EQ(storage->vault_of_recovery(hash(102)), hash(2));
  });
}

TEST_P(StorageTest, KeepsOneSecret) {
  Bytes first, second;
  storage->transaction([&] { first = storage->secret([] { return Bytes(32, 1); }); });
  auto other = backend->open();
  other->transaction([&] { second = other->secret([] { return Bytes(32, 2); }); });
  EXPECT_EQ(first, Bytes(32, 1));
  EXPECT_EQ(second, first);
}

// Several processes push to the same vaults: positions have no gap and no double.
TEST_P(StorageTest, AVaultIsOneThreadsAtATime) {
  write([&] {
    storage->put_vault(hash(1), Vault{});
    storage->put_vault(hash(2), Vault{});
  });
  constexpr int kThreads = 3;
  constexpr int kEach = 40;
  std::vector<std::future<void>> all;
  for (int t = 0; t < kThreads; ++t) {
    all.push_back(std::async(std::launch::async, [&, t] {
      auto mine = backend->open();
      for (int n = 0; n < kEach; ++n) {
        mine->group(Storage::Access::write, [&] {
          for (std::uint8_t v : {1, 2}) {
            Vault vault = mine->vault(hash(v)).value();
            ++vault.head;
            Id16 batch{};
            batch[0] = static_cast<std::uint8_t>(t);
            batch[1] = static_cast<std::uint8_t>(n);
            mine->add_batch(hash(v), {vault.head, hash(1), 0}, {batch, id(1), hash(1)}, Bytes{1});
            mine->put_vault(hash(v), vault);
          }
        });
      }
    }));
  }
  for (auto& one : all) one.get();
  read([&] {
    for (std::uint8_t v : {1, 2}) {
      EXPECT_EQ(storage->vault(hash(v))->head, std::uint64_t{kThreads * kEach});
      EXPECT_EQ(storage->stubs(hash(v), 0).size(), std::size_t{kThreads * kEach});
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, StorageTest, testing::Values("sqlite", "postgres"),
                         [](const auto& one) { return std::string(one.param); });

TEST(PostgresSchema, IsMadeOnceAndRefusesWhatItDoesNotKnow) {
  if (!std::getenv("HOLDFAST_TEST_POSTGRES")) GTEST_SKIP() << "run by tests/with_postgres.sh";
  Backend backend("postgres");
  EXPECT_EQ(migrate_postgres(backend.where()), 0);
  PgConnection connection(backend.where());
  connection.execute("INSERT INTO relay_schema VALUES(99)");
  EXPECT_THROW(migrate_postgres(backend.where()), Error);
  EXPECT_THROW(PostgresStorage{backend.where()}, Error);
  connection.execute("DELETE FROM relay_schema");
  EXPECT_THROW(PostgresStorage{backend.where()}, Error);
}

}  // namespace
}  // namespace holdfast::relay
