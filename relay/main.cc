// holdfast-relay: the server that stores what it cannot read.

#include <arpa/inet.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "holdfast/error.h"
#include "relay/metrics.h"
#include "relay/opening.h"
#include "relay/operator.h"
#include "relay/postgres/schema.h"
#include "relay/request_log.h"
#include "relay/serving.h"

namespace {

using namespace holdfast;

struct Options {
  relay::Place place;
  std::string listen = "127.0.0.1:8440";
  std::string metrics;
  std::vector<std::string> proxies;
  std::string certificate;
  std::string private_key;
  bool quiet = false;
  bool restored = false;
  bool logs_json = false;
  bool logs_requests = false;
  std::int64_t retention_days = 90;
  std::int64_t drain_s = 20;
  std::uint64_t vault_megabytes = 4096;
  std::size_t shards = 2;
  std::size_t connections = 4;
  std::string admission = "open";
  relay::ServiceOptions service;
  relay::LimitOptions limits;
};

constexpr int kTriesToStart = 60;  // a second apart

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

// The message as a JSON string.
class JsonText : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& line, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string text(line.payload.data(), line.payload.size());
    std::string quoted =
        nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonText>();
  }
};

void start_log(const Options& options) {
  auto logger = spdlog::stderr_color_mt("relay");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonText>('*').set_pattern(
      options.logs_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","event":%*})"
                        : "%Y-%m-%dT%H:%M:%S %l %v");
  logger->set_formatter(std::move(formatter));
  logger->set_level(options.quiet ? spdlog::level::warn : spdlog::level::info);
  spdlog::set_default_logger(logger);
}

std::vector<std::string> origins_of(const Options& options, const relay::ServerOptions& listen,
                                    std::uint16_t port) {
  std::vector<std::string> origins = options.service.origins;
  for (std::string& origin : origins) {
    while (origin.ends_with('/')) origin.pop_back();
    std::size_t host = origin.find("://");
    bool is_url = (origin.starts_with("https://") || origin.starts_with("http://")) &&
                  origin.size() > host + 3 && origin.find('/', host + 3) == std::string::npos;
    if (is_url) continue;
    throw Error(ErrorCode::invalid_argument,
                "--origin takes the URL that devices use, like https://relay.example, without a "
                "path, not '" +
                    origin + "'");
  }
  std::string scheme = options.certificate.empty() ? "http://" : "https://";
  if (is_loopback(listen.address)) {
    for (const char* host : {"127.0.0.1", "localhost", "[::1]"}) {
      origins.push_back(scheme + host + ":" + std::to_string(port));
    }
  } else if (origins.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "beyond loopback, name the URL that devices use with --origin "
                "https://relay.example; devices only speak HTTPS there: give --tls-certificate and "
                "--tls-key, or put this relay behind a TLS proxy");
  }
  return origins;
}

// A database may be away while another takes over: who starts just then waits. Nothing: told to
// end.
std::optional<relay::Opened> open_storages(const Options& options) {
  for (int tries = 1;; ++tries) {
    try {
      return relay::open_storages(options.place, options.shards, options.connections, true);
    } catch (const Error& error) {
      bool may_come_back = options.place.is_postgres() && error.code() == ErrorCode::io;
      if (!may_come_back || tries == kTriesToStart) throw;
      if (tries == 1) spdlog::warn("{}: trying for a minute", error.what());
    }
    if (relay::is_ended_within(1)) return std::nullopt;
  }
}

int run(Options& options) {
  relay::take_signals();
  start_log(options);
  if (options.place.data.empty() == options.place.postgres.empty()) {
    throw Error(ErrorCode::invalid_argument, "give --data FOLDER or --postgres DATABASE");
  }
  relay::ServerOptions listen = relay::parse_listen(options.listen);
  listen.certificate = options.certificate;
  listen.private_key = options.private_key;
  listen.proxies.insert(options.proxies.begin(), options.proxies.end());
  listen.limits = options.limits;
  listen.drain_ms = options.drain_s * 1000;
  base::Environment environment = base::system_environment();
  std::optional<relay::Opened> opened = open_storages(options);
  if (!opened) return 0;
  relay::Server server(listen);
  relay::Workers::Options working;
  working.service = options.service;
  working.service.origins = origins_of(options, listen, server.port());
  working.service.retention_ms = options.retention_days * 24 * 3'600'000;
  working.service.vault_bytes = options.vault_megabytes << 20;
  using Admission = relay::ServiceOptions::Admission;
  working.service.admission = options.admission == "invite" ? Admission::invite
                              : options.admission == "work" ? Admission::work
                                                            : Admission::open;
  working.shared = options.place.is_postgres();
  if (options.restored) {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < (working.shared ? 1 : opened->storages.size()); ++i) {
      relay::Service service(*opened->storages[i], *environment.clock, *environment.random, {});
      count += service.begin_all_anew();
    }
    spdlog::info("{} logs have begun anew: devices bring back what this backup lacks", count);
  }
  relay::Workers workers(std::move(opened->storages), *environment.clock, *environment.random,
                         working);
  relay::Metrics metrics;
  metrics.watch(server, workers);
  std::optional<relay::RequestLog> requests;
  if (options.logs_requests) {
    requests.emplace(*environment.clock, *environment.random, options.logs_json,
                     std::make_shared<spdlog::sinks::stderr_sink_mt>());
  }
  server.on_served([&](const relay::Server::Served& request) {
    metrics.served(request);
    if (requests) requests->served(request);
  });
  std::optional<relay::Server> metrics_server;
  std::thread metrics_thread;
  if (!options.metrics.empty()) {
    metrics_server.emplace(relay::parse_listen(options.metrics));
    metrics_thread = std::thread([&] { metrics_server->run(metrics); });
    spdlog::info("metrics on port {}", metrics_server->port());
  }
  spdlog::info("data in {}", working.shared ? "PostgreSQL" : options.place.data);
  auto end_metrics = [&] {
    if (!metrics_server) return;
    metrics_server->stop();
    metrics_thread.join();
  };
  try {
    relay::serve_until_signal(server, listen, workers);
  } catch (...) {
    end_metrics();
    throw;
  }
  end_metrics();
  spdlog::info("stopped");
  return 0;
}

int migrate(const Options& options) {
  if (options.place.postgres.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "--postgres names the database; files of --data are made by the relay itself");
  }
  int steps = relay::migrate_postgres(options.place.postgres);
  std::printf("%d steps; the tables are of version %d\n", steps, relay::kPostgresVersion);
  return 0;
}

// `collect` is a program of its own, beside this one: it opens what it receives, and nothing that
// can decrypt is part of the relay.
int run_collector(char** argv) {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string program = (self.parent_path() / "holdfast-collect").string();
  ::execv(program.c_str(), argv + 1);
  std::fprintf(stderr, "holdfast-relay: cannot start %s: install it beside holdfast-relay\n",
               program.c_str());
  return 1;
}

void add_options(CLI::App& app, Options& options) {
  auto add = [&](const char* name, auto& value, const char* help) {
    std::string variable = std::string("HOLDFAST_RELAY_") + (name + 2);
    for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
    return app.add_option(name, value, help)->envname(variable);
  };
  app.fallthrough();
  add("--listen", options.listen, "address and port; port 0 takes a free one and prints it")
      ->capture_default_str();
  add("--data", options.place.data, "folder for what is stored; made if need be");
  add("--postgres", options.place.postgres,
      "PostgreSQL database instead, as libpq names it; leave passwords to PGPASSFILE");
  add("--origin", options.service.origins,
      "URL by which devices reach this relay, where that is not its own address on loopback")
      ->delimiter(',');
  app.add_flag("--restored", options.restored,
               "the data was put back from a backup: have devices bring back what it lacks");
  add("--retention-days", options.retention_days,
      "how long batches are kept that a verified checkpoint stands for")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  add("--tls-certificate", options.certificate,
      "certificate chain in PEM, to speak TLS; read again on SIGHUP");
  add("--tls-key", options.private_key, "its private key in PEM");
  add("--proxy", options.proxies, "address of a proxy whose X-Forwarded-For is believed")
      ->delimiter(',')
      ->check(CLI::Validator(
          [](const std::string& text) {
            std::array<unsigned char, 16> ip{};
            bool is_ip = ::inet_pton(AF_INET, text.c_str(), ip.data()) == 1 ||
                         ::inet_pton(AF_INET6, text.c_str(), ip.data()) == 1;
            return is_ip ? "" : "'" + text + "' is not an IP address";
          },
          "IP"));
  add("--metrics", options.metrics, "address and port for Prometheus, apart from the devices'");
  add("--drain-seconds", options.drain_s,
      "on SIGTERM, how long what is being asked may take to end")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  add("--shards", options.shards, "SQLite files of a new --data, each with a thread")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  add("--connections", options.connections, "to PostgreSQL, each with a thread")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  add("--vault-megabytes", options.vault_megabytes, "quota of a vault that has none of its own")
      ->check(CLI::Range(1, 1'000'000'000))
      ->capture_default_str();
  add("--vault-requests", options.service.requests_per_s, "of one vault, a second")
      ->check(CLI::Range(0.1, 1e9))
      ->capture_default_str();
  add("--admission", options.admission,
      "of new vaults: open, invite (see 'holdfast-relay invite'), work (a puzzle for the device)")
      ->check(CLI::IsMember({"open", "invite", "work"}))
      ->capture_default_str();
  add("--backup-days", options.service.backup_days,
      "how long you keep backups (0: there are none): who erases a vault is told")
      ->check(CLI::Range(0, 36500));
  add("--max-connections", options.limits.connections, "at once")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  add("--address-connections", options.limits.connections_of_one, "from one address at once")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  add("--address-vaults", options.limits.vaults_per_hour, "made from one address in an hour")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  add("--address-mails", options.limits.mails_per_hour,
      "pairing messages from one address in an hour")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  add("--address-strangers", options.limits.strangers_per_s,
      "requests without a token from one address in a second")
      ->check(CLI::Range(0.1, 1e9))
      ->capture_default_str();
  app.add_flag("--log-json", options.logs_json, "log lines as JSON");
  app.add_flag("--log-requests", options.logs_requests,
               "a line for each request; vaults and addresses as hashes under a key of the day");
  app.add_flag("--quiet", options.quiet, "log warnings and errors only");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "collect") return run_collector(argv);
  Options options;
  CLI::App app{
      "The relay of Holdfast: it passes sealed batches between the devices of a vault and can "
      "read none of them."};
  app.footer(
      "Example:\n  holdfast-relay --listen 127.0.0.1:8440 --data relay-data\n"
      "  holdfast-relay collect --help    (a destination for what apps send with permission)\n\n"
      "Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage.");
  app.set_version_flag("--version", HOLDFAST_VERSION);
  add_options(app, options);
  std::function<int()> operation;
  relay::add_operator_commands(app, options.place, options.retention_days, operation);
  CLI::App* migrating =
      app.add_subcommand("migrate", "brings a PostgreSQL database to this version's tables");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  relay::keep_files_private();
  try {
    if (operation) return operation();
    return migrating->parsed() ? migrate(options) : run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "holdfast-relay: %s\n", error.what());
    return error.code() == ErrorCode::invalid_argument ? 2 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "holdfast-relay: %s\n", error.what());
    return 1;
  }
}
