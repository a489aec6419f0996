// Key slots, a new data key, lock and unlock, the anchor.

#include <gtest/gtest.h>

#include "holdfast/backup.h"
#include "src/store/header.h"
#include "src/store/key_slot.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

using Json = nlohmann::json;

ErrorCode opening(const FakeWorld& world, const UserKey& key) {
  return code_of(
      [&] { EncryptedLocalStore("test.db", key, world.options(StoreOptions::Open::existing)); });
}

Json read(const FakeWorld& world, const UserKey& key) {
  EncryptedLocalStore store("test.db", key, world.options(StoreOptions::Open::existing));
  return store.retrieve("a").value_or(Json());
}

StoreOptions cheap(const FakeWorld& world) {
  StoreOptions options = world.options();
  options.passphrase_memory_mib = 64;
  return options;
}

TEST(Keys, EveryKindOfKeyOpensTheStore) {
  FakeWorld world;
  std::string fernet = generate_fernet_key();
  std::string code = generate_recovery_code();
  Bytes platform;  // what a platform's key store would keep
  auto lookup = [&](std::span<const std::uint8_t, 16> id, std::span<std::uint8_t, 32> secret) {
    if (platform.empty()) platform.assign(id.begin(), id.end());
    if (!std::equal(id.begin(), id.end(), platform.begin())) return false;
    std::fill(secret.begin(), secret.end(), static_cast<std::uint8_t>(id[0] + 1));
    return true;
  };
  std::string exported;
  {
    EncryptedLocalStore store("test.db", UserKey::passphrase("words"), cheap(world));
    store.store("a", {{"n", 1}});
    EXPECT_EQ(store.add_key(FakeWorld::key(1)), 2);
    EXPECT_EQ(store.add_key(UserKey::fernet(fernet)), 3);
    EXPECT_EQ(store.add_key(UserKey::recovery_code(code)), 4);
    EXPECT_EQ(store.add_key(UserKey::callback(lookup)), 5);
    exported = store.export_key_for_backup("other words");
    std::vector<KeySlotInfo> slots = store.key_slots();
    ASSERT_EQ(slots.size(), 5u);
    EXPECT_EQ(slots[0].kind, "passphrase");
    EXPECT_EQ(slots[3].kind, "recovery_code");
    EXPECT_EQ(slots[4].created_ms, world.clock->now_ms());
  }
  std::string typed = code;  // as a person types it
  for (char& c : typed) {
    if (c == '-') c = ' ';
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (c == '0') c = 'o';
    if (c == '1') c = 'l';
  }
  for (const UserKey& key :
       {UserKey::passphrase("words"), FakeWorld::key(1), UserKey::fernet(fernet),
        UserKey::recovery_code(typed), UserKey::callback(lookup),
        UserKey::exported(exported, "other words")}) {
    EXPECT_EQ(read(world, key), Json({{"n", 1}})) << key_kind_name(key.kind());
  }
  EXPECT_EQ(opening(world, UserKey::passphrase("wrong")), ErrorCode::wrong_key);
  EXPECT_EQ(opening(world, FakeWorld::key(2)), ErrorCode::wrong_key);
  EXPECT_EQ(opening(world, UserKey::fernet(generate_fernet_key())), ErrorCode::wrong_key);
  EXPECT_EQ(opening(world, UserKey::recovery_code(generate_recovery_code())), ErrorCode::wrong_key);
  EXPECT_EQ(opening(world, UserKey::callback([](auto, auto) { return false; })),
            ErrorCode::wrong_key);
  EXPECT_EQ(code_of([&] { UserKey::exported(exported, "wrong"); }), ErrorCode::wrong_key);
  EXPECT_EQ(code_of([&] { UserKey::exported("holdfast-key-1.AAAA", "x"); }),
            ErrorCode::invalid_argument);
  code[0] = code[0] == '7' ? '8' : '7';
  EXPECT_EQ(code_of([&] { UserKey::recovery_code(code); }), ErrorCode::invalid_argument);
}

TEST(Keys, AWrongKeyWritesNothing) {
  FakeWorld world;
  world.open().store("a", {{"n", 1}});
  Bytes before = world.files->content("test.db");
  EXPECT_EQ(opening(world, FakeWorld::key(9)), ErrorCode::wrong_key);
  EXPECT_EQ(world.files->content("test.db"), before);
}

TEST(Keys, AreChangedAndRemovedButNeverTheLast) {
  FakeWorld world;
  auto store = std::make_unique<EncryptedLocalStore>(world.open());
  store->store("a", {{"n", 1}});
  std::uint8_t slot = store->add_key(FakeWorld::key(20));
  store->change_key(slot, FakeWorld::key(21));
  store->change_key(1, FakeWorld::key(22));
  store.reset();
  EXPECT_EQ(opening(world, FakeWorld::key()), ErrorCode::wrong_key);
  EXPECT_EQ(opening(world, FakeWorld::key(20)), ErrorCode::wrong_key);
  EXPECT_EQ(read(world, FakeWorld::key(21))["n"], 1);
  EncryptedLocalStore again("test.db", FakeWorld::key(22), world.options());
  again.remove_key(slot);
  EXPECT_EQ(code_of([&] { again.remove_key(1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { again.remove_key(7); }), ErrorCode::not_found);
  for (int n = 0; n < 7; ++n) again.add_key(FakeWorld::key(static_cast<std::uint8_t>(30 + n)));
  EXPECT_EQ(code_of([&] { again.add_key(FakeWorld::key(40)); }), ErrorCode::too_large);
  EXPECT_EQ(code_of([&] { again.add_key(FakeWorld::key(33)); }), ErrorCode::exists);
  EXPECT_EQ(again.key_slots().size(), kMaxSlots);
}

TEST(Keys, RekeyLeavesEverySlotOpeningAndOldDataKeysOpenNothing) {
  FakeWorld world;
  std::string exported;
  {
    EncryptedLocalStore store("test.db", UserKey::passphrase("words"), cheap(world));
    store.add_key(FakeWorld::key(1));
    store.store("a", {{"n", 1}});
    exported = store.export_key_for_backup("x");
    Bytes before = world.files->content("test.db");
    std::vector<std::uint64_t> seen;
    store.rekey([&](const ProgressReport& report) {
      seen.push_back(report.total);
      return true;
    });
    EXPECT_FALSE(seen.empty());
    EXPECT_EQ(store.retrieve("a"), Json({{"n", 1}}));
    store.store("a", {{"n", 2}});
    store.verify();
    // Nothing of the old file is in the new one.
    const Bytes& after = world.files->content("test.db");
    for (std::size_t page = 2; page < after.size() / 4096; ++page) {
      auto at = after.begin() + static_cast<std::ptrdiff_t>(page * 4096);
      EXPECT_EQ(std::search(before.begin(), before.end(), at, at + 64), before.end()) << page;
    }
    store.rekey();  // slots that were never opened in between are boxed to again
  }
  EXPECT_EQ(opening(world, UserKey::exported(exported, "x")), ErrorCode::wrong_key);
  for (int twice = 0; twice < 2; ++twice) {  // the first opening settles the slot
    EXPECT_EQ(read(world, UserKey::passphrase("words"))["n"], 2);
    EXPECT_EQ(read(world, FakeWorld::key(1))["n"], 2);
  }
  EXPECT_FALSE(world.files->exists("test.db.rekey"));
}

TEST(Keys, ACancelledRekeyChangesNothing) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  EXPECT_EQ(code_of([&] { store.rekey([](const ProgressReport&) { return false; }); }),
            ErrorCode::cancelled);
  EXPECT_FALSE(world.files->exists("test.db.rekey"));
  EXPECT_EQ(store.query("SELECT id FROM records").size(), 1u);
  store.store("b", {{"n", 2}});
}

// Whoever has only the file could box a data key of his own to a slot's public key.
TEST(Keys, ASlotTakesABoxedKeyOnlyFromWhoKnewTheOldOne) {
  base::SeededRandom random(3);
  base::Id16 id = random.array<16>();
  Bytes old_key(32, 1);
  Bytes new_key(32, 2);
  UserKey key = FakeWorld::key();
  KeySlot slot = make_slot(1, key, id, old_key, {}, 0, random);
  KeySlot boxed = box_slot(slot, id, old_key, new_key, random);
  EXPECT_EQ(base::to_bytes(open_slot(boxed, key, id)->view()), new_key);
  KeySlot settled = settle_slot(boxed, key, id, new_key, random);
  EXPECT_TRUE(settled.boxed.empty());
  EXPECT_EQ(base::to_bytes(open_slot(settled, key, id)->view()), new_key);

  KeySlot forged = slot;
  forged.boxed = crypto::box_to(slot.public_key, Bytes(32, 66), random);
  forged.boxed.resize(forged.boxed.size() + 32);
  EXPECT_FALSE(open_slot(forged, key, id));
  EXPECT_THROW(box_slot(slot, id, Bytes(32, 9), new_key, random), Error);
  for (std::size_t bit = 0; bit < boxed.boxed.size() * 8; bit += 5) {
    KeySlot flipped = boxed;
    flipped.boxed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    EXPECT_FALSE(open_slot(flipped, key, id));
  }
}

TEST(Keys, SlotsOfLaterVersionsAreKept) {
  FakeWorld world;
  world.open().store("a", {{"n", 1}});
  {
    auto file = world.files->open("test.db", base::FileSystem::Mode::existing);
    Unlocked unlocked = unlock(*file, FakeWorld::key(), "test.db");
    KeySlot later;
    later.unknown = {99, 2, 1, 2, 3};
    std::vector<KeySlot> slots = unlocked.header.slots;
    slots.push_back(later);
    HeaderPages(*file, unlocked.header, unlocked.data_key.view(), unlocked.stale).set_slots(slots);
  }
  auto store = world.open();
  EXPECT_EQ(store.add_key(FakeWorld::key(3)), 3);
  std::vector<KeySlotInfo> slots = store.key_slots();
  ASSERT_EQ(slots.size(), 3u);
  EXPECT_EQ(slots[1].kind, "unknown");
  store.remove_key(3);
  EXPECT_EQ(code_of([&] { store.remove_key(1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { store.rekey(); }), ErrorCode::newer_version);
  store.remove_key(2);
  store.rekey();
}

TEST(Keys, LockClosesTheStoreUntilItIsUnlocked) {
  FakeWorld world;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  store.lock();
  store.lock();
  EXPECT_TRUE(store.is_locked());
  EXPECT_EQ(code_of([&] { store.store("a", {{"n", 2}}); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { static_cast<void>(store.retrieve("a")); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { static_cast<void>(store.list()); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { store.query("SELECT id FROM records"); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { static_cast<void>(store.key_slots()); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { store.verify(); }), ErrorCode::locked);
  EXPECT_EQ(code_of([&] { store.unlock(FakeWorld::key(9)); }), ErrorCode::wrong_key);
  EXPECT_TRUE(store.is_locked());
  {
    auto other = world.open();  // the file is free meanwhile
    other.store("a", {{"n", 3}});
  }
  store.unlock(FakeWorld::key());
  EXPECT_EQ(store.retrieve("a")->at("n"), 3);
  store.store("a", {{"n", 4}});
}

TEST(Keys, Argon2CostFollowsTheMachineWithinFloorAndCeiling) {
  using crypto::choose_argon2_cost;
  constexpr std::uint64_t kMuch = 64u << 20;
  EXPECT_EQ(choose_argon2_cost(5000, kMuch).memory_kib, crypto::kArgon2Floor.memory_kib);
  EXPECT_EQ(choose_argon2_cost(5000, kMuch).passes, crypto::kArgon2Floor.passes);
  crypto::Argon2Cost usual = choose_argon2_cost(100, kMuch);
  EXPECT_EQ(usual.memory_kib, 5 * crypto::kArgon2Floor.memory_kib);
  EXPECT_EQ(usual.passes, 3u);
  crypto::Argon2Cost fast = choose_argon2_cost(1, kMuch);
  EXPECT_EQ(fast.memory_kib, crypto::kArgon2Ceiling.memory_kib);
  EXPECT_EQ(fast.passes, crypto::kArgon2Ceiling.passes);
  crypto::Argon2Cost small = choose_argon2_cost(100, 512 << 10);  // 512 MiB: a quarter at most
  EXPECT_EQ(small.memory_kib, 128u << 10);
  EXPECT_GT(small.passes, 3u);
}

struct Vault {  // stands for a platform's key store
  std::optional<StorePosition> kept;
  bool broken = false;
  StoreAnchor anchor() {
    return {[this] { return kept; },
            [this](const StorePosition& position) {
              if (broken) throw Error(ErrorCode::io, "the key store does not answer");
              kept = position;
            }};
  }
};

TEST(Anchor, AnOlderCopyOfTheWholeFileIsNoticed) {
  FakeWorld world;
  Vault vault;
  StoreOptions options = world.options();
  options.anchor = vault.anchor();
  std::vector<std::shared_ptr<base::MemoryFiles>> copies;
  {
    EncryptedLocalStore store("test.db", FakeWorld::key(), options);
    for (int n = 0; n < 6; ++n) {
      store.store("a", {{"n", n}});
      if (n == 3) store.rekey();
      copies.push_back(world.files->after_kill());
    }
  }
  auto open = [&](std::shared_ptr<base::MemoryFiles> files) {
    FakeWorld other(4);
    other.environment.files = other.files = std::move(files);
    StoreOptions again = other.options(StoreOptions::Open::existing);
    again.anchor = vault.anchor();
    EncryptedLocalStore store("test.db", FakeWorld::key(), again);
    return store.retrieve("a")->at("n").get<int>();
  };
  for (std::size_t i = 0; i + 1 < copies.size(); ++i) {
    EXPECT_EQ(code_of([&] { open(copies[i]); }), ErrorCode::rolled_back) << i;
  }
  EXPECT_EQ(open(copies.back()), 5);
  EXPECT_EQ(open(world.files->after_kill()), 5);
}

// The end of the log cut off at a commit is what integrity of the file alone cannot tell.
TEST(Anchor, ALostTailIsNoticed) {
  FakeWorld world;
  Vault vault;
  StoreOptions options = world.options();
  options.anchor = vault.anchor();
  EncryptedLocalStore store("test.db", FakeWorld::key(), options);
  store.store("a", {{"n", 1}});
  std::size_t size = world.files->content("test.db-wal").size();
  store.store("a", {{"n", 2}});
  auto files = world.files->after_kill();
  files->content("test.db-wal").resize(size);
  FakeWorld other(4);
  other.environment.files = other.files = files;
  StoreOptions again = other.options();
  EXPECT_EQ(EncryptedLocalStore("test.db", FakeWorld::key(), again).retrieve("a")->at("n"), 1);
  again.anchor = vault.anchor();
  EXPECT_EQ(code_of([&] { EncryptedLocalStore("test.db", FakeWorld::key(), again); }),
            ErrorCode::rolled_back);
}

TEST(Anchor, FollowsABackupThatWasRestored) {
  FakeWorld world;
  Vault vault;
  StoreOptions options = world.options();
  options.anchor = vault.anchor();
  {
    EncryptedLocalStore store("test.db", FakeWorld::key(), options);
    for (int n = 0; n < 30; ++n) store.store("a", {{"n", n}});
    backup(store, "b", FakeWorld::key(2));
  }
  RestoreOptions restoring;
  restoring.replace = true;
  restoring.store = options;
  restore("b", FakeWorld::key(2), "test.db", FakeWorld::key(), restoring);
  EncryptedLocalStore store("test.db", FakeWorld::key(), options);
  EXPECT_EQ(store.retrieve("a")->at("n"), 29);
}

TEST(Anchor, ACommitWhoseAnchorWasNotReachedIsNoAlarm) {
  FakeWorld world;
  Vault vault;
  StoreOptions options = world.options();
  options.anchor = vault.anchor();
  {
    EncryptedLocalStore store("test.db", FakeWorld::key(), options);
    store.store("a", {{"n", 1}});
    vault.broken = true;
    EXPECT_EQ(code_of([&] { store.store("a", {{"n", 2}}); }), ErrorCode::io);
    EXPECT_EQ(code_of([&] { store.store("a", {{"n", 3}}); }), ErrorCode::io);
    vault.broken = false;
  }
  EncryptedLocalStore store("test.db", FakeWorld::key(), options);
  EXPECT_EQ(store.retrieve("a")->at("n"), 2);
  options.durability = StoreOptions::Durability::relaxed;
  EXPECT_EQ(code_of([&] { EncryptedLocalStore("b.db", FakeWorld::key(), options); }),
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace holdfast::store
