// What the relay does against too much: quotas, rates, admission; and erasure.

#include <gtest/gtest.h>

#include "relay/answers.h"
#include "relay/limits.h"
#include "relay/server.h"
#include "relay/test_relay.h"

namespace holdfast::relay {
namespace {

struct Member {
  explicit Member(Rig& in, std::uint8_t seed = 1) : rig(in), device(seed) {
    EXPECT_EQ(rig.status("POST", "/v1/vaults", device.genesis()), 200);
    sign_in();
  }
  void sign_in() {
    token = wire::decode_session_answer(device.sign_in(rig, device.vault()).body).token;
  }
  Response call(const std::string& method, const std::string& what, Bytes body = {}) {
    return rig.service.handle({method, path_of(device.vault(), what), token, std::move(body)});
  }
  wire::PushStatus push(std::uint8_t id) {
    Bytes batch = device.batch(id, last);
    Response response = call("POST", "batches", wire::encode_list({batch}));
    EXPECT_EQ(response.status, 200);
    auto status = wire::decode_push_answer(response.body).items.at(0).status;
    if (status == wire::PushStatus::ok) last = wire::leaf_of(batch);
    return status;
  }
  Response erase(const Id16& log_id, const std::string& origin = "http://relay") {
    wire::Erasure erasure;
    erasure.signer = device.pk;
    erasure.log_id = log_id;
    erasure.origin = origin;
    erasure.nonce = rig.service.handle({"POST", "/v1/session/challenge", "", {}}).body;
    erasure.signature =
        device.sign(wire::kSignErasure, device.vault(), wire::erasure_message(erasure));
    return rig.service.handle(
        {"DELETE", "/v1/vaults/" + base::to_hex(device.vault()), "", wire::encode(erasure)});
  }
  Id16 log_id() { return wire::decode_log_page(call("GET", "log?after=0").body).log_id; }

  Rig& rig;
  Signer device;
  std::string token;
  Hash32 last{};
};

TEST(RelayQuota, RefusesWhatIsTooMuchAndTakesTheRest) {
  ServiceOptions options = test_options();
  options.vault_bytes = Signer(1).genesis().size() + 1200;  // and two batches of 512 bytes
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
  EXPECT_EQ(erased.changed, member.device.vault());  // who waits learns it
  EXPECT_EQ(member.call("GET", "log?after=0").status, 410);
  EXPECT_EQ(member.device.sign_in(rig, member.device.vault()).status, 410);
  EXPECT_EQ(rig.status("POST", "/v1/vaults", member.device.genesis()), 410);
  EXPECT_EQ(member.erase({}).status, 200);  // a repeated request
  EXPECT_EQ(other.call("GET", "log?after=0").status, 200);
  EXPECT_EQ(wire::decode_log_page(other.call("GET", "log?after=0").body).batches.size(), 1u);
}

// Of everything that a vault's path can be asked for, nothing answers another vault's token.
TEST(RelayIsolation, NoRouteAnswersAnothersToken) {
  Rig rig;
  Member mine(rig, 1);
  Member other(rig, 2);
  other.push(1);
  Bytes chunk(100, 1);
  std::string blob = "blobs/" + base::to_hex(wire::sha256({chunk}));
  ASSERT_EQ(other.call("PUT", blob, chunk).status, 200);
  Vault before = rig.storage.vault(other.device.vault()).value();
  std::vector<std::string> calls = {"nothing"};
  for (std::string_view route : vault_routes()) {
    std::string call(route.substr(std::string_view("/v1/vaults/*/").size()));
    if (call == "control/restore") continue;  // asks for no token: what it brings is signed
    if (call.ends_with('*')) call = blob;
    // It is one: its own vault's token finds it.
    bool is_route = false;
    for (const char* method : {"GET", "POST", "PUT"}) {
      is_route = is_route || mine.call(method, call).status != 404;
    }
    EXPECT_TRUE(is_route || call == "checkpoint") << call;
    for (const char* query : {"", "?after=0", "?after=0&wait=1000", "?proposed=1", "?restore=1"}) {
      calls.push_back(call + query);
    }
  }
  for (const char* method : {"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"}) {
    for (const std::string& call : calls) {
      std::vector<Response> answers;
      // A vault that is there, and one that nobody has: nothing tells them apart.
      for (const Hash32& vault : {other.device.vault(), Hash32{9}}) {
        answers.push_back(rig.service.handle({method, path_of(vault, call), mine.token, chunk}));
        EXPECT_EQ(answers.back().status, 401) << method << call;
      }
      EXPECT_EQ(answers[0].body, answers[1].body);
      EXPECT_FALSE(answers[0].wait);
      EXPECT_FALSE(answers[0].changed);
    }
  }
  EXPECT_EQ(rig.storage.vault(other.device.vault()), before);
  // A chunk that another vault has is missing in this one.
  base::Writer asked;
  asked.varint(1);
  asked.raw(wire::sha256({chunk}));
  EXPECT_EQ(mine.call("POST", "blobs/missing", asked.take()).body.size(), 4u);
  EXPECT_EQ(mine.call("GET", blob).status, 404);
}

// Strangers are who has no token of the very vault that they ask for.
TEST(RelayCaller, IsKnownByATokenOfThatVaultAlone) {
  Rig rig;
  Member mine(rig, 1);
  Member other(rig, 2);
  auto is_stranger = [&](const std::string& target, const std::string& token) {
    return rig.service.caller(target, token).is_stranger;
  };
  EXPECT_FALSE(is_stranger(path_of(mine.device.vault(), "log?after=0"), mine.token));
  EXPECT_TRUE(is_stranger(path_of(mine.device.vault(), "log?after=0"), ""));
  EXPECT_TRUE(is_stranger(path_of(mine.device.vault(), "control/restore?at=1"), mine.token));
  EXPECT_TRUE(is_stranger("/v1/vaults/" + base::to_hex(mine.device.vault()), mine.token));
  EXPECT_TRUE(is_stranger(path_of(mine.device.vault(), ""), mine.token));
  EXPECT_TRUE(is_stranger(path_of(other.device.vault(), "log?after=0"), mine.token));
  for (const char* target : {"/v1/mailbox/00", "/v1/session", "/v1/vaults", "/readyz", "/"}) {
    EXPECT_TRUE(is_stranger(target, mine.token)) << target;
  }
  EXPECT_LT(rig.service.caller(path_of(other.device.vault(), "batches"), mine.token).body_limit,
            wire::kMaxBatch);
  rig.clock.advance_ms(16 * 60 * 1000);
  EXPECT_TRUE(is_stranger(path_of(mine.device.vault(), "log?after=0"), mine.token));
}

// However a path is written, it is one thing.
TEST(RelayPaths, HaveOneForm) {
  Rig rig;
  Signer device(1);
  Request plain{"POST", "/v1/vaults", "", device.genesis()};
  Request with_query{"POST", "/v1/vaults?x=1", "", device.genesis()};
  EXPECT_EQ(Service::vault_of(plain), device.vault());
  EXPECT_EQ(Service::vault_of(with_query), device.vault());
  EXPECT_EQ(rig.status("PUT", "/v1/mailbox/" + std::string(32, 'A'), Bytes{1}), 404);
  EXPECT_EQ(rig.status("PUT", "/v1/mailbox/" + std::string(32, 'a'), Bytes{1}), 200);
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
