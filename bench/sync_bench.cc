// One step of a sync's life as a whole command, so that each is a process of its own, with the real
// files, clock and network; see bench/sync, which puts them together.
//
//   sync_bench create DB RELAY            a vault at a relay, and its first device
//   sync_bench fill DB COUNT [START]      COUNT new records of 400 bytes; nothing is sent
//   sync_bench edit DB COUNT              one field of each of COUNT records
//   sync_bench ticket DB                  prints what a device joins with
//   sync_bench join DB TICKET             another device; nothing is received
//   sync_bench fill-singly DB COUNT [START]  likewise, each a change set of its own
//   sync_bench sync DB [RELAY]            one sync, with that relay from now on
//   sync_bench lone DB                    one change, sent by an app that has just synced
//   sync_bench check DB COUNT             whether it holds so many records
//
// `sync` prints a line "seconds S requests N sent B received B peak-mib M phases …"; sizes are of
// HTTP bodies, the peak is what the process had in memory at most.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "holdfast/encrypted_local_store.h"
#include "holdfast/error.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/vault.h"
#include "src/base/environment.h"

namespace {

using namespace holdfast;

// Counts what goes over it.
class CountingNetwork : public base::Network {
 public:
  base::HttpResponse perform(const base::HttpRequest& request) override {
    base::HttpResponse response = real_->perform(request);
    ++requests;
    sent += request.body.size();
    received += response.body.size();
    return response;
  }
  std::uint64_t requests = 0;
  std::uint64_t sent = 0;
  std::uint64_t received = 0;

 private:
  std::shared_ptr<base::Network> real_ = base::curl_network();
};

// A document that stores as 400 bytes of JSON, of words so that it is not all noise.
nlohmann::json document(std::uint64_t number) {
  static const char* const kWords[] = {"river",   "stone",   "amber",  "willow",
                                       "harbour", "lantern", "copper", "meadow",
                                       "thunder", "velvet",  "anchor", "juniper"};
  std::uint64_t state = number * 0x9e3779b97f4a7c15u + 1;
  std::string text;
  while (text.size() < 300) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    text += std::string(text.empty() ? "" : " ") + kWords[state % 12];
  }
  nlohmann::json out = {{"number", number}, {"kind", kWords[number % 12]}, {"text", text}};
  std::size_t size = out.dump().size() + 11;
  out["pad"] = std::string(size < 400 ? 400 - size : 0, 'x');
  return out;
}

std::string name_of(std::uint64_t number) { return "record" + std::to_string(number); }

std::string peak_mib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word != "VmHWM:") continue;
    std::uint64_t kib = 0;
    status >> kib;
    return std::to_string(kib / 1024);
  }
  return "?";
}

struct Bench {
  explicit Bench(const std::string& path) : store(path, key(), options()) {}
  static UserKey key() { return UserKey::raw(std::array<std::uint8_t, 32>{7}); }
  StoreOptions options() {
    world = base::system_environment();
    network = std::make_shared<CountingNetwork>();
    world.network = network;
    StoreOptions out;
    out.environment = &world;
    return out;
  }
  base::Environment world;
  std::shared_ptr<CountingNetwork> network;
  EncryptedLocalStore store;
};

void fill(Bench& bench, std::uint64_t count, std::uint64_t start) {
  for (std::uint64_t at = 0; at < count; at += 1000) {
    bench.store.transaction([&] {
      for (std::uint64_t i = at; i < std::min(at + 1000, count); ++i) {
        bench.store.store(name_of(start + i), document(start + i));
      }
    });
  }
}

void fill_singly(Bench& bench, std::uint64_t count, std::uint64_t start) {
  for (std::uint64_t i = 0; i < count; ++i) {
    bench.store.store(name_of(start + i), document(start + i));
  }
}

void edit(Bench& bench, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    bench.store.update(name_of(i), [&](nlohmann::json& one) { one["kind"] = "edited"; });
  }
}

int sync(Bench& bench) {
  auto start = std::chrono::steady_clock::now();
  IncrementalSync sync(bench.store);
  SyncResult result = sync.sync();
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("seconds %.3f requests %llu sent %llu received %llu peak-mib %s applied %llu\n",
              seconds.count(), static_cast<unsigned long long>(bench.network->requests),
              static_cast<unsigned long long>(bench.network->sent),
              static_cast<unsigned long long>(bench.network->received), peak_mib().c_str(),
              static_cast<unsigned long long>(result.applied));
  for (const std::string& notice : result.notices) std::fprintf(stderr, "%s\n", notice.c_str());
  if (!result.error) return 0;
  std::fprintf(stderr, "sync_bench: %s\n", result.message.c_str());
  return 1;
}

// What goes over the wire for it, headers of HTTP apart.
int lone(Bench& bench) {
  IncrementalSync sync(bench.store);
  sync.sync();
  bench.store.update(name_of(1), [&](nlohmann::json& one) { one["kind"] = "lone"; });
  std::uint64_t requests = bench.network->requests;
  std::uint64_t sent = bench.network->sent;
  std::uint64_t received = bench.network->received;
  SyncResult result = sync.sync();
  std::printf("requests %llu sent %llu received %llu\n",
              static_cast<unsigned long long>(bench.network->requests - requests),
              static_cast<unsigned long long>(bench.network->sent - sent),
              static_cast<unsigned long long>(bench.network->received - received));
  return result.error ? 1 : 0;
}

// One request, and nobody repeats it but the user.
void use_relay(Vault& vault, const std::string& url) {
  for (int attempt = 1;; ++attempt) {
    try {
      return vault.use_relay(url);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unreachable || attempt == 10) throw;
    }
  }
}

int run(int count, char** words) {
  if (count < 3) throw Error(ErrorCode::invalid_argument, "usage: sync_bench STEP DB …");
  std::string step = words[1];
  auto number = [&](int at) { return count > at ? std::strtoull(words[at], nullptr, 10) : 0; };
  std::string word = count > 3 ? words[3] : "";
  Bench bench(words[2]);
  Vault vault(bench.store);
  if (step == "create") {
    vault.create("first", [](const std::string&) {});
    vault.use_relay(word);
  } else if (step == "fill") {
    fill(bench, number(3), number(4));
  } else if (step == "fill-singly") {
    fill_singly(bench, number(3), number(4));
  } else if (step == "lone") {
    return lone(bench);
  } else if (step == "edit") {
    edit(bench, number(3));
  } else if (step == "ticket") {
    std::printf("%s\n", vault.invite_ticket().c_str());
  } else if (step == "join") {
    vault.join(word, "another");
  } else if (step == "sync") {
    if (!word.empty()) use_relay(vault, word);
    return sync(bench);
  } else if (step == "check") {
    std::uint64_t held = bench.store.list().size();
    if (held == number(3)) return 0;
    std::fprintf(stderr, "sync_bench: it holds %llu\n", static_cast<unsigned long long>(held));
    return 1;
  } else {
    throw Error(ErrorCode::invalid_argument, "unknown step");
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sync_bench: %s\n", error.what());
    return 1;
  }
}
