#pragma once

// A line of the log for each request, which names nobody: vaults and addresses stand there as keyed
// hashes, whose key lives in memory alone and for a day at most. So that what one of them did can
// be followed within a day, and nothing beyond; who knows a vault's id cannot look for it in the
// log.

#include <spdlog/logger.h>

#include "relay/server.h"
#include "src/base/environment.h"

namespace holdfast::relay {

// One thread at a time.
class RequestLog {
 public:
  // As JSON, or as name=value.
  RequestLog(base::Clock& clock, base::Random& random, bool as_json, spdlog::sink_ptr sink);
  void served(const Server::Served& request);

 private:
  std::string hidden(std::string_view name);

  base::Clock& clock_;
  base::Random& random_;
  bool as_json_;
  spdlog::logger out_;
  std::int64_t day_ = -1;
  Bytes key_;
};

}  // namespace holdfast::relay
