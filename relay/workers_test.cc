// Threads that serve in groups: what a failed group does, and that each gets its own answer.

#include "relay/workers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <utility>

#include "holdfast/error.h"
#include "relay/test_relay.h"

namespace holdfast::relay {
namespace {

// Fails at the end of a group, as a commit does, as often as it is told to; and notes what is
// written when.
class Failing : public SqliteStorage {
 public:
  Failing() : SqliteStorage(":memory:") {}
  Mail put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                std::int64_t expires_ms) override {
    written.push_back("/v1/mailbox/" + base::to_hex(slot));
    return SqliteStorage::put_mail(slot, body, now_ms, expires_ms);
  }
  void put_vault(const Hash32& id, const Vault& vault) override {
    written.push_back("vault");
    SqliteStorage::put_vault(id, vault);
  }
  void group(Access access, const std::function<void()>& work) override {
    if (before_group) std::exchange(before_group, nullptr)();
    SqliteStorage::group(access, [&] {
      work();
      if (fails > 0 && --fails >= 0) throw Error(ErrorCode::io, "planted");
    });
  }
  std::atomic<int> fails{0};
  std::function<void()> before_group;  // the next one
  std::vector<std::string> written;
};

struct Rigged {
  explicit Rigged(std::size_t shards = 1) {
    std::vector<std::unique_ptr<Storage>> given;
    for (std::size_t i = 0; i < shards; ++i) {
      auto storage = std::make_unique<Failing>();
      storages.push_back(storage.get());
      given.push_back(std::move(storage));
    }
    Workers::Options options;
    options.service = test_options();
    workers = std::make_unique<Workers>(std::move(given), clock, random, options);
  }
  std::future<Response> ask(Request request) {
    auto answer = std::make_shared<std::promise<Response>>();
    workers->handle(std::move(request), [answer](Response r) { answer->set_value(std::move(r)); });
    return answer->get_future();
  }
  base::FakeClock clock;
  LockedRandom random;
  std::vector<Failing*> storages;
  std::unique_ptr<Workers> workers;
};

std::string slot_path(std::uint8_t number) {
  return "/v1/mailbox/" + base::to_hex(Bytes(16, number));
}

TEST(RelayWorkers, EachGetsItsOwnAnswerAlsoWhereItsGroupFailed) {
  Rigged rig;
  for (int fails : {0, 1}) {
    rig.storages[0]->fails = fails;
    std::vector<std::future<Response>> answers;
    for (std::uint8_t i = 0; i < 50; ++i) {
      answers.push_back(rig.ask({"PUT", slot_path(i), "", Bytes{i}}));
      answers.push_back(rig.ask({"PUT", "/v1/nothing" + std::to_string(i), "", {}}));
    }
    int refused = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      int status = answers[i].get().status;
      if (status == 503) {  // it was alone in its group
        ++refused;
      } else {
        EXPECT_EQ(status, i % 2 == 0 ? 200 : 404);
      }
    }
    EXPECT_LE(refused, fails);
  }
  for (std::uint8_t i = 1; i < 50; ++i) {
    EXPECT_EQ(rig.ask({"GET", slot_path(i), "", {}}).get().body, Bytes{i});
  }
}

// Whatever the order in which they came: else two processes could wait for each other's rows.
TEST(RelayWorkers, WriteMailboxesInOneOrderAndBeforeVaults) {
  Rigged rig;
  std::promise<void> go;
  rig.storages[0]->before_group = [&] { go.get_future().wait(); };
  std::vector<std::future<Response>> answers;
  answers.push_back(
      rig.ask({"GET", "/v1/nothing", "", {}}));  // its group waits, and the rest queues
  for (std::uint8_t i = 0; i < 20; ++i) {
    answers.push_back(rig.ask({"PUT", slot_path(i), "", Bytes{i}}));
    if (i == 10) answers.push_back(rig.ask({"POST", "/v1/vaults", "", Signer(1).genesis()}));
  }
  go.set_value();
  for (auto& answer : answers) answer.get();
  std::vector<std::string> written = rig.storages[0]->written;
  ASSERT_EQ(written.size(), 21u);
  EXPECT_EQ(written.back(), "vault");
  written.pop_back();
  auto by_key = [](const std::string& a, const std::string& b) {
    return wire::sha256({base::view(a)}) < wire::sha256({base::view(b)});
  };
  EXPECT_TRUE(std::is_sorted(written.begin(), written.end(), by_key));
}

TEST(RelayWorkers, OnlyQuestionsWaitForNews) {
  Rigged rig;
  for (const char* method : {"GET", "POST", "PUT", "DELETE"}) {
    Request request{method, path_of(Signer(1).vault(), "log?after=0&wait=1000"), "", {}};
    EXPECT_EQ(rig.workers->watches(request).has_value(), request.method == "GET");
  }
}

TEST(RelayWorkers, SayThatTheyCannotKnowWhereTheDatabaseFails) {
  Rigged rig;
  auto changes = [&] {
    std::promise<bool> known;
    rig.workers->changes({Hash32{}}, [&](auto now) { known.set_value(now.has_value()); });
    return known.get_future().get();
  };
  auto ready = [&] {
    std::promise<bool> answer;
    rig.workers->ready([&](bool is_ready) { answer.set_value(is_ready); });
    return answer.get_future().get();
  };
  EXPECT_TRUE(changes());
  rig.storages[0]->fails = 1;
  EXPECT_FALSE(changes());
  EXPECT_TRUE(changes());
  rig.storages[0]->fails = 1;
  EXPECT_FALSE(ready());
  EXPECT_TRUE(ready());
}

TEST(RelayWorkers, PutAVaultWhereAllOfItsCallsLookForIt) {
  Rigged rig(3);
  for (std::uint8_t seed = 1; seed <= 9; ++seed) {
    Signer device(seed);
    const char* target = seed % 2 == 0 ? "/v1/vaults?x=1" : "/v1/vaults";
    ASSERT_EQ(rig.ask({"POST", target, "invite.none", device.genesis()}).get().status, 200);
    wire::SessionRequest request;
    request.vault = device.vault();
    request.signer = device.pk;
    request.nonce = rig.ask({"POST", "/v1/session/challenge", "", {}}).get().body;
    request.origin = "http://relay";
    request.signature = device.sign(wire::kSignSession, request.vault,
                                    wire::session_message(request.nonce, request.origin));
    Response session = rig.ask({"POST", "/v1/session", "", wire::encode(request)}).get();
    ASSERT_EQ(session.status, 200);
    std::string token = wire::decode_session_answer(session.body).token;
    EXPECT_EQ(rig.ask({"GET", path_of(device.vault(), "log?after=0"), token, {}}).get().status,
              200);
    // And it can be recovered, whichever shard it is in.
    EXPECT_EQ(rig.ask({"GET", "/v1/recovery/" + base::to_hex(device.pk), "", {}}).get().body,
              base::to_bytes(device.vault()));
  }
  EXPECT_EQ(rig.ask({"GET", "/v1/recovery/" + base::to_hex(Bytes(32, 1)), "", {}}).get().status,
            404);
}

}  // namespace
}  // namespace holdfast::relay
