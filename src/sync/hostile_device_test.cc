// A device of the vault, with good keys, that breaks every rule it can: honest devices go on,
// agree, and keep their memory.

#include <gtest/gtest.h>

#include <random>

#include "src/model/change_codec.h"
#include "src/sync/checkpoints.h"
#include "src/sync/outbox.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

// Seals what the device has, and puts in its place a batch with another content, signed as good.
void replace_sealed(TestDevice& device, const std::function<void(BatchContent&)>& change) {
  device.sync->prepare_sync_package();
  store::Engine& engine = device.store->engine();
  Membership membership(engine);
  OutboxBatch good = Outbox(engine, membership).list(SIZE_MAX).at(0);
  BatchContent content = open_batch(good.body, membership).content;
  change(content);
  Bytes bad = seal_batch(content, wire::decode_batch_header(good.body).previous, membership,
                         engine.identity(), *engine.environment().random);
  store::Engine::Transaction transaction(engine);
  store::Statement(
      engine.locked()->database().connection().prepare("UPDATE outbox SET body = ?, batch_id = ?"))
      .bind(bad)
      .bind(ByteView(wire::decode_batch_header(bad).batch))
      .run();
  transaction.commit();
}

// A batch of a device with good keys that breaks a rule: void on every device, and nobody is stuck.
TEST(HostileDevice, AVoidBatchStopsNobody) {
  TestVault vault(3);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  replace_sealed(vault[0], [](BatchContent& content) { content.changes.push_back(0); });
  vault[0].sync->sync();
  vault[0].store->store("b", {{"n", 2}});
  vault[0].sync->sync();
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    SyncResult result = vault[i].sync->sync();
    EXPECT_EQ(result.state, SyncState::error);  // said once …
    EXPECT_EQ(result.rejected.size(), 1u);
    EXPECT_EQ(vault[i].store->retrieve("b")->at("n"), 2);
    EXPECT_EQ(vault[i].store->retrieve("a"), std::nullopt);
    EXPECT_EQ(vault[i].sync->sync().state, SyncState::up_to_date);  // … and done with
    EXPECT_EQ(vault[i].sync->problems().at(0).kind, BatchProblem::Kind::is_void);
  }
  EXPECT_EQ(vault[1].state(), vault[2].state());
}

// As above, with an inside that cannot be read at all: what it would have held is in no batch, and
// nobody waits for it.
TEST(HostileDevice, ABatchThatHoldsNonsenseStopsNobody) {
  TestVault vault(3);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  replace_sealed(vault[0], [](BatchContent& content) { content.first = 0; });
  vault[0].sync->sync();
  vault[0].store->store("b", {{"n", 2}});
  vault[0].sync->sync();
  vault[1].store->store("c", {{"n", 3}});
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    SyncResult result = vault[i].sync->sync();
    EXPECT_EQ(result.rejected.size(), 1u);
    ASSERT_TRUE(vault[i].store->retrieve("b")) << result.message << result.rejected.at(0);
    EXPECT_EQ(vault[i].store->retrieve("b")->at("n"), 2);
    EXPECT_EQ(vault[i].store->retrieve("a"), std::nullopt);
    EXPECT_EQ(vault[i].store->engine().count_waiting(), 0u);
    std::vector<BatchProblem> problems = vault[i].sync->problems();
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].kind, BatchProblem::Kind::is_void);
    EXPECT_EQ(problems[0].device, "device-1");
  }
  vault.settle();
  EXPECT_EQ(vault[1].state(), vault[2].state());
}

// A device that leaves numbers out holds nobody up.
TEST(HostileDevice, AGapInItsNumbersStopsNobody) {
  TestVault vault(3);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  vault[0].sync->sync();
  vault[0].store->store("b", {{"n", 2}});
  replace_sealed(vault[0], [&](BatchContent& content) {
    std::vector<model::ChangeSet> changes = model::decode_changes(content.changes, id_of(vault[0]));
    changes[0].sequence += 5;
    content.changes = model::encode_changes(changes);
    content.first = content.last = changes[0].sequence;
  });
  vault[0].sync->sync();
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    EXPECT_EQ(vault[i].sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(vault[i].store->retrieve("b")->at("n"), 2);
    EXPECT_EQ(vault[i].store->engine().count_waiting(), 0u);
  }
  EXPECT_EQ(vault[1].state(), vault[2].state());
}

TEST(HostileDevice, AVoidSpanCannotReachBeyondItsBatch) {
  TestVault vault(1);
  Membership membership(vault[0].store->engine());
  BatchContent content;
  content.seen = *membership.log();
  content.control_head = membership.control().head();
  base::SeededRandom random(1);
  for (auto [first, last] :
       {std::pair<std::uint64_t, std::uint64_t>{1, UINT64_MAX}, {0, 5}, {5, 3}, {5, 4}}) {
    content.changes = Bytes(first == 5 && last == 4 ? 1 : 0);  // without any, it only acknowledges
    content.first = first;
    content.last = last;
    Bytes batch = seal_batch(content, {}, membership, vault[0].store->engine().identity(), random);
    EXPECT_FALSE(open_batch(batch, membership).is_readable);
  }
}

TEST(HostileDevice, AVoidSpanWaitsForWhatComesBeforeIt) {
  TestVault vault(1);
  store::Engine& engine = vault[0].store->engine();
  model::ChangeSet change;
  change.device[0] = 9;
  change.hlc.value = 1;
  model::Op op;
  op.collection = op.record = "r";
  op.value = Json{{"n", 1}};
  change.ops.push_back(op);
  auto receive = [&](std::uint64_t sequence) {
    change.sequence = sequence;
    change.context.set(change.device, sequence - 1);
    return engine.receive({change}).applied;
  };
  engine.skip(change.device, 3, 5);
  EXPECT_EQ(receive(6), 0u);
  EXPECT_EQ(receive(2), 0u);
  EXPECT_EQ(receive(1), 1u);
  EXPECT_EQ(engine.seen().at(change.device), 6u);
  EXPECT_EQ(engine.count_waiting(), 0u);
}

TEST(HostileDevice, ASmallBatchCannotTakeMuchMemory) {
  // 30,000 ops that name one long path, in a few bytes once compressed.
  model::ChangeSet change;
  change.sequence = 1;
  model::Op op;
  op.collection = op.record = std::string(1024, 'x');
  op.path = "/" + std::string(1023, 'y');
  op.kind = model::OpKind::unset;
  change.ops.assign(30'000, op);
  Bytes bytes = model::encode_changes({change});
  EXPECT_THROW(model::decode_changes(bytes, change.device), Error);
  change.ops.assign(1000, op);
  EXPECT_EQ(model::decode_changes(model::encode_changes({change}), change.device).size(), 1u);
}

// What cannot be opened with the epoch's key is void, and holds nothing up.
TEST(HostileDevice, ABatchThatNobodyCanOpenIsVoid) {
  TestVault vault(3);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  replace_sealed(vault[0], [](BatchContent&) {});
  store::Engine& engine = vault[0].store->engine();
  Membership membership(engine);
  OutboxBatch good = Outbox(engine, membership).list(SIZE_MAX).at(0);
  for (std::size_t at : {wire::BatchHeader::kSize + 5, wire::BatchHeader::kSize - 1}) {
    Bytes bad = good.body;
    bad[at] ^= 1;  // the commitment, or what is sealed
    bad.resize(bad.size() - wire::kSignatureSize);
    auto signature = engine.identity().sign.sign(
        wire::signed_message(wire::kSignBatch, membership.vault(), bad));
    bad.insert(bad.end(), signature.begin(), signature.end());
    OpenedBatch opened = open_batch(bad, Membership(vault[1].store->engine()));
    EXPECT_FALSE(opened.is_readable);
    EXPECT_FALSE(opened.void_because.empty());
    store::Engine::Transaction transaction(engine);
    store::Statement(engine.locked()->database().connection().prepare("UPDATE outbox SET body = ?"))
        .bind(bad)
        .run();
    transaction.commit();
  }
  vault[0].sync->sync();
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    EXPECT_EQ(vault[i].sync->sync().rejected.size(), 1u);
    EXPECT_EQ(vault[i].sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(vault[i].sync->problems().at(0).kind, BatchProblem::Kind::is_void);
    Membership here(vault[i].store->engine());
    EXPECT_TRUE(Checkpoints(vault[i].store->engine(), here).is_quiet());
  }
}

// A key that there is none of: the relay does not take it, not as something that it lost either.
TEST(HostileDevice, ABatchUnderAKeyThatIsNoneIsRefused) {
  TestVault vault(2);
  vault.settle();
  vault[0].store->store("a", {{"n", 1}});
  vault[0].sync->prepare_sync_package();
  store::Engine& engine = vault[0].store->engine();
  Membership membership(engine);
  Bytes bad = Outbox(engine, membership).list(SIZE_MAX).at(0).body;
  wire::BatchHeader header = wire::decode_batch_header(bad);
  header.epoch = 9999;
  Bytes head = wire::encode(header);
  std::copy(head.begin(), head.end(), bad.begin());
  bad.resize(bad.size() - wire::kSignatureSize);
  auto signature =
      engine.identity().sign.sign(wire::signed_message(wire::kSignBatch, membership.vault(), bad));
  bad.insert(bad.end(), signature.begin(), signature.end());
  RelayClient client(kRelayUrl);
  client.set_vault(membership.vault());
  sign_in(engine, client, engine.identity().sign);
  for (bool restores : {false, true}) {
    wire::PushAnswer answer = wire::decode_push_answer(ask(engine, client.push({bad}, restores)));
    EXPECT_NE(answer.items.at(0).status, wire::PushStatus::ok);
  }
  vault.settle();
  expect_equal(vault);
}

// One thing that a change of a hostile device may have, at random.
void spoil(model::ChangeSet& change, const base::Id16& other, std::mt19937_64& rng) {
  switch (rng() % 9) {
    case 0: change.sequence = rng() % 40; break;  // one that was there, or a gap
    case 1: change.hlc.value = rng(); break;
    case 2: change.hlc.value = UINT64_MAX; break;
    case 3: change.context.set(other, rng() % 1000); break;  // builds on what may never be
    case 4: change.context.set({9, 9, 9}, 1 + rng() % 5); break;
    case 5: change.ops.at(0).path = std::string(1 + rng() % 1024, '/'); break;
    case 6: change.ops.at(0).record = std::string(rng() % 1025, 'r'); break;
    case 7: change.ops.at(0).writes.assign(rng() % 4, {other, rng() % 1000}); break;
    default: {
      model::Op op = change.ops.at(0);
      op.kind = static_cast<model::OpKind>(rng() % 8);
      op.collection = rng() % 3 == 0 ? "_holdfast_policies" : "records";
      change.ops.push_back(op);
    }
  }
}

// … and what its batch may have.
void spoil(BatchContent& content, const base::Id16& self, const base::Id16& other,
           std::mt19937_64& rng) {
  switch (rng() % 8) {
    case 0: content.acknowledged = rng(); break;
    case 1: content.sealed_ms = rng(); break;
    case 2: content.claims.assign(rng() % 5, {other, rng() % 9, {}}); break;
    case 3: content.changes.resize(rng() % (content.changes.size() + 1)); break;
    case 4:
      content.changes.at(rng() % content.changes.size()) ^=
          static_cast<std::uint8_t>(1 + rng() % 255);
      break;
    case 5: content.last = rng(); break;
    default: {
      std::vector<model::ChangeSet> changes = model::decode_changes(content.changes, self);
      for (model::ChangeSet& change : changes) spoil(change, other, rng);
      content.changes = model::encode_changes(changes);
      content.first = changes.front().sequence;
      content.last = changes.back().sequence;
    }
  }
}

TEST(HostileDevice, WhateverItSendsTheOthersGoOnAndAgree) {
  std::uint64_t runs = std::max<std::uint64_t>(2, 40 / store::test_stride());
  std::uint64_t sent = 0;
  for (std::uint64_t seed = 1; seed <= runs; ++seed) {
    std::mt19937_64 rng(seed);
    TestVault vault(3, seed);
    vault.settle();
    for (int i = 0; i < 25; ++i) {
      std::string id = "r" + std::to_string(rng() % 5);
      vault[0].store->store(id, {{"by", "the hostile one"}, {"n", i}});
      try {
        replace_sealed(vault[0], [&](BatchContent& content) {
          spoil(content, id_of(vault[0]), id_of(vault[1 + rng() % 2]), rng);
        });
        ++sent;
      } catch (const Error&) {  // it cannot even be written
      }
      vault[0].sync->sync();
      TestDevice& honest = vault[1 + rng() % 2];
      honest.store->store("honest" + std::to_string(i), {{"n", i}});
      SyncResult result = honest.sync->sync();
      ASSERT_TRUE(result.state != SyncState::offline && result.state != SyncState::syncing);
    }
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i : {std::size_t{1}, std::size_t{2}}) vault[i].sync->sync();
    }
    for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
      SyncResult result = vault[i].sync->sync();
      ASSERT_EQ(result.error.has_value(), !result.rejected.empty()) << seed << result.message;
      for (const std::string& text : result.rejected) {  // it may be of a later version
        ASSERT_NE(text.find("update th"), std::string::npos) << seed << ": " << text;
      }
      for (int n = 0; n < 25; ++n) {
        ASSERT_TRUE(vault[i].store->retrieve("honest" + std::to_string(n))) << seed << " " << n;
      }
    }
    ASSERT_EQ(vault[1].state(), vault[2].state()) << seed;
  }
  std::printf("%llu spoilt batches\n", static_cast<unsigned long long>(sent));
}

}  // namespace
}  // namespace holdfast::sync
