// A disk that changed what the relay stored: SQLite finds what is wrong with its pages,
// verify_vault what is wrong with what they hold.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "holdfast/error.h"
#include "relay/sqlite/sqlite_storage.h"
#include "relay/test_member.h"
#include "relay/verify.h"

namespace holdfast::relay {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPage = 4096;

Hash32 numbered(std::uint8_t number) {
  Hash32 out{};
  out.fill(number);
  return out;
}

Bytes a_relay_file(const std::string& path) {
  {
    SqliteStorage storage(path);
    storage.transaction([&] {
      for (std::uint8_t v = 1; v <= 3; ++v) {
        Vault vault;
        vault.log_id.fill(v);
        storage.put_vault(numbered(v), vault);
        for (std::uint8_t i = 1; i <= 30; ++i) {
          Id16 batch{};
          batch.fill(i);
          storage.add_batch(numbered(v), {i, numbered(i), 1}, {batch, {}, numbered(i)},
                            Bytes(700, i));
        }
      }
    });
  }
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_noticed(const std::string& path) {
  std::optional<SqliteStorage> storage;
  try {
    storage.emplace(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt) << error.what();
    return true;  // it does not even open
  }
  return !storage->damage().empty();  // which says so and does not throw
}

TEST(RelayDamage, OfPagesIsNamedWhereverItIs) {
  fs::path folder = fs::temp_directory_path() / ("holdfast-damage-" + std::to_string(::getpid()));
  fs::create_directory(folder);
  std::string path = folder / "relay-0.db";
  Bytes good = a_relay_file(path);
  std::size_t pages = good.size() / kPage;
  ASSERT_GT(pages, 20u);
  EXPECT_FALSE(is_noticed(path));
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    Bytes bad = good;
    std::size_t page = static_cast<std::size_t>(round) % pages;
    std::size_t begin = page * kPage;
    // Every other keeps its kind, so that it is read as one.
    if (round / pages % 2 == 1) begin += page == 0 ? 101 : 1;
    for (std::size_t i = begin; i < (page + 1) * kPage; ++i) {
      bad[i] = static_cast<std::uint8_t>(random());
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bad.data()), static_cast<std::streamsize>(bad.size()));
    EXPECT_TRUE(is_noticed(path)) << "page " << page << " in round " << round;
  }
  fs::remove_all(folder);
}

TEST(RelayDamage, OfWhatAVaultHoldsIsNamed) {
  Rig rig;
  Member member(rig);
  Hash32 id = member.device.vault();
  for (std::uint8_t i = 1; i <= 3; ++i) member.push(i);
  Bytes chunk(100'000, 5);  // which has pages of its own, that SQLite does not look at
  wire::Checkpoint checkpoint;
  checkpoint.chunks = {wire::sha256({chunk})};
  checkpoint.signatures.resize(1);
  auto faults = [&] { return verify_vault(rig.storage, id).faults; };
  using Which = Storage::Checkpoint;
  for (Which which : {Which::counts, Which::proposed}) {
    EXPECT_EQ(faults(), std::vector<std::string>{});
    std::string name = which == Which::counts ? "its checkpoint" : "the proposed checkpoint";
    rig.storage.put_checkpoint(id, which, wire::encode(checkpoint));
    EXPECT_EQ(faults(), std::vector{"a chunk of " + name + " is missing"});
    Bytes bad = chunk;
    bad[50'000] ^= 1;
    rig.storage.put_blob(id, checkpoint.chunks[0], bad, 1);
    EXPECT_EQ(faults(), std::vector{"a chunk of " + name + " is not what was stored"});
    rig.storage.drop_blobs(id, {}, 2);
    rig.storage.put_blob(id, checkpoint.chunks[0], chunk, 1);
    EXPECT_EQ(faults(), std::vector<std::string>{});
    rig.storage.put_checkpoint(id, which, Bytes(40, 9));
    EXPECT_EQ(faults().size(), 1u);
    rig.storage.put_checkpoint(id, which, {});
    rig.storage.drop_blobs(id, {}, 2);
  }
  EXPECT_TRUE(verify_vault(rig.storage, id).is_here);
  EXPECT_FALSE(verify_vault(rig.storage, Hash32{}).is_here);
}

}  // namespace
}  // namespace holdfast::relay
