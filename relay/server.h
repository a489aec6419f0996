#pragma once

#include <atomic>

#include "relay/service.h"

namespace holdfast::relay {

struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one
  std::size_t max_connections = 1000;
};

// HTTP/1.1 around a Handler, on the thread that calls run(). Bounded: bodies, headers, connections,
// and the time that any of them may take.
class Server {
 public:
  // Binds. Throws Error(io) where the address is not to be had.
  explicit Server(const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  // Serves until stop().
  void run(Handler& handler);
  // Thread- and signal-safe.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Of "ADDRESS:PORT". Throws Error(invalid_argument).
ServerOptions parse_listen(const std::string& text);

}  // namespace holdfast::relay
