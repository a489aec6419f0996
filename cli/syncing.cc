// relay, sync, status.

#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "holdfast/conflict_resolver.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/vault.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

int use_relay(const Context& context, const std::string& url) {
  auto store = open_store(context);
  try {
    Vault(*store).use_relay(url);
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

int sync(const Context& context) {
  auto store = open_store(context);
  IncrementalSync syncing(*store);
  SyncResult result;
  {
    ProgressLine line(context, "syncing: batch");
    result = syncing.sync([&](const SyncProgress& at) { line.update(at.items, at.total); });
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
};

}  // namespace

void add_sync_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto on = [&context](CLI::App* command, std::function<int()> work) {
    command->callback([&context, work = std::move(work)] { context.run = work; });
  };

  CLI::App* command = app.add_subcommand("relay", "use a relay; registers the vault there");
  command->add_option("URL", args->url, "https://…, or http:// on this machine")->required();
  command->footer("Example:\n  holdfast relay https://relay.example --db notes.hf");
  on(command, [&context, args] { return use_relay(context, args->url); });

  command = app.add_subcommand("sync", "receive and send what changed");
  command->footer("Example:\n  holdfast sync --db notes.hf");
  on(command, [&context] { return sync(context); });

  command =
      app.add_subcommand("status", "the state of sync; exit code 3 where conflicts are pending");
  command->footer("Example:\n  holdfast status --json --db notes.hf");
  on(command, [&context] { return status(context); });
}

}  // namespace holdfast::cli
