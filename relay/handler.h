#pragma once

// What a server serves.

#include "relay/service.h"

namespace holdfast::relay {

class Handler {
 public:
  virtual ~Handler() = default;
  // By what a request's header says. Any thread.
  virtual Caller caller(const std::string& target, const std::string& token) const = 0;
  // About how many bytes the answer may have, so that there is room for it before it is made.
  virtual std::size_t answer_room(const Request&) const { return 0; }
  // Calls `done` once, on any thread. Never throws for what a client sends.
  using Answer = std::function<void(Response)>;
  virtual void handle(Request request, Answer done) = 0;
  // The vault whose changes the request may wait for.
  virtual std::optional<Hash32> watches(const Request&) const { return std::nullopt; }
  // Whether others may change vaults: then they are to be asked for.
  virtual bool is_shared() const { return false; }
  // Vault::changes of each vault that is there; nothing where that cannot be known now.
  using Changes = std::map<Hash32, std::uint64_t>;
  virtual void changes(std::vector<Hash32>, std::function<void(std::optional<Changes>)> done) {
    done(std::nullopt);
  }
  virtual void ready(std::function<void(bool)> done) { done(true); }
};

}  // namespace holdfast::relay
