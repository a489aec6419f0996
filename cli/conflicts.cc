// policy, conflicts, resolve, edit, history, undo: what becomes of concurrent edits.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "cli/command.h"
#include "holdfast/conflict_resolver.h"
#include "holdfast/fields.h"
#include "holdfast/history.h"
#include "holdfast/json.h"
#include "holdfast/sync_state_manager.h"
#include "holdfast/vault.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

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

// What becomes of a conflict if nobody does anything.
std::string end_of(const Conflict& conflict) {
  if (!conflict.pending) return conflict.merged ? ", merged" : ", settled";
  if (!conflict.deadline_ms) return "";
  return ", will be settled by itself at " + time_text(*conflict.deadline_ms);
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
                   {"suggested", conflict.suggested + 1},
                   {"merged", conflict.merged},
                   {"deadline", conflict.deadline_ms ? json(*conflict.deadline_ms) : json()},
                   {"shown", conflict.shown ? *conflict.shown : json()},
                   {"candidates", sides}});
    if (context.json) continue;
    print_line(fmt::format("{}  {}/{} {}  {}{}", numbers[n], printable(conflict.collection),
                           printable(conflict.id), printable(conflict.path),
                           conflict_type_name(conflict.type), end_of(conflict)));
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
      const Candidate& side = conflict.candidates[i];
      const char* hint = conflict.pending && i == conflict.suggested ? ", as you chose before" : "";
      if (conflict.suggested == conflict.visible) hint = "";
      print_line(fmt::format(
          "   {} {}  {}  ({}, {}{})", i == conflict.visible && !conflict.merged ? "*" : " ", i + 1,
          printable(shown(side.value)), printable(device_name(devices, side.device)),
          time_text(side.time_ms), hint));
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

struct PolicyArguments {
  std::string collection, path, strategy, type = "value", fallback = "timestamp";
  double deadline_hours = 24;
  bool critical = false, whole_records = false, delete_wins = false;
};

int show_policies(const Context& context) {
  auto store = open_store(context);
  json all = json::array();
  for (const Policy& policy : ConflictResolver(*store).policies()) {
    all.push_back({{"collection", policy.collection},
                   {"path", policy.path},
                   {"strategy", strategy_name(policy.strategy)},
                   {"type", field_type_name(policy.type)},
                   {"critical", policy.critical},
                   {"deadline_ms", policy.deadline_ms},
                   {"fallback", strategy_name(policy.fallback)},
                   {"whole_records", policy.whole_records},
                   {"delete_wins", policy.delete_wins}});
    if (context.json) continue;
    std::string line = policy.collection + " " + policy.path + " " + strategy_name(policy.strategy);
    if (policy.type != FieldType::value) line += std::string(", a ") + field_type_name(policy.type);
    if (policy.critical) line += ", critical";
    if (policy.whole_records) line += ", whole records";
    if (policy.delete_wins) line += ", deletion wins";
    if (policy.fallback != Strategy::timestamp) {
      line += std::string(", then ") + strategy_name(policy.fallback);
    }
    if (policy.deadline_ms != kDefaultDeadlineMs) {
      line += fmt::format(", {:g} h", static_cast<double>(policy.deadline_ms) / 3'600'000);
    }
    print_line(printable(line));
  }
  if (context.json) print_line(json_text(all));
  return kDone;
}

int set_policy(const Context& context, const PolicyArguments& args) {
  std::optional<Strategy> strategy = strategy_from_name(args.strategy);
  std::optional<Strategy> fallback = strategy_from_name(args.fallback);
  std::optional<FieldType> type = field_type_from_name(args.type);
  if (!strategy || !fallback) {
    throw UsageError("'" + (strategy ? args.fallback : args.strategy) +
                     "' is no strategy: use timestamp, priority, merge, user_choice or custom");
  }
  if (!type) {
    throw UsageError("'" + args.type + "' is no type: use value, counter, set, list or text");
  }
  if (!(args.deadline_hours >= 0 && args.deadline_hours < 1e6)) {
    throw UsageError("a deadline is some hours from now, like 24 or 0.5");
  }
  auto store = open_store(context);
  try {
    ConflictResolver(*store).set_policy({args.collection, args.path, *strategy, *type,
                                         args.critical,
                                         static_cast<std::int64_t>(args.deadline_hours * 3'600'000),
                                         *fallback, args.whole_records, args.delete_wins});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    throw UsageError(error.what());
  }
  return kDone;
}

struct EditArguments {
  std::string key, collection = "records", path;
  std::optional<std::string> add, insert_member, remove_member;
  std::vector<std::string> insert, text;
  std::vector<std::size_t> move;
  std::optional<std::size_t> erase;
};

std::size_t index_of(const std::string& text) {
  bool digits = !text.empty() && text.size() < 10 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) throw UsageError("'" + text + "' is no place: use a number from 0 on");
  return std::stoul(text);
}

std::int64_t amount_of(const std::string& text) {
  std::int64_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError("'" + text + "' is no whole number of 64 bits");
  }
  return out;
}

int edit(const Context& context, const EditArguments& args) {
  int edits = args.add.has_value() + args.insert_member.has_value() +
              args.remove_member.has_value() + !args.insert.empty() + !args.text.empty() +
              !args.move.empty() + args.erase.has_value();
  if (edits != 1) throw UsageError("say one edit, like --add 1 or --text 0 0 'Hello'");
  auto store = open_store(context);
  Fields fields(*store);
  Key key(args.collection, args.key);
  bool there = false;
  if (args.add) there = fields.add(key, args.path, amount_of(*args.add));
  if (args.insert_member) {
    there = fields.insert_member(key, args.path, parse_json(*args.insert_member));
  }
  if (args.remove_member) {
    there = fields.remove_member(key, args.path, parse_json(*args.remove_member));
  }
  if (!args.insert.empty()) {
    there = fields.insert(key, args.path, index_of(args.insert[0]), parse_json(args.insert[1]));
  }
  if (!args.move.empty()) there = fields.move(key, args.path, args.move[0], args.move[1]);
  if (args.erase) there = fields.erase(key, args.path, *args.erase);
  if (!args.text.empty()) {
    there = fields.edit_text(key, args.path, index_of(args.text[0]), index_of(args.text[1]),
                             args.text[2]);
  }
  if (!there) throw Error(ErrorCode::not_found, "there is no record " + printable(args.key));
  return kDone;
}

constexpr const char kHex[] = "0123456789abcdef";

std::string change_text(const Dot& change) {
  std::string out;
  for (std::uint8_t byte : change.device) {
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out + ":" + std::to_string(change.sequence);
}

Dot parse_change(const std::string& text) {
  Dot out;
  auto fail = [&] {
    throw UsageError("'" + text + "' is no change: take one from 'holdfast history'");
  };
  if (text.size() < 34 || text.size() > 52 || text[32] != ':') fail();
  for (std::size_t i = 0; i < 32; ++i) {
    const char* digit = std::find(kHex, kHex + 16, text[i]);
    if (digit == kHex + 16) fail();
    out.device[i / 2] = static_cast<std::uint8_t>(out.device[i / 2] << 4 | (digit - kHex));
  }
  for (char c : text.substr(33)) {
    if (c < '0' || c > '9') fail();
    out.sequence = out.sequence * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return out;
}

int history(const Context& context, const Key& key) {
  auto store = open_store(context);
  Vault vault(*store);
  std::vector<Device> devices = vault.exists() ? vault.devices() : std::vector<Device>();
  std::vector<PastChange> changes = History(*store).changes(key);
  json out = json::array();
  for (const PastChange& change : changes) {
    const char* what = change.created ? "created" : change.deleted ? "deleted" : "changed";
    std::string who = device_name(devices, change.change.device);
    json before = json::array();
    if (!context.json) {
      print_line(fmt::format("{}  {}  {} by {}", change_text(change.change),
                             time_text(change.time_ms), what, printable(who)));
    }
    for (const PastValue& value : change.values) {
      std::string was = value.value ? " was " + value.value->dump() : " was (nothing)";
      if (value.by) was = " had " + value.by->dump() + " added";
      if (!context.json) print_line(printable("   " + value.path + was));
      before.push_back(
          {{"path", value.path},
           {"value", value.value ? *value.value : json()},
           {"there", value.value.has_value()},
           {"added", value.by ? *value.by : json()},
           {"device", value.time_ms > 0 ? json(device_name(devices, value.device)) : json()},
           {"time", value.time_ms > 0 ? json(value.time_ms) : json()}});
    }
    out.push_back({{"change", change_text(change.change)},
                   {"time", change.time_ms},
                   {"what", what},
                   {"device", who},
                   {"before", before}});
  }
  if (context.json) print_line(json_text(out));
  return changes.empty() ? kFailed : kDone;
}

int undo(const Context& context, const std::string& change) {
  Dot dot = parse_change(change);
  auto store = open_store(context);
  UndoReport report = History(*store).undo(dot);
  if (context.json) {
    print_line(json_text({{"records", report.records}, {"skipped", report.skipped}}));
    return kDone;
  }
  print_line(fmt::format("{} {} changed back", report.records,
                         report.records == 1 ? "record" : "records"));
  for (const std::string& field : report.skipped) {
    print_line(printable("left as it is, for it was changed again: " + field));
  }
  return report.records > 0 ? kDone : kFailed;
}

struct Arguments {
  std::size_t number = 0;
  std::optional<std::size_t> pick;
  std::optional<std::string> value;
  bool all = false;
  PolicyArguments policy;
  EditArguments edit;
  std::string key, collection = "records", change;
};

void add_policy_commands(CLI::App& app, Context& context, const std::shared_ptr<Arguments>& args) {
  CLI::App* command =
      app.add_subcommand("policy", "list how concurrent values are treated, or set it");
  command->callback([&context, command] {
    if (command->get_subcommands().empty())
      context.run = [&context] { return show_policies(context); };
  });
  command->footer(
      "Examples:\n"
      "  holdfast policy set people '$.tags' merge --db notes.hf\n"
      "  holdfast policy set notes '$.text' timestamp --type text --db notes.hf\n"
      "  holdfast policy set orders '$.lines.*.price' user_choice --deadline 2 --db notes.hf");
  CLI::App* set = command->add_subcommand("set", "set it for a field and all below it");
  PolicyArguments& policy = args->policy;
  set->add_option("COLLECTION", policy.collection)->required();
  set->add_option("PATH", policy.path,
                  "$ for the whole collection, $.address.city, $.lines.*.price")
      ->required();
  set->add_option("STRATEGY", policy.strategy, "timestamp, priority, merge, user_choice or custom")
      ->required();
  set->add_option("--type", policy.type, "of the field: value, counter, set, list or text")
      ->capture_default_str();
  set->add_flag("--critical", policy.critical, "its conflicts wait for you under any strategy");
  set->add_option("--deadline", policy.deadline_hours,
                  "hours that a conflict waits for you before the fallback settles it")
      ->capture_default_str();
  set->add_option("--fallback", policy.fallback, "timestamp, priority or merge")
      ->capture_default_str();
  set->add_flag("--whole-records", policy.whole_records,
                "of $: a conflict is between whole documents");
  set->add_flag("--delete-wins", policy.delete_wins, "of $: a deletion beats concurrent edits");
  set->footer("Example:\n  holdfast policy set people '$' user_choice --db notes.hf");
  set->callback([&context, args] {
    context.run = [&context, args] { return set_policy(context, args->policy); };
  });
}

void add_edit_command(CLI::App& app, Context& context, const std::shared_ptr<Arguments>& args) {
  CLI::App* command =
      app.add_subcommand("edit", "change a counter, set, list or text that a policy declares");
  EditArguments& edits = args->edit;
  command->add_option("KEY", edits.key)->required();
  command->add_option("PATH", edits.path, "of the field, like $.todo")->required();
  command->add_option("-c,--collection", edits.collection)->capture_default_str();
  command->add_option("--add", edits.add, "N: to a counter; a negative one as --add=-1");
  command->add_option("--insert-member", edits.insert_member, "JSON: into a set");
  command->add_option("--remove-member", edits.remove_member, "JSON: from a set");
  command->add_option("--insert", edits.insert, "AT JSON: into a list, AT from 0 on")->expected(2);
  command->add_option("--move", edits.move, "FROM TO: within a list")->expected(2);
  command->add_option("--erase", edits.erase, "AT: from a list");
  command->add_option("--text", edits.text, "AT COUNT TEXT: instead of COUNT characters of a text")
      ->expected(3);
  command->footer(
      "Examples:\n"
      "  holdfast edit trip '$.packing' --move 2 0 --db notes.hf\n"
      "  holdfast edit trip '$.text' --text 0 0 'Dear Ada, ' --db notes.hf");
  command->callback(
      [&context, args] { context.run = [&context, args] { return edit(context, args->edit); }; });
}

}  // namespace

void add_conflict_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto on = [&context](CLI::App* command, std::function<int()> work) {
    command->callback([&context, work = std::move(work)] { context.run = work; });
  };
  add_policy_commands(app, context, args);
  CLI::App* command = nullptr;
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

  add_edit_command(app, context, args);

  command = app.add_subcommand(
      "history",
      "what a record said before, what came last first; exit code 1 where there is none");
  command->add_option("KEY", args->key)->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->footer("Example:\n  holdfast history shopping --db notes.hf");
  on(command, [&context, args] { return history(context, {args->collection, args->key}); });

  command = app.add_subcommand("undo", "put back what a change replaced, as a new change");
  command->add_option("CHANGE", args->change, "from 'holdfast history'")->required();
  command->footer("Example:\n  holdfast undo 23b4ade457158582bb8379498c213800:7 --db notes.hf");
  on(command, [&context, args] { return undo(context, args->change); });
}

}  // namespace holdfast::cli
