#include "relay/server_impl.h"
// Stays first.
#include <boost/beast/http.hpp>

#include "relay/answers.h"

namespace holdfast::relay {
namespace {

namespace http = beast::http;
using Clock = std::chrono::steady_clock;

// As http::vector_body, without room made for what is only claimed.
struct GrowingBody {
  using value_type = Bytes;
  struct reader {
    template <bool kIsRequest, typename Fields>
    reader(http::header<kIsRequest, Fields>&, value_type& out) : body(out) {}
    void init(const boost::optional<std::uint64_t>&, beast::error_code& error) { error = {}; }
    template <typename Buffers>
    std::size_t put(const Buffers& buffers, beast::error_code& error) {
      error = {};
      std::size_t had = body.size();
      body.resize(had + beast::buffer_bytes(buffers));
      return asio::buffer_copy(asio::buffer(body.data() + had, body.size() - had), buffers);
    }
    void finish(beast::error_code& error) { error = {}; }
    value_type& body;
  };
};
using HttpRequest = http::request<GrowingBody>;

constexpr auto kHandshakeTime = std::chrono::seconds(10);
constexpr auto kHeaderTime = std::chrono::seconds(60);
constexpr std::size_t kBytesPerSecond = 16 * 1024;
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr std::size_t kMaxHeader = 8 * 1024;
constexpr std::size_t kMaxBuffer = 16 * 1024;  // of a connection, for what it has sent so far
constexpr std::size_t kFirstRead = 2 * 1024;   // most requests come whole with it
constexpr std::size_t kSmallBody = 4 * 1024;   // is not counted
constexpr std::ptrdiff_t kMostTurnsOfOne = 100;
constexpr std::size_t kMostTurns = 1000;  // who waits for room at once
constexpr std::size_t kMaxBody = wire::kMaxRequest + wire::kMaxBatch;

std::string token_of(const HttpRequest& request) {
  constexpr std::string_view scheme = "Bearer ";
  auto field = request[http::field::authorization];
  std::string_view value(field.data(), field.size());
  return value.starts_with(scheme) ? std::string(value.substr(scheme.size())) : std::string();
}

// When it is cut off, of which so many bytes have moved since then.
Clock::time_point end_of(Clock::time_point since, std::size_t moved, std::int64_t slow_ms,
                         std::int64_t stall_ms) {
  Clock::time_point too_slow =
      since + std::chrono::milliseconds(slow_ms) + std::chrono::seconds(moved / kBytesPerSecond);
  return std::min<Clock::time_point>(too_slow, Clock::now() + std::chrono::milliseconds(stall_ms));
}

std::int64_t ms_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
      .count();
}

}  // namespace

// A request, from its header to its answer. Gives back the room that it took.
struct Server::Impl::Asking {
  Asking(Impl& in, const HttpRequest& header, const Peer& peer, Handler& to)
      : server(in), handler(to), address(peer.address), since(Clock::now()) {
    request.method = std::string(header.method_string());
    request.target = std::string(header.target());
    request.token = token_of(header);
    method = request.method;
    route = route_of(method, request.target);
    vault = vault_of(method, request.target);
    version = header.version();
    if (!peer.is_proxy) return;
    // What the proxy itself added is the last of the last line: the rest is the client's word.
    std::string value;
    auto [line, last_line] = header.equal_range("X-Forwarded-For");
    for (; line != last_line; ++line) value = std::string(line->value());
    value.erase(0, value.find_last_of(", ") + 1);
    beast::error_code error;
    auto parsed = asio::ip::make_address(value, error);
    if (!error) address = address_of(parsed);
  }
  ~Asking() { give_back(taken); }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  static std::size_t counted(std::size_t bytes) { return bytes <= kSmallBody ? 0 : bytes; }
  bool take(std::size_t bytes) {
    if (bytes == 0) return true;
    if (!server.limits.take(address, bytes)) return false;
    add(bytes);
    return true;
  }
  void add(std::size_t bytes) {
    taken += bytes;
    server.stats.body_bytes += bytes;
  }
  void give_back(std::size_t bytes) {
    if (bytes == 0) return;
    server.limits.give_back(address, bytes);
    taken -= bytes;
    server.stats.body_bytes -= bytes;
    server.give_turns();
  }
  // Of what is held, so much is for the answer.
  void keep_for_answer(std::size_t held, std::size_t size) {
    for_answer = std::min(held, counted(size));
    give_back(held - for_answer);
  }
  Impl& server;
  Handler& handler;
  std::string address;
  Clock::time_point since;
  Clock::duration waited{0};
  Request request;  // gone once it is asked; what is told of it afterwards:
  std::string method;
  std::string_view route;
  std::string vault;
  unsigned version = 11;
  std::uint64_t length = 0;
  std::size_t taken = 0;
  std::size_t for_answer = 0;  // of it
  bool is_stranger = true;
};

// What is wrong with a request by its header alone.
std::optional<Response> Server::Impl::look_at(Asking& asking, bool chunked) {
  const Request& request = asking.request;
  if (chunked) return say(411, "a body needs a Content-Length");
  Caller caller = asking.handler.caller(request.target, request.token);
  asking.is_stranger = caller.is_stranger;
  if (asking.length > caller.body_limit) return say(413, "the body is too large");
  if (caller.is_stranger && !limits.may_ask(asking.address, ms_now())) {
    ++stats.turned_away;
    return later(429, "too many requests from this address", 1);
  }
  bool creates = request.method == "POST" && request.path() == "/v1/vaults";
  if (creates && !limits.may_create(asking.address, ms_now())) {
    ++stats.turned_away;
    return later(429, "too many new vaults from this address", 600);
  }
  // Else two addresses could fill the mailbox that all pair by.
  bool mails = request.method == "PUT" && asking.route == "/v1/mailbox/*";
  if (mails && !limits.may_mail(asking.address, ms_now())) {
    ++stats.turned_away;
    return later(429, "too much mail from this address", 60);
  }
  if (limits.has_room(asking.address, Asking::counted(asking.length))) return std::nullopt;
  return turn_away();
}

Response Server::Impl::turn_away() {
  ++stats.turned_away;
  return later(503, "the relay is busy: try again later", 2);
}

// Takes room as the body comes: a length that is only claimed takes none.
template <typename Stream, typename Parser>
asio::awaitable<Server::Impl::Body> Server::Impl::read_body(Stream& stream, beast::tcp_stream& tcp,
                                                            beast::flat_buffer& buffer,
                                                            Parser& parser, Asking& asking) {
  auto since = Clock::now();
  std::size_t had = 0;
  while (!parser.is_done()) {
    tcp.expires_at(end_of(since, had, options.slow_ms, options.stall_ms));
    beast::error_code error;
    co_await http::async_read_some(stream, buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return Body::ended;
    std::size_t has = asking.length - parser.content_length_remaining().value_or(0);
    if (Asking::counted(asking.length) > 0 && !asking.take(has - had)) co_return Body::without_room;
    had = has;
  }
  co_return Body::whole;
}

asio::awaitable<Response> Server::Impl::answer_to(Asking& asking, Handler& handler) {
  if (asking.request.method == "GET" && asking.request.target == "/healthz") {
    co_return say(200, "ok\n");  // whatever the storage does
  }
  if (asking.request.method == "GET" && asking.request.target == "/readyz") {
    bool is_ready = !drains && co_await ready(handler);
    co_return is_ready ? say(200, "ready\n") : say(503, "not ready\n");
  }
  std::optional<Hash32> watched = handler.watches(asking.request);
  std::optional<Request> again;
  if (watched) again = asking.request;
  std::shared_ptr<Watch> watch;
  if (watched) {  // before it is asked, so that no change falls between
    watch = std::make_shared<Watch>(context);
    watches.emplace(*watched, watch.get());
  }
  Response response = co_await ask_with_room(asking, handler, std::move(asking.request));
  if (response.changed) wake(*response.changed);
  if (!watch) co_return response;
  if (response.wait && !watch->is_woken && !drains) {
    watch->changes = response.wait->changes;
    watch->is_waiting = true;
    auto before = Clock::now();
    beast::error_code error;
    watch->timer.expires_after(std::chrono::milliseconds(response.wait->ms));
    response.body.shrink_to_fit();
    ++stats.watchers;
    co_await watch->timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    --stats.watchers;
    asking.waited = Clock::now() - before;
  }
  auto [first, last] = watches.equal_range(*watched);
  for (auto it = first; it != last; ++it) {
    if (it->second != watch.get()) continue;
    watches.erase(it);
    break;
  }
  if (response.wait && watch->is_woken) {
    response = co_await ask_with_room(asking, handler, std::move(*again));
  }
  co_return response;
}

// Room is short for moments only where many share an address: better late than told to come again.
asio::awaitable<bool> Server::Impl::wait_for_room(Asking& asking, std::size_t bytes) {
  if (bytes == 0) co_return true;
  auto before = std::count_if(turns.begin(), turns.end(),
                              [&](Turn* turn) { return turn->address == asking.address; });
  if (turns.empty() && asking.take(bytes)) co_return true;
  if (turns.size() >= kMostTurns || before >= kMostTurnsOfOne || drains) co_return false;
  Turn turn(*this, asking.address, bytes);
  give_turns();  // those before it may wait for what this one does not need
  if (!turn.is_given) {
    turn.timer.expires_after(std::chrono::milliseconds(options.room_wait_ms));
    beast::error_code error;
    co_await turn.timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
  if (turn.is_given) asking.add(bytes);
  co_return turn.is_given;
}

asio::awaitable<Response> Server::Impl::ask_with_room(Asking& asking, Handler& handler,
                                                      Request request) {
  // Who is unknown gets no large answer, and no room by asking for one.
  std::size_t room = asking.is_stranger ? 0 : Asking::counted(handler.answer_room(request));
  asking.keep_for_answer(asking.for_answer, 0);  // an earlier one's
  if (!co_await wait_for_room(asking, room)) co_return turn_away();
  Response response = co_await ask(handler, std::move(request));
  asking.keep_for_answer(room, response.body.size());
  co_return response;
}

// False where the connection is to end.
template <typename Stream>
asio::awaitable<bool> Server::Impl::write(Stream& stream, beast::tcp_stream& tcp, Asking& asking,
                                          Response response, bool goes_on) {
  if (!asking.take(Asking::counted(response.body.size()) - asking.for_answer)) {
    response = turn_away();
  }
  goes_on = goes_on && !drains;
  http::response<http::vector_body<std::uint8_t>> out;
  out.version(asking.version);
  out.result(static_cast<unsigned>(response.status));
  out.set(http::field::content_type, response.content_type);
  out.set(http::field::cache_control, "no-store");
  out.keep_alive(goes_on);
  if (response.retry_after_s > 0) {
    out.set(http::field::retry_after, std::to_string(response.retry_after_s));
  }
  std::size_t size = response.body.size();
  out.body() = std::move(response.body);
  out.prepare_payload();
  if (on_served) {
    auto took = Clock::now() - asking.since - asking.waited;
    auto us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    on_served({asking.method, asking.route, asking.vault, asking.address, response.status, us,
               asking.length, size});
  }
  beast::error_code error;
  auto since = Clock::now();
  std::size_t sent = 0;
  http::response_serializer<http::vector_body<std::uint8_t>> rest(out);
  while (!error && !rest.is_done()) {
    tcp.expires_at(end_of(since, sent, options.slow_ms, options.write_stall_ms));
    sent += co_await http::async_write_some(stream, rest,
                                            asio::redirect_error(asio::use_awaitable, error));
  }
  co_return !error && goes_on;
}

template <typename Stream>
asio::awaitable<void> Server::Impl::serve(Stream& stream, beast::tcp_stream& tcp, Peer peer,
                                          Handler& handler) {
  beast::error_code error;
  beast::flat_buffer buffer(kMaxBuffer);
  Link link(links, [&tcp] { tcp.cancel(); });
  for (bool goes_on = true; goes_on && !drains;) {
    std::optional<http::request_parser<GrowingBody>> parser(std::in_place);
    parser->header_limit(kMaxHeader);
    parser->body_limit(kMaxBody);  // until the header has told who asks
    tcp.expires_after(kHeaderTime);
    buffer.reserve(kFirstRead);
    link.is_idle = true;
    co_await http::async_read_header(stream, buffer, *parser,
                                     asio::redirect_error(asio::use_awaitable, error));
    link.is_idle = false;
    if (error) break;
    Asking asking(*this, parser->get(), peer, handler);
    asking.length = parser->content_length().value_or(0);
    std::optional<Response> refused = look_at(asking, parser->chunked());
    if (refused) {
      co_await write(stream, tcp, asking, std::move(*refused), false);
      break;
    }
    parser->body_limit(asking.length);
    Body body = co_await read_body(stream, tcp, buffer, *parser, asking);
    if (body == Body::ended) break;
    if (body == Body::without_room) {
      co_await write(stream, tcp, asking, turn_away(), false);
      break;
    }
    asking.request.body = std::move(parser->get().body());
    goes_on = parser->get().keep_alive();
    parser.reset();
    buffer.shrink_to_fit();
    tcp.expires_never();
    Response response = co_await answer_to(asking, handler);
    goes_on = co_await write(stream, tcp, asking, std::move(response), goes_on);
  }
}

asio::awaitable<void> Server::Impl::plain(beast::tcp_stream stream, Peer peer, Handler& handler) {
  co_await serve(stream, stream, std::move(peer), handler);
  beast::error_code error;
  stream.socket().shutdown(tcp::socket::shutdown_both, error);
}

asio::awaitable<void> Server::Impl::secure(beast::ssl_stream<beast::tcp_stream> stream,
                                           std::shared_ptr<asio::ssl::context>, Peer peer,
                                           Handler& handler) {
  beast::error_code error;
  auto& tcp = beast::get_lowest_layer(stream);
  tcp.expires_after(kHandshakeTime);
  co_await stream.async_handshake(asio::ssl::stream_base::server,
                                  asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return;
  co_await serve(stream, tcp, std::move(peer), handler);
  tcp.expires_after(kLingerTime);
  co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
}

}  // namespace holdfast::relay
