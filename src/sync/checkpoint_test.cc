// Checkpoints over the relay: made, verified, loaded by devices that come late, and given back.

#include "src/base/planted.h"
#include "src/sync/checkpoints.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

constexpr std::int64_t kDayMs = 24 * kHourMs;

// A vault whose devices make a checkpoint of every few batches.
struct CheckpointVault : TestVault {
  explicit CheckpointVault(int count) : TestVault(0) {
    for (int i = 0; i < count; ++i) add(100 + static_cast<std::uint64_t>(i));
  }
  TestDevice& add(std::uint64_t seed) { return TestVault::add(seed, 40'000); }
  void write(std::size_t device, const std::string& id, int n) {
    (*this)[device].store->store(id, {{"n", n}, {"by", device}});
    good(device);
  }
  SyncResult good(std::size_t device) {
    SyncResult result = (*this)[device].sync->sync();
    EXPECT_FALSE(result.error) << device << ": " << result.message;
    return result;
  }
  void write_many(std::size_t device, int count) {
    for (int i = 0; i < count; ++i) write(device, "r" + std::to_string(i % 7), i);
  }
  base::Hash32 id() { return Membership((*this)[0].store->engine()).vault(); }
  Bytes counted() { return relay.storage.checkpoint(id(), relay::Storage::Checkpoint::counts); }
  Bytes proposed() { return relay.storage.checkpoint(id(), relay::Storage::Checkpoint::proposed); }
  std::uint64_t floor() { return relay.storage.vault(id())->floor; }
  // Until the relay has let go of all that the checkpoint stands for.
  void let_go() {
    clock->advance_ms(91 * kDayMs);
    write(0, "later", 1);
  }
  std::uint64_t empty_bodies(std::size_t device) {
    store::Engine& engine = (*this)[device].store->engine();
    std::lock_guard lock(engine.mutex());
    store::Statement query(
        engine.database().connection().prepare("SELECT count(*) FROM log WHERE body = x''"));
    query.step();
    return static_cast<std::uint64_t>(query.integer(0));
  }
};

TEST(Checkpoint, CountsOnceAnotherDeviceHasFoundTheSame) {
  CheckpointVault vault(2);
  vault.write_many(0, 12);
  EXPECT_TRUE(vault.counted().empty());
  ASSERT_FALSE(vault.proposed().empty());
  vault.good(1);
  ASSERT_FALSE(vault.counted().empty());
  EXPECT_TRUE(vault.proposed().empty());
  wire::Checkpoint checkpoint = wire::decode_checkpoint(vault.counted());
  EXPECT_EQ(checkpoint.signatures.size(), 2u);
  EXPECT_TRUE(wire::counts(checkpoint, Membership(vault[0].store->engine()).control()));
  // Nothing is let go of before its time, by nobody; then by all.
  EXPECT_EQ(vault.floor(), 0u);
  vault.good(0);
  vault.good(1);
  EXPECT_GE(vault.empty_bodies(0), checkpoint.position);
  EXPECT_GE(vault.empty_bodies(1), checkpoint.position);
  vault.let_go();
  EXPECT_EQ(vault.floor(), checkpoint.position);
  vault.good(1);
  expect_equal(vault);
}

TEST(Checkpoint, OfAVaultOfOneDeviceCountsByItself) {
  CheckpointVault vault(1);
  vault.write_many(0, 12);
  ASSERT_FALSE(vault.counted().empty());
  vault.let_go();
  EXPECT_GT(vault.floor(), 0u);
  // A newcomer gets along with it, and vouches for it to the next.
  vault.add(7);
  vault.good(1);
  expect_equal(vault);
  vault.add(8);
  vault.good(2);
  expect_equal(vault);
}

TEST(Checkpoint, ALateDeviceLoadsItAndKeepsItsOwnEditsOnTop) {
  CheckpointVault vault(3);
  vault.write(2, "old", 1);
  vault.settle();
  vault[2].store->store("mine", {{"n", 2}});  // and then it is away
  vault[2].store->store("r1", {{"mine", true}});
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.let_go();
  ASSERT_GT(vault.floor(), 0u);
  EXPECT_EQ(vault.good(2).sent, 2u);
  vault.good(0);
  vault.good(1);
  expect_equal(vault);
  EXPECT_EQ(vault[0].store->retrieve("mine")->at("n"), 2);
  EXPECT_EQ(vault[0].store->retrieve("r1")->at("mine"), true);
  EXPECT_EQ(vault[2].store->retrieve("old")->at("n"), 1);
  vault.write(2, "again", 3);
  vault.good(0);
  EXPECT_EQ(vault[0].store->retrieve("again")->at("n"), 3);
}

// A change builds on one that went past the relay, whose author may never come back.
TEST(Checkpoint, IsMadeWhereAChangeWaitsForOneThatIsNotInTheLog) {
  CheckpointVault vault(4);
  vault.settle();
  vault[2].store->store("x", {{"n", 1}});
  vault[0].sync->apply_remote_changes(vault[2].sync->prepare_sync_package());
  vault.write(0, "x", 2);
  vault.write_many(3, 12);
  EXPECT_EQ(vault.good(1).waiting, 1u);
  ASSERT_FALSE(vault.counted().empty());
  vault.let_go();
  ASSERT_GT(vault.floor(), 0u);
  vault.add(7);
  EXPECT_EQ(vault.good(4).waiting, 2u);  // of what it never saw, and "later" behind it
  EXPECT_FALSE(vault[4].store->retrieve("x"));
  EXPECT_EQ(vault.good(2).sent, 1u);
  for (std::size_t device : {0, 1, 3, 4}) EXPECT_EQ(vault.good(device).waiting, 0u) << device;
  expect_equal(vault);
  EXPECT_EQ(vault[4].store->retrieve("x")->at("n"), 2);
}

TEST(Checkpoint, APackageThatComesAfterItsBatchHoldsNothingUp) {
  CheckpointVault vault(2);
  vault.settle();
  vault[0].store->store("x", {{"n", 1}});
  SyncPackage package = vault[0].sync->prepare_sync_package();
  ASSERT_EQ(package.size(), 1u);
  vault.good(0);
  vault.good(1);
  vault[1].sync->apply_remote_changes(package);
  Membership here(vault[1].store->engine());
  EXPECT_TRUE(Checkpoints(vault[1].store->engine(), here).is_quiet());
}

TEST(HostileCheckpoint, OnlyWhatCanWaitIsTaken) {
  store::Engine::Waiting waiting{{1}, 3, {0, 5, 0, 0, 0, 0, 0, 0, 0}};
  Bytes bytes = encode(waiting);
  EXPECT_EQ(encode(decode_waiting(bytes)), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(decode_waiting(ByteView(bytes).first(size)), Error) << size;
  }
  CheckpointVault vault(1);
  store::Engine& engine = vault[0].store->engine();
  store::Engine::Transaction transaction(engine);
  engine.add_waiting(waiting);
  EXPECT_EQ(engine.count_waiting(), 1u);
  for (const Bytes& bad : {Bytes{}, Bytes{0}, Bytes{0, 2, 0, 0, 0, 0, 0, 0, 0},
                           Bytes{0, 5, 0, 0, 0, 0, 0, 0, 0, 0}, Bytes{1, 2, 3}}) {
    EXPECT_EQ(store::code_of([&] { engine.add_waiting({{1}, 3, bad}); }), ErrorCode::malformed);
  }
}

TEST(Checkpoint, PuttingItIntoTheStoreCanBeCancelledAndNothingIsFetchedTwice) {
  CheckpointVault vault(2);
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.let_go();
  vault.add(7);
  std::vector<SyncProgress> seen;
  SyncResult result = vault[2].sync->sync([&](const SyncProgress& progress) {
    seen.push_back(progress);
    if (progress.phase == SyncProgress::Phase::applying) vault[2].sync->cancel();
  });
  EXPECT_EQ(result.error, ErrorCode::cancelled);
  EXPECT_TRUE(vault[2].store->list().empty());
  EXPECT_EQ(seen.back().phase, SyncProgress::Phase::applying);
  EXPECT_GT(seen.back().total, 0u);
  EXPECT_GT(seen.back().bytes, 0u);
  vault[2].cut_power();
  int parts = 0;
  vault.relay.before = [&](const base::HttpRequest& request) {
    parts += request.url.find("/blobs/") != std::string::npos;
    return false;
  };
  vault.good(2);
  EXPECT_EQ(parts, 0);
  vault.good(1);
  expect_equal(vault);
}

TEST(Checkpoint, ALateDeviceWhoseLastAnswerWasLostSendsNothingTwice) {
  CheckpointVault vault(3);
  vault.settle();
  vault[2].store->store("mine", {{"n", 2}});
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.ends_with("/batches")) {
      vault.relay.down = true;
      response = {0, {}, 0, "lost"};
    }
  };
  vault[2].sync->sync();
  vault.relay.after = nullptr;
  vault.relay.down = false;
  EXPECT_EQ(vault[2].sync->count_pending(), 1u);
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.let_go();
  ASSERT_GT(vault.floor(), 0u);
  SyncResult result = vault.good(2);
  EXPECT_EQ(result.sent, 1u);
  EXPECT_TRUE(result.notices.empty());
  vault.good(0);
  vault.good(1);
  expect_equal(vault);
}

TEST(Checkpoint, ALateCopyBecomesADeviceOfItsOwn) {
  CheckpointVault vault(2);
  vault.add(9);
  vault.write(2, "before", 1);
  vault.settle();
  auto copy = std::make_shared<base::MemoryFiles>(*vault[2].world.files->after_kill());
  vault[2].store->store("lost", {{"n", 1}});
  vault.good(2);
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.let_go();
  ASSERT_GT(vault.floor(), 0u);
  vault[2].sync.reset();
  vault[2].store.reset();
  vault[2].world.environment.files = vault[2].world.files = copy;
  vault[2].open();
  vault[2].store->store("r2", {{"copy", true}});
  SyncResult result = vault.good(2);
  EXPECT_FALSE(result.notices.empty());
  vault.settle();
  expect_equal(vault);
  EXPECT_EQ(vault[0].store->retrieve("r2")->at("copy"), true);
  EXPECT_EQ(vault[2].store->retrieve("lost")->at("n"), 1);
}

TEST(Checkpoint, ARelayThatLostAllGetsItBackWithoutTheBatches) {
  CheckpointVault vault(2);
  Bytes empty = vault.relay.backup();
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.good(1);
  vault.let_go();
  vault.good(1);
  ASSERT_GT(vault.empty_bodies(0), 0u);
  vault.relay.put_back(empty, false);
  for (int round = 0; round < 4; ++round) {
    vault.clock->advance_ms(120'000);
    vault[0].sync->sync();
    vault[1].sync->sync();
  }
  vault.good(0);
  vault.good(1);
  expect_equal(vault);
  EXPECT_FALSE(vault.counted().empty());
  TestDevice& late = vault.add(11);
  EXPECT_FALSE(late.sync->sync().error);
  expect_equal(vault);
}

// The relay's answers to GET of what a path contains, changed.
void falsify(CheckpointVault& vault, const std::string& part, std::function<void(Bytes&)> change) {
  vault.relay.after = [part, change](const base::HttpRequest& request,
                                     base::HttpResponse& response) {
    bool asked = request.method == "GET" && request.url.find(part) != std::string::npos;
    if (asked && response.status == 200) change(response.body);
  };
}

// A vault whose relay has let go of the beginning, and a device that needs it.
struct LateVault : CheckpointVault {
  LateVault() : CheckpointVault(3) {
    write(2, "own", 1);
    settle();
    (*this)[2].store->store("unsent", {{"n", 1}});
    write_many(0, 12);
    good(1);
    good(0);
    good(1);
    let_go();
    before = (*this)[2].state();
  }
  // It was refused, nothing was changed, and the honest relay is taken up afterwards.
  void expect_refused() {
    SyncResult result = (*this)[2].sync->sync();
    EXPECT_TRUE(result.error) << "was taken";
    EXPECT_EQ((*this)[2].state(), before);
    relay.after = nullptr;
    good(2);
    good(0);
    good(1);
    expect_equal(*this);
    EXPECT_TRUE((*this)[0].store->retrieve("unsent"));
  }
  Bytes before;
};

TEST(HostileCheckpoint, AChangedPartIsRefused) {
  for (std::size_t at : {0u, 20u, 60u, 400u}) {
    LateVault vault;
    falsify(vault, "/blobs/", [at](Bytes& body) { body[at % body.size()] ^= 1; });
    vault.expect_refused();
  }
}

TEST(HostileCheckpoint, EveryBitOfItsDescriptionIsVouchedFor) {
  std::size_t size = 0;
  {
    LateVault vault;
    size = vault.counted().size();
  }
  for (std::size_t at = 0; at < size; at += 7) {
    LateVault vault;
    falsify(vault, "/checkpoint", [at](Bytes& body) { body[at] ^= 0x10; });
    vault.expect_refused();
  }
}

TEST(HostileCheckpoint, OneSignatureOrTheSameTwiceIsNotEnough) {
  for (bool twice : {false, true}) {
    LateVault vault;
    falsify(vault, "/checkpoint", [twice](Bytes& body) {
      wire::Checkpoint checkpoint = wire::decode_checkpoint(body);
      checkpoint.signatures.resize(1);
      if (twice) checkpoint.signatures.push_back(checkpoint.signatures[0]);
      body = wire::encode(checkpoint);
    });
    vault.expect_refused();
  }
}

TEST(HostileCheckpoint, AnotherListOfBatchesIsRefused) {
  for (int way = 0; way < 4; ++way) {
    LateVault vault;
    falsify(vault, "/stubs", [way](Bytes& body) {
      wire::StubPage page = wire::decode_stub_page(body);
      if (way == 0) std::swap(page.stubs[0], page.stubs[1]);
      if (way == 1) page.stubs[2].leaf[0] ^= 1;
      if (way == 2) page.stubs.clear();
      if (way == 3) page.log_id[0] ^= 1;
      body = wire::encode(page);
    });
    vault.expect_refused();
  }
}

// Its maker's records are not what the log says: nobody else signs, nothing is let go of.
TEST(HostileCheckpoint, AWrongOneIsNotVerified) {
  CheckpointVault vault(2);
  base::planted_bug = base::Plant::checkpoints_lack_a_record;
  vault.write(0, "own2", 1);
  vault.write_many(0, 12);
  base::planted_bug = base::Plant::none;
  ASSERT_FALSE(vault.proposed().empty());
  wire::Checkpoint proposed = wire::decode_checkpoint(vault.proposed());
  proposed.state[0] ^= 1;
  Membership membership(vault[0].store->engine());
  proposed.signatures = {Checkpoints(vault[0].store->engine(), membership).sign(proposed)};
  vault.relay.storage.put_checkpoint(vault.id(), relay::Storage::Checkpoint::proposed,
                                     wire::encode(proposed));
  vault.relay.restart();
  SyncResult result = vault.good(1);
  EXPECT_EQ(result.notices.size(), 1u);
  EXPECT_TRUE(vault.good(1).notices.empty());  // told once
  EXPECT_TRUE(vault.counted().empty());
  vault.let_go();
  EXPECT_EQ(vault.floor(), 0u);
}

TEST(HostileCheckpoint, OfWhoWasTakenOutCountsOnlyWhileSomebodyVouchesForIt) {
  CheckpointVault vault(3);
  vault.settle();
  vault.write_many(0, 12);
  vault.good(1);  // device 1 verified what device 0 made
  wire::Checkpoint checkpoint = wire::decode_checkpoint(vault.counted());
  vault[2].vault().revoke(vault[1].store->engine().identity().id);
  Membership one(vault[2].store->engine());
  EXPECT_TRUE(wire::counts(checkpoint, one.control()));
  vault[2].vault().revoke(vault[0].store->engine().identity().id);
  Membership two(vault[2].store->engine());
  EXPECT_FALSE(wire::counts(checkpoint, two.control()));
}

TEST(HostileCheckpoint, ATornDownloadGoesOnWhereItWas) {
  LateVault vault;
  int requests = 0;
  for (int cut = 0; cut < 60; ++cut) {
    int left = cut % 9;
    vault.relay.before = [&](const base::HttpRequest&) { return left-- <= 0; };
    requests += vault[2].sync->sync().error.has_value();
    vault[2].cut_power();
  }
  EXPECT_GT(requests, 0);
  vault.relay.before = nullptr;
  vault.good(2);
  vault.good(0);
  vault.good(1);
  expect_equal(vault);
  EXPECT_TRUE(vault[0].store->retrieve("unsent"));
}

TEST(Checkpoint, ADeviceThatCannotGiveItBackSaysSo) {
  CheckpointVault vault(2);
  Bytes empty = vault.relay.backup();
  vault.write_many(0, 12);
  vault.good(1);
  vault.good(0);
  vault.good(1);
  ASSERT_GT(vault.empty_bodies(0), 0u);
  vault[0].store->engine().locked()->database().connection().execute("DELETE FROM checkpoint");
  vault.relay.put_back(empty, false);
  Bytes before = vault[0].state();
  SyncResult result;
  for (int i = 0; i < 3; ++i) result = vault[0].sync->sync();
  EXPECT_EQ(result.error, ErrorCode::refused) << result.message;
  EXPECT_EQ(vault[0].state(), before);
}

TEST(Checkpoint, RecoveryWorksWhereTheLogBeginsWithOne) {
  CheckpointVault vault(1);
  std::string code;
  vault[0].vault().replace_recovery_code([&](const std::string& text) { code = text; });
  vault.write_many(0, 12);
  vault.let_go();
  ASSERT_GT(vault.floor(), 0u);
  vault.devices.push_back(std::make_unique<TestDevice>(vault.relay, 12));
  TestDevice& fresh = *vault.devices.back();
  fresh.vault().recover(code, kRelayUrl, "fresh", [](const std::string&) {});
  EXPECT_FALSE(fresh.sync->sync().error);
  EXPECT_EQ(fresh.state(), vault[0].state());
}

}  // namespace
}  // namespace holdfast::sync
