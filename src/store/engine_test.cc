// The lock that the store's own connection is used under.

#include "src/store/engine.h"

#include <gtest/gtest.h>

#include <future>

#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

bool is_free(Engine& engine) {
  return std::async(std::launch::async,
                    [&] {
                      bool taken = engine.mutex().try_lock();
                      if (taken) engine.mutex().unlock();
                      return taken;
                    })
      .get();
}

TEST(Engine, AStatementInUseKeepsTheLockOverTheEndOfItsTransaction) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  Engine& engine = store.engine();
  int told = 0;
  int number = engine.edit_observers().add([&] { ++told; });
  {
    Engine::Transaction transaction(engine);
    engine.put({"records", "b"}, {{"n", 2}}, {});
    Statement rows(engine.database().connection().prepare("SELECT count(*) FROM record"));
    EXPECT_TRUE(rows.step());
    transaction.commit();
    EXPECT_FALSE(is_free(engine));
    EXPECT_EQ(told, 0);
  }
  EXPECT_TRUE(is_free(engine));
  EXPECT_EQ(told, 1);
  {
    Engine::Transaction transaction(engine);
    engine.put({"records", "c"}, {{"n", 3}}, {});
    transaction.commit();
    EXPECT_TRUE(is_free(engine));
    EXPECT_EQ(told, 2);
  }
  engine.edit_observers().remove(number);
}

int times_run(Engine& engine, std::string_view beginning) {
  std::lock_guard lock(engine.mutex());
  int times = 0;
  sqlite3_stmt* statement = nullptr;
  while ((statement = sqlite3_next_stmt(engine.database().connection().handle(), statement))) {
    std::string_view sql = sqlite3_sql(statement);
    if (sql.substr(0, beginning.size()) == beginning) {
      times += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_RUN, 0);
    }
  }
  return times;
}

// What a device in bad faith names need not exist, and its change sets may be long.
TEST(Engine, WhatWaitsIsLookedAtOnlyOnceWhatItWaitsForIsHere) {
  FakeWorld world;
  auto store = world.open();
  Engine& engine = store.engine();
  auto change = [](std::uint8_t device, std::uint64_t sequence) {
    model::ChangeSet out;
    out.device = {device};
    out.sequence = sequence;
    out.hlc = model::Hlc{1};
    model::Op create;
    create.collection = "records";
    create.record = std::to_string(device) + "-" + std::to_string(sequence);
    create.value = model::Json::object();
    out.ops.push_back(create);
    return out;
  };
  model::ChangeSet never = change(1, 1), later = change(2, 1);
  never.context.set({9}, 1'000'000'000'000);
  later.context.set({3}, 40);
  EXPECT_EQ(engine.receive({change(1, 2), never, later, change(2, 2), change(2, 9)}).waiting, 5u);
  for (std::uint64_t i = 1; i < 40; ++i) engine.receive({change(3, i)});
  EXPECT_EQ(engine.count_waiting(), 5u);
  EXPECT_EQ(times_run(engine, "SELECT body FROM waiting"), 2);
  engine.receive({change(3, 40)});
  EXPECT_EQ(engine.seen().at({2}), 2u);
  EXPECT_EQ(engine.count_waiting(), 3u);
  EXPECT_EQ(times_run(engine, "SELECT body FROM waiting"), 5);  // two, and that it has no third
  engine.receive({change(2, 5)});                               // waits for 4, as 9 did for 8
  engine.receive({change(2, 4), change(3, 41)});
  engine.receive({change(2, 3)});
  EXPECT_EQ(engine.seen().at({2}), 5u);
  EXPECT_EQ(engine.count_waiting(), 3u);
}

TEST(EngineDeathTest, UseOfTheDatabaseWithoutTheLockEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  FakeWorld world;
  auto store = world.open();
  EXPECT_DEATH(store.engine().database().connection().execute("SELECT 1"), "without its lock");
}

}  // namespace
}  // namespace holdfast::store
