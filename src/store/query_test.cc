// SQL over collections, indexes, live queries, migrations, and readers beside the writer.

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "src/store/schema.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;

struct Notes {
  Notes() : store(world.open()) {
    store.transaction([&] {
      for (int n = 0; n < 50; ++n) {
        store.store({"notes", "n" + std::to_string(n)},
                    {{"title", "Note " + std::to_string(n)}, {"due", n}, {"tags", {"a", n % 3}}});
      }
      store.store({"it's \"odd\"", "x"}, {{"n", 1}});
    });
    store.remove({"notes", "n7"});
  }
  FakeWorld world;
  EncryptedLocalStore store;
};

TEST(Query, ReadsCollectionsWithBoundParameters) {
  Notes notes;
  std::vector<Json> rows = notes.store.query(
      "SELECT id, doc ->> '$.title' AS title FROM notes WHERE doc ->> '$.due' < ? ORDER BY "
      "doc ->> '$.due'",
      {9});
  ASSERT_EQ(rows.size(), 8u);  // one was removed
  EXPECT_EQ(rows[0], Json({{"id", "n0"}, {"title", "Note 0"}}));
  EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 49);
  EXPECT_EQ(notes.store.query("SELECT doc FROM notes WHERE id = 'n3'")[0]["doc"]["due"], 3);
  EXPECT_EQ(notes.store.query("SELECT id FROM \"it's \"\"odd\"\"\"")[0]["id"], "x");
  EXPECT_EQ(notes.store.query("SELECT created_at AS t FROM notes LIMIT 1")[0]["t"],
            notes.world.clock->now_ms());
  EXPECT_EQ(notes.store
                .query("SELECT j.value AS v FROM notes, json_each(notes.doc, '$.tags') j "
                       "WHERE notes.id = 'n4'")
                .size(),
            2u);
  EXPECT_EQ(
      notes.store.query("SELECT ? AS a, ? AS b, ? AS c, ? AS d", {nullptr, true, 2.5, "x"})[0],
      Json({{"a", nullptr}, {"b", 1}, {"c", 2.5}, {"d", "x"}}));
  int seen = 0;
  notes.store.query("SELECT id FROM notes", {}, [&](const Json&) { return ++seen < 3; });
  EXPECT_EQ(seen, 3);
}

TEST(Query, SeesItsOwnTransactionsWrites) {
  Notes notes;
  notes.store.transaction([&] {
    notes.store.store({"fresh", "a"}, {{"n", 1}});
    EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM fresh")[0]["n"], 1);
  });
  EXPECT_THROW(notes.store.transaction([&] {
    notes.store.store({"gone", "a"}, {{"n", 1}});
    EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM gone")[0]["n"], 1);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  notes.store.transaction([&] {
    EXPECT_THROW(notes.store.query("SELECT * FROM gone"), Error);
    notes.store.store({"other", "a"}, {{"n", 1}});
    EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM other")[0]["n"], 1);
  });
}

TEST(Query, RefusesEverythingElse) {
  Notes notes;
  for (const char* sql :
       {"",
        "SELECT 1; SELECT 2",
        "SELECT * FROM meta",
        "SELECT * FROM main.record",
        "SELECT state FROM record",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM sqlite_stat1",
        "SELECT * FROM temp.sqlite_schema",
        "DELETE FROM notes",
        "DELETE FROM record",
        "UPDATE meta SET value = 1",
        "INSERT INTO notes VALUES(1)",
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t(a)",
        "DROP TABLE record",
        "DROP VIEW notes",
        "PRAGMA user_version",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'x' AS y",
        "VACUUM",
        "VACUUM INTO 'x'",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT a",
        "REINDEX",
        "ANALYZE",
        "SELECT load_extension('x')",
        "SELECT * FROM pragma_table_info('meta')",
        "EXPLAIN SELECT 1",
        "WITH notes AS (SELECT * FROM meta) SELECT * FROM notes",
        "WITH notes AS (SELECT * FROM main.record) SELECT state FROM notes",
        "WITH notes AS (SELECT state FROM main.record) SELECT * FROM notes",
        "WITH notes AS (SELECT collection, id, doc, alive FROM main.record) SELECT * FROM notes",
        "SELECT * FROM (SELECT doc FROM main.record) AS notes",
        "SELECT (SELECT value FROM meta) AS v FROM notes",
        "SELECT id, id FROM notes",
        "SELECT * FROM missing",
        "SELECT * FROM notes WHERE id = ?",
        "not sql"}) {
    EXPECT_EQ(code_of([&] { notes.store.query(sql); }), ErrorCode::invalid_argument) << sql;
  }
  EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 49);
}

// The names of collections come from any device of the vault.
TEST(Query, NoNameOfACollectionHidesATableOrAnotherCollection) {
  Notes notes;
  for (const char* name :
       {"record", "collection", "meta", "device", "log", "change", "waiting", "control", "epoch",
        "outbox", "query_index", "sqlite_schema", "json_each", "temp", "main"}) {
    notes.store.store({name, "a"}, {{"n", name}});
    for (int round = 0; round < 2; ++round) {
      notes.store.transaction([&] {
        EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 49);
        notes.store.store({name, "b"}, {{"n", round}});
        EXPECT_EQ(notes.store.list(name).size(), 2u);
      });
      EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 49) << name;
    }
    EXPECT_EQ(notes.store.list(name).size(), 2u) << name;
    EXPECT_EQ(notes.store.retrieve({name, "a"})->at("n"), name);
  }
  EXPECT_EQ(notes.store.query("SELECT id FROM record").size(), 2u);
  EXPECT_EQ(notes.store.query("SELECT id FROM meta").size(), 2u);
  notes.store.verify();
  // SQL cannot tell these two apart: neither is there, and every other is.
  notes.store.store({"Notes", "a"}, {{"n", 1}});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(code_of([&] { notes.store.query("SELECT * FROM notes"); }),
              ErrorCode::invalid_argument);
    EXPECT_EQ(notes.store.query("SELECT id FROM log").size(), 2u);
  }
}

TEST(Query, AVisitorMayUseTheStoreAndResultsMayBeAnything) {
  Notes notes;
  notes.store.transaction([&] {
    notes.store.query("SELECT id FROM notes LIMIT 3", {}, [&](const Json& row) {
      notes.store.patch({"notes", row["id"].get<std::string>()}, {{"seen", true}});
      EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 49);
      return true;
    });
  });
  EXPECT_EQ(notes.store.query("SELECT id FROM notes WHERE doc ->> '$.seen' = 1").size(), 3u);
  // Nested deeper than any document: text, not a crash.
  EXPECT_TRUE(notes.store
                  .query("SELECT replace(hex(zeroblob(50000)), '0', '[') || "
                         "replace(hex(zeroblob(50000)), '0', ']') AS doc")[0]["doc"]
                  .is_string());
  EXPECT_EQ(notes.store.query("SELECT CAST(x'ff41' AS TEXT) AS t")[0]["t"].dump(), "\"_0E\"");
}

// Each waits for the other's lock where the order is wrong.
TEST(Query, ThreadsThatReadAndWriteInAVisitorDoNotHoldUpLockAndRekey) {
  char name[] = "/tmp/holdfast-order-XXXXXX";
  std::string folder = mkdtemp(name);
  EncryptedLocalStore store(folder + "/a.db", FakeWorld::key());
  for (int n = 0; n < 20; ++n) store.store("k" + std::to_string(n), {{"n", n}});
  for (bool rekey : {true, false}) {
    std::atomic<bool> inside = false;
    std::atomic<bool> begun = false;
    std::thread reader([&] {
      int seen = 0;
      store.for_each("records", [&](const std::string& id, const Json&) {
        inside = true;
        while (!begun) std::this_thread::yield();
        if (++seen % 2 == 0) store.store(id, {{"n", -1}});
        EXPECT_TRUE(store.retrieve(id));
        EXPECT_FALSE(store.list().empty());
        return true;
      });
      EXPECT_EQ(seen, 20);
    });
    while (!inside) std::this_thread::yield();
    begun = true;
    rekey ? store.rekey() : store.lock();
    reader.join();
  }
  EXPECT_TRUE(store.is_locked());
  std::filesystem::remove_all(folder);
}

TEST(Query, ExplainNamesAScanAndAnIndexEndsIt) {
  Notes notes;
  const char* sql = "SELECT id FROM notes WHERE doc ->> '$.due' < ?";
  QueryPlan plan = notes.store.explain(sql, {3});
  ASSERT_TRUE(plan.scans());
  EXPECT_EQ(plan.steps[0].collection, "notes");
  EXPECT_FALSE(notes.store.explain("SELECT id FROM notes WHERE id = ?", {"n1"}).scans());
  EXPECT_TRUE(notes.store.create_index("notes", "$.due"));
  EXPECT_FALSE(notes.store.create_index("notes", "$.due"));
  plan = notes.store.explain(sql, {3});
  EXPECT_FALSE(plan.scans());
  EXPECT_NE(plan.steps[0].detail.find("$.due"), std::string::npos) << plan.steps[0].detail;
  EXPECT_EQ(notes.store.query(sql, {3}).size(), 3u);
  notes.store.store({"notes", "late"}, {{"due", -1}});
  EXPECT_EQ(notes.store.query(sql, {3}).size(), 4u);
  EXPECT_EQ(notes.store.indexes().size(), 1u);
  EXPECT_TRUE(notes.store.drop_index("notes", "$.due"));
  EXPECT_FALSE(notes.store.drop_index("notes", "$.due"));
  EXPECT_TRUE(notes.store.explain(sql, {3}).scans());
  for (const char* path : {"", "$", "due", "$.", "$.a'b\"", "$.a') --"}) {
    try {
      notes.store.create_index("notes", path);
      notes.store.verify();  // quoted, whatever it is
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << path << error.what();
    }
  }
}

TEST(Query, LiveQueriesTellWhatChanged) {
  Notes notes;
  std::vector<QueryChange> changes;
  {
    LiveQuery live =
        notes.store.watch("SELECT id, doc ->> '$.due' AS due FROM notes WHERE doc ->> '$.due' > ?",
                          {46}, [&](const QueryChange& change) { changes.push_back(change); });
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_EQ(changes[0].rows, 3u);
    notes.store.store({"other", "a"}, {{"n", 1}});     // another collection
    notes.store.store({"notes", "n1"}, {{"due", 1}});  // not in the result
    EXPECT_EQ(changes.size(), 1u);
    notes.store.patch({"notes", "n48"}, {{"due", 100}});
    ASSERT_EQ(changes.size(), 2u);
    EXPECT_EQ(changes[1].added, std::vector<Json>({{{"id", "n48"}, {"due", 100}}}));
    EXPECT_EQ(changes[1].removed, std::vector<Json>({{{"id", "n48"}, {"due", 48}}}));
    notes.store.transaction([&] {
      notes.store.remove({"notes", "n47"});
      notes.store.remove({"notes", "n49"});
      EXPECT_EQ(changes.size(), 2u);  // not before the commit
    });
    ASSERT_EQ(changes.size(), 3u);
    EXPECT_EQ(changes[2].removed.size(), 2u);
    EXPECT_THROW(notes.store.transaction([&] {
      notes.store.remove({"notes", "n48"});
      throw std::runtime_error("no");
    }),
                 std::runtime_error);
    EXPECT_EQ(changes.size(), 3u);
  }
  notes.store.remove({"notes", "n48"});
  EXPECT_EQ(changes.size(), 3u);  // it ended
}

TEST(Query, ALiveQuerysCallbackMayWriteAndMayFail) {
  Notes notes;
  int calls = 0;
  LiveQuery live = notes.store.watch("SELECT id FROM notes WHERE id = 'n1' OR id = 'echo'", {},
                                     [&](const QueryChange& change) {
                                       ++calls;
                                       if (change.rows == 1)
                                         notes.store.store({"notes", "echo"}, {{"n", 1}});
                                       if (calls > 2) throw std::runtime_error("dropped");
                                     });
  EXPECT_EQ(calls, 2);  // its own write is told, too
  notes.store.remove({"notes", "n1"});
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(notes.store.retrieve({"notes", "n1"}));
}

TEST(Query, ManyThreadsReadBesideTheWriter) {
  char name[] = "/tmp/holdfast-readers-XXXXXX";
  std::string folder = mkdtemp(name);
  EncryptedLocalStore store(folder + "/a.db", FakeWorld::key());
  constexpr int kPairs = 20;
  auto write = [&](int n) {
    store.transaction([&] {
      for (int i = 0; i < kPairs; ++i) store.store("k" + std::to_string(i), {{"n", n}});
    });
  };
  write(0);
  std::atomic<bool> stop = false;
  std::atomic<int> torn = 0;
  std::atomic<int> reads = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&, t] {
      while (!stop) {
        if (t % 2 == 0) {
          Json row = store.query(
              "SELECT count(*) AS n, min(doc ->> '$.n') AS a, "
              "max(doc ->> '$.n') AS b FROM records")[0];
          if (row["n"] != kPairs || row["a"] != row["b"]) ++torn;
        } else {
          int first = -1;
          store.for_each("records", [&](const std::string&, const Json& document) {
            int n = document["n"].get<int>();
            if (first < 0) first = n;
            if (n != first) ++torn;
            return true;
          });
          if (!store.retrieve("k1")) ++torn;
        }
        ++reads;
      }
    });
  }
  for (int n = 1; n < 60; ++n) write(n);
  store.verify();
  store.rekey();
  write(60);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_GT(reads, 4);
  store.verify();
  std::filesystem::remove_all(folder);
}

TEST(Query, ALongQueryDoesNotHoldUpTheWriter) {
  Notes notes;
  int seen = 0;
  notes.store.query("SELECT id FROM notes", {}, [&](const Json&) {
    notes.store.store({"notes", "new" + std::to_string(seen)}, {{"due", 1000}});
    return ++seen < 1000;
  });
  EXPECT_EQ(seen, 49);  // as of one moment
  EXPECT_EQ(notes.store.query("SELECT count(*) AS n FROM notes")[0]["n"], 98);
  EXPECT_EQ(code_of([&] {
              notes.store.query("SELECT id FROM notes", {}, [&](const Json&) {
                notes.store.rekey();
                return true;
              });
            }),
            ErrorCode::invalid_argument);
}

TEST(Migrate, RunsWhatTheStoreHasNotHadInOneTransaction) {
  Notes notes;
  std::vector<Migration> steps = {
      {1, "mark", [](EncryptedLocalStore& s) { s.patch({"notes", "n1"}, {{"v", 1}}); }},
      {2, "mark again", [](EncryptedLocalStore& s) { s.patch({"notes", "n1"}, {{"w", 2}}); }}};
  MigrationReport report = notes.store.migrate(steps, true);
  EXPECT_EQ(report.from, 0u);
  EXPECT_EQ(report.to, 2u);
  EXPECT_EQ(report.steps, (std::vector<std::string>{"mark", "mark again"}));
  EXPECT_FALSE(notes.store.retrieve({"notes", "n1"})->contains("v"));
  notes.store.migrate({steps[0]});
  report = notes.store.migrate(steps);
  EXPECT_EQ(report.steps, (std::vector<std::string>{"mark again"}));
  EXPECT_EQ(notes.store.retrieve({"notes", "n1"})->at("w"), 2);
  EXPECT_EQ(code_of([&] { notes.store.migrate({steps[0]}); }), ErrorCode::newer_version);
  EXPECT_EQ(code_of([&] { notes.store.migrate({steps[1]}); }), ErrorCode::invalid_argument);
  steps.push_back({3, "fails", [](EncryptedLocalStore& s) {
                     s.patch({"notes", "n1"}, {{"x", 3}});
                     throw Error(ErrorCode::invalid_argument, "no");
                   }});
  EXPECT_EQ(code_of([&] { notes.store.migrate(steps); }), ErrorCode::invalid_argument);
  EXPECT_FALSE(notes.store.retrieve({"notes", "n1"})->contains("x"));
  EXPECT_TRUE(notes.store.migrate({steps[0], steps[1]}).steps.empty());
}

TEST(Migrate, UpgradesOlderTablesAfterADryRunAndRefusesNewerOnes) {
  FakeWorld world;
  {
    auto store = world.open();
    store.store("a", {{"n", 1}});
    store.engine().locked()->database().connection().execute(kToFirstTables);
  }
  MigrationReport report =
      EncryptedLocalStore::check_upgrade("test.db", FakeWorld::key(), world.options());
  EXPECT_EQ(report.from, 1u);
  EXPECT_EQ(report.to, kSchemaVersion);
  EXPECT_EQ(report.steps.size(), kSchemaVersion - 1);
  report = EncryptedLocalStore::check_upgrade("test.db", FakeWorld::key(), world.options());
  EXPECT_EQ(report.from, 1u);  // nothing was kept
  {
    auto store = world.open();
    EXPECT_EQ(store.retrieve("a")->at("n"), 1);
    EXPECT_TRUE(store.create_index("records", "$.n"));
    store.engine().locked()->database().connection().execute(
        "UPDATE meta SET value = x'6300000000000000' WHERE name = 'schema'");
  }
  EXPECT_EQ(code_of([&] { world.open(); }), ErrorCode::newer_version);
}

}  // namespace
}  // namespace holdfast::store
