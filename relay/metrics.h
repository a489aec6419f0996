#pragma once

// What the relay does, in Prometheus' text format: sums over all vaults, nothing of any one.

#include "relay/server.h"
#include "relay/workers.h"

namespace holdfast::relay {

// Serves GET /metrics. Thread-safe.
class Metrics : public Handler {
 public:
  Metrics();
  ~Metrics() override;
  void served(const Server::Served& request);
  // What is read off when somebody asks. They must live as long as this.
  void watch(const Server& server, const Workers& workers);

  Caller caller(const std::string&, const std::string&) const override { return {0, false}; }
  void handle(Request request, Answer done) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::relay
