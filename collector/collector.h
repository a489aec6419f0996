#pragma once

// Receives sealed payloads, opens them, and appends each once to a file of JSON lines.

#include <set>

#include "relay/handler.h"
#include "src/crypto/hpke.h"

namespace holdfast::collector {

// One thread at a time.
class Collector : public relay::Handler {
 public:
  // Continues the file at `out`: what is in it already is not taken again, and half a line at its
  // end, left by a kill, is cut off. Throws Error(io, corrupt).
  Collector(std::vector<crypto::HpkeKey> keys, const std::string& out,
            const base::Environment& environment);

  relay::Caller caller(const std::string& target, const std::string& token) const override;
  // 200: it is on disk. 400: no key here opens it, or it is no payload. 503: the disk is full.
  relay::Response take(const relay::Request& request);
  void handle(relay::Request request, Answer done) override { done(take(request)); }
  std::uint64_t count() const { return seen_.size(); }

 private:
  void continue_file(const std::string& out);

  std::vector<crypto::HpkeKey> keys_;
  base::Environment environment_;
  std::unique_ptr<base::File> file_;
  std::uint64_t size_ = 0;
  std::set<base::Id16> seen_;
};

}  // namespace holdfast::collector
