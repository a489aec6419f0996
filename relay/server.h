#pragma once

#include <atomic>
#include <set>
#include <vector>

#include "relay/handler.h"
#include "relay/limits.h"

namespace holdfast::relay {

struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;   // 0: any free one
  std::string certificate;  // files in PEM, where the server itself speaks TLS
  std::string private_key;
  std::set<std::string> proxies;  // IP addresses whose X-Forwarded-For is believed
  LimitOptions limits;
  std::int64_t room_wait_ms = 5000;  // who finds no room for an answer waits so long for it
  // A body is cut off of which nothing comes for stall_ms, an answer of which nothing goes for
  // write_stall_ms, and either where less than 16 KiB a second moved once slow_ms have passed.
  std::int64_t stall_ms = 20'000;
  std::int64_t write_stall_ms = 60'000;
  std::int64_t slow_ms = 30'000;
  std::int64_t drain_ms = 20'000;  // what is being asked when the server stops has so long to end
};

// HTTP/1.1 around a Handler, with TLS or without, on the thread that calls run(). Bounded: bodies,
// headers, connections, what one address may have of each, and the time that any of them may take.
class Server {
 public:
  // Binds. Throws Error(io) where the address is not to be had, Error(invalid_argument) where the
  // certificate and its key cannot be used.
  explicit Server(const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  // Serves until stop().
  void run(Handler& handler);
  // Takes no more connections, answers what is being asked, then ends run(). Any thread.
  void stop();
  // Reads the certificate and its key again; the old ones stay where that fails. Any thread.
  void reload();

  // Of every request, once it was answered.
  struct Served {
    std::string_view method;
    std::string_view route;    // the path without what it names: "/v1/vaults/*/log"
    std::string_view vault;    // that the path names
    std::string_view address;  // of who asks
    int status = 0;
    std::int64_t us = 0;  // since its header was there, without what it waited for
    std::size_t received = 0;
    std::size_t sent = 0;
  };
  void on_served(std::function<void(const Served&)> observer);  // before run()
  struct Stats {
    std::atomic<std::size_t> connections{0};
    std::atomic<std::size_t> watchers{0};
    std::atomic<std::size_t> body_bytes{0};
    std::atomic<std::uint64_t> turned_away{0};  // connections and bodies without room
  };
  const Stats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Of "ADDRESS:PORT". Throws Error(invalid_argument).
ServerOptions parse_listen(const std::string& text);
// All that a vault can be asked for: "/v1/vaults/*/log" …
std::vector<std::string_view> vault_routes();
// The id in "/v1/vaults/1234…/log": empty in what no route is like.
std::string_view vault_of(const std::string& method, std::string_view target);
// "/v1/vaults/*/log" of "/v1/vaults/1234…/log?after=1"; "other" of what no route is like.
std::string_view route_of(const std::string& method, std::string_view target);

}  // namespace holdfast::relay
