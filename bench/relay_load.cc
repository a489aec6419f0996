// Load on a running relay, and whether it kept its word: every batch that it acknowledged is in its
// log once, at the place that it said, in its device's order.
//
//   relay_load push --port 8440 --vaults 64 --clients 32 --seconds 10
//   relay_load pull | watch | isolation | baseline-sqlite FILE | baseline-postgres DATABASE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>

#include "holdfast/error.h"
#include "relay/postgres/connection.h"
#include "relay/test_relay.h"

namespace {

using namespace holdfast;
using relay::Signer;
using Clock = std::chrono::steady_clock;

struct Options {
  std::uint16_t port = 8440;
  std::uint16_t other_port = 0;  // of another relay on the same database; 0: none
  int vaults = 64;
  int clients = 32;
  double seconds = 10;
  double rate = 0;  // requests a second, over all clients; 0: as many as there is room for
  int seed = 1;
  std::size_t size = 512;
  std::size_t batches = 1;  // in a push
  std::string where;
};

// When to stop: after --seconds, or at SIGTERM.
std::atomic<Clock::rep> ends_at{0};
Clock::time_point end_time() { return Clock::time_point(Clock::duration(ends_at)); }
void end_after(double seconds) {
  auto time = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  ends_at = (Clock::now() + time).time_since_epoch().count();
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One connection, kept alive. Nothing: the relay was not there, or hung up.
class Http {
 public:
  explicit Http(std::uint16_t port) : port_(port) {}
  ~Http() { close(); }
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  struct Answer {
    int status = 0;
    Bytes body;
  };
  std::optional<Answer> ask(const std::string& method, const std::string& target,
                            const std::string& token = "", ByteView body = {}) {
    if (fd_ < 0 && !connect()) return std::nullopt;
    std::string head = method + " " + target + " HTTP/1.1\r\nHost: relay\r\n";
    if (!token.empty()) head += "Authorization: Bearer " + token + "\r\n";
    head += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    head.append(reinterpret_cast<const char*>(body.data()), body.size());
    if (!send(head)) return lost();
    return receive();
  }
  bool send(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  std::optional<Answer> receive() {
    std::string in;
    char buffer[65536];
    std::size_t end = std::string::npos;
    while ((end = in.find("\r\n\r\n")) == std::string::npos) {
      ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) return lost();
      in.append(buffer, static_cast<std::size_t>(n));
    }
    Answer out;
    out.status = std::stoi(in.substr(9, 3));
    std::size_t length = 0;
    std::string head = in.substr(0, end);
    for (char& c : head) c = static_cast<char>(std::tolower(c));
    std::size_t at = head.find("content-length: ");
    if (at != std::string::npos) length = std::stoul(head.substr(at + 16));
    bool closes = head.find("connection: close") != std::string::npos;
    while (in.size() < end + 4 + length) {
      ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) return lost();
      in.append(buffer, static_cast<std::size_t>(n));
    }
    auto* data = reinterpret_cast<const std::uint8_t*>(in.data()) + end + 4;
    out.body.assign(data, data + length);
    if (closes) close();
    return out;
  }

  bool connect() {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval limit{70, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
    close();
    return false;
  }

 private:
  std::optional<Answer> lost() {
    close();
    return std::nullopt;
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  std::uint16_t port_;
  int fd_ = -1;
};

// A vault with one device, and what the relay has acknowledged of it.
struct Account {
  explicit Account(int number) : signer(number) {}
  struct Numbered : Signer {
    explicit Numbered(int number) : Signer(0) {
      Bytes seed(32);
      for (int i = 0; i < 4; ++i)
        seed[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number >> (8 * i));
      seed[31] = 77;
      crypto_sign_seed_keypair(pk.data(), sk.data(), seed.data());
    }
  };
  bool sign_in(Http& http, std::uint16_t port) {
    auto created = http.ask("POST", "/v1/vaults", "", signer.genesis());
    if (!created || created->status != 200) return false;
    auto nonce = http.ask("POST", "/v1/session/challenge");
    if (!nonce || nonce->status != 200) return false;
    wire::SessionRequest request;
    request.vault = signer.vault();
    request.signer = signer.pk;
    request.nonce = nonce->body;
    request.origin = "http://127.0.0.1:" + std::to_string(port);
    request.signature = signer.sign(wire::kSignSession, request.vault,
                                    wire::session_message(request.nonce, request.origin));
    auto answer = http.ask("POST", "/v1/session", "", wire::encode(request));
    if (!answer || answer->status != 200) return false;
    token = wire::decode_session_answer(answer->body).token;
    path = relay::path_of(request.vault, "");
    vault = request.vault;
    return true;
  }
  Bytes next_batch(std::size_t size) {
    wire::BatchHeader header;
    header.vault = vault;
    base::Writer id;
    id.u64(++made);
    id.u64(0);
    std::copy(id.bytes().begin(), id.bytes().end(), header.batch.begin());
    header.device = wire::device_id_of(signer.pk);
    header.previous = leaf;
    Bytes out = wire::encode(header);
    out.resize(size - wire::kSignatureSize, static_cast<std::uint8_t>(made));
    auto signature = signer.sign(wire::kSignBatch, vault, out);
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  }

  Numbered signer;
  std::string token, path;
  base::Hash32 vault{};
  base::Hash32 leaf{};
  std::uint64_t made = 0;
  std::vector<std::pair<std::uint64_t, base::Hash32>> acknowledged;  // position and leaf
};

struct Results {
  std::mutex mutex;
  std::vector<double> ms;
  std::atomic<std::uint64_t> done{0}, retried{0}, duplicates{0};
  std::map<int, int> refused;

  void print(const char* what, double seconds) {
    std::sort(ms.begin(), ms.end());
    auto at = [&](double part) {
      return ms.empty() ? 0.0
                        : ms[static_cast<std::size_t>(part * static_cast<double>(ms.size() - 1))];
    };
    std::printf("%s %.0f/s p50 %.3f ms p99 %.2f ms max %.1f ms n %zu retried %lu duplicates %lu",
                what, static_cast<double>(done) / seconds, at(0.5), at(0.99), at(1), ms.size(),
                retried.load(), duplicates.load());
    for (auto& [status, count] : refused) std::printf(" status%d %d", status, count);
    std::printf("\n");
  }
};

// Pushes some batches until the relay says that it has them.
bool push_one(Http& http, Account& account, const Options& options, Results& results) {
  std::vector<Bytes> batches;
  std::vector<base::Hash32> leaves;
  base::Hash32 before = account.leaf;
  while (batches.size() < options.batches) {
    batches.push_back(account.next_batch(options.size));
    leaves.push_back(wire::leaf_of(batches.back()));
    account.leaf = leaves.back();  // which the next one names
  }
  account.leaf = before;
  Bytes body = wire::encode_list(batches);
  for (;;) {
    auto answer = http.ask("POST", account.path + "batches", account.token, body);
    if (answer && answer->status == 200) {
      auto items = wire::decode_push_answer(answer->body).items;
      for (std::size_t i = 0; i < leaves.size(); ++i) {
        auto said = items.at(i);
        bool is_stored =
            said.status == wire::PushStatus::ok || said.status == wire::PushStatus::duplicate;
        if (!is_stored) {
          std::fprintf(stderr, "a push was refused: %d\n", static_cast<int>(said.status));
          std::exit(1);
        }
        results.duplicates += said.status == wire::PushStatus::duplicate;
        account.acknowledged.emplace_back(said.position, leaves[i]);
      }
      account.leaf = leaves.back();
      return true;
    }
    if (answer && answer->status == 401) account.sign_in(http, options.port);
    if (answer) {
      std::lock_guard lock(results.mutex);
      ++results.refused[answer->status];
    }
    ++results.retried;
    if (Clock::now() > end_time() + std::chrono::seconds(60)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// What the log holds against what was acknowledged. Returns how much is wrong.
std::uint64_t check(Http& http, Account& account, const Options& options) {
  auto wrong_for = [&](const char* why, std::size_t at) {
    std::fprintf(stderr, "wrong: %s at %zu in %s\n", why, at, account.path.c_str());
    return std::uint64_t{1};
  };
  std::vector<base::Hash32> leaves;
  base::Hash32 chain{};
  for (int tries = 0;;) {
    auto answer = http.ask(
        "GET", account.path + "log?after=" + std::to_string(leaves.size()) + "&bytes=4000000",
        account.token);
    if (!answer || answer->status != 200) {
      if (++tries == 100) return wrong_for("no answer", leaves.size());
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      account.sign_in(http, options.port);
      continue;
    }
    wire::LogPage page = wire::decode_log_page(answer->body);
    if (leaves.empty()) chain = wire::chain_start(page.log_id);
    for (const Bytes& batch : page.batches) {
      leaves.push_back(wire::leaf_of(batch));
      chain = wire::chain_next(chain, leaves.size(), leaves.back());
    }
    if (chain != page.end_chain) return wrong_for("the chain", leaves.size());
    if (leaves.size() >= page.head) break;
    if (page.batches.empty()) return wrong_for("nothing", leaves.size());
  }
  std::uint64_t wrong = 0;
  std::set<base::Hash32> all(leaves.begin(), leaves.end());
  if (all.size() != leaves.size()) wrong += wrong_for("one that is there twice", 0);
  for (std::size_t i = 0; i < account.acknowledged.size(); ++i) {
    auto [position, leaf] = account.acknowledged[i];
    bool is_there = position >= 1 && position <= leaves.size() && leaves[position - 1] == leaf;
    bool is_in_order = i == 0 || account.acknowledged[i - 1].first < position;
    if (!is_there || !is_in_order) wrong += wrong_for("another batch than acknowledged", position);
  }
  // Nothing beside what was acknowledged but the push that was on its way when time was up.
  if (leaves.size() > account.acknowledged.size() + options.batches) {
    wrong += wrong_for("more than was sent", leaves.size());
  }
  return wrong;
}

// Each client asks one thing after another, or at its part of the rate; one that fails ends.
double run_clients(const Options& options, Results& results,
                   const std::function<bool(Http&, std::size_t client, std::size_t n)>& ask) {
  auto start = Clock::now();
  end_after(options.seconds);
  std::vector<std::thread> threads;
  for (int c = 0; c < options.clients; ++c) {
    threads.emplace_back([&, c] {
      Http http(options.port);
      std::vector<double> ms;
      double each = options.rate > 0 ? options.clients / options.rate : 0;
      for (std::size_t n = 0; Clock::now() < end_time(); ++n) {
        if (each > 0) {
          double due = each * (static_cast<double>(c) / options.clients + static_cast<double>(n));
          std::this_thread::sleep_until(start + std::chrono::duration<double>(due));
        }
        auto asked = Clock::now();
        if (!ask(http, static_cast<std::size_t>(c), n)) break;
        ms.push_back(seconds_since(asked) * 1000);
        ++results.done;
      }
      std::lock_guard lock(results.mutex);
      results.ms.insert(results.ms.end(), ms.begin(), ms.end());
    });
  }
  for (auto& thread : threads) thread.join();
  return seconds_since(start);
}

int push(const Options& options) {
  std::vector<Account> accounts;
  for (int i = 0; i < options.vaults; ++i) accounts.emplace_back(options.seed * 100'000 + i);
  {
    Http http(options.port);
    for (Account& account : accounts) {
      if (account.sign_in(http, options.port)) continue;
      std::fprintf(stderr, "cannot sign in\n");
      return 1;
    }
  }
  std::printf("signed in\n");  // from here on the relay may fail
  std::fflush(stdout);
  Results results;
  // Each vault is one client's.
  auto clients = static_cast<std::size_t>(options.clients);
  std::size_t each = std::max<std::size_t>(1, accounts.size() / clients);
  double seconds = run_clients(options, results, [&](Http& http, std::size_t c, std::size_t n) {
    std::size_t mine = c + (n % each) * clients;
    return mine < accounts.size() && push_one(http, accounts[mine], options, results);
  });
  results.print("push", seconds);
  if (options.batches > 1) {
    std::printf("batches %.0f/s\n", static_cast<double>(results.done * options.batches) / seconds);
  }
  std::uint64_t wrong = 0;
  std::uint64_t acknowledged = 0;
  Http http(options.port);
  for (Account& account : accounts) {
    wrong += check(http, account, options);
    acknowledged += account.acknowledged.size();
  }
  std::printf("checked: %lu acknowledged, %lu wrong\n", acknowledged, wrong);
  return wrong == 0 ? 0 : 1;
}

int pull(const Options& options) {
  std::vector<Account> accounts;
  Results none;
  {
    Http http(options.port);
    for (int i = 0; i < options.vaults; ++i) {
      accounts.emplace_back(options.seed * 100'000 + 50'000 + i);
      if (!accounts.back().sign_in(http, options.port)) return 1;
      for (int n = 0; n < 4; ++n) {
        push_one(http, accounts.back(), options, none);
      }
    }
  }
  Results results;
  double seconds = run_clients(options, results, [&](Http& http, std::size_t c, std::size_t n) {
    Account& account = accounts[(c + n) % accounts.size()];
    auto answer = http.ask("GET", account.path + "log?after=3&bytes=65536", account.token);
    return answer && answer->status == 200;
  });
  results.print("pull", seconds);
  return 0;
}

// How long a vault's token waits for its refusal at another's: one that is there, with a log, and
// one that nobody has, by turns.
int isolation(const Options& options) {
  Account mine(options.seed * 100'000 + 60'000), other(options.seed * 100'000 + 60'001);
  Http http(options.port);
  if (!mine.sign_in(http, options.port) || !other.sign_in(http, options.port)) return 1;
  Results none, there, nobodys;
  for (int i = 0; i < 200; ++i) push_one(http, other, options, none);
  std::string missing = relay::path_of(base::Hash32{9}, "");
  end_after(options.seconds);
  for (bool turn = false; Clock::now() < end_time(); turn = !turn) {
    const std::string& path = turn ? other.path : missing;
    auto asked = Clock::now();
    auto answer = http.ask("GET", path + "log?after=0&bytes=65536", mine.token);
    if (answer && answer->status == 401) {
      (turn ? there : nobodys).ms.push_back(seconds_since(asked) * 1000);
      (turn ? there : nobodys).done++;
    } else if (!answer || answer->status != 429) {
      return 1;
    }
  }
  there.print("another's", options.seconds);
  nobodys.print("nobody's ", options.seconds);
  return 0;
}

// Idle connections that wait for news, for as long as it takes to look at the relay's memory.
int watch(const Options& options) {
  Account account(options.seed * 100'000 + 99'999);
  Http first(options.port);
  if (!account.sign_in(first, options.port)) return 1;
  std::vector<std::unique_ptr<Http>> all;
  for (int i = 0; i < options.clients; ++i) {
    all.push_back(std::make_unique<Http>(options.port));
    if (!all.back()->connect()) break;
    all.back()->send("GET " + account.path + "log?after=0&bytes=65536&wait=55000 HTTP/1.1\r\n" +
                     "Host: relay\r\nAuthorization: Bearer " + account.token + "\r\n\r\n");
  }
  std::printf("watching %zu\n", all.size());
  std::fflush(stdout);
  std::this_thread::sleep_for(std::chrono::milliseconds(static_cast<int>(options.seconds * 1000)));
  Results results;
  auto start = Clock::now();
  Http other(options.other_port == 0 ? options.port : options.other_port);
  push_one(other, account, options, results);
  std::size_t told = 0;
  for (auto& one : all) {
    auto answer = one->receive();
    told +=
        answer && answer->status == 200 && wire::decode_log_page(answer->body).batches.size() == 1;
  }
  std::printf("told %zu of %zu in %.0f ms\n", told, all.size(), seconds_since(start) * 1000);
  return told == all.size() ? 0 : 1;
}

// The same bytes in plain inserts, as durable.
template <typename Run>
void baseline(const char* name, const Options& options, Run run) {
  for (int group : {1, 16, 128}) {
    std::uint64_t rows = 0;
    auto start = Clock::now();
    while (seconds_since(start) < options.seconds / 3) {
      run(group);
      rows += static_cast<std::uint64_t>(group);
    }
    std::printf("%s by %d: %.0f/s\n", name, group,
                static_cast<double>(rows) / seconds_since(start));
  }
}

int baseline_sqlite(const Options& options) {
  base::Connection db(options.where, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr, nullptr);
  db.execute("PRAGMA journal_mode = WAL");
  db.execute("PRAGMA synchronous = FULL");
  db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)");
  Bytes body(options.size, 7);
  baseline("sqlite", options, [&](int group) {
    db.execute("BEGIN IMMEDIATE");
    for (int i = 0; i < group; ++i) {
      db.prepare("INSERT INTO t(body) VALUES(?)").bind(body).run();
    }
    db.execute("COMMIT");
  });
  return 0;
}

int baseline_postgres(const Options& options) {
  relay::PgConnection db(options.where);
  db.execute("CREATE TABLE IF NOT EXISTS plain_baseline(id bigserial PRIMARY KEY, body bytea)");
  Bytes body(options.size, 7);
  baseline("postgres", options, [&](int group) {
    db.begin(false);
    for (int i = 0; i < group; ++i) {
      db.query("INSERT INTO plain_baseline(body) VALUES($1) RETURNING id", {ByteView(body)});
    }
    db.commit();
  });
  db.execute("DROP TABLE plain_baseline");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::string what;
  CLI::App app{"Load on a relay, and whether it kept its word."};
  app.add_option("what", what, "push, pull, watch, isolation, baseline-sqlite, baseline-postgres")
      ->required();
  app.add_option("where", options.where);
  app.add_option("--port", options.port);
  app.add_option("--other-port", options.other_port, "of another relay, by which 'watch' writes");
  app.add_option("--batches", options.batches, "in one push")->check(CLI::Range(1, 100));
  app.add_option("--vaults", options.vaults);
  app.add_option("--clients", options.clients);
  app.add_option("--seconds", options.seconds);
  app.add_option("--rate", options.rate);
  app.add_option("--seed", options.seed)->check(CLI::Range(0, 20'000));
  app.add_option("--size", options.size);
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { end_after(0); });
  end_after(options.seconds);
  if (what == "push") return push(options);
  if (what == "pull") return pull(options);
  if (what == "watch") return watch(options);
  if (what == "isolation") return isolation(options);
  if (what == "baseline-sqlite") return baseline_sqlite(options);
  if (what == "baseline-postgres") return baseline_postgres(options);
  return 2;
}
