// relay, sync, status.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "cli/command.h"
#include "holdfast/conflict_resolver.h"
#include "holdfast/sync_engine.h"
#include "holdfast/vault.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

int use_relay(const Context& context, const std::string& url, const std::string& invitation) {
  auto store = open_store(context);
  try {
    Vault(*store).use_relay(url, invitation);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    throw UsageError(error.what());
  }
  note(context, "The vault is registered at " + url + ".");
  return kDone;
}

int exit_of(const SyncResult& result) {
  switch (result.state) {
    case SyncState::up_to_date: return kDone;
    case SyncState::conflict: return kConflicts;
    case SyncState::offline: return kOffline;
    default: return kFailed;
  }
}

int sync(const Context& context, bool trusts_relay_time) {
  auto store = open_store(context);
  IncrementalSync syncing(*store);
  if (trusts_relay_time) syncing.trust_relay_time();
  SyncResult result;
  {
    ProgressLine line(context, "");
    result = syncing.sync([&](const SyncProgress& at) {
      std::string left;
      if (at.remaining_ms && *at.remaining_ms >= 1000) {
        left = fmt::format(", about {} s left", *at.remaining_ms / 1000);
      }
      line.update(
          fmt::format("{} ({} KiB so far{}):", sync_phase_name(at.phase), at.bytes / 1024, left),
          at.items, at.total);
    });
  }
  for (const std::string& reason : result.rejected)
    note(context, "not taken: " + printable(reason));
  for (const std::string& notice : result.notices) note(context, printable(notice));
  if (context.json) {
    json out = {{"state", sync_state_name(result.state)},
                {"applied", result.applied},
                {"sent", result.sent},
                {"conflicts_pending", result.conflicts_pending},
                {"sync_duration_ms", result.duration_ms},
                {"waiting", result.waiting},
                {"rejected", result.rejected},
                {"notices", result.notices},
                {"error", result.error ? json(error_code_name(*result.error)) : json(nullptr)},
                {"message", result.message}};
    print_line(json_text(out));
  } else {
    print_line(fmt::format("{}: received {} change sets, sent {}, {} ms",
                           sync_state_name(result.state), result.applied, result.sent,
                           result.duration_ms));
    if (result.waiting > 0) {
      note(context,
           fmt::format("{} change sets wait for others that have not arrived", result.waiting));
    }
    if (!result.message.empty()) note(context, "holdfast: " + printable(result.message));
    if (result.conflicts_pending > 0) {
      note(context, fmt::format("{} conflicts wait for you: see 'holdfast conflicts'",
                                result.conflicts_pending));
    }
  }
  return exit_of(result);
}

// Until it is interrupted.
int watch(const Context& context) {
  auto store = open_store(context);
  SyncEngine engine(*store);
  SyncState shown = SyncState::syncing;
  engine.subscribe([&](const SyncEvent& event) {
    using Kind = SyncEvent::Kind;
    if (event.kind == Kind::warning) note(context, printable(event.warning));
    if (event.kind != Kind::state || event.state.state == SyncState::syncing) return;
    const SyncMetadata& at = event.state;
    if (context.json) {
      print_line(json_text(json{{"state", sync_state_name(at.state)},
                                {"last_sync_timestamp", at.last_sync_timestamp},
                                {"items_synced", at.items_synced},
                                {"error_message", at.error_message}}));
    } else if (at.state != shown || !at.error_message.empty()) {
      print_line(fmt::format("{}{}{}", sync_state_name(at.state),
                             at.error_message.empty() ? "" : ": ", printable(at.error_message)));
    }
    shown = at.state;
    std::fflush(stdout);
  });
  // One thread waits for the signals that end it, so that no handler has to.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    engine.stop();
  });
  try {
    engine.run();
  } catch (...) {
    ::kill(::getpid(), SIGTERM);  // the waiter takes it, and ends
    waiter.join();
    throw;
  }
  waiter.join();
  return kDone;
}

int status(const Context& context) {
  auto store = open_store(context);
  IncrementalSync syncing(*store);
  Vault vault(*store);
  SyncMetadata at = syncing.states().metadata();
  std::size_t pending = ConflictResolver(*store).count_pending();
  json devices = json::array();
  bool revoked = false;  // this very device
  if (vault.exists()) {
    for (const Device& device : vault.devices()) {
      revoked = revoked || (device.this_device && device.state == Device::State::revoked);
      if (device.state == Device::State::revoked) continue;
      devices.push_back({{"name", device.name}, {"this_device", device.this_device}});
    }
  }
  std::optional<std::string> relay = vault.relay();
  std::uint64_t items = syncing.count_pending();
  if (context.json) {
    json out = {{"state", sync_state_name(at.state)},
                {"last_sync_timestamp", at.last_sync_timestamp},
                {"items_pending", items},
                {"items_synced", at.items_synced},
                {"conflicts_pending", pending},
                {"conflicts_resolved", at.conflicts_resolved},
                {"sync_duration_ms", at.sync_duration_ms},
                {"error_message", at.error_message},
                {"network_type", at.network_type},
                {"devices", devices},
                {"revoked", revoked},
                {"relay", relay ? json(*relay) : json(nullptr)}};
    print_line(json_text(out));
  } else {
    print_line(fmt::format("state      {}", sync_state_name(at.state)));
    print_line(fmt::format("last sync  {}", time_text(at.last_sync_timestamp)));
    print_line(fmt::format("to send    {} change sets", items));
    print_line(
        fmt::format("conflicts  {} pending, {} resolved here", pending, at.conflicts_resolved));
    print_line(fmt::format("devices    {}{}", devices.size(),
                           revoked ? "; this one was taken out of the vault" : ""));
    print_line(fmt::format("relay      {}", relay.value_or("none chosen")));
    if (!at.error_message.empty()) print_line("last error " + printable(at.error_message));
  }
  return pending > 0 ? kConflicts : kDone;
}

struct Arguments {
  std::string url;
  std::string invitation;
  bool watch = false;
  bool trusts_relay_time = false;
};

}  // namespace

void add_sync_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto on = [&context](CLI::App* command, std::function<int()> work) {
    command->callback([&context, work = std::move(work)] { context.run = work; });
  };

  CLI::App* command = app.add_subcommand("relay", "use a relay; registers the vault there");
  command->add_option("URL", args->url, "https://…, or http:// on this machine")->required();
  command->add_option("--invitation", args->invitation, "code, where the relay asks for one");
  command->footer("Example:\n  holdfast relay https://relay.example --db notes.hf");
  on(command, [&context, args] { return use_relay(context, args->url, args->invitation); });

  command = app.add_subcommand("sync", "receive and send what changed");
  command->add_flag("--watch", args->watch,
                    "go on until interrupted: send edits soon, take what others send at once");
  command->add_flag("--trust-relay-time", args->trusts_relay_time,
                    "this device's clock is wrong by more than a day, and the relay's is right");
  command->footer("Example:\n  holdfast sync --db notes.hf\n  holdfast sync --watch --db notes.hf");
  on(command, [&context, args] {
    return args->watch ? watch(context) : sync(context, args->trusts_relay_time);
  });

  command =
      app.add_subcommand("status", "the state of sync; exit code 3 where conflicts are pending");
  command->footer("Example:\n  holdfast status --json --db notes.hf");
  on(command, [&context] { return status(context); });
}

}  // namespace holdfast::cli
