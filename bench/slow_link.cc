// A TCP proxy on loopback that makes a slow link of it: what comes in goes out later, no faster
// than the link's bandwidth, and connections are cut now and then.
//
//   slow_link LISTEN TO [--latency-ms N] [--kbit N] [--loss PERCENT] [--cut-every-ms N]
//
// Latency is one way; bandwidth is of each direction, over all connections. A lost packet (of 1,460
// bytes) holds up what is behind it for 200 ms, as TCP's retransmission would. At a cut every
// connection is reset. Losses come from a fixed seed.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kPacket = 1460;
constexpr std::size_t kWindow = 1 << 20;  // bytes under way in one direction of a connection
constexpr std::int64_t kRetransmitUs = 200'000;

struct Link {
  std::int64_t latency_us = 0;
  double bytes_per_us = 0;  // 0: no limit
  double loss = 0;
  std::int64_t cut_every_us = 0;
};

std::int64_t now_us() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

// One direction of the link, which all connections share.
struct Lane {
  std::int64_t free_at = 0;  // when the last packet has left
};

// One direction of one connection.
struct Flow {
  int from = -1;
  int to = -1;
  Lane* lane = nullptr;
  struct Packet {
    std::int64_t due = 0;
    std::vector<char> bytes;
    std::size_t sent = 0;
  };
  std::deque<Packet> packets;
  std::size_t under_way = 0;
  std::int64_t last_due = 0;
  bool ended = false;  // nothing more comes in
};

struct Connection {
  int client = -1;
  int server = -1;
  Flow up;
  Flow down;
  bool dead = false;
};

int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 64) != 0) {
    std::perror("slow_link: listen");
    std::exit(1);
  }
  return fd;
}

int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

class Proxy {
 public:
  Proxy(int listen_port, int to_port, Link link)
      : link_(link), to_port_(to_port), listener_(listen_on(listen_port)) {}

  [[noreturn]] void run() {
    std::int64_t next_cut = link_.cut_every_us ? now_us() + link_.cut_every_us : INT64_MAX;
    for (;;) {
      wait(next_cut);
      if (now_us() >= next_cut) {
        for (Connection& one : connections_) reset(one);
        up_ = down_ = {};  // what was under way is gone
        next_cut = now_us() + link_.cut_every_us;
      }
      for (Connection& one : connections_) {
        if (one.dead) continue;
        for (Flow* flow : {&one.up, &one.down}) {
          bool good = take_in(*flow) && give_out(*flow);
          if (!good) one.dead = true;
        }
        bool over =
            one.up.ended && one.down.ended && one.up.packets.empty() && one.down.packets.empty();
        if (over) one.dead = true;
      }
      connections_.remove_if([](Connection& one) {
        if (!one.dead) return false;
        close(one.client);
        close(one.server);
        return true;
      });
    }
  }

 private:
  void wait(std::int64_t next_cut) {
    std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
    std::int64_t until = next_cut;
    for (Connection& one : connections_) {
      for (Flow* flow : {&one.up, &one.down}) {
        if (!flow->ended && flow->under_way < kWindow) fds.push_back({flow->from, POLLIN, 0});
        if (!flow->packets.empty()) until = std::min(until, flow->packets.front().due);
      }
    }
    std::int64_t ms = until == INT64_MAX ? 1000 : (until - now_us() + 999) / 1000;
    poll(fds.data(), fds.size(), static_cast<int>(std::clamp<std::int64_t>(ms, 0, 1000)));
    if (fds[0].revents & POLLIN) accept_one();
  }

  void accept_one() {
    Connection one;
    one.client = accept(listener_, nullptr, nullptr);
    if (one.client < 0) return;
    one.server = connect_to(to_port_);
    if (one.server < 0) {
      close(one.client);
      return;
    }
    int on = 1;
    for (int fd : {one.client, one.server})
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    one.up.from = one.down.to = one.client;
    one.up.to = one.down.from = one.server;
    one.up.lane = &up_;
    one.down.lane = &down_;
    connections_.push_back(std::move(one));
  }

  // False where the connection is broken.
  bool take_in(Flow& flow) {
    while (!flow.ended && flow.under_way < kWindow) {
      std::vector<char> bytes(kPacket);
      ssize_t got = recv(flow.from, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got < 0) return errno == EAGAIN || errno == EINTR;
      if (got == 0) {
        flow.ended = true;
        return true;
      }
      bytes.resize(static_cast<std::size_t>(got));
      std::int64_t start = std::max(now_us(), flow.lane->free_at);
      double takes = link_.bytes_per_us > 0 ? static_cast<double>(got) / link_.bytes_per_us : 0;
      flow.lane->free_at = start + static_cast<std::int64_t>(takes);
      std::int64_t due = flow.lane->free_at + link_.latency_us;
      if (loss_(rng_) < link_.loss) due += kRetransmitUs;
      flow.last_due = std::max(flow.last_due, due);  // in order
      flow.under_way += bytes.size();
      flow.packets.push_back({flow.last_due, std::move(bytes), 0});
    }
    return true;
  }

  static bool give_out(Flow& flow) {
    while (!flow.packets.empty() && flow.packets.front().due <= now_us()) {
      Flow::Packet& packet = flow.packets.front();
      ssize_t put = send(flow.to, packet.bytes.data() + packet.sent,
                         packet.bytes.size() - packet.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (put < 0) return errno == EAGAIN || errno == EINTR;
      packet.sent += static_cast<std::size_t>(put);
      if (packet.sent < packet.bytes.size()) return true;
      flow.under_way -= packet.bytes.size();
      flow.packets.pop_front();
    }
    if (flow.ended && flow.packets.empty()) shutdown(flow.to, SHUT_WR);
    return true;
  }

  static void reset(Connection& one) {
    linger now{1, 0};
    for (int fd : {one.client, one.server}) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    one.dead = true;
  }

  Link link_;
  int to_port_;
  int listener_;
  Lane up_;
  Lane down_;
  std::list<Connection> connections_;
  std::mt19937_64 rng_{1};
  std::uniform_real_distribution<double> loss_{0, 1};
};

}  // namespace

int main(int count, char** words) {
  Link link;
  for (int i = 3; i + 1 < count; i += 2) {
    std::string name = words[i];
    double value = std::atof(words[i + 1]);
    if (name == "--latency-ms") link.latency_us = static_cast<std::int64_t>(value * 1000);
    if (name == "--kbit") link.bytes_per_us = value / 8000;
    if (name == "--loss") link.loss = value / 100;
    if (name == "--cut-every-ms") link.cut_every_us = static_cast<std::int64_t>(value * 1000);
  }
  if (count < 3 || count % 2 == 0) {
    std::fprintf(stderr,
                 "usage: slow_link LISTEN TO [--latency-ms N] [--kbit N] [--loss PERCENT] "
                 "[--cut-every-ms N]\n");
    return 2;
  }
  Proxy(std::atoi(words[1]), std::atoi(words[2]), link).run();
}
