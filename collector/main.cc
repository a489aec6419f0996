// holdfast-collect, or holdfast-relay collect: a reference destination for what apps send.

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "collector/collector.h"
#include "holdfast/error.h"
#include "relay/serving.h"

namespace {

using namespace holdfast;

struct Options {
  std::string listen = "127.0.0.1:8441";
  std::vector<std::string> keys;
  std::string new_key;
  std::string out;
};

// A new key to a new file, for its owner alone; what a policy needs of it to stdout.
int make_key(const Options& options) {
  crypto::Secret random(32);
  base::system_random()->fill(random.span());
  crypto::HpkeKey key = crypto::HpkeKey::derive(random.view());
  int file = ::open(options.new_key.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    throw Error(ErrorCode::exists,
                "cannot make " + options.new_key + ": choose a name that is free");
  }
  ByteView secret = key.secret();
  bool written =
      ::write(file, secret.data(), secret.size()) == ssize_t(secret.size()) && ::fsync(file) == 0;
  ::close(file);
  if (!written) throw Error(ErrorCode::io, "cannot write " + options.new_key);
  std::printf("%s\n",
              nlohmann::json{{"public_key", base::to_base64url(key.public_key())}}.dump().c_str());
  return 0;
}

crypto::HpkeKey read_key(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw Error(ErrorCode::not_found, "cannot read the key " + path + ": make one with --new-key");
  crypto::Secret secret(32);
  in.read(reinterpret_cast<char*>(secret.data()), 32);
  if (in.gcount() != 32 || in.peek() != EOF) {
    throw Error(ErrorCode::invalid_argument, path + " is no key: it must be 32 bytes");
  }
  return crypto::HpkeKey(std::move(secret));
}

int run(const Options& options) {
  if (!options.new_key.empty()) {
    if (!options.keys.empty() || !options.out.empty()) {
      throw Error(ErrorCode::invalid_argument, "--new-key makes a key and ends: give it alone");
    }
    return make_key(options);
  }
  if (options.keys.empty() || options.out.empty()) {
    throw Error(ErrorCode::invalid_argument, "give --key FILE and --out FILE, or --new-key FILE");
  }
  std::vector<crypto::HpkeKey> keys;
  keys.reserve(options.keys.size());
  for (const std::string& path : options.keys) keys.push_back(read_key(path));
  collector::Collector collector(std::move(keys), options.out, base::system_environment());
  relay::ServerOptions listen = relay::parse_listen(options.listen);
  relay::Server server(listen);
  relay::serve_until_signal(server, listen, collector);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "A reference destination: opens the payloads that apps send with their users' permission, "
      "and "
      "appends each once, as one line of JSON, to a file."};
  app.name("holdfast-relay collect");
  app.footer(
      "Example:\n  holdfast-relay collect --new-key collector.key\n"
      "  holdfast-relay collect --key collector.key --out received.ndjson\n\n"
      "Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage.");
  app.set_version_flag("--version", HOLDFAST_VERSION);
  app.add_option("--listen", options.listen,
                 "address and port; port 0 takes a free one and prints it")
      ->capture_default_str();
  app.add_option("--key", options.keys, "a key, as --new-key makes them; may be given again");
  app.add_option("--out", options.out, "the file that is appended to");
  app.add_option("--new-key", options.new_key,
                 "make a key in a new file, print its public half for the policy, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  relay::keep_files_private();
  relay::take_signals();
  try {
    return run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "holdfast-relay collect: %s\n", error.what());
    return error.code() == ErrorCode::invalid_argument ? 2 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "holdfast-relay collect: %s\n", error.what());
    return 1;
  }
}
