// The real network: libcurl handles, one for each request at a time, that keep their connections.

#include <curl/curl.h>

#include <algorithm>
#include <mutex>

#include "holdfast/error.h"
#include "src/base/environment.h"

namespace holdfast::base {
namespace {

constexpr std::size_t kMaxResponse = 16u << 20;
constexpr long kConnectTimeoutMs = 10'000;
constexpr long kWholeRequestMs = 30 * 60 * 1000;
constexpr long kStallSeconds =
    300;  // a slow link may long be busy with what lies in the system's buffer
constexpr long kStallBytes = 1;
// What is small is through any link's buffers soon: who does not answer it then will not.
constexpr std::size_t kSmallBody = 32 * 1024;
constexpr long kSmallStallSeconds = 60;

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& body = *static_cast<Bytes*>(user);
  std::size_t length = size * count;
  if (body.size() + length > kMaxResponse) return 0;  // makes curl fail the transfer
  try {
    body.insert(body.end(), data, data + length);
  } catch (const std::bad_alloc&) {
    return 0;
  }
  return length;
}

bool is_loopback(const std::string& url) {
  return url.starts_with("http://127.0.0.1") || url.starts_with("http://localhost") ||
         url.starts_with("http://[::1]");
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* request = static_cast<const HttpRequest*>(user);
  bool ends =
      (request->cancelled && *request->cancelled) || (request->stopped && *request->stopped);
  return ends ? 1 : 0;
}

class CurlNetwork : public Network {
 public:
  CurlNetwork() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  }
  ~CurlNetwork() override {
    for (CURL* handle : idle_) curl_easy_cleanup(handle);
  }
  CurlNetwork(const CurlNetwork&) = delete;
  CurlNetwork& operator=(const CurlNetwork&) = delete;

  HttpResponse perform(const HttpRequest& request) override {
    CURL* handle = take();
    HttpResponse response = perform(handle, request);
    std::lock_guard lock(mutex_);
    idle_.push_back(handle);
    return response;
  }

 private:
  CURL* take() {
    std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      CURL* handle = curl_easy_init();
      if (!handle) throw Error(ErrorCode::io, "libcurl cannot start");
      return handle;
    }
    CURL* handle = idle_.back();
    idle_.pop_back();
    return handle;
  }

  static HttpResponse perform(CURL* handle, const HttpRequest& request) {
    HttpResponse response;
    char error[CURL_ERROR_SIZE] = "";
    curl_easy_reset(handle);
    curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/octet-stream");
    headers = curl_slist_append(headers, "Expect:");
    if (!request.token.empty()) {
      headers = curl_slist_append(headers, ("Authorization: Bearer " + request.token).c_str());
    }
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kStallBytes);
    if (is_loopback(request.url)) curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, kWholeRequestMs);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, const_cast<HttpRequest*>(&request));
    bool small = request.method == "POST" && request.body.size() <= kSmallBody;
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, small ? kSmallStallSeconds : kStallSeconds);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &response.body);
    if (request.method != "GET") {
      curl_easy_setopt(handle, CURLOPT_POST, 1L);
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(
          handle, CURLOPT_POSTFIELDS,
          request.body.empty() ? "" : reinterpret_cast<const char*>(request.body.data()));
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    CURLcode code = curl_easy_perform(handle);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
      response.body.clear();
      response.error = error[0] ? error : curl_easy_strerror(code);
      response.was_cut = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
                         code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE;
      if (code == CURLE_PEER_FAILED_VERIFICATION) {
        response.error +=
            "; sign in to the network if it asks for that, else the certificate must be renewed "
            "or its issuer trusted here";
      }
      return response;
    }
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &retry_after);
    response.status = static_cast<int>(status);
    response.retry_after_ms = std::clamp<std::int64_t>(retry_after, 0, 3600) * 1000;
    return response;
  }

  std::mutex mutex_;
  std::vector<CURL*> idle_;  // each keeps its connection
};

}  // namespace

std::shared_ptr<Network> curl_network() { return std::make_shared<CurlNetwork>(); }

}  // namespace holdfast::base
