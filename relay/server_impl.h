#pragma once

// What the files of the server share. Include it first: see below.

// Boost 1.74's headers use <utility> and <coroutine> without including them: these two stay first.
// clang-format off
#include <utility>
#include <coroutine>
// clang-format on

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <list>

#include "relay/server.h"

namespace holdfast::relay {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

// IPv6 hands each customer a network of 64 bits.
std::string address_of(const asio::ip::address& address);

struct Server::Impl {
  // Waits for a vault to change.
  struct Watch {
    explicit Watch(asio::io_context& context) : timer(context) {}
    asio::steady_timer timer;
    std::uint64_t changes = 0;
    bool is_waiting = false;
    bool is_asked = false;  // whether its vault has changed
    bool is_woken = false;
  };
  // A connection: closed when the server stops and nothing is being asked on it.
  struct Link {
    Link(std::set<Link*>& all, std::function<void()> how) : links(all), close(std::move(how)) {
      links.insert(this);
    }
    ~Link() { links.erase(this); }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    std::set<Link*>& links;
    std::function<void()> close;
    bool is_idle = true;
  };

  // Waits for room for an answer.
  struct Turn {
    Turn(Impl& in, const std::string& from, std::size_t wanted)
        : server(in), timer(in.context), address(from), bytes(wanted) {
      place = server.turns.insert(server.turns.end(), this);
    }
    ~Turn() {
      server.turns.erase(place);
      server.give_turns();  // others may have waited behind it
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    Impl& server;
    asio::steady_timer timer;
    const std::string address;
    const std::size_t bytes;
    bool is_given = false;
    std::list<Turn*>::iterator place;
  };

  explicit Impl(const ServerOptions& chosen);

  void load_certificate();
  asio::awaitable<void> accept(Handler& handler);
  void drain();
  asio::awaitable<void> poll(Handler& handler);

  // connection.cc
  struct Peer {
    std::string address;  // see address_of()
    bool is_proxy = false;
  };
  asio::awaitable<void> plain(beast::tcp_stream stream, Peer peer, Handler& handler);
  // Holds the context that it was accepted with: another may have been loaded since.
  asio::awaitable<void> secure(beast::ssl_stream<beast::tcp_stream> stream,
                               std::shared_ptr<asio::ssl::context> context, Peer peer,
                               Handler& handler);
  template <typename Stream>
  asio::awaitable<void> serve(Stream& stream, beast::tcp_stream& tcp, Peer peer, Handler& handler);
  struct Asking;
  std::optional<Response> look_at(Asking& asking, bool chunked);
  Response turn_away();
  enum class Body { whole, without_room, ended };  // ended: with its connection
  template <typename Stream, typename Parser>
  asio::awaitable<Body> read_body(Stream& stream, beast::tcp_stream& tcp,
                                  beast::flat_buffer& buffer, Parser& parser, Asking& asking);
  asio::awaitable<Response> answer_to(Asking& asking, Handler& handler);
  asio::awaitable<bool> wait_for_room(Asking& asking, std::size_t bytes);
  asio::awaitable<Response> ask_with_room(Asking& asking, Handler& handler, Request request);
  template <typename Stream>
  asio::awaitable<bool> write(Stream& stream, beast::tcp_stream& tcp, Asking& asking,
                              Response response, bool goes_on);

  // The handler answers on a thread of its own.
  asio::awaitable<Response> ask(Handler& handler, Request request) {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(Response)>(
        [this, &handler](auto completion, Request asked) {
          auto kept = std::make_shared<decltype(completion)>(std::move(completion));
          handler.handle(std::move(asked), [this, kept](Response response) {
            asio::post(context, [kept, response = std::move(response)]() mutable {
              (*kept)(std::move(response));
            });
          });
        },
        asio::use_awaitable, std::move(request));
  }

  asio::awaitable<bool> ready(Handler& handler) {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(bool)>(
        [this, &handler](auto completion) {
          auto kept = std::make_shared<decltype(completion)>(std::move(completion));
          handler.ready([this, kept](bool is_ready) {
            asio::post(context, [kept, is_ready]() mutable { (*kept)(is_ready); });
          });
        },
        asio::use_awaitable);
  }

  using Changes = Handler::Changes;
  asio::awaitable<std::optional<Changes>> changes(Handler& handler, std::vector<Hash32> vaults) {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(std::optional<Changes>)>(
        [this, &handler](auto completion, std::vector<Hash32> asked) {
          auto kept = std::make_shared<decltype(completion)>(std::move(completion));
          handler.changes(std::move(asked), [this, kept](std::optional<Changes> now) {
            asio::post(context,
                       [kept, now = std::move(now)]() mutable { (*kept)(std::move(now)); });
          });
        },
        asio::use_awaitable, std::move(vaults));
  }

  void wake(const Hash32& vault) {
    auto [first, last] = watches.equal_range(vault);
    for (auto it = first; it != last; ++it) wake(*it->second);
  }
  void wake(Watch& watch) {
    watch.is_woken = true;
    watch.timer.cancel();
  }

  // Room has come free: for who has waited for it longest, of those for whom it is enough.
  void give_turns() {
    if (context.stopped()) return;
    for (Turn* turn : turns) {
      if (turn->is_given) continue;
      if (limits.bytes() + turn->bytes > options.limits.bytes) return;
      if (!limits.take(turn->address, turn->bytes)) continue;
      turn->is_given = true;
      turn->timer.cancel();
    }
  }

  const ServerOptions options;
  std::set<asio::ip::address> proxies;
  Stats stats;
  std::function<void(const Served&)> on_served;
  std::shared_ptr<asio::ssl::context> tls;
  Limits limits;
  std::set<Link*> links;  // connections end with the context
  std::list<Turn*> turns;
  asio::io_context context{1};
  std::multimap<Hash32, Watch*> watches;
  tcp::acceptor acceptor;
  std::optional<asio::steady_timer> end;
  bool drains = false;
};

}  // namespace holdfast::relay
