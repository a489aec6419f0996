// What a server gives room and time to: no more than there is, and in turn.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "holdfast/error.h"
#include "relay/server.h"
#include "src/base/environment.h"

namespace holdfast::relay {
namespace {

// Holds what it is asked until it is told to answer.
class Holding : public Handler {
 public:
  explicit Holding(bool are_strangers = false, std::size_t body_limit = 0)
      : are_strangers_(are_strangers), body_limit_(body_limit) {}
  Caller caller(const std::string&, const std::string&) const override {
    return {body_limit_, are_strangers_};
  }
  std::size_t answer_room(const Request&) const override { return 1 << 20; }
  std::size_t holds() {
    std::lock_guard lock(mutex);
    return held.size();
  }
  void handle(Request, Answer done) override {
    std::lock_guard lock(mutex);
    held.push_back(std::move(done));
  }
  std::size_t let_go() {
    std::lock_guard lock(mutex);
    for (Answer& done : held) done({.status = 200, .body = Bytes(1 << 20, 7)});
    return std::exchange(held, {}).size();
  }
  std::mutex mutex;
  std::vector<Answer> held;

 private:
  const bool are_strangers_;
  const std::size_t body_limit_;
};

int connect_to(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

// Nor does a body that is claimed and does not come.
TEST(RelayServer, ABodyTakesRoomAsItComes) {
  ServerOptions options;
  options.limits.bytes = 2 << 20;
  Holding handler(true, 1 << 20);
  Server server(options);
  std::thread serving([&] { server.run(handler); });
  std::string head = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
  std::vector<int> claims;
  for (int i = 0; i < 5; ++i) {
    claims.push_back(connect_to(server.port()));
    std::string sent = head + std::string(100'000, 'b');
    EXPECT_EQ(::send(claims.back(), sent.data(), sent.size(), 0),
              static_cast<ssize_t>(sent.size()));
    std::size_t most = static_cast<std::size_t>(i + 1) * 100'000;
    while (server.stats().body_bytes < most) std::this_thread::yield();
    EXPECT_EQ(server.stats().body_bytes, most);
  }
  std::thread honest([&] {
    auto response = base::curl_network()->perform(
        {"POST", "http://127.0.0.1:" + std::to_string(server.port()) + "/", "", Bytes(400'000)});
    EXPECT_EQ(response.status, 200);
  });
  while (handler.holds() < 1) std::this_thread::yield();
  for (int fd : claims) ::close(fd);
  while (server.stats().body_bytes > 400'000) std::this_thread::yield();
  handler.let_go();
  honest.join();
  server.stop();
  serving.join();
  EXPECT_EQ(server.stats().body_bytes, 0u);
}

// However many ask, no more is made than there is room for.
TEST(RelayServer, RoomForAnAnswerIsTakenBeforeItIsMade) {
  ServerOptions options;
  options.limits.bytes = 4 << 20;
  options.room_wait_ms = 0;
  Holding handler;
  Server server(options);
  std::thread serving([&] { server.run(handler); });
  constexpr int kAsk = 12;
  std::atomic<int> refused{0}, good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kAsk; ++i) {
    clients.emplace_back([&] {
      auto response = base::curl_network()->perform(
          {"GET", "http://127.0.0.1:" + std::to_string(server.port()) + "/", "", {}});
      (response.status == 503 ? refused : good) += 1;
    });
  }
  while (refused < kAsk - 4) std::this_thread::yield();
  EXPECT_EQ(server.stats().body_bytes, std::size_t{4} << 20);
  EXPECT_EQ(handler.let_go(), 4u);
  for (auto& client : clients) client.join();
  EXPECT_EQ(good, 4);
  server.stop();
  serving.join();
  EXPECT_EQ(server.stats().body_bytes, 0u);
}

// Room comes free: who waits for it gets it, and is not told to come again.
TEST(RelayServer, WhoFindsNoRoomWaitsForIt) {
  ServerOptions options;
  options.limits.bytes_of_one = 2 << 20;
  options.room_wait_ms = 600'000;
  Holding handler;
  Server server(options);
  std::thread serving([&] { server.run(handler); });
  constexpr int kAsk = 7;
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kAsk; ++i) {
    clients.emplace_back([&] {
      auto response = base::curl_network()->perform(
          {"GET", "http://127.0.0.1:" + std::to_string(server.port()) + "/", "", {}});
      good += response.status == 200;
    });
  }
  while (good < kAsk) {
    EXPECT_LE(handler.let_go(), 2u);
    EXPECT_LE(server.stats().body_bytes, std::size_t{2} << 20);
    std::this_thread::yield();
  }
  for (auto& client : clients) client.join();
  server.stop();
  serving.join();
  EXPECT_EQ(server.stats().turned_away, 0u);
  EXPECT_EQ(server.stats().body_bytes, 0u);
}

constexpr std::int64_t kNever = 86'400'000;  // later than a test ends

// Who begins and does not go on is cut off, and gives back what it took; so is who is slow.
TEST(RelayServer, ABodyThatStallsIsCutOff) {
  for (bool stalls : {true, false}) {
    ServerOptions options;
    options.stall_ms = stalls ? 20 : kNever;
    options.slow_ms = stalls ? kNever : 20;
    Holding handler(true, 1 << 20);
    Server server(options);
    std::thread serving([&] { server.run(handler); });
    int fd = connect_to(server.port());
    std::string begun =
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + std::string(10'000, 'b');
    EXPECT_EQ(::send(fd, begun.data(), begun.size(), 0), static_cast<ssize_t>(begun.size()));
    char byte = 0;
    EXPECT_LE(::recv(fd, &byte, 1, 0), 0);  // nothing was said
    ::close(fd);
    EXPECT_EQ(handler.holds(), 0u);
    server.stop();
    serving.join();
    EXPECT_EQ(server.stats().body_bytes, 0u);
  }
}

TEST(RelayServer, AnAnswerThatNobodyReadsIsCutOff) {
  ServerOptions options;
  options.write_stall_ms = 20;
  options.slow_ms = kNever;
  Holding handler;
  Server server(options);
  std::thread serving([&] { server.run(handler); });
  int fd = connect_to(server.port());
  int small = 4096;
  EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  while (server.stats().connections == 0) std::this_thread::yield();
  for (int i = 0; i < 100 && server.stats().connections > 0; ++i) {
    std::string asked = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    if (::send(fd, asked.data(), asked.size(), MSG_NOSIGNAL) < 0) break;
    // Of a mebibyte each: the system holds back a few, then nothing more goes.
    while (handler.let_go() == 0 && server.stats().connections > 0) std::this_thread::yield();
  }
  while (server.stats().connections > 0) std::this_thread::yield();
  EXPECT_EQ(server.stats().body_bytes, 0u);
  ::close(fd);
  server.stop();
  serving.join();
}

// A proxy is known by its address, however that is written, and nobody else is.
TEST(RelayServer, BelievesAProxyAlone) {
  for (const char* proxy : {"127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"}) {
    ServerOptions options;
    options.proxies = {proxy};
    Holding handler;
    Server server(options);
    std::string seen;
    server.on_served([&](const Server::Served& request) { seen = request.address; });
    std::thread serving([&] { server.run(handler); });
    int fd = connect_to(server.port());
    std::string asked =
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "X-Forwarded-For: 192.0.2.7, 2001:db8:1:2ff:3::4\r\n\r\n";
    EXPECT_EQ(::send(fd, asked.data(), asked.size(), 0), static_cast<ssize_t>(asked.size()));
    char bytes[1000];
    while (::recv(fd, bytes, sizeof bytes, 0) > 0) continue;
    ::close(fd);
    server.stop();
    serving.join();
    bool is_proxy = std::string_view(proxy) != "127.0.0.2";
    EXPECT_EQ(seen, is_proxy ? "2001:db8:1:200::" : "127.0.0.1") << proxy;
  }
  ServerOptions options;
  options.proxies = {"10.0.0.0/8"};
  EXPECT_THROW(Server{options}, Error);
}

// Nor does who is unknown keep others out by asking for much.
TEST(RelayServer, AStrangerTakesNoRoomByAsking) {
  ServerOptions options;
  options.limits.bytes = 2 << 20;
  Holding handler(true);
  Server server(options);
  std::thread serving([&] { server.run(handler); });
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&] {
      base::curl_network()->perform(
          {"GET", "http://127.0.0.1:" + std::to_string(server.port()) + "/", "", {}});
    });
  }
  while (handler.holds() < 6) std::this_thread::yield();
  EXPECT_EQ(server.stats().body_bytes, 0u);
  handler.let_go();
  for (auto& client : clients) client.join();
  server.stop();
  serving.join();
}

}  // namespace
}  // namespace holdfast::relay
