// What a vault's token opens: that vault, and nothing of another's.

#include <gtest/gtest.h>

#include "relay/answers.h"
#include "relay/server.h"
#include "relay/test_member.h"

namespace holdfast::relay {
namespace {

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

class Counting : public SqliteStorage {
 public:
  Counting() : SqliteStorage(":memory:") {}
  std::optional<Vault> vault(const Hash32& id) override {
    ++looks;
    return SqliteStorage::vault(id);
  }
  int looks = 0;
};

// Nor does the time tell: the storage is not even asked whether the other vault is there.
TEST(RelayIsolation, NothingIsLookedUpForAnothersToken) {
  Rig rig;
  Member mine(rig, 1);
  Member other(rig, 2);
  Counting storage;
  Service service(storage, rig.clock, rig.random, test_options(),
                  rig.storage.secret([] { return Bytes(); }));
  auto looks_for = [&](const Hash32& vault, const std::string& method, const std::string& call) {
    Request request{method, path_of(vault, call), mine.token, {}};
    EXPECT_EQ(service.expected(request).vault, vault == mine.device.vault() ? vault : Hash32{});
    int before = storage.looks;
    service.handle(request);
    return storage.looks - before;
  };
  for (std::string_view route : vault_routes()) {
    std::string call(route.substr(std::string_view("/v1/vaults/*/").size()));
    if (call == "control/restore") continue;
    for (const char* method : {"GET", "POST", "PUT"}) {
      EXPECT_EQ(looks_for(other.device.vault(), method, call), 0) << method << call;
      EXPECT_GT(looks_for(mine.device.vault(), method, call), 0) << method << call;
    }
  }
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

}  // namespace
}  // namespace holdfast::relay
