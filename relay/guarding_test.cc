// What the relay does against too much: quotas, rates, admission; and erasure.

#include <gtest/gtest.h>

#include "relay/answers.h"
#include "relay/limits.h"
#include "relay/server.h"
#include "relay/test_member.h"

namespace holdfast::relay {
namespace {

TEST(RelayQuota, RefusesWhatIsTooMuchAndTakesTheRest) {
  ServiceOptions options = test_options();
  options.vault_bytes = Signer(1).genesis().size() + 2 * (512 + kPlaceBytes) + 100;
  Rig rig(options);
  Member member(rig);
  using S = wire::PushStatus;
  EXPECT_EQ(member.push(1), S::ok);
  EXPECT_EQ(member.push(2), S::ok);
  EXPECT_EQ(member.push(3), S::quota);
  // Nor as something that the relay is said to have lost.
  Response again = member.call("POST", "batches?restore=1",
                               wire::encode_list({member.device.batch(3, member.last)}));
  EXPECT_EQ(wire::decode_push_answer(again.body).items.at(0).status, S::quota);
  EXPECT_EQ(rig.storage.vault(member.device.vault())->head, 2u);
  EXPECT_EQ(rig.storage.vault(member.device.vault())->bytes, options.vault_bytes - 100);
  // Chunks of a checkpoint may take half as much again.
  Bytes chunk(300, 1);
  auto put = [&](const Bytes& body) {
    return member.call("PUT", "blobs/" + base::to_hex(wire::sha256({body})), body).status;
  };
  EXPECT_EQ(put(chunk), 200);
  EXPECT_EQ(put(chunk), 200);  // there already
  EXPECT_EQ(put(Bytes(4000, 2)), 507);
  // An operator's word for one vault.
  Vault vault = rig.storage.vault(member.device.vault()).value();
  vault.quota = 10'000;
  rig.storage.put_vault(member.device.vault(), vault);
  EXPECT_EQ(member.push(3), S::ok);
  Member other(rig, 2);
  EXPECT_EQ(other.push(1), S::ok);
}

TEST(RelayQuota, CountsBatches) {
  ServiceOptions options = test_options();
  options.vault_batches = 2;
  Rig rig(options);
  Member member(rig);
  EXPECT_EQ(member.push(1), wire::PushStatus::ok);
  EXPECT_EQ(member.push(2), wire::PushStatus::ok);
  EXPECT_EQ(member.push(3), wire::PushStatus::quota);
}

TEST(RelayRate, IsForEachVaultAndRefills) {
  ServiceOptions options = test_options();
  options.requests_per_s = 2;  // and 20 at once
  Rig rig(options);
  Member fast(rig, 1);
  Member slow(rig, 2);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(fast.call("GET", "log?after=0").status, 200);
  Response refused = fast.call("GET", "log?after=0");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.retry_after_s, 1);
  EXPECT_EQ(slow.call("GET", "log?after=0").status, 200);
  // Who only knows the vault's id takes nothing of it.
  EXPECT_EQ(rig.status("GET", path_of(slow.device.vault(), "log"), {}, "bogus"), 401);
  rig.clock.advance_ms(500);
  EXPECT_EQ(fast.call("GET", "log?after=0").status, 200);
  EXPECT_EQ(fast.call("GET", "log?after=0").status, 429);
}

TEST(RelayAdmission, ByInvitationOnceEach) {
  ServiceOptions options = test_options();
  options.admission = ServiceOptions::Admission::invite;
  Rig rig(options);
  Signer device(1), other(2);
  Response asked = rig.service.handle({"POST", "/v1/vaults", "", device.genesis()});
  EXPECT_EQ(asked.status, 428);
  EXPECT_EQ(wire::decode_admission_needed(asked.body).kind, wire::AdmissionNeeded::Kind::invite);
  rig.storage.transaction([&] {
    rig.storage.add_invite(wire::invite_hash("a-code"), rig.clock.now_ms() + 1000);
    rig.storage.add_invite(wire::invite_hash("late"), rig.clock.now_ms());
  });
  auto create = [&](Signer& who, const std::string& token) {
    return rig.service.handle({"POST", "/v1/vaults", token, who.genesis()}).status;
  };
  EXPECT_EQ(create(device, "invite.late"), 428);
  EXPECT_EQ(create(device, "invite.other"), 428);
  EXPECT_EQ(create(device, "invite.a-code"), 200);
  EXPECT_EQ(create(device, ""), 200);  // a repeated request
  EXPECT_EQ(create(other, "invite.a-code"), 428);
}

TEST(RelayAdmission, ByWorkForThisVaultAlone) {
  ServiceOptions options = test_options();
  options.admission = ServiceOptions::Admission::work;
  options.work_bits = 8;
  Rig rig(options);
  Signer device(1), other(2);
  Response asked = rig.service.handle({"POST", "/v1/vaults", "", device.genesis()});
  ASSERT_EQ(asked.status, 428);
  auto needed = wire::decode_admission_needed(asked.body);
  EXPECT_EQ(needed.bits, 8);
  auto token = [&](std::uint64_t counter) {
    return "work." + base::to_base64url(needed.nonce) + "." + std::to_string(counter);
  };
  std::uint64_t good = 0;
  while (wire::work_bits(needed.nonce, device.vault(), good) < 8) ++good;
  std::uint64_t bad = good + 1;
  while (wire::work_bits(needed.nonce, device.vault(), bad) >= 8) ++bad;
  auto create = [&](Signer& who, const std::string& with) {
    return rig.service.handle({"POST", "/v1/vaults", with, who.genesis()}).status;
  };
  EXPECT_EQ(create(device, token(bad)), 428);
  for (const char* nonsense : {"work.", "work..", "work.AAAA.1", "work.AAAA", "invite.x", "x"}) {
    EXPECT_EQ(create(device, nonsense), 428) << nonsense;
  }
  EXPECT_EQ(create(device, token(good) + "x"), 428);
  if (wire::work_bits(needed.nonce, other.vault(), good) < 8) {
    EXPECT_EQ(create(other, token(good)), 428);
  }
  rig.clock.advance_ms(11 * 60 * 1000);
  EXPECT_EQ(create(device, token(good)), 428);  // the puzzle is too old
  rig.clock.advance_ms(-11 * 60 * 1000);
  EXPECT_EQ(create(device, token(good)), 200);
}

// The answer was lost, and the record is sent again.
TEST(RelayControl, ARecordThatIsThereAlreadyIsNoConflict) {
  Rig rig;
  Member member(rig, 1);
  wire::ControlPost post;
  post.record = member.device.genesis();
  EXPECT_EQ(member.call("POST", "control", wire::encode(post)).status, 200);
  EXPECT_EQ(rig.storage.vault(member.device.vault())->control_count, 1u);
  EXPECT_FALSE(rig.storage.vault(member.device.vault())->reserved_ms);
}

TEST(RelayErasure, TakesAVaultAwayForGood) {
  Rig rig;
  Member member(rig, 1);
  Member other(rig, 2);
  member.push(1);
  other.push(1);
  EXPECT_EQ(member.erase(Id16{}).status, 409);  // of another log
  EXPECT_EQ(member.erase(member.log_id(), "http://other").status,
            403);  // passed on by another relay
  // Signed by a stranger.
  Signer stranger(3);
  wire::Erasure erasure;
  erasure.signer = stranger.pk;
  erasure.log_id = member.log_id();
  erasure.origin = "http://relay";
  erasure.nonce = rig.service.handle({"POST", "/v1/session/challenge", "", {}}).body;
  erasure.signature =
      stranger.sign(wire::kSignErasure, member.device.vault(), wire::erasure_message(erasure));
  std::string path = "/v1/vaults/" + base::to_hex(member.device.vault());
  EXPECT_EQ(rig.status("DELETE", path, wire::encode(erasure)), 403);
  erasure.signer = member.device.pk;
  EXPECT_EQ(rig.status("DELETE", path, wire::encode(erasure)), 403);
  erasure.nonce = Bytes(57, 1);
  EXPECT_EQ(rig.status("DELETE", path, wire::encode(erasure)), 400);
  EXPECT_EQ(rig.status("DELETE", path, Bytes(10, 1)), 400);
  EXPECT_EQ(member.call("GET", "log?after=0").status, 200);

  Response erased = member.erase(member.log_id());
  EXPECT_EQ(erased.status, 200);
  EXPECT_TRUE(erased.body.empty());                  // nobody said when backups forget it
  EXPECT_EQ(erased.changed, member.device.vault());  // who waits learns it
  Response gone = member.call("GET", "log?after=0");
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(wire::decode_erasure(gone.body).signer, member.device.pk);  // whose wish it was
  EXPECT_EQ(member.device.sign_in(rig, member.device.vault()).status, 410);
  EXPECT_EQ(rig.status("POST", "/v1/vaults", member.device.genesis()), 410);
  EXPECT_EQ(member.erase({}).status, 200);  // a repeated request
  EXPECT_EQ(other.call("GET", "log?after=0").status, 200);
  EXPECT_EQ(wire::decode_log_page(other.call("GET", "log?after=0").body).batches.size(), 1u);
}

// A member could make all others of its shard wait by it.
TEST(RelayRestart, ALongLogBeginsAnewTheLessOften) {
  Rig rig;
  Member member(rig);
  Hash32 id = member.device.vault();
  auto restart = [&] {
    base::Writer out;
    wire::write(out, {rig.storage.vault(id)->log_id, 1'000'000, {}});
    out.raw(rig.storage.vault(id)->log_id);
    out.u64(1);
    return member.call("POST", "restart", out.take()).status;
  };
  EXPECT_EQ(restart(), 200);
  EXPECT_EQ(restart(), 503);
  rig.clock.advance_ms(61'000);
  EXPECT_EQ(restart(), 200);
  Vault vault = rig.storage.vault(id).value();
  vault.head = 50'000;
  rig.storage.put_vault(id, vault);
  rig.clock.advance_ms(5 * 60'000);
  EXPECT_EQ(restart(), 503);
  rig.clock.advance_ms(61'000);
  EXPECT_EQ(restart(), 200);
}

TEST(RelayErasure, SaysWhenBackupsForget) {
  ServiceOptions options = test_options();
  options.backup_days = 35;
  Rig rig(options);
  Member member(rig);
  for (int i = 0; i < 2; ++i) {  // a repeated request
    Response erased = member.erase(i == 0 ? member.log_id() : Id16{});
    EXPECT_EQ(erased.body, (Bytes{35, 0, 0, 0}));
  }
}

// Places of lost batches come back with a checkpoint that proves them, each once, within the quota;
// and to read a long log for it counts.
TEST(RelayStubs, AreTakenOnceAndCount) {
  ServiceOptions options = test_options();
  options.requests_per_s = 1;
  Rig rig(options);
  Member member(rig);
  Bytes chunk(100, 1);
  Hash32 chunk_hash = wire::sha256({chunk});
  ASSERT_EQ(member.call("PUT", "blobs/" + base::to_hex(chunk_hash), chunk).status, 200);
  Hash32 id = member.device.vault();
  std::uint8_t name = 0;
  auto restore = [&](std::vector<std::uint8_t> batches) {
    wire::StubRestore out;
    out.page.log_id = rig.storage.vault(id)->log_id;
    out.checkpoint.history = wire::history_start();
    for (std::uint8_t n : batches) {
      Id16 batch{n, name};
      Hash32 leaf{n};
      out.page.stubs.push_back({batch, wire::device_id_of(member.device.pk), leaf});
      out.checkpoint.history =
          wire::history_next(out.checkpoint.history, ++out.checkpoint.position, leaf);
    }
    out.checkpoint.records = 1;
    out.checkpoint.chunks = {chunk_hash};
    out.checkpoint.signatures.push_back(
        {wire::device_id_of(member.device.pk),
         member.device.sign(wire::kSignCheckpoint, id, wire::checkpoint_message(out.checkpoint))});
    return member.call("POST", "stubs", wire::encode(out)).status;
  };
  EXPECT_EQ(restore({}), 409);
  EXPECT_EQ(restore({1, 2, 1}), 400);  // which would fail where it is stored, and others with it
  EXPECT_EQ(rig.storage.vault(id)->head, 0u);
  std::uint64_t before = rig.storage.vault(id)->bytes;
  EXPECT_EQ(restore({1, 2, 3}), 200);
  EXPECT_EQ(rig.storage.vault(id)->head, 3u);
  EXPECT_EQ(rig.storage.vault(id)->bytes, before + 3 * kPlaceBytes);
  // Again: they are there, and need no more room.
  Vault full = rig.storage.vault(id).value();
  full.quota = full.bytes * 2 / 3;
  rig.storage.put_vault(id, full);
  EXPECT_EQ(restore({1, 2, 3}), 200);
  EXPECT_EQ(restore({1, 2, 3, 4}), 507);
  EXPECT_EQ(rig.storage.vault(id)->head, 3u);
  // Under another name it is the same batch, and stays where it is.
  name = 9;
  EXPECT_EQ(restore({1, 2, 3}), 200);
  EXPECT_EQ(rig.storage.vault(id)->head, 3u);
}

TEST(Limits, AreForEachAddressAndForAll) {
  LimitOptions options;
  options.connections = 3;
  options.connections_of_one = 2;
  options.bytes = 100;
  options.bytes_of_one = 60;
  options.strangers_per_s = 1;
  options.vaults_per_hour = 2;
  options.mails_per_hour = 3;
  Limits limits(options);
  EXPECT_TRUE(limits.enter("a"));
  EXPECT_TRUE(limits.enter("a"));
  EXPECT_FALSE(limits.enter("a"));
  EXPECT_TRUE(limits.enter("b"));
  EXPECT_FALSE(limits.enter("c"));
  limits.leave("a");
  EXPECT_TRUE(limits.enter("c"));
  EXPECT_TRUE(limits.take("a", 60));
  EXPECT_FALSE(limits.take("a", 1));
  EXPECT_FALSE(limits.take("b", 41));
  EXPECT_TRUE(limits.take("b", 40));
  limits.give_back("a", 60);
  EXPECT_EQ(limits.bytes(), 40u);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limits.may_ask("a", 5000));
  EXPECT_FALSE(limits.may_ask("a", 5000));
  EXPECT_TRUE(limits.may_ask("b", 5000));
  EXPECT_TRUE(limits.may_ask("a", 6000));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limits.may_mail("a", 0), i < 3);
  EXPECT_TRUE(limits.may_mail("b", 0));
  EXPECT_TRUE(limits.may_mail("a", 3'600'000 / 3));
  EXPECT_TRUE(limits.may_create("a", 0));
  EXPECT_TRUE(limits.may_create("a", 0));
  EXPECT_FALSE(limits.may_create("a", 1'000'000));
  EXPECT_TRUE(limits.may_create("a", 1'800'000));
}

}  // namespace
}  // namespace holdfast::relay
