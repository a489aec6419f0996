// The relay as a function, and the real server on a real port.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "holdfast/error.h"
#include "relay/answers.h"
#include "relay/server.h"
#include "relay/test_relay.h"
#include "relay/workers.h"

namespace holdfast::relay {
namespace {

TEST(RelayService, AnswersUnknownAndMalformedRequests) {
  Rig rig;
  EXPECT_EQ(rig.status("GET", "/"), 404);
  EXPECT_EQ(rig.status("DELETE", "/v1/vaults"), 404);
  EXPECT_EQ(rig.status("POST", "/v1/vaults", Bytes(100, 1)), 400);
  EXPECT_EQ(rig.status("POST", "/v1/session", Bytes(10, 1)), 400);
  EXPECT_EQ(rig.status("GET", "/v1/vaults/zz/log"), 404);
  EXPECT_EQ(rig.status("GET", path_of({}, "log")), 401);
  EXPECT_EQ(rig.status("GET", path_of({}, "log"), {}, "bogus"), 401);
  EXPECT_EQ(rig.status("PUT", "/v1/mailbox/xyz"), 404);
  EXPECT_EQ(rig.status("PUT", "/v1/mailbox/" + std::string(32, 'a'), Bytes(5000, 1)), 413);
  base::SeededRandom random(4);
  for (int i = 0; i < 500; ++i) {
    Bytes body(random.below(300));
    random.fill(body);
    for (const char* target : {"/v1/vaults", "/v1/session"}) {
      EXPECT_EQ(rig.status("POST", target, body), 400);
    }
  }
}

TEST(RelayService, SignsInOnlyDevicesOfTheVaultUnderItsOwnName) {
  Rig rig;
  Signer device(1), stranger(2);
  ASSERT_EQ(rig.status("POST", "/v1/vaults", device.genesis()), 200);
  EXPECT_EQ(device.sign_in(rig, device.vault()).status, 200);
  EXPECT_EQ(stranger.sign_in(rig, device.vault()).status, 403);
  EXPECT_EQ(device.sign_in(rig, device.vault(), "http://evil").status, 403);
  EXPECT_EQ(stranger.sign_in(rig, stranger.vault()).status, 404);
  // A session lasts a quarter of an hour, a challenge two minutes.
  wire::SessionAnswer session =
      wire::decode_session_answer(device.sign_in(rig, device.vault()).body);
  EXPECT_EQ(rig.status("GET", path_of(device.vault(), "log"), {}, session.token), 200);
  EXPECT_EQ(rig.status("GET", path_of(stranger.vault(), "log"), {}, session.token), 401);
  rig.clock.advance_ms(16 * 60 * 1000);
  EXPECT_EQ(rig.status("GET", path_of(device.vault(), "log"), {}, session.token), 401);
}

// A database adds to it.
TEST(RelayService, TakesNoNumberThatNothingCanReach) {
  EXPECT_EQ(query_number("after=4611686018427387904", "after", 0), 1ULL << 62);
  EXPECT_THROW(query_number("after=4611686018427387905", "after", 0), Error);
  EXPECT_THROW(query_number("after=9223372036854775807", "after", 0), Error);
}

TEST(RelayService, PushesAreIdempotentAndOrderedPerDevice) {
  Rig rig;
  Signer device(1);
  rig.status("POST", "/v1/vaults", device.genesis());
  std::string token = wire::decode_session_answer(device.sign_in(rig, device.vault()).body).token;
  auto push = [&](std::vector<Bytes> batches) {
    return wire::decode_push_answer(
        rig.service
            .handle({"POST", path_of(device.vault(), "batches"), token, wire::encode_list(batches)})
            .body);
  };
  Bytes one = device.batch(1, {});
  Bytes two = device.batch(2, wire::leaf_of(one));
  Bytes forked = device.batch(3, {});
  Bytes unsigned_one = device.batch(4, wire::leaf_of(two));
  unsigned_one.back() ^= 1;
  using S = wire::PushStatus;
  wire::PushAnswer first = push({one, two, one, forked, Bytes(512, 0), unsigned_one});
  ASSERT_EQ(first.items.size(), 6u);
  EXPECT_EQ(first.items[0].status, S::ok);
  EXPECT_EQ(first.items[1].position, 2u);
  EXPECT_EQ(first.items[2].status, S::duplicate);
  EXPECT_EQ(first.items[2].position, 1u);
  EXPECT_EQ(first.items[3].status, S::device_fork);
  EXPECT_EQ(first.items[4].status, S::refused);
  EXPECT_EQ(first.items[5].status, S::refused);
  EXPECT_EQ(push({two, one}).head, 2u);
  wire::LogPage page = wire::decode_log_page(
      rig.service.handle({"GET", path_of(device.vault(), "log?after=1&bytes=1"), token, {}}).body);
  EXPECT_EQ(page.batches, (std::vector<Bytes>{two}));
  EXPECT_EQ(page.chain, first.chain);
  EXPECT_EQ(rig.status("GET", path_of(device.vault(), "log?after=x"), {}, token), 400);
  EXPECT_EQ(rig.status("GET", path_of(device.vault(), "log?after=99999999999999999999"), {}, token),
            400);
}

TEST(RelayService, MailIsPutOnceAndExpires) {
  Rig rig;
  std::string slot = "/v1/mailbox/" + std::string(32, 'a');
  EXPECT_EQ(rig.status("GET", slot), 404);
  EXPECT_EQ(rig.status("PUT", slot, Bytes{1}), 200);
  EXPECT_EQ(rig.status("PUT", slot, Bytes{2}), 409);
  EXPECT_EQ(rig.status("PUT", slot, Bytes{1}), 200);  // a repeated request
  std::string brief = "/v1/mailbox/" + std::string(32, 'b');
  EXPECT_EQ(rig.status("PUT", brief + "?lifetime_ms=1000", Bytes{1}), 200);
  rig.clock.advance_ms(1001);
  EXPECT_EQ(rig.status("GET", brief), 404);
  EXPECT_EQ(rig.service.handle({"GET", slot, "", {}}).body, Bytes{1});
  rig.clock.advance_ms(61 * 60 * 1000);
  EXPECT_EQ(rig.status("GET", slot), 404);
  EXPECT_EQ(rig.status("PUT", slot, Bytes{2}), 200);
}

// The server on a port of this machine, with a thread of its own.
struct Live {
  explicit Live(ServerOptions options = {}, ServiceOptions service = test_options())
      : server(options) {
    std::vector<std::unique_ptr<Storage>> storages;
    storages.push_back(std::make_unique<SqliteStorage>(":memory:"));
    storages.push_back(std::make_unique<SqliteStorage>(":memory:"));
    Workers::Options working;
    working.service = std::move(service);
    workers = std::make_unique<Workers>(std::move(storages), clock, random, working);
    thread = std::thread([this] { server.run(*workers); });
  }
  ~Live() {
    server.stop();
    thread.join();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server.port()); }
  // Sends raw bytes and returns what comes back until the server closes or has answered.
  std::string raw(const std::string& bytes) const {
    int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_GE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    ::shutdown(fd, SHUT_WR);
    std::string out;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::recv(fd, buffer, sizeof buffer, 0)) > 0)
      out.append(buffer, static_cast<std::size_t>(n));
    ::close(fd);
    return out;
  }
  base::FakeClock clock;
  LockedRandom random;
  Server server;
  std::unique_ptr<Workers> workers;
  std::thread thread;
};

TEST(RelayServer, ServesOverHttpAndSurvivesGarbage) {
  Live live;
  auto network = base::curl_network();
  auto health = [&] { return network->perform({"GET", live.url() + "/healthz", "", {}}).status; };
  EXPECT_EQ(health(), 200);
  live.raw("");
  live.raw("\r\n\r\n");
  live.raw("GARBAGE\x01\x02\xff");
  live.raw(std::string(100'000, 'A'));
  live.raw("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'b') + "\r\n\r\n");
  live.raw("POST /v1/vaults HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
  live.raw("POST /v1/vaults HTTP/1.1\r\nContent-Length: -1\r\n\r\nx");
  live.raw("POST /v1/vaults HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n");
  EXPECT_EQ(health(), 200);
  EXPECT_EQ(network->perform({"POST", live.url() + "/v1/vaults", "", Bytes(1000, 7)}).status, 400);
  EXPECT_EQ(
      network->perform({"PUT", live.url() + "/v1/mailbox/" + std::string(32, 'b'), "", {5}}).status,
      200);
}

TEST(RelayServer, ManyThreadsOfClients) {
  Live live;
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      auto network = base::curl_network();
      for (int i = 0; i < 25; ++i) {
        Bytes slot(16, static_cast<std::uint8_t>(t * 50 + i));
        std::string url = live.url() + "/v1/mailbox/" + base::to_hex(slot);
        good += network->perform({"PUT", url, "", slot}).status == 200 &&
                network->perform({"GET", url, "", {}}).body == slot;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(good, 100);
}

TEST(RelayServer, RefusesAPortThatIsTaken) {
  Live live;
  ServerOptions options;
  options.port = live.server.port();
  EXPECT_THROW(Server{options}, Error);
}

TEST(Network, AnUnreachablePeerIsAnAnswerNotAnException) {
  auto response = base::curl_network()->perform({"GET", "http://127.0.0.1:1/", "", {}});
  EXPECT_EQ(response.status, 0);
  EXPECT_FALSE(response.error.empty());
}

}  // namespace
}  // namespace holdfast::relay
