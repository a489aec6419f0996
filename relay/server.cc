#include "relay/server_impl.h"
// Stays first.
#include <spdlog/spdlog.h>

#include "holdfast/error.h"

namespace holdfast::relay {

namespace {

constexpr int kSendBuffer = 256 * 1024;  // what the system holds of an answer, of each connection

asio::ip::address plain_of(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

}  // namespace

// A household has 2^72 addresses of IPv6, and often 2^8 networks: they count as one.
std::string address_of(const asio::ip::address& address) {
  asio::ip::address plain = plain_of(address);
  if (plain.is_v4()) return plain.to_string();
  auto bytes = plain.to_v6().to_bytes();
  std::fill(bytes.begin() + 7, bytes.end(), std::uint8_t{0});
  return asio::ip::address_v6(bytes).to_string();
}

Server::Impl::Impl(const ServerOptions& chosen)
    : options(chosen), limits(chosen.limits), acceptor(context) {
  if (options.certificate.empty() != options.private_key.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "TLS needs both: --tls-certificate and --tls-key; without either it is plain HTTP");
  }
  if (!options.certificate.empty()) load_certificate();
  beast::error_code error;
  for (const std::string& text : options.proxies) {
    proxies.insert(plain_of(asio::ip::make_address(text, error)));
    if (error) throw Error(ErrorCode::invalid_argument, "'" + text + "' is not an IP address");
  }
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

void Server::Impl::load_certificate() {
  auto fresh = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(fresh->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(fresh->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  beast::error_code error;
  fresh->use_certificate_chain_file(options.certificate, error);
  std::string wrong = error ? options.certificate : options.private_key;
  if (!error) fresh->use_private_key_file(options.private_key, asio::ssl::context::pem, error);
  if (error) {
    throw Error(ErrorCode::invalid_argument, "TLS needs a certificate chain and its key, in PEM: " +
                                                 wrong + ": " + error.message());
  }
  tls = std::move(fresh);
}

asio::awaitable<void> Server::Impl::accept(Handler& handler) {
  for (;;) {
    beast::error_code error;
    tcp::socket socket =
        co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted || drains) co_return;
    if (error) {  // out of descriptors
      asio::steady_timer pause(context, std::chrono::milliseconds(10));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    auto remote = socket.remote_endpoint(error);
    if (error) continue;
    Peer peer{address_of(remote.address()), proxies.count(plain_of(remote.address())) > 0};
    bool is_full = peer.is_proxy ? stats.connections >= options.limits.connections
                                 : !limits.enter(peer.address);
    if (is_full) {
      ++stats.turned_away;
      continue;  // closes it
    }
    socket.set_option(tcp::no_delay(true), error);
    socket.set_option(asio::socket_base::send_buffer_size(kSendBuffer), error);
    ++stats.connections;
    auto done = [this, peer](std::exception_ptr) {
      if (!peer.is_proxy) limits.leave(peer.address);
      --stats.connections;
      if (drains && stats.connections == 0) context.stop();
    };
    if (tls) {
      asio::co_spawn(
          context,
          secure(beast::ssl_stream<beast::tcp_stream>(std::move(socket), *tls), tls, peer, handler),
          done);
    } else {
      asio::co_spawn(context, plain(beast::tcp_stream(std::move(socket)), peer, handler), done);
    }
  }
}

// Other processes change vaults, too.
asio::awaitable<void> Server::Impl::poll(Handler& handler) {
  for (;;) {
    beast::error_code error;
    asio::steady_timer timer(context, std::chrono::seconds(1));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    std::vector<Hash32> vaults;
    for (const auto& [vault, watch] : watches) {
      watch->is_asked = watch->is_waiting;
      if (watch->is_waiting && (vaults.empty() || vaults.back() != vault)) {
        vaults.push_back(vault);
      }
    }
    if (vaults.empty()) continue;
    std::optional<Changes> now = co_await changes(handler, std::move(vaults));
    if (!now) continue;
    for (auto& [vault, watch] : watches) {
      auto found = now->find(vault);  // not there: it was erased
      bool is_same = found != now->end() && found->second == watch->changes;
      if (watch->is_asked && !is_same) wake(*watch);
    }
  }
}

void Server::Impl::drain() {
  if (drains) return;
  drains = true;
  beast::error_code error;
  acceptor.close(error);
  for (auto& [vault, watch] : watches) watch->timer.cancel();
  for (Turn* turn : turns) turn->timer.cancel();
  for (Link* link : links) {
    if (link->is_idle) link->close();
  }
  if (stats.connections == 0) return context.stop();
  end.emplace(context, std::chrono::milliseconds(options.drain_ms));
  end->async_wait([this](beast::error_code failed) {
    if (!failed) context.stop();
  });
}

Server::Server(const ServerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Server::~Server() = default;

std::uint16_t Server::port() const { return impl_->acceptor.local_endpoint().port(); }

void Server::run(Handler& handler) {
  auto rethrow = [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);  // out of run()
  };
  asio::co_spawn(impl_->context, impl_->accept(handler), rethrow);
  if (handler.is_shared()) asio::co_spawn(impl_->context, impl_->poll(handler), rethrow);
  impl_->context.run();
}

void Server::stop() {
  asio::post(impl_->context, [this] { impl_->drain(); });
}

void Server::reload() {
  asio::post(impl_->context, [this] {
    try {
      if (impl_->tls) impl_->load_certificate();
      spdlog::info("the certificate was read again");
    } catch (const Error& error) {
      spdlog::error("{}: the old one stays", error.what());
    }
  });
}

void Server::on_served(std::function<void(const Served&)> observer) {
  impl_->on_served = std::move(observer);
}

const Server::Stats& Server::stats() const { return impl_->stats; }

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
