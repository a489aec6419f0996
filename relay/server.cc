// Boost 1.74's headers use <utility> and <coroutine> without including them: these two stay first.
// clang-format off
#include <utility>
#include <coroutine>
// clang-format on

#include "relay/server.h"

#include <spdlog/spdlog.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

#include "holdfast/error.h"

namespace holdfast::relay {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

constexpr auto kHeaderTime = std::chrono::seconds(60);
constexpr auto kBodyTime = std::chrono::seconds(300);  // 1 MiB at 30 kbit/s
constexpr std::size_t kMaxHeader = 8 * 1024;
constexpr std::size_t kMaxBody = wire::kMaxRequest + wire::kMaxBatch;

std::string token_of(const http::request<http::vector_body<std::uint8_t>>& request) {
  constexpr std::string_view scheme = "Bearer ";
  auto field = request[http::field::authorization];
  std::string_view value(field.data(), field.size());
  return value.starts_with(scheme) ? std::string(value.substr(scheme.size())) : std::string();
}

}  // namespace

struct Server::Impl {
  Impl(const ServerOptions& chosen) : options(chosen), acceptor(context) {
    beast::error_code error;
    auto address = asio::ip::make_address(options.address, error);
    if (error) throw Error(ErrorCode::invalid_argument, options.address + " is not an IP address");
    tcp::endpoint endpoint(address, options.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      throw Error(ErrorCode::io, "cannot listen on " + options.address + ":" +
                                     std::to_string(options.port) + ": " + error.message());
    }
  }

  asio::awaitable<void> accept(Handler& handler) {
    for (;;) {
      beast::error_code error;
      tcp::socket socket =
          co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted) co_return;
      if (error || connections >= options.max_connections) {
        // Out of descriptors or of room: closing this one is all there is to do.
        asio::steady_timer pause(context, std::chrono::milliseconds(10));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      ++connections;
      asio::co_spawn(context, serve(beast::tcp_stream(std::move(socket)), handler),
                     [this](std::exception_ptr) { --connections; });
    }
  }

  asio::awaitable<void> serve(beast::tcp_stream stream, Handler& handler) {
    beast::error_code error;
    beast::flat_buffer buffer;
    for (;;) {
      http::request_parser<http::vector_body<std::uint8_t>> parser;

      parser.header_limit(kMaxHeader);
      parser.body_limit(kMaxBody);  // until the header has told who asks
      stream.expires_after(kHeaderTime);
      co_await http::async_read_header(stream, buffer, parser,
                                       asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      std::size_t limit =
          handler.body_limit(std::string(parser.get().target()), token_of(parser.get()));
      if (parser.content_length() && *parser.content_length() > limit) break;
      parser.body_limit(limit);
      stream.expires_after(kBodyTime);
      co_await http::async_read(stream, buffer, parser,
                                asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      auto& request = parser.get();
      Request asked{std::string(request.method_string()), std::string(request.target()),
                    token_of(request), std::move(request.body())};
      Response response = handler.handle(asked);
      if (response.changed) wake(*response.changed);
      if (response.wait) {
        co_await wait(*response.wait);
        response = handler.handle(asked);
      }
      spdlog::debug("{} {} -> {}, {} bytes", std::string(request.method_string()),
                    request.target().size(), response.status, response.body.size());
      http::response<http::vector_body<std::uint8_t>> out;
      out.version(request.version());
      out.result(static_cast<unsigned>(response.status));
      out.set(http::field::content_type, response.content_type);
      out.set(http::field::cache_control, "no-store");
      out.keep_alive(request.keep_alive());
      if (response.status == 503) out.set(http::field::retry_after, "5");
      out.body() = std::move(response.body);
      out.prepare_payload();
      stream.expires_after(kBodyTime);
      co_await http::async_write(stream, out, asio::redirect_error(asio::use_awaitable, error));
      if (error || !out.keep_alive()) break;
    }
    stream.socket().shutdown(tcp::socket::shutdown_both, error);
  }

  // Until the vault changes, or so long.
  asio::awaitable<void> wait(Response::Wait until) {
    beast::error_code error;
    asio::steady_timer timer(context, std::chrono::milliseconds(until.ms));
    auto place = watchers.emplace(until.vault, &timer);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    watchers.erase(place);
  }
  void wake(const Hash32& vault) {
    auto [first, last] = watchers.equal_range(vault);
    for (auto it = first; it != last; ++it) it->second->cancel();
  }

  ServerOptions options;
  std::multimap<Hash32, asio::steady_timer*> watchers;
  asio::io_context context{1};
  tcp::acceptor acceptor;
  std::size_t connections = 0;
};

Server::Server(const ServerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Server::~Server() = default;

std::uint16_t Server::port() const { return impl_->acceptor.local_endpoint().port(); }

void Server::run(Handler& handler) {
  asio::co_spawn(impl_->context, impl_->accept(handler), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);  // out of run()
  });
  impl_->context.run();
}

void Server::stop() { impl_->context.stop(); }

ServerOptions parse_listen(const std::string& text) {
  std::size_t colon = text.rfind(':');
  ServerOptions out;
  try {
    if (colon == std::string::npos) throw std::invalid_argument(text);
    out.address = text.substr(0, colon);
    if (out.address.starts_with('[') && out.address.ends_with(']')) {
      out.address = out.address.substr(1, out.address.size() - 2);
    }
    std::size_t used = 0;
    unsigned long port = std::stoul(text.substr(colon + 1), &used);
    if (port > 65535 || used != text.size() - colon - 1) throw std::invalid_argument(text);
    out.port = static_cast<std::uint16_t>(port);
  } catch (const std::exception&) {
    throw Error(ErrorCode::invalid_argument,
                "--listen takes ADDRESS:PORT, like 127.0.0.1:8440, not '" + text + "'");
  }
  return out;
}

}  // namespace holdfast::relay
