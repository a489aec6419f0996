#pragma once

// What may go to a destination: only the gate makes it, and the transport takes nothing else, so
// that data cannot leave past permission, policy, budget and ledger by mistake. A test sees that no
// other code compiles.

#include <atomic>

#include "src/base/environment.h"

namespace holdfast::privacy {

class SealedEgress {
 public:
  SealedEgress(SealedEgress&&) = default;
  SealedEgress& operator=(SealedEgress&&) = delete;
  SealedEgress(const SealedEgress&) = delete;
  SealedEgress& operator=(const SealedEgress&) = delete;

 private:
  friend class Gate;             // makes it
  friend class EgressTransport;  // reads it
  SealedEgress(std::string url, Bytes body) : url_(std::move(url)), body_(std::move(body)) {}
  std::string url_;
  Bytes body_;
};

// The only place of this layer that touches the network (a test looks).
class EgressTransport {
 public:
  explicit EgressTransport(base::Network& network) : network_(network) {}
  // Ends soon where one of both is set.
  base::HttpResponse send(SealedEgress egress, const std::atomic<bool>* cancelled,
                          const std::atomic<bool>* stopped) {
    base::HttpRequest request;
    request.method = "POST";
    request.url = std::move(egress.url_);
    request.body = std::move(egress.body_);
    request.cancelled = cancelled;
    request.stopped = stopped;
    return network_.perform(request);
  }

 private:
  base::Network& network_;
};

}  // namespace holdfast::privacy
