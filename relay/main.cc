// holdfast-relay: the server that stores what it cannot read.

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "holdfast/error.h"
#include "relay/serving.h"
#include "relay/sqlite/sqlite_storage.h"

namespace {

using namespace holdfast;

struct Options {
  std::string listen = "127.0.0.1:8440";
  std::string data;
  std::vector<std::string> origins;
  bool quiet = false;
  bool restored = false;
  std::int64_t retention_days = 90;
};

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

int run(const Options& options) {
  auto logger = spdlog::stderr_color_mt("relay");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S %l %v");
  logger->set_level(options.quiet ? spdlog::level::warn : spdlog::level::info);
  spdlog::set_default_logger(logger);

  std::error_code error;
  std::filesystem::create_directories(options.data, error);
  if (error) throw Error(ErrorCode::io, "cannot make " + options.data + ": " + error.message());
  base::Environment environment = base::system_environment();
  auto lock = environment.files->open(options.data + "/lock", base::FileSystem::Mode::create);
  if (!lock->try_lock()) {
    throw Error(ErrorCode::in_use, "another relay uses " + options.data + ": stop it first");
  }
  relay::SqliteStorage storage(options.data + "/relay.db");
  relay::ServerOptions server_options = relay::parse_listen(options.listen);
  relay::Server server(server_options);
  std::vector<std::string> origins = options.origins;
  std::string port = std::to_string(server.port());
  if (is_loopback(server_options.address)) {
    for (const char* host : {"127.0.0.1", "localhost", "[::1]"}) {
      origins.push_back(std::string("http://") + host + ":" + port);
    }
  } else if (origins.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "beyond loopback, devices only speak HTTPS: put this relay behind a TLS proxy and "
                "name the proxy's URL with --origin https://relay.example");
  }
  relay::Service service(storage, *environment.clock, *environment.random, origins);

  service.set_retention(options.retention_days * 24 * 3'600'000);
  if (options.restored) {
    service.begin_all_anew();
    spdlog::info("every log has begun anew: devices bring back what this backup lacks");
  }

  spdlog::info("data in {}", options.data);
  relay::serve_until_signal(server, server_options, service);
  spdlog::info("stopped");
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
  app.add_option("--listen", options.listen,
                 "address and port; port 0 takes a free one and prints it")
      ->capture_default_str();
  app.add_option("--data", options.data, "folder for what is stored; made if need be")->required();
  app.add_option(
      "--origin", options.origins,
      "URL by which devices reach this relay, where that is not its own address (a proxy)");
  app.add_flag("--restored", options.restored,
               "the data was put back from a backup: have devices bring back what it lacks");
  app.add_option("--retention-days", options.retention_days,
                 "how long batches are kept that a verified checkpoint stands for")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  app.add_flag("--quiet", options.quiet, "log warnings and errors only");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  relay::prepare_process();
  try {
    return run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "holdfast-relay: %s\n", error.what());
    return error.code() == ErrorCode::invalid_argument ? 2 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "holdfast-relay: %s\n", error.what());
    return 1;
  }
}
