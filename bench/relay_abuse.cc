// Sockets that do to a relay what honest ones do not: slow, half-open, lying, endless. Each that
// the relay closes is opened again, from many addresses of loopback.
//
//   relay_abuse --port 8440 --sockets 5000 --seconds 20

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Kind {
  const char* name;
  std::string first;  // at once
  std::string more;   // again and again
  bool reads;
};

std::vector<Kind> kinds() {
  const std::string host = "Host: relay\r\n";
  std::string pipeline;
  for (int i = 0; i < 1000; ++i) pipeline += "GET /healthz HTTP/1.1\r\n" + host + "\r\n";
  std::string nested(60'000, '[');
  return {
      {"half-open", "", "", false},
      {"slow header", "POST /v1/session/challenge HTTP/1.1\r\n", "X", true},
      {"slow body", "POST /v1/vaults HTTP/1.1\r\n" + host + "Content-Length: 1000\r\n\r\n", "b",
       true},
      {"header bomb", "GET /healthz HTTP/1.1\r\n", "X-Bomb: " + std::string(4000, 'x') + "\r\n",
       true},
      {"oversized body",
       "POST /v1/vaults HTTP/1.1\r\n" + host + "Content-Length: 999999999999999\r\n\r\n",
       std::string(16'384, 'b'), true},
      {"truncated body",
       "POST /v1/vaults HTTP/1.1\r\n" + host + "Content-Length: 60000\r\n\r\n" + nested, "", true},
      {"lying body", "POST /v1/vaults HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\n" + nested,
       "", true},
      {"two lengths",
       "POST /v1/vaults HTTP/1.1\r\n" + host +
           "Content-Length: 4\r\nContent-Length: 60000\r\nTransfer-Encoding: chunked\r\n\r\n",
       "ffffffffffffffff\r\n", true},
      {"chunks without end",
       "POST /v1/vaults HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n",
       "1000\r\n" + std::string(4096, 'c') + "\r\n", true},
      {"pipelining without reading", pipeline, pipeline, false},
      {"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", std::string(512, '\xff'), true},
  };
}

struct Sockets {
  struct One {
    int fd = -1;
    std::size_t sent = 0;  // of the first, then of the one after
    bool is_first = true;
  };
  explicit Sockets(std::uint16_t to) : port(to) {}
  std::uint16_t port;
  std::vector<Kind> all = kinds();
  std::vector<One> sockets;
  std::array<std::uint64_t, 16> opened{}, closed{};
  std::uint64_t bytes = 0;

  void open(std::size_t number) {
    One& one = sockets[number];
    one = {};
    one.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one.fd < 0) return;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr =
        htonl(0x7f010000U + static_cast<std::uint32_t>(number / 100 * 256 + 1));
    ::bind(one.fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    ::connect(one.fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ++opened[number % all.size()];
  }
  // Sends what there is room for, reads what is there; false once the relay has hung up.
  bool turn(std::size_t number) {
    One& one = sockets[number];
    const Kind& kind = all[number % all.size()];
    const std::string& data = one.is_first ? kind.first : kind.more;
    if (one.sent < data.size()) {
      ssize_t n = ::send(one.fd, data.data() + one.sent, data.size() - one.sent, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != ENOTCONN) return false;
      if (n > 0) one.sent += static_cast<std::size_t>(n), bytes += static_cast<std::size_t>(n);
    }
    if (one.sent >= data.size()) {
      one.is_first = false;
      one.sent = 0;
    }
    char buffer[4096];
    if (!kind.reads) return ::recv(one.fd, buffer, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
    ssize_t n = ::recv(one.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == ENOTCONN));
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 8440;
  std::size_t count = 5000;
  double seconds = 20;
  CLI::App app{"Abuse of a relay."};
  app.add_option("--port", port);
  app.add_option("--sockets", count);
  app.add_option("--seconds", seconds);
  CLI11_PARSE(app, argc, argv);
  Sockets abuse(port);
  abuse.sockets.resize(count);
  for (std::size_t i = 0; i < count; ++i) abuse.open(i);
  auto end = Clock::now() + std::chrono::milliseconds(static_cast<int>(seconds * 1000));
  std::printf("opened\n");
  std::fflush(stdout);
  while (Clock::now() < end) {
    // All of them in two seconds: they are many, not fast.
    for (std::size_t i = 0; i < count && Clock::now() < end; ++i) {
      if (abuse.sockets[i].fd < 0 || !abuse.turn(i)) {
        if (abuse.sockets[i].fd >= 0) ::close(abuse.sockets[i].fd);
        ++abuse.closed[i % abuse.all.size()];
        abuse.open(i);
      }
      if (i % 50 == 49)
        std::this_thread::sleep_for(std::chrono::microseconds(2'000'000 * 50 / count));
    }
  }
  for (std::size_t k = 0; k < abuse.all.size(); ++k) {
    std::printf("%s: opened %lu, closed by the relay %lu\n", abuse.all[k].name, abuse.opened[k],
                abuse.closed[k]);
  }
  std::printf("sent %lu MB\n", abuse.bytes >> 20);
}
