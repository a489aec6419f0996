// Damage to a store's files: an error or the right answer, never another answer, never silence.

#include <gtest/gtest.h>

#include <cstring>

#include "src/store/page_file.h"
#include "src/store/test_store.h"
#include "src/store/wal_file.h"

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
  for (std::size_t at = 0; at < size; at += (at < 400 ? 1 : 97) * test_stride()) {
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
  for (std::size_t at = 0; at < size; at += (at < 1100 ? 3 : 61) * (test_stride() > 1 ? 5 : 1)) {
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

// Every bit of the file, by the parts that read it. What is not noticed must be without effect: the
// spare place of the table.
TEST(Tamper, EveryBitOfTheFileIsNoticedOrUnused) {
  Sample sample;
  {
    EncryptedLocalStore("test.db", FakeWorld::key(), sample.world.options());
  }
  const Bytes whole = sample.world.files->content("test.db");
  base::MemoryFiles files;
  auto file = files.open("f", base::FileSystem::Mode::create);
  file->write(0, whole);
  Bytes& bytes = files.content("f");
  UserKey key = FakeWorld::key();
  Unlocked unlocked = unlock(*file, key, "f");
  PageCodec codec(unlocked.data_key.view(), unlocked.header.database_id, sample.world.random);
  HeaderPages header(*file, unlocked.header, unlocked.data_key.view(), 0);
  PageFile pages(*file, codec, header);
  PageOpener opener(codec);
  std::array<std::uint8_t, kPageSize> out;
  std::size_t bits = 0;
  std::size_t unused = 0;
  auto refused = [](auto&& work) {
    try {
      work();
      return false;
    } catch (const Error&) {
      return true;
    }
  };
  for (std::size_t at = 0; at < bytes.size(); at += test_stride()) {
    for (int bit = 0; bit < 8; ++bit) {
      ++bits;
      bytes[at] ^= static_cast<std::uint8_t>(1u << bit);
      std::size_t block = at / 4096;
      if (block < 2) {  // a header: the other one must be taken, and say the same
        Unlocked again = unlock(*file, key, "f");
        ASSERT_TRUE(again.uneven) << at;
        ASSERT_EQ(again.header.generation, unlocked.header.generation);
      } else if (block < 4) {
        if (!refused([&] { PageTable(*file, codec, unlocked.header.checkpoint); })) ++unused;
      } else {
        ASSERT_TRUE(refused([&] {
          static_cast<void>(pages.read(opener, (block - 4) * kPageSize, out, false));
        })) << at;
      }
      bytes[at] ^= static_cast<std::uint8_t>(1u << bit);
    }
  }
  // One of the two places, and the eight spare bytes of the other.
  if (test_stride() == 1) {
    EXPECT_EQ(unused, (4096u + 8u) * 8u);
  }
  std::printf("%zu bits flipped, all noticed but %zu in places that are not in use\n", bits,
              unused);
}

TEST(Tamper, EveryBitOfTheLogIsNoticedUnusedOrLooksLikeAPowerCut) {
  Sample sample;
  auto file = sample.world.files->open("test.db", base::FileSystem::Mode::existing);
  Unlocked unlocked = unlock(*file, FakeWorld::key(), "test.db");
  PageCodec codec(unlocked.data_key.view(), unlocked.header.database_id, sample.world.random);
  const Bytes whole = sample.world.files->content("test.db-wal");
  std::size_t frames = (whole.size() - kWalFirstFrame) / kWalFrame;
  // The frames that were durable when the last one was written; what follows may look torn.
  std::uint64_t durable = 0;
  std::memcpy(&durable, whole.data() + whole.size() - 24, 8);
  ASSERT_GT(durable, 4u);
  ASSERT_LT(durable, frames);
  base::MemoryFiles files;
  auto log = files.open("w", base::FileSystem::Mode::create);
  std::size_t noticed = 0;
  std::size_t cut = 0;
  std::size_t unused = 0;
  // One bit of each byte, another in every byte; all of them where headers and trailers are.
  for (std::size_t at = 0; at < whole.size(); at += test_stride()) {
    std::size_t in_frame = at < kWalFirstFrame ? 0 : (at - kWalFirstFrame) % kWalFrame;
    bool all = at < kWalFirstFrame || in_frame < 24 || in_frame >= 24 + 4096 - 40;
    for (unsigned bit = all ? 0 : static_cast<unsigned>(at % 8); bit < 8; bit += all ? 1 : 8) {
      Bytes bytes = whole;
      bytes[at] ^= static_cast<std::uint8_t>(1u << bit);
      files.content("w") = std::move(bytes);
      try {
        WalFile wal(files, "w", codec, unlocked.header.checkpoint);
        std::size_t left = static_cast<std::size_t>((wal.size() - 32) / WalFile::kFrame);
        if (left == frames) {
          ++unused;
          ASSERT_LT(at, kWalFirstFrame);
        } else {
          ++cut;
          ASSERT_GE(at, kWalFirstFrame + durable * kWalFrame) << bit;
          ASSERT_GE(left, durable);
        }
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ErrorCode::corrupt);
        ++noticed;
      }
    }
  }
  EXPECT_GT(noticed, 10000u / test_stride());
  std::printf(
      "%zu flips noticed, %zu in the last transaction looked like a power cut, %zu unused\n",
      noticed, cut, unused);
}

// Every page of every checkpoint put into every later file.
TEST(Tamper, EveryOlderPageIsNoticed) {
  FakeWorld world;
  std::vector<Bytes> versions;
  for (int n = 0; n < 6; ++n) {
    auto store = world.open();
    store.store("k" + std::to_string(n % 2), {{"n", n}, {"t", std::string(2000, 'x')}});
    store.verify();
    store.lock();
    versions.push_back(world.files->content("test.db"));
  }
  ASSERT_FALSE(world.files->exists("test.db-wal"));
  const Bytes& last = versions.back();
  std::size_t tried = 0;
  std::size_t tables = 0;
  Sample reader;
  for (std::size_t older = 0; older + 1 < versions.size(); ++older) {
    for (std::size_t page = 2; page < std::min(versions[older].size(), last.size()) / 4096;
         ++page) {
      auto at = static_cast<std::ptrdiff_t>(page * 4096);
      if (std::equal(last.begin() + at, last.begin() + at + 4096, versions[older].begin() + at)) {
        continue;
      }
      auto files = world.files->after_kill();
      std::copy_n(versions[older].begin() + at, 4096, files->content("test.db").begin() + at);
      ++tried;
      auto result = reader.reopen(files);
      if (page < 4) {  // a place of the table: the older one changes nothing where it is spare
        tables += result.has_value();
        continue;
      }
      EXPECT_EQ(result, std::nullopt) << "page " << page << " of version " << older;
    }
  }
  EXPECT_GT(tried, 20u);
  EXPECT_LE(tables, versions.size());
  std::printf("%zu older pages put back, all noticed but %zu spare places of the table\n", tried,
              tables);
}

TEST(Tamper, AnOlderHeaderAnOlderLogAndEveryMixtureAreNoticed) {
  FakeWorld world;
  struct Snapshot {
    Bytes file;
    Bytes log;
    int n;
  };
  std::vector<Snapshot> all;
  {
    auto store = world.open();
    for (int n = 0; n < 8; ++n) {
      store.store("k", {{"n", n}});
      if (n == 2 || n == 5) store.verify();  // checkpoints: the log starts anew after it
      all.push_back({world.files->content("test.db"), world.files->content("test.db-wal"), n});
    }
  }
  Sample reader;
  std::size_t noticed = 0;
  for (const Snapshot& base : all) {
    for (const Snapshot& log : all) {
      FakeWorld mixed(3);
      mixed.files->open("test.db", base::FileSystem::Mode::create)->write(0, base.file);
      mixed.files->open("test.db-wal", base::FileSystem::Mode::create)->write(0, log.log);
      auto result = reader.reopen(mixed.files);
      if (!result) {
        ++noticed;
        continue;
      }
      // What opens is the store as it was at the log's time, whole: row 4 is for that.
      EXPECT_EQ(result->at("k")["n"], log.n) << base.n << " with the log of " << log.n;
    }
  }
  EXPECT_GT(noticed, 20u);
  // One header of an older time beside the newest pages and log.
  for (const Snapshot& older : all) {
    FakeWorld mixed(3);
    Bytes file = all.back().file;
    std::copy_n(older.file.begin(), 8192, file.begin());
    mixed.files->open("test.db", base::FileSystem::Mode::create)->write(0, file);
    mixed.files->open("test.db-wal", base::FileSystem::Mode::create)->write(0, all.back().log);
    auto result = reader.reopen(mixed.files);
    if (result) {
      EXPECT_EQ(result->at("k")["n"], all.back().n);
    }
  }
}

TEST(Tamper, FramesOfTheLogReorderedOrCutOutAreNoticed) {
  Sample sample;
  const Bytes whole = sample.world.files->content("test.db-wal");
  std::size_t frames = (whole.size() - kWalFirstFrame) / kWalFrame;
  auto frame = [&](std::size_t i) {
    auto at = whole.begin() + static_cast<std::ptrdiff_t>(kWalFirstFrame + i * kWalFrame);
    return Bytes(at, at + kWalFrame);
  };
  auto with = [&](const std::vector<std::size_t>& order) {
    auto files = sample.world.files->after_power_cut();
    Bytes log(whole.begin(), whole.begin() + kWalFirstFrame);
    for (std::size_t i : order) {
      Bytes one = frame(i);
      log.insert(log.end(), one.begin(), one.end());
    }
    files->content("test.db-wal") = log;
    return sample.reopen(files);
  };
  std::vector<std::size_t> order(frames);
  for (std::size_t i = 0; i < frames; ++i) order[i] = i;
  std::size_t noticed = 0;
  for (std::size_t a = 0; a < frames; ++a) {
    for (std::size_t b = a + 1; b < frames; ++b) {
      auto swapped = order;
      std::swap(swapped[a], swapped[b]);
      auto result = with(swapped);
      if (!result) ++noticed;
      if (result) {
        EXPECT_EQ(result->size(), 4u) << a << " " << b;  // the last transaction
      }
    }
    auto without = order;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(a));
    auto result = with(without);
    if (result) {
      EXPECT_LE(result->size(), 4u) << a;  // as a log that ends there
    }
  }
  EXPECT_GT(noticed, frames);
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
