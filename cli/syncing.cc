// relay, sync, status, conflicts, resolve, device: what belongs to the vault.

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/command.h"
#include "holdfast/conflict_resolver.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/json.h"
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
  if (context.json) {
    json out = {{"state", sync_state_name(result.state)},
                {"applied", result.applied},
                {"sent", result.sent},
                {"conflicts_pending", result.conflicts_pending},
                {"sync_duration_ms", result.duration_ms},
                {"waiting", result.waiting},
                {"rejected", result.rejected},
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
  if (vault.exists()) {
    for (const Device& device : vault.devices()) {
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
                {"relay", relay ? json(*relay) : json(nullptr)}};
    print_line(json_text(out));
  } else {
    print_line(fmt::format("state      {}", sync_state_name(at.state)));
    print_line(fmt::format("last sync  {}", time_text(at.last_sync_timestamp)));
    print_line(fmt::format("to send    {} change sets", items));
    print_line(
        fmt::format("conflicts  {} pending, {} resolved here", pending, at.conflicts_resolved));
    print_line(fmt::format("devices    {}", devices.size()));
    print_line(fmt::format("relay      {}", relay.value_or("none chosen")));
    if (!at.error_message.empty()) print_line("last error " + printable(at.error_message));
  }
  return pending > 0 ? kConflicts : kDone;
}

std::string device_name(const std::vector<Device>& devices,
                        const std::array<std::uint8_t, 16>& id) {
  for (const Device& device : devices) {
    if (device.id == id) return device.name;
  }
  return "unknown device";
}

std::string shown(const std::optional<json>& value) { return value ? value->dump() : "(deleted)"; }

// A number of up to six digits for each conflict, from its place alone: settling one leaves the
// others' as they were, and every device shows the same. Where two would meet, the later takes the
// next one free.
std::vector<std::size_t> numbers_of(const std::vector<Conflict>& conflicts) {
  constexpr std::size_t kNumbers = 999'999;
  std::vector<std::size_t> out;
  std::set<std::size_t> taken;
  for (const Conflict& conflict : conflicts) {
    std::uint32_t hash = 2166136261u;  // FNV-1a
    for (const std::string* part : {&conflict.collection, &conflict.id, &conflict.path}) {
      for (unsigned char c : *part) hash = (hash ^ c) * 16777619u;
      hash *= 16777619u;
    }
    std::size_t number = hash % kNumbers + 1;
    while (taken.size() < kNumbers && !taken.insert(number).second) number = number % kNumbers + 1;
    out.push_back(number);
  }
  return out;
}

int list_conflicts(const Context& context, bool all) {
  auto store = open_store(context);
  Vault vault(*store);
  std::vector<Device> devices = vault.exists() ? vault.devices() : std::vector<Device>();
  std::vector<Conflict> conflicts = ConflictResolver(*store).conflicts();
  std::vector<std::size_t> numbers = numbers_of(conflicts);
  json out = json::array();
  for (std::size_t n = 0; n < conflicts.size(); ++n) {
    const Conflict& conflict = conflicts[n];
    if (!all && !conflict.pending) continue;
    json sides = json::array();
    for (const Candidate& side : conflict.candidates) {
      json entry = {{"device", device_name(devices, side.device)},
                    {"time", side.time_ms},
                    {"priority", side.priority},
                    {"deleted", !side.value}};
      if (side.value) entry["value"] = *side.value;
      sides.push_back(std::move(entry));
    }
    out.push_back({{"number", numbers[n]},
                   {"collection", conflict.collection},
                   {"id", conflict.id},
                   {"path", conflict.path},
                   {"type", conflict_type_name(conflict.type)},
                   {"pending", conflict.pending},
                   {"visible", conflict.visible + 1},
                   {"candidates", sides}});
    if (context.json) continue;
    print_line(fmt::format("{}  {}/{} {}  {}{}", numbers[n], printable(conflict.collection),
                           printable(conflict.id), printable(conflict.path),
                           conflict_type_name(conflict.type), conflict.pending ? "" : ", settled"));
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
      const Candidate& side = conflict.candidates[i];
      print_line(fmt::format("   {} {}  {}  ({}, {})", i == conflict.visible ? "*" : " ", i + 1,
                             printable(shown(side.value)),
                             printable(device_name(devices, side.device)),
                             time_text(side.time_ms)));
    }
  }
  if (context.json) print_line(json_text(out));
  return kDone;
}

int resolve(const Context& context, std::size_t number, std::optional<std::size_t> pick,
            const std::optional<std::string>& value) {
  if (pick.has_value() == value.has_value()) throw UsageError("give --pick I or --value JSON");
  std::optional<json> chosen;
  if (value) chosen = parse_json(*value);
  auto store = open_store(context);
  ConflictResolver resolver(*store);
  std::vector<Conflict> conflicts = resolver.conflicts();
  std::vector<std::size_t> numbers = numbers_of(conflicts);
  auto found = std::find(numbers.begin(), numbers.end(), number);
  if (found == numbers.end()) {
    throw Error(
        ErrorCode::not_found,
        fmt::format("there is no conflict {}: 'holdfast conflicts' lists those that wait", number));
  }
  const Conflict& conflict = conflicts[static_cast<std::size_t>(found - numbers.begin())];
  if (chosen) {
    resolver.resolve(conflict, *chosen);
  } else {
    if (*pick == 0 || *pick > conflict.candidates.size()) {
      throw UsageError(fmt::format("--pick takes 1 to {}", conflict.candidates.size()));
    }
    resolver.resolve(conflict, *pick - 1);
    chosen = conflict.candidates[*pick - 1].value;
  }
  SyncStateManager(*store).count_resolved();
  note(context,
       fmt::format("{}/{} {} is now {}", printable(conflict.collection), printable(conflict.id),
                   printable(conflict.path), printable(shown(chosen))));
  return kDone;
}

int list_devices(const Context& context) {
  auto store = open_store(context);
  json out = json::array();
  for (const Device& device : Vault(*store).devices()) {
    out.push_back({{"name", device.name}, {"this_device", device.this_device}});
    if (!context.json) {
      print_line(printable(device.name) + (device.this_device ? "  (this device)" : ""));
    }
  }
  if (context.json) print_line(json_text(out));
  return kDone;
}

int invite(const Context& context) {
  auto store = open_store(context);
  std::string ticket = Vault(*store).invite_ticket();
  note(context, "One device may join with this within an hour. Whoever has it can read the vault:");
  print_line(ticket);
  return kDone;
}

int join(const Context& context, const std::string& given, const std::string& name) {
  std::string ticket = given == "-" ? read_standard_input(4096) : given;
  while (!ticket.empty() && std::isspace(static_cast<unsigned char>(ticket.back()))) {
    ticket.pop_back();
  }
  auto store = open_store(context, StoreOptions::Open::or_create);
  Vault vault(*store);
  vault.join(ticket, name);
  note(context, "This device is in the vault now. 'holdfast sync' fetches its records.");
  return kDone;
}

struct Arguments {
  std::string url, code, name;
  std::size_t number = 0;
  std::optional<std::size_t> pick;
  std::optional<std::string> value;
  bool all = false;
  bool ticket = false;
};

void add_device_commands(CLI::App& app, Context& context, std::shared_ptr<Arguments> args) {
  CLI::App* device = app.add_subcommand("device", "the vault's devices: ls, invite, join");
  device->require_subcommand(1);
  device->footer(
      "Example:\n  holdfast device invite --ticket --db laptop.hf\n"
      "  holdfast device join holdfast-ticket-1.… --db phone.hf --name phone");
  CLI::App* command = device->add_subcommand("ls", "list them");
  command->footer("Example:\n  holdfast device ls --db notes.hf");
  command->callback([&context] { context.run = [&context] { return list_devices(context); }; });

  command = device->add_subcommand("invite", "let one other device join");
  command->add_flag("--ticket", args->ticket, "by a code to paste there; prints the code alone")
      ->required();
  command->footer("Example:\n  holdfast device invite --ticket --db laptop.hf");
  command->callback([&context] { context.run = [&context] { return invite(context); }; });

  command = device->add_subcommand("join", "make a new store and enter the vault of a ticket");
  command->add_option("CODE", args->code, "the ticket, or - for standard input")->required();
  command->add_option("--name", args->name, "this device's name")->required();
  command->footer("Example:\n  holdfast device join - --db phone.hf --name phone < ticket");
  command->callback([&context, args] {
    context.run = [&context, args] { return join(context, args->code, args->name); };
  });
}

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

  command = app.add_subcommand("conflicts", "list the conflicts that wait for you");
  command->add_flag("--all", args->all, "and those that a strategy has settled");
  command->footer("Example:\n  holdfast conflicts --db notes.hf");
  on(command, [&context, args] { return list_conflicts(context, args->all); });

  command =
      app.add_subcommand("resolve", "settle a conflict by its number in 'holdfast conflicts'");
  command->add_option("N", args->number)->required();
  command->add_option("--pick", args->pick, "the number of one of its candidates");
  command->add_option("--value", args->value, "another value, as JSON");
  command->footer("Example:\n  holdfast resolve 1 --pick 2 --db notes.hf");
  on(command, [&context, args] { return resolve(context, args->number, args->pick, args->value); });

  add_device_commands(app, context, args);
}

}  // namespace holdfast::cli
