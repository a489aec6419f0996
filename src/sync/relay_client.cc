#include "src/sync/relay_client.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/wire/admission.h"

namespace holdfast::sync {
namespace {

// The relay's words are not to be trusted: printable ASCII, and not many.
std::string quoted(ByteView body) {
  std::string out;
  for (std::uint8_t byte : body.first(std::min<std::size_t>(body.size(), 200))) {
    if (byte >= ' ' && byte < 0x7f) out += static_cast<char>(byte);
  }
  return out.empty() ? "no reason given" : out;
}

}  // namespace

std::string check_relay_url(const std::string& given) {
  std::string url = given;
  while (!url.empty() && url.back() == '/') url.pop_back();
  bool https = url.starts_with("https://");
  bool http = url.starts_with("http://");
  std::string host = https ? url.substr(8) : http ? url.substr(7) : "";
  host = host.substr(0, host.find('/'));
  bool printable = std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (host.empty() || !printable || url.size() > 500 ||
      url.find_first_of("@?#") != std::string::npos) {
    throw Error(ErrorCode::invalid_argument,
                "'" + given + "' is no relay's URL: write it like https://relay.example");
  }
  std::string name =
      host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
  bool loopback = name == "localhost" || name == "127.0.0.1" || name == "[::1]";
  if (http && !loopback) {
    throw Error(ErrorCode::invalid_argument,
                "plain http:// is for a relay on this machine only: use https://");
  }
  return url;
}

base::HttpRequest RelayClient::call(const char* method, const std::string& path, Bytes body) const {
  return {method, url_ + path, token_, std::move(body)};
}

base::HttpRequest RelayClient::vault_call(const char* method, const std::string& path,
                                          Bytes body) const {
  return call(method, "/v1/vaults/" + base::to_hex(vault_) + path, std::move(body));
}

base::HttpRequest RelayClient::create_vault(ByteView genesis, const std::string& admission) const {
  return {"POST", url_ + "/v1/vaults", admission, base::to_bytes(genesis)};
}

base::HttpRequest RelayClient::erase_vault(const crypto::SigningKey& key, const base::Id16& log_id,
                                           ByteView nonce) const {
  wire::Erasure erasure;
  erasure.signer = key.public_key();
  erasure.log_id = log_id;
  erasure.nonce = base::to_bytes(nonce);
  erasure.origin = url_;
  erasure.signature =
      key.sign(wire::signed_message(wire::kSignErasure, vault_, wire::erasure_message(erasure)));
  return vault_call("DELETE", "", wire::encode(erasure));
}

base::HttpRequest RelayClient::challenge() const { return call("POST", "/v1/session/challenge"); }

base::HttpRequest RelayClient::session(const crypto::SigningKey& key, ByteView nonce) const {
  wire::SessionRequest request;
  request.vault = vault_;
  request.signer = key.public_key();
  request.nonce = base::to_bytes(nonce);
  request.origin = url_;
  request.signature = key.sign(
      wire::signed_message(wire::kSignSession, vault_, wire::session_message(nonce, url_)));
  return call("POST", "/v1/session", wire::encode(request));
}

std::int64_t RelayClient::accept_session(ByteView answer) {
  wire::SessionAnswer session = wire::decode_session_answer(answer);
  token_ = std::move(session.token);
  return static_cast<std::int64_t>(std::min<std::uint64_t>(session.now_ms, INT64_MAX));
}

base::HttpRequest RelayClient::get_control(std::uint64_t after) const {
  return vault_call("GET", "/control?after=" + std::to_string(after));
}

base::HttpRequest RelayClient::post_control(const base::Hash32& head, ByteView record) const {
  return vault_call("POST", "/control",
                    wire::encode(wire::ControlPost{head, base::to_bytes(record)}));
}

base::HttpRequest RelayClient::restore_control(std::uint64_t at, ByteView record) const {
  return vault_call("POST", "/control/restore?at=" + std::to_string(at), base::to_bytes(record));
}

base::HttpRequest RelayClient::push(const std::vector<Bytes>& batches, bool restores) const {
  return vault_call("POST", restores ? "/batches?restore=1" : "/batches",
                    wire::encode_list(batches));
}

base::HttpRequest RelayClient::get_log(std::uint64_t after, std::size_t bytes,
                                       std::int64_t wait_ms) const {
  std::string path = "/log?after=" + std::to_string(after) + "&bytes=" + std::to_string(bytes);
  if (wait_ms > 0) path += "&wait=" + std::to_string(wait_ms);
  return vault_call("GET", path);
}

base::HttpRequest RelayClient::restart(const base::Id16& replaces, const wire::LogPosition& known,
                                       std::uint64_t records) const {
  base::Writer out;
  wire::write(out, known);
  out.raw(replaces);
  out.u64(records);
  return vault_call("POST", "/restart", out.take());
}

base::HttpRequest RelayClient::get_checkpoint(bool proposed) const {
  return vault_call("GET", proposed ? "/checkpoint?proposed=1" : "/checkpoint");
}

base::HttpRequest RelayClient::propose_checkpoint(const base::Hash32& instead_of,
                                                  const wire::Checkpoint& checkpoint) const {
  base::Writer out;
  out.raw(instead_of);
  out.sized(wire::encode(checkpoint));
  return vault_call("POST", "/checkpoint", out.take());
}

base::HttpRequest RelayClient::verify_checkpoint(
    const base::Hash32& proposed, const std::array<std::uint8_t, 64>& signature) const {
  base::Writer out;
  out.raw(proposed);
  out.raw(signature);
  return vault_call("POST", "/checkpoint/verify", out.take());
}

base::HttpRequest RelayClient::missing_blobs(const std::vector<base::Hash32>& hashes) const {
  base::Writer out;
  out.varint(hashes.size());
  for (const base::Hash32& hash : hashes) out.raw(hash);
  return vault_call("POST", "/blobs/missing", out.take());
}

base::HttpRequest RelayClient::get_blob(const base::Hash32& hash) const {
  return vault_call("GET", "/blobs/" + base::to_hex(hash));
}

base::HttpRequest RelayClient::put_blob(const base::Hash32& hash, Bytes body) const {
  return vault_call("PUT", "/blobs/" + base::to_hex(hash), std::move(body));
}

base::HttpRequest RelayClient::get_stubs(std::uint64_t after) const {
  return vault_call("GET", "/stubs?after=" + std::to_string(after));
}

base::HttpRequest RelayClient::restore_stubs(const wire::StubRestore& restore) const {
  return vault_call("POST", "/stubs", wire::encode(restore));
}

base::HttpRequest RelayClient::get_mail(const base::Id16& slot) const {
  return call("GET", "/v1/mailbox/" + base::to_hex(slot));
}

base::HttpRequest RelayClient::put_mail(const base::Id16& slot, ByteView body,
                                        std::int64_t lifetime_ms) const {
  return call("PUT",
              "/v1/mailbox/" + base::to_hex(slot) + "?lifetime_ms=" + std::to_string(lifetime_ms),
              base::to_bytes(body));
}

base::HttpRequest RelayClient::find_vault(const base::Hash32& recovery_sign) const {
  return call("GET", "/v1/recovery/" + base::to_hex(recovery_sign));
}

void check_answer(const base::HttpResponse& response) {
  std::string reason = "(" + std::to_string(response.status) + ": " + quoted(response.body) + ")";
  switch (response.status) {
    case 200: return;
    case 0:
      throw Error(ErrorCode::unreachable,
                  "the relay cannot be reached now (" + quoted(base::view(response.error)) +
                      "): try again later; what you change meanwhile is kept");
    case 401:
    case 403: throw Error(ErrorCode::refused, "the relay refuses this device " + reason);
    case 410:
      throw Error(ErrorCode::refused,
                  "the relay says that the vault was erased from it: what this device has stays "
                  "here; choose another relay, or make a new vault from a backup");
    case 413:
    case 507: throw Error(ErrorCode::too_large, "the relay has no more room for it " + reason);
    case 404: throw Error(ErrorCode::not_found, "the relay does not have it " + reason);
    case 409: throw Error(ErrorCode::exists, "the relay has something else there " + reason);
    case 429:
    case 502:
    case 503:
    case 504: throw Error(ErrorCode::busy, "the relay is busy: try again later " + reason);
    default: throw Error(ErrorCode::protocol, "the relay answered what no relay would " + reason);
  }
}

bool worth_retrying(const Error& error) {
  return error.code() == ErrorCode::unreachable || error.code() == ErrorCode::busy;
}

}  // namespace holdfast::sync
