// Damage to a store's files: an error or the right answer, never another answer, never silence.

#include <gtest/gtest.h>

#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;

// A small store whose log still holds the last transactions, as after a killed process.
struct Sample {
  Sample() {
    auto store = world.open();
    for (int i = 0; i < 5; ++i) store.store("k" + std::to_string(i), {{"n", i}});
    expected = read(store);
    before_last = expected;
    world.cut_power();
  }
  static std::map<std::string, Json> read(const EncryptedLocalStore& store) {
    std::map<std::string, Json> all;
    store.for_each("records", [&](const std::string& id, const Json& document) {
      all[id] = document;
      return true;
    });
    return all;
  }
  // What opening and reading everything gives: nothing where an Error was thrown.
  std::optional<std::map<std::string, Json>> reopen(std::shared_ptr<base::MemoryFiles> files) {
    FakeWorld other(2);
    other.environment.files = other.files = std::move(files);
    try {
      auto store = EncryptedLocalStore("test.db", FakeWorld::key(),
                                       other.options(StoreOptions::Open::existing));
      store.verify();
      return read(store);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::corrupt || error.code() == ErrorCode::not_a_store)
          << error.what();
      return std::nullopt;
    }
  }
  FakeWorld world;
  std::map<std::string, Json> expected;
  std::map<std::string, Json> before_last;
};

constexpr std::size_t kWalFirstFrame = 1024;
constexpr std::size_t kWalFrame = 24 + 4096 + 24;

TEST(Tamper, AFlippedBitInTheDatabaseIsAnErrorOrChangesNothing) {
  Sample sample;
  std::size_t size = sample.world.files->content("test.db").size();
  std::size_t detected = 0;
  for (std::size_t at = 0; at < size; at += at < 400 ? 1 : 97) {
    auto files = sample.world.files->after_power_cut();
    files->content("test.db")[at] ^= static_cast<std::uint8_t>(1u << (at % 8));
    auto result = sample.reopen(files);
    if (!result) {
      ++detected;
    } else {
      // One of the two headers was hit, or a page whose newer version is in the log.
      ASSERT_EQ(*result, sample.expected) << "byte " << at;
    }
    if (at < 8192) {
      ASSERT_TRUE(result) << "the other header is whole: byte " << at;
    }
  }
  EXPECT_GT(detected, 0u);
}

TEST(Tamper, AFlippedBitInTheLogIsAnErrorUnlessItLooksLikeAPowerCut) {
  Sample sample;
  std::size_t size = sample.world.files->content("test.db-wal").size();
  ASSERT_GT(size, kWalFirstFrame + 5 * kWalFrame);
  std::size_t detected = 0;
  std::size_t cut = 0;
  for (std::size_t at = 0; at < size; at += at < 1100 ? 3 : 61) {
    auto files = sample.world.files->after_power_cut();
    files->content("test.db-wal")[at] ^= static_cast<std::uint8_t>(1u << (at % 8));
    auto result = sample.reopen(files);
    if (!result) {
      ++detected;
      continue;
    }
    if (*result == sample.expected) continue;  // an unused place of the header
    // Only the last transaction may look like a power cut.
    ++cut;
    ASSERT_EQ(result->size(), 4u) << "byte " << at;
    ASSERT_FALSE(result->count("k4"));
    ASSERT_GT(at, size - 12 * kWalFrame);
  }
  EXPECT_GT(detected, 100u);
  EXPECT_GT(cut, 0u);
}

// A checkpoint that a power cut tears may leave any page half old, half new, page 1 among them: the
// log holds it whole.
TEST(Tamper, APageTornByACheckpointIsReadFromTheLog) {
  Sample sample;
  Bytes before = sample.world.files->content("test.db");
  auto done = sample.world.files->after_power_cut();
  {
    FakeWorld other(2);
    other.environment.files = other.files = done;
    EncryptedLocalStore("test.db", FakeWorld::key(), other.options());  // closing checkpoints
  }
  Bytes after = done->content("test.db");
  for (std::size_t page = 2; page < before.size() / 4096; ++page) {
    for (std::size_t sectors : {std::size_t{1}, std::size_t{4}, std::size_t{7}}) {
      auto files = sample.world.files->after_power_cut();
      auto from = after.begin() + static_cast<std::ptrdiff_t>(page * 4096);
      std::copy_n(from, sectors * 512,
                  files->content("test.db").begin() + static_cast<std::ptrdiff_t>(page * 4096));
      auto result = sample.reopen(files);
      ASSERT_TRUE(result) << "page " << page - 1;
      ASSERT_EQ(*result, sample.expected);
    }
  }
}

TEST(Tamper, TruncationIsAnError) {
  Sample sample;
  {
    EncryptedLocalStore("test.db", FakeWorld::key(), sample.world.options());
  }  // empties the log
  std::size_t size = sample.world.files->content("test.db").size();
  ASSERT_FALSE(sample.world.files->exists("test.db-wal"));
  for (std::size_t keep : {std::size_t{0}, std::size_t{3}, std::size_t{4096}, std::size_t{8192},
                           std::size_t{8192 + 4096}, size - 4096, size - 3, size - 1}) {
    auto files = sample.world.files->after_power_cut();
    files->content("test.db").resize(keep);
    EXPECT_EQ(sample.reopen(files), std::nullopt) << keep;
  }
}

TEST(Tamper, TruncationUnderALiveLogIsAnError) {
  Sample sample;
  std::size_t size = sample.world.files->content("test.db").size();
  for (std::size_t keep = 8192 + 4096; keep < size; keep += 4096) {
    auto files = sample.world.files->after_power_cut();
    files->content("test.db").resize(keep);
    auto result = sample.reopen(files);
    if (result) {
      ASSERT_EQ(*result, sample.expected) << keep;
    }
  }
}

TEST(Tamper, SwappedPagesAndPagesOfAnotherStoreAreErrors) {
  Sample sample;
  {
    EncryptedLocalStore("test.db", FakeWorld::key(), sample.world.options());
  }
  Bytes whole = sample.world.files->content("test.db");
  std::size_t pages = whole.size() / 4096;
  auto with = [&](std::size_t page, const Bytes& from, std::size_t from_page) {
    auto files = sample.world.files->after_power_cut();
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(from_page * 4096), 4096,
                files->content("test.db").begin() + static_cast<std::ptrdiff_t>(page * 4096));
    return sample.reopen(files);
  };
  for (std::size_t a = 4; a < pages; ++a) {
    for (std::size_t b = 4; b < pages; ++b) {
      if (a != b) {
        EXPECT_EQ(with(a, whole, b), std::nullopt) << a << " " << b;
      }
    }
  }
  FakeWorld other(9);
  {
    other.open().store("k0", {{"n", 9}});
  }
  Bytes foreign = other.files->content("test.db");
  for (std::size_t a = 4; a < std::min(pages, foreign.size() / 4096); ++a) {
    EXPECT_EQ(with(a, foreign, a), std::nullopt) << a;
  }
}

TEST(Tamper, ForeignFilesGetANamedError) {
  FakeWorld world;
  auto put = [&](const std::string& path, const Bytes& content) {
    world.files->open(path, base::FileSystem::Mode::create)->write(0, content);
  };
  auto code = [&](const std::string& path) {
    return code_of([&] { EncryptedLocalStore(path, FakeWorld::key(), world.options()); });
  };
  put("empty", {});
  put("text", base::to_bytes(base::view("SQLite format 3\0 and more")));
  put("jpeg", Bytes(100000, 0xd8));
  EXPECT_EQ(code("empty"), ErrorCode::not_a_store);
  EXPECT_EQ(code("text"), ErrorCode::not_a_store);
  EXPECT_EQ(code("jpeg"), ErrorCode::not_a_store);
  {
    world.open();
  }
  Bytes newer = world.files->content("test.db");
  newer[8] = newer[4096 + 8] = 99;
  put("newer", newer);
  EXPECT_EQ(code("newer"), ErrorCode::newer_version);
  StoreOptions existing = world.options(StoreOptions::Open::existing);
  EXPECT_EQ(code_of([&] { EncryptedLocalStore("absent", FakeWorld::key(), existing); }),
            ErrorCode::not_found);
  StoreOptions create = world.options(StoreOptions::Open::create);
  EXPECT_EQ(code_of([&] { EncryptedLocalStore("test.db", FakeWorld::key(), create); }),
            ErrorCode::exists);
}

}  // namespace
}  // namespace holdfast::store
