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

TEST(EngineDeathTest, UseOfTheDatabaseWithoutTheLockEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  FakeWorld world;
  auto store = world.open();
  EXPECT_DEATH(store.engine().database().connection().execute("SELECT 1"), "without its lock");
}

}  // namespace
}  // namespace holdfast::store
