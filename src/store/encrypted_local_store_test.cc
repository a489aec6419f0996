#include "holdfast/encrypted_local_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;

TEST(EncryptedLocalStore, KeepsDocumentsAcrossReopening) {
  FakeWorld world;
  Json document = {{"name", "Ada"}, {"tags", {"a", "b"}}, {"at", {{"x", 1}, {"y", -2.5}}}};
  {
    auto store = world.open();
    store.store("ada", document);
    world.clock->advance_ms(1000);
    store.store({"notes", "n1"}, {{"text", "h\u00e9llo \U0001F600"}});
  }
  auto store = world.open();
  EXPECT_EQ(store.retrieve("ada"), document);
  EXPECT_EQ(store.retrieve({"notes", "n1"})->at("text"), "h\u00e9llo \U0001F600");
  EXPECT_EQ(store.retrieve("nobody"), std::nullopt);
  EXPECT_EQ(store.list(), std::vector<std::string>{"ada"});
  EXPECT_EQ(store.collections(), (std::vector<std::string>{"notes", "records"}));
  store.verify();
}

TEST(EncryptedLocalStore, StampsCreatedAndUpdatedTimes) {
  FakeWorld world;
  auto store = world.open();
  std::int64_t start = world.clock->now_ms();
  store.store("a", {{"n", 1}});
  world.clock->advance_ms(5000);
  store.patch("a", {{"n", 2}});
  auto read = store.retrieve_versioned("a");
  EXPECT_EQ(read->created_ms, start);
  EXPECT_EQ(read->updated_ms, start + 5000);
}

TEST(EncryptedLocalStore, UpdatePatchRemove) {
  FakeWorld world;
  auto store = world.open();
  EXPECT_FALSE(store.patch("a", {{"n", 1}}));
  EXPECT_FALSE(store.remove("a"));
  store.store("a", {{"n", 1}, {"m", {{"x", 1}, {"y", 2}}}});
  EXPECT_TRUE(store.patch("a", {{"m", {{"x", nullptr}}}, {"k", "v"}}));
  EXPECT_EQ(*store.retrieve("a"), (Json{{"n", 1}, {"m", {{"y", 2}}}, {"k", "v"}}));
  EXPECT_TRUE(store.update("a", [](Json& d) { d["n"] = d["n"].get<int>() + 1; }));
  EXPECT_EQ(store.retrieve("a")->at("n"), 2);
  EXPECT_TRUE(store.remove("a"));
  EXPECT_EQ(store.retrieve("a"), std::nullopt);
  store.store("a", {{"new", true}});
  EXPECT_EQ(*store.retrieve("a"), (Json{{"new", true}}));  // nothing old comes back
}

TEST(EncryptedLocalStore, StoreAgainstAVersionKeepsWhatLandedInBetween) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"x", 1}, {"y", 1}});
  auto read = store.retrieve_versioned("a");
  store.patch("a", {{"y", 2}});  // lands in between
  Json mine = read->document;
  mine["x"] = 5;
  store.store("a", mine, read->version);
  EXPECT_EQ(*store.retrieve("a"), (Json{{"x", 5}, {"y", 2}}));
  mine["y"] = 3;  // the same field as the other edit: both are kept
  store.store("a", mine, read->version);
  // x was written twice with the same value, which is no conflict.
  EXPECT_EQ(store.engine().locked()->records().conflicts("records", "a").size(), 1u);
}

TEST(EncryptedLocalStore, TransactionsAreAllOrNothing) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  EXPECT_THROW(store.transaction([&] {
    store.store("a", {{"n", 2}});
    store.store({"fresh", "b"}, {{"n", 2}});
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(store.retrieve("a")->at("n"), 1);
  EXPECT_TRUE(store.list("fresh").empty());
  store.transaction([&] {
    store.store("a", {{"n", 3}});
    store.store("a", {{"n", 4}});
    EXPECT_FALSE(store.remove("nobody"));
    store.store({"fresh", "b"}, {{"n", 5}});
  });
  EXPECT_EQ(store.retrieve("a")->at("n"), 4);
  EXPECT_EQ(store.retrieve({"fresh", "b"})->at("n"), 5);
}

TEST(EncryptedLocalStore, RefusesWhatBreaksItsLimits) {
  FakeWorld world;
  auto store = world.open();
  auto code = [&](const Key& key, const Json& document) {
    return code_of([&] { store.store(key, document); });
  };
  EXPECT_EQ(code("", {{"a", 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(std::string("a\0b", 3), {{"a", 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(std::string(10000, 'x'), {{"a", 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(std::string("\xff\xfe"), {{"a", 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({"_policy", "x"}, {{"a", 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code("a", Json::array()), ErrorCode::invalid_argument);
  EXPECT_EQ(code("a", {{"big", std::string(600 * 1024, 'x')}}), ErrorCode::too_large);
  EXPECT_EQ(code("a", {{"bad", std::string("\xc3\x28")}}), ErrorCode::invalid_argument);
  Json deep = 1;
  for (int i = 0; i < 150; ++i) deep = Json{{"d", std::move(deep)}};
  EXPECT_EQ(code("a", deep), ErrorCode::too_large);
  store.store("\U0001F600 emoji", {{"", 1}, {"a/b~c", {{"", 2}}}});
  EXPECT_EQ(store.retrieve("\U0001F600 emoji")->at("a/b~c").at(""), 2);
}

TEST(EncryptedLocalStore, OneOwnerAtATime) {
  FakeWorld world;
  auto store = world.open();
  EXPECT_EQ(code_of([&] { world.open(); }), ErrorCode::in_use);
}

TEST(EncryptedLocalStore, WrongKeyWritesNothing) {
  FakeWorld world;
  {
    world.open().store("a", {{"n", 1}});
  }
  Bytes before = world.files->content("test.db");
  EXPECT_EQ(code_of([&] { EncryptedLocalStore("test.db", FakeWorld::key(8), world.options()); }),
            ErrorCode::wrong_key);
  EXPECT_EQ(code_of([&] {
              EncryptedLocalStore("test.db", UserKey::passphrase("secret"), world.options());
            }),
            ErrorCode::wrong_key);
  EXPECT_EQ(world.files->content("test.db"), before);
}

TEST(EncryptedLocalStore, OpensWithPassphraseAndFernetKey) {
  FakeWorld world;
  std::string fernet = generate_fernet_key();
  StoreOptions options = world.options();
  options.passphrase_memory_mib = 64;
  {
    EncryptedLocalStore("p.db", UserKey::passphrase("open sesame"), options).store("a", {{"n", 1}});
  }
  {
    EncryptedLocalStore("f.db", UserKey::fernet(fernet), options).store("a", {{"n", 2}});
  }
  EXPECT_EQ(EncryptedLocalStore("p.db", UserKey::passphrase("open sesame"), options)
                .retrieve("a")
                ->at("n"),
            1);
  EXPECT_EQ(EncryptedLocalStore("f.db", UserKey::from_key_file(base::view(fernet + "\n")), options)
                .retrieve("a")
                ->at("n"),
            2);
}

TEST(EncryptedLocalStore, SurvivesPowerCutsAfterEachAcknowledgedWrite) {
  FakeWorld world;
  for (int n = 1; n <= 40; ++n) {
    {
      auto store = world.open();
      for (int i = 0; i < n % 4 + 1; ++i) store.store("k" + std::to_string(n), {{"n", n * 10 + i}});
      world.cut_power();  // with the store open
    }
    auto store = world.open();
    for (int m = 1; m <= n; ++m) {
      ASSERT_EQ(store.retrieve("k" + std::to_string(m))->at("n"), m * 10 + m % 4);
    }
  }
}

TEST(EncryptedLocalStore, AFailedSyncIsNeverAcknowledgedAndStopsAllWork) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  world.files->fail_syncs = true;
  EXPECT_EQ(code_of([&] { store.store("a", {{"n", 2}}); }), ErrorCode::io);
  world.files->fail_syncs = false;
  EXPECT_EQ(code_of([&] { store.store("a", {{"n", 3}}); }), ErrorCode::io);
}

TEST(EncryptedLocalStore, RecoversFromAFullDisk) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  world.files->fail_writes = true;
  EXPECT_EQ(code_of([&] { store.store("a", {{"n", 2}}); }), ErrorCode::io);
  EXPECT_EQ(store.retrieve("a")->at("n"), 1);
  world.files->fail_writes = false;
  store.store("a", {{"n", 3}});
  EXPECT_EQ(store.retrieve("a")->at("n"), 3);
}

TEST(EncryptedLocalStore, RelaxedSurvivesAKillAfterASpill) {
  FakeWorld world;
  StoreOptions options = world.options();
  options.durability = StoreOptions::Durability::relaxed;
  options.cache_mib = 1;
  {
    EncryptedLocalStore store("test.db", FakeWorld::key(), options);
    store.transaction([&] {  // more than the cache holds: pages are written before the commit
      for (int i = 0; i < 3000; ++i) {
        store.store("k" + std::to_string(i % 1000), {{"n", i}, {"t", std::string(1500, 'x')}});
      }
    });
    world.environment.files = world.files = world.files->after_kill();
  }
  EXPECT_EQ(world.open().list().size(), 1000u);
}

TEST(EncryptedLocalStore, ATransactionWithAFailedPartKeepsNothing) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  EXPECT_THROW(store.transaction([&] {
    store.store("b", {{"n", 1}});
    world.files->fail_writes = world.files->fail_reads = true;
    try {
      for (int i = 0; i < 20000; ++i)
        store.store("c" + std::to_string(i), {{"t", std::string(500, 'x')}});
    } catch (const Error&) {
    }
    world.files->fail_writes = world.files->fail_reads = false;
    store.store("d", {{"n", 1}});
  }),
               Error);
  EXPECT_EQ(store.list(), std::vector<std::string>{"a"});
  store.store("e", {{"n", 1}});
  EXPECT_EQ(store.list(), (std::vector<std::string>{"a", "e"}));
}

// After a failed sync the system shows what never reached the disk; what builds on it must reach
// it, too.
TEST(EncryptedLocalStore, NothingBuildsOnWhatAFailedSyncLost) {
  FakeWorld world;
  {
    world.open().store("a", {{"n", 1}});
  }
  {
    auto store = world.open();
    world.files->lose_syncs = true;  // fails, and the bytes count as clean from then on
    EXPECT_THROW(store.store("b", {{"n", 1}}), Error);
    world.files->lose_syncs = false;
    world.environment.files = world.files = world.files->after_kill();
  }
  std::vector<std::string> before;
  {
    auto store = world.open();
    store.store("c", {{"n", 1}});
    before = store.list();
    world.cut_power();
  }
  EXPECT_EQ(world.open().list(), before);
}

TEST(EncryptedLocalStore, OneStoreWhateverItsName) {
  auto folder =
      std::filesystem::temp_directory_path() / ("holdfast-test-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder / "real");
  std::filesystem::create_symlink(folder / "real" / "s.db", folder / "link.db");
  {
    EncryptedLocalStore store((folder / "link.db").string(), FakeWorld::key());
    store.store("a", {{"n", 1}});
    EXPECT_TRUE(std::filesystem::exists(folder / "real" / "s.db-wal"));
  }
  EncryptedLocalStore store((folder / "real" / "s.db").string(), FakeWorld::key());
  EXPECT_EQ(store.retrieve("a")->at("n"), 1);
  std::filesystem::remove_all(folder);
}

TEST(EncryptedLocalStore, AnOrphanedLogDoesNotSpoilANewStore) {
  FakeWorld world;
  {
    auto store = world.open();
    store.store("a", {{"n", 1}});
    world.cut_power();
  }
  world.files->remove("test.db");
  ASSERT_TRUE(world.files->exists("test.db-wal"));
  world.open().store("b", {{"n", 1}});
  EXPECT_EQ(world.open().list(), std::vector<std::string>{"b"});
}

TEST(EncryptedLocalStore, VisitsNest) {
  FakeWorld world;
  auto store = world.open();
  for (const char* id : {"1", "2", "3"}) {
    store.store({"outer", id}, {{"n", 1}});
    store.store({"inner", std::string("i") + id}, {{"n", 1}});
  }
  std::string seen;
  store.for_each("outer", [&](const std::string& outer, const Json&) {
    store.for_each("inner", [&](const std::string& inner, const Json&) {
      seen += outer + inner + " ";
      return true;
    });
    return true;
  });
  EXPECT_EQ(seen, "1i1 1i2 1i3 2i1 2i2 2i3 3i1 3i2 3i3 ");
}

TEST(EncryptedLocalStore, VerifyReadsEveryPageFromTheDisk) {
  FakeWorld world;
  auto store = world.open();
  for (int i = 0; i < 50; ++i) store.store("k" + std::to_string(i), {{"t", std::string(900, 'x')}});
  store.verify();
  Bytes& content = world.files->content("test.db");
  std::size_t damaged = 0;
  for (std::size_t page = 2; page < content.size() / 4096; ++page) {
    content[page * 4096 + 100] ^= 1;
    if (page < 4) {  // the two places of the table, of which one is in use
      try {
        store.verify();
      } catch (const Error&) {
        ++damaged;
      }
      content[page * 4096 + 100] ^= 1;
      continue;
    }
    EXPECT_EQ(code_of([&] { store.verify(); }), ErrorCode::corrupt) << page;
    content[page * 4096 + 100] ^= 1;
  }
  EXPECT_EQ(damaged, 1u);
}

TEST(EncryptedLocalStore, HoldsNoPlaintext) {
  FakeWorld world;
  auto store = world.open();
  const std::vector<std::string> needles = {"canary-id",         "canary-field",  "canary-value",
                                            "canary-collection", "SQLite format", "CREATE TABLE"};
  for (int i = 0; i < 200; ++i) {
    store.store({"canary-collection", "canary-id" + std::to_string(i)},
                {{"canary-field", "canary-value" + std::to_string(i)}});
  }
  auto found = [&](const std::string& needle) {
    for (const auto& [path, content] : world.files->all()) {
      if (base::text(content->now).find(needle) != std::string_view::npos) return true;
    }
    return false;
  };
  for (const std::string& needle : needles) EXPECT_FALSE(found(needle)) << needle;
  world.environment.files->open("planted", base::FileSystem::Mode::create)
      ->write(0, base::view("xx canary-value xx"));
  EXPECT_TRUE(found("canary-value"));
}

TEST(EncryptedLocalStore, ServesManyThreads) {
  FakeWorld world;
  auto store = world.open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      for (int i = 0; i < 25; ++i) {
        std::string id = std::to_string(t) + "-" + std::to_string(i);
        store.store(id, {{"n", i}});
        EXPECT_EQ(store.retrieve(id)->at("n"), i);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store.list().size(), 100u);
}

TEST(EncryptedLocalStore, LargeTransactionsSurvive) {
  FakeWorld world;
  {
    auto store = world.open();
    store.transaction([&] {
      for (int i = 0; i < 20000; ++i) {
        store.store("k" + std::to_string(i), {{"n", i}, {"text", std::string(200, 'a' + i % 26)}});
      }
    });
    world.cut_power();
  }
  auto store = world.open();
  EXPECT_EQ(store.list().size(), 20000u);
  store.verify();
}

}  // namespace
}  // namespace holdfast::store
