#include "relay/request_log.h"

#include <sodium.h>

#include <nlohmann/json.hpp>

namespace holdfast::relay {
namespace {

constexpr std::int64_t kDayMs = 24 * 3'600'000;
constexpr std::size_t kShown = 8;  // bytes of a hash

}  // namespace

RequestLog::RequestLog(base::Clock& clock, base::Random& random, bool as_json,
                       spdlog::sink_ptr sink)
    : clock_(clock), random_(random), as_json_(as_json), out_("requests", std::move(sink)) {
  out_.set_pattern(as_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","request":%v})"
                           : "%Y-%m-%dT%H:%M:%S request %v");
}

std::string RequestLog::hidden(std::string_view name) {
  if (name.empty()) return "";
  std::int64_t day = clock_.now_ms() / kDayMs;
  if (day != day_) {
    day_ = day;
    key_.resize(crypto_generichash_KEYBYTES);
    random_.fill(key_);
  }
  Bytes hash(crypto_generichash_BYTES_MIN);
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(name.data()),
                     name.size(), key_.data(), key_.size());
  return base::to_hex(ByteView(hash).first(kShown));
}

void RequestLog::served(const Server::Served& request) {
  std::string vault = hidden(request.vault);
  std::string address = hidden(request.address);
  std::string method(request.method.substr(0, 8));
  bool is_known = method == "GET" || method == "POST" || method == "PUT" || method == "DELETE";
  if (!is_known) method = "other";
  if (as_json_) {
    nlohmann::ordered_json line = {{"method", method},         {"route", request.route},
                                   {"status", request.status}, {"us", request.us},
                                   {"in", request.received},   {"out", request.sent},
                                   {"address", address}};
    if (!vault.empty()) line["vault"] = vault;
    out_.info(line.dump());
    return;
  }
  out_.info("method={} route={} status={} us={} in={} out={} address={}{}{}", method, request.route,
            request.status, request.us, request.received, request.sent, address,
            vault.empty() ? "" : " vault=", vault);
}

}  // namespace holdfast::relay
