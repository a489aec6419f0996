#include <array>

#include "relay/server.h"

namespace holdfast::relay {

namespace {

constexpr std::string_view kBlob = "/v1/vaults/*/blobs/*";
constexpr std::array kCalls = {std::string_view("/v1/vaults/*/batches"),
                               std::string_view("/v1/vaults/*/log"),
                               std::string_view("/v1/vaults/*/control"),
                               std::string_view("/v1/vaults/*/restart"),
                               std::string_view("/v1/vaults/*/control/restore"),
                               std::string_view("/v1/vaults/*/stubs"),
                               std::string_view("/v1/vaults/*/checkpoint"),
                               std::string_view("/v1/vaults/*/checkpoint/verify"),
                               std::string_view("/v1/vaults/*/blobs/missing")};

}  // namespace

std::vector<std::string_view> vault_routes() {
  std::vector<std::string_view> out(kCalls.begin(), kCalls.end());
  out.push_back(kBlob);
  return out;
}

std::string_view route_of(const std::string& method, std::string_view target) {
  std::string_view path = target.substr(0, target.find('?'));
  constexpr std::array whole = {std::string_view("/healthz"), std::string_view("/readyz"),
                                std::string_view("/v1/vaults"), std::string_view("/v1/session"),
                                std::string_view("/v1/session/challenge")};
  for (std::string_view one : whole) {
    if (path == one) return one;
  }
  if (path.starts_with("/v1/mailbox/")) return "/v1/mailbox/*";
  if (path.starts_with("/v1/recovery/")) return "/v1/recovery/*";
  constexpr std::string_view vaults = "/v1/vaults/";
  if (!path.starts_with(vaults)) return "other";
  path.remove_prefix(vaults.size());
  std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return method == "DELETE" ? "/v1/vaults/*" : "other";
  path.remove_prefix(slash + 1);
  if (path.starts_with("blobs/") && path != "blobs/missing") return kBlob;
  for (std::string_view one : kCalls) {
    if (one.substr(std::string_view("/v1/vaults/*/").size()) == path) return one;
  }
  return "other";
}

std::string_view vault_of(const std::string& method, std::string_view target) {
  constexpr std::string_view vaults = "/v1/vaults/";
  if (!route_of(method, target).starts_with("/v1/vaults/*")) return {};
  std::string_view path = target.substr(0, target.find('?')).substr(vaults.size());
  return path.substr(0, path.find('/'));
}

}  // namespace holdfast::relay
