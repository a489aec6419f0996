// Backups, and databases of Fernet tokens.

#include "holdfast/backup.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/test_vectors.h"
#include "src/crypto/fernet.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;

RestoreOptions into(const FakeWorld& world, bool replace = false) {
  RestoreOptions options;
  options.replace = replace;
  options.store = world.options();
  options.store.passphrase_memory_mib = 64;
  return options;
}

struct Saved {
  Saved() {
    auto store = world.open();
    store.transaction([&] {
      for (int n = 0; n < 600; ++n) {
        store.store({"notes", "n" + std::to_string(n)}, {{"n", n}, {"t", std::string(200, 'b')}});
      }
    });
    store.store("a", {{"n", 1}});
    store.remove({"notes", "n5"});
    store.create_index("notes", "$.n");
    created_ms = store.retrieve_versioned("a")->created_ms;
    device = store.engine().identity().id;
    state = store.engine().locked()->records().canonical_state();
    report = backup(store, "b", key);
  }
  FakeWorld world;
  UserKey key = FakeWorld::key(90);
  std::int64_t created_ms = 0;
  model::DeviceId device{};
  Bytes state;
  BackupReport report;
};

TEST(Backup, HoldsEverythingAndMakesANewDevice) {
  Saved saved;
  EXPECT_EQ(saved.report.records, 601u);
  EXPECT_EQ(saved.report.bytes, saved.world.files->content("b").size());
  saved.world.clock->advance_ms(100'000);
  restore("b", saved.key, "new.db", FakeWorld::key(1), into(saved.world));
  EncryptedLocalStore store("new.db", FakeWorld::key(1), saved.world.options());
  EXPECT_EQ(store.engine().locked()->records().canonical_state(), saved.state);
  EXPECT_EQ(store.retrieve_versioned("a")->created_ms, saved.created_ms);
  EXPECT_EQ(store.list("notes").size(), 599u);
  EXPECT_EQ(store.indexes().size(), 1u);
  EXPECT_NE(store.engine().identity().id, saved.device);
  store.store("a", {{"n", 2}});
  store.verify();
  for (const auto& [path, content] : saved.world.files->all()) {
    EXPECT_TRUE(path == "test.db" || path == "b" || path == "new.db" || path == "new.db-wal")
        << path << " was left behind";
  }
}

TEST(Backup, IsSealedByAnyKeyOfItsOwn) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  std::vector<UserKey> keys = {FakeWorld::key(2), UserKey::fernet(generate_fernet_key()),
                               UserKey::recovery_code(generate_recovery_code())};
  for (const UserKey& key : keys) {
    std::string name = key_kind_name(key.kind());
    backup(store, name, key);
    restore(name, key, name + ".db", FakeWorld::key(), into(world));
    EXPECT_EQ(
        code_of([&] { restore(name, FakeWorld::key(3), "x.db", FakeWorld::key(), into(world)); }),
        ErrorCode::wrong_key);
    EXPECT_FALSE(world.files->exists("x.db"));
  }
  EXPECT_EQ(code_of([&] { backup(store, "raw", FakeWorld::key(2)); }), ErrorCode::exists);
  EXPECT_EQ(
      code_of([&] { backup(store, "c", UserKey::callback([](auto, auto) { return true; })); }),
      ErrorCode::invalid_argument);
  EXPECT_FALSE(world.files->exists("c"));
}

TEST(Backup, AnyDamageIsFoundBeforeAnythingIsReplaced) {
  Saved saved;
  const Bytes whole = saved.world.files->content("b");
  auto attempt = [&](const Bytes& bytes) {
    saved.world.files->content("b") = bytes;
    ErrorCode code = code_of(
        [&] { restore("b", saved.key, "test.db", FakeWorld::key(), into(saved.world, true)); });
    EXPECT_FALSE(saved.world.files->exists("test.db.restore"));
    return code;
  };
  for (std::size_t at = 0; at < whole.size(); at += at < 100 ? 1 : 997) {
    Bytes flipped = whole;
    flipped[at] ^= static_cast<std::uint8_t>(1u << at % 8);
    ErrorCode code = attempt(flipped);
    EXPECT_TRUE(code == ErrorCode::corrupt || code == ErrorCode::not_a_store ||
                code == ErrorCode::wrong_key || code == ErrorCode::newer_version)
        << at << error_code_name(code);
  }
  constexpr std::size_t kChunk = 64 * 1024 + 17;
  for (std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{60}, std::size_t{90},
                           std::size_t{90 + kChunk}, whole.size() - 3, whole.size() - 1}) {
    ErrorCode code = attempt(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    EXPECT_TRUE(code == ErrorCode::corrupt || code == ErrorCode::not_a_store) << size;
  }
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_EQ(attempt(longer), ErrorCode::corrupt);
  EXPECT_EQ(attempt(Bytes(5000, 0xd8)), ErrorCode::not_a_store);
  EXPECT_EQ(attempt(saved.world.files->content("test.db")), ErrorCode::not_a_store);
  auto store = saved.world.open();  // it is untouched
  EXPECT_EQ(store.engine().locked()->records().canonical_state(), saved.state);
}

TEST(Backup, ReplacesAStoreOnlyWhenAskedAndNotOneInUse) {
  Saved saved;
  EXPECT_EQ(
      code_of([&] { restore("b", saved.key, "test.db", FakeWorld::key(), into(saved.world)); }),
      ErrorCode::exists);
  {
    auto store = saved.world.open();
    store.store("late", {{"n", 1}});
    EXPECT_EQ(code_of([&] {
                restore("b", saved.key, "test.db", FakeWorld::key(), into(saved.world, true));
              }),
              ErrorCode::in_use);
  }
  restore("b", saved.key, "test.db", FakeWorld::key(), into(saved.world, true));
  auto store = saved.world.open();
  EXPECT_FALSE(store.retrieve("late"));
  EXPECT_EQ(store.engine().locked()->records().canonical_state(), saved.state);
}

TEST(Backup, ReplacesNothingThatIsNoStore) {
  Saved saved;
  saved.world.files->open("picture", base::FileSystem::Mode::create)->write(0, Bytes(9000, 0xd8));
  EXPECT_EQ(code_of([&] {
              restore("b", saved.key, "picture", FakeWorld::key(), into(saved.world, true));
            }),
            ErrorCode::not_a_store);
  EXPECT_EQ(saved.world.files->content("picture"), Bytes(9000, 0xd8));
}

TEST(Backup, CancelledLeavesNothing) {
  Saved saved;
  auto store = saved.world.open();
  auto stop = [](const ProgressReport&) { return false; };
  EXPECT_EQ(code_of([&] { backup(store, "c", saved.key, stop); }), ErrorCode::cancelled);
  EXPECT_FALSE(saved.world.files->exists("c"));
  EXPECT_FALSE(saved.world.files->exists("c.holdfast-part"));
  EXPECT_EQ(
      code_of([&] { restore("b", saved.key, "n.db", FakeWorld::key(), into(saved.world), stop); }),
      ErrorCode::cancelled);
  for (const auto& [path, content] : saved.world.files->all()) {
    EXPECT_FALSE(path.starts_with("n.db")) << path;
  }
}

TEST(Backup, GoesOnWhileTheStoreIsWritten) {
  FakeWorld world;
  auto store = world.open();
  for (int n = 0; n < 600; ++n) store.store("k" + std::to_string(n), {{"n", 0}});
  backup(store, "b", FakeWorld::key(2), [&](const ProgressReport& report) {
    if (std::string_view(report.phase) == "writing") {
      store.transaction([&] {
        for (int n = 0; n < 600; n += 50) store.store("k" + std::to_string(n), {{"n", 1}});
      });
    }
    return true;
  });
  restore("b", FakeWorld::key(2), "n.db", FakeWorld::key(), into(world));
  EncryptedLocalStore restored("n.db", FakeWorld::key(), world.options());
  EXPECT_EQ(restored.query("SELECT sum(doc ->> '$.n') AS n FROM records")[0]["n"], 0);
}

std::int64_t seconds_of(const std::string& iso) {  // 1985-10-26T01:20:00-07:00
  std::tm t{};
  int offset = 0;
  std::sscanf(iso.c_str(), "%d-%d-%dT%d:%d:%d%d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
              &t.tm_min, &t.tm_sec, &offset);
  t.tm_year -= 1900;
  t.tm_mon -= 1;
  return timegm(&t) - offset * 3600;
}

class FernetVectors : public ::testing::Test {
 protected:
  Fernet at(const std::string& key, const std::string& now) {
    world.clock = std::make_shared<base::FakeClock>(seconds_of(now) * 1000);
    world.environment.clock = world.clock;
    return Fernet(std::vector<UserKey>{UserKey::fernet(key)}, &world.environment);
  }
  FakeWorld world;
};

TEST_F(FernetVectors, Generate) {
  HOLDFAST_VECTORS_OR_SKIP(all, "fernet/generate.json");
  for (const Json& one : all) {
    base::Id16 iv;
    for (std::size_t i = 0; i < 16; ++i) iv[i] = one["iv"][i].get<std::uint8_t>();
    UserKey key = UserKey::fernet(one["secret"].get<std::string>());
    EXPECT_EQ(crypto::seal_fernet(key.secret().view(), seconds_of(one["now"]), iv,
                                  base::view(one["src"].get_ref<const std::string&>())),
              one["token"].get<std::string>());
  }
}

TEST_F(FernetVectors, Verify) {
  HOLDFAST_VECTORS_OR_SKIP(all, "fernet/verify.json");
  for (const Json& one : all) {
    EXPECT_EQ(
        at(one["secret"], one["now"]).decrypt(one["token"].get<std::string>(), one["ttl_sec"]),
        one["src"].get<std::string>());
  }
}

TEST_F(FernetVectors, Invalid) {
  std::size_t count = 0;
  HOLDFAST_VECTORS_OR_SKIP(all, "fernet/invalid.json");
  for (const Json& one : all) {
    ++count;
    ErrorCode code = code_of([&] {
      at(one["secret"], one["now"]).decrypt(one["token"].get<std::string>(), one["ttl_sec"]);
    });
    EXPECT_TRUE(code == ErrorCode::malformed || code == ErrorCode::expired) << one["desc"];
  }
  EXPECT_GT(count, 5u);
}

TEST(FernetTokens, SeveralKeysAndRotation) {
  FakeWorld world;
  UserKey old_key = UserKey::fernet(generate_fernet_key());
  UserKey new_key = UserKey::fernet(generate_fernet_key());
  Fernet before({old_key}, &world.environment);
  std::string token = before.encrypt("secret");
  world.clock->advance_ms(10'000);
  Fernet both({new_key, old_key}, &world.environment);
  Fernet after({new_key}, &world.environment);
  EXPECT_EQ(both.decrypt(token, 60), "secret");
  EXPECT_EQ(code_of([&] { after.decrypt(token); }), ErrorCode::malformed);
  std::string rotated = both.rotate(token);
  EXPECT_EQ(after.decrypt(rotated), "secret");
  EXPECT_EQ(after.timestamp(rotated), before.timestamp(token));  // its age is kept
  EXPECT_EQ(code_of([&] { both.decrypt(token, 9); }), ErrorCode::expired);
  EXPECT_EQ(both.decrypt(token, 10), "secret");
  world.clock->set_skew_ms(-200'000);
  EXPECT_EQ(code_of([&] { both.decrypt(token, 10); }), ErrorCode::expired);
  EXPECT_EQ(both.decrypt(token), "secret");
  EXPECT_EQ(code_of([&] { Fernet(std::vector<UserKey>{}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { Fernet{FakeWorld::key()}; }), ErrorCode::invalid_argument);
  for (std::size_t at = 0; at < token.size(); ++at) {
    std::string changed = token;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    EXPECT_EQ(code_of([&] { before.decrypt(changed); }), ErrorCode::malformed) << at;
  }
}

// Both ways with another implementation: Python's cryptography.
class FernetPython : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/holdfast-fernet-XXXXXX";
    folder = mkdtemp(name);
    if (std::system("/usr/bin/python3 -c 'import cryptography' 2>/dev/null") != 0) {
      if (std::getenv("CI")) FAIL() << "python3-cryptography is missing";
      GTEST_SKIP() << "python3-cryptography is not installed";
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void python(const std::string& program) {
    std::ofstream(folder + "/p.py")
        << "import json, sqlite3\nfrom cryptography.fernet import Fernet\n"
        << program;
    ASSERT_EQ(std::system(("cd " + folder + " && /usr/bin/python3 p.py").c_str()), 0);
  }
  std::string folder;
};

TEST_F(FernetPython, ReadsOurTokensAndWeReadItsDatabase) {
  std::string key = generate_fernet_key();
  Fernet fernet(UserKey::fernet(key));
  std::ofstream(folder + "/key") << key;
  std::ofstream(folder + "/token") << fernet.encrypt("from here \xc3\xa9");
  python(
      "f = Fernet(open('key').read())\n"
      "assert f.decrypt(open('token').read(), ttl=60).decode() == 'from here \\u00e9'\n"
      "open('back', 'wb').write(f.encrypt('from there \\u00e9'.encode()))\n"
      "d = sqlite3.connect('old.db')\n"
      "d.execute('create table encrypted_data(id text primary key, data blob, created_at text)')\n"
      "for i in range(300):\n"
      "  t = f.encrypt(json.dumps({'n': i, 's': '\\u00e9'}).encode())\n"
      "  d.execute('insert into encrypted_data values(?, ?, ?)', ('r%d' % i, t, 'now'))\n"
      "d.execute('create table other(a)')\n"
      "d.commit()\n");
  std::ifstream back(folder + "/back");
  std::string token((std::istreambuf_iterator<char>(back)), {});
  EXPECT_EQ(fernet.decrypt(token, 60), "from there \xc3\xa9");

  EncryptedLocalStore store(folder + "/a.hf", FakeWorld::key());
  EXPECT_EQ(import_fernet(store, folder + "/old.db", fernet, "old"), 300u);
  EXPECT_EQ(*store.retrieve({"old", "r7"}), Json({{"n", 7}, {"s", "\xc3\xa9"}}));
  EXPECT_FALSE(std::filesystem::exists(folder + "/old.db-wal"));

  EXPECT_EQ(export_fernet(store, folder + "/new.db", fernet, "old"), 300u);
  python(
      "f = Fernet(open('key').read())\n"
      "rows = dict(sqlite3.connect('new.db').execute('select id, data from encrypted_data'))\n"
      "assert len(rows) == 300\n"
      "assert json.loads(f.decrypt(rows['r7'], ttl=60)) == {'n': 7, 's': '\\u00e9'}\n");
}

TEST_F(FernetPython, AForeignDatabaseIsRefusedWithItsFaultAndImportsNothing) {
  std::string key = generate_fernet_key();
  Fernet fernet(UserKey::fernet(key));
  std::ofstream(folder + "/key") << key;
  python(
      "f = Fernet(open('key').read())\n"
      "for name, third in (('bad', 'no token'), ('list', f.encrypt(b'[1]')), ('text', "
      "f.encrypt(b'{no json'))):\n"
      "  d = sqlite3.connect(name + '.db')\n"
      "  d.execute('create table encrypted_data(id, data)')\n"
      "  d.execute('insert into encrypted_data values(1, ?)', (f.encrypt(b'{}'),))\n"
      "  d.execute('insert into encrypted_data values(2, ?)', (third,))\n"
      "  d.commit()\n"
      "sqlite3.connect('empty.db').execute('create table t(a)')\n");
  std::ofstream(folder + "/jpeg.db") << std::string(5000, '\xd8');
  EncryptedLocalStore store(folder + "/a.hf", FakeWorld::key());
  auto import = [&](const std::string& name) {
    return code_of([&] { import_fernet(store, folder + "/" + name, fernet); });
  };
  EXPECT_EQ(import("bad.db"), ErrorCode::malformed);
  EXPECT_EQ(import("list.db"), ErrorCode::malformed);
  EXPECT_EQ(import("text.db"), ErrorCode::malformed);
  EXPECT_EQ(import("empty.db"), ErrorCode::not_a_store);
  EXPECT_EQ(import("jpeg.db"), ErrorCode::not_a_store);
  EXPECT_EQ(import("absent.db"), ErrorCode::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder + "/absent.db"));
  EXPECT_TRUE(store.list().empty());
  EXPECT_EQ(code_of([&] { export_fernet(store, folder + "/bad.db", fernet); }), ErrorCode::exists);
}

}  // namespace
}  // namespace holdfast::store
