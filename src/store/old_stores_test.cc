// Stores that earlier releases wrote, kept in tests/stores: they must open for ever.

#include <gtest/gtest.h>

#include <filesystem>

#include "src/store/schema.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

struct Kept {
  const char* file;
  const char* recovery_code;
};
// A new table version adds a store here; none is ever written again.
constexpr Kept kStores[] = {
    {"schema-1.hf", "G6V39-5V5VE-3T44M-BJSHC-NWCRZ-04JCS"},
    {"schema-2.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
    {"schema-3.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
    {"schema-4.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
    {"schema-5.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
    {"schema-6.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
    {"schema-7.hf", "XPCSV-H9ZMQ-D9WPB-VJ603-90ANJ-0QHX3"},
};
static_assert(std::size(kStores) == kSchemaVersion);

TEST(OldStores, OpenWithEveryKeyTakeNewWritesAndVerify) {
  char name[] = "/tmp/holdfast-old-XXXXXX";
  std::filesystem::path folder = mkdtemp(name);
  std::filesystem::path stores = std::filesystem::path(HOLDFAST_SOURCE) / "tests" / "stores";
  for (const Kept& kept : kStores) {
    std::string path = folder / kept.file;
    std::filesystem::copy_file(stores / kept.file, path);
    for (const UserKey& key : {FakeWorld::key(7), UserKey::recovery_code(kept.recovery_code)}) {
      EncryptedLocalStore store(path, key);
      EXPECT_EQ(store.list("notes").size(), 19u) << kept.file;
      EXPECT_EQ(*store.retrieve({"notes", "n3"}), nlohmann::json({{"due", 100}}));
      EXPECT_EQ(store.query("SELECT count(*) AS n FROM notes WHERE doc ->> '$.due' >= 10")[0]["n"],
                11);
      if (kept.file >= std::string("schema-3.hf")) {
        EXPECT_EQ(*store.retrieve({"lists", "l"}),
                  nlohmann::json({{"todo", {"b", "a"}}, {"text", "hello world"}}));
      }
      store.create_index("notes", "$.title");
      store.patch("a", {{"n", 2}});
      store.verify();
    }
    EncryptedLocalStore(path, FakeWorld::key(7)).rekey();
    EXPECT_EQ(EncryptedLocalStore(path, UserKey::recovery_code(kept.recovery_code))
                  .retrieve("a")
                  ->at("n"),
              2);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace holdfast::store
