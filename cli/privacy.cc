// consent ls, grant, revoke, export; egress preview, send, flush, queue, budget, report.

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "cli/command.h"
#include "holdfast/privacy_first_sync.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string policy, data_type, purpose, destination, data, sample, id;
  int days = 30;
  bool yes = false, renew = false, all = false;
};

std::string policy_path(const Arguments& args) {
  const char* set = std::getenv("HOLDFAST_POLICY");
  return args.policy.empty() && set ? set : args.policy;
}

PrivacyPolicy read_policy(const Arguments& args) {
  constexpr std::size_t kLimit = 512 * 1024;
  std::string path = policy_path(args);
  if (path.empty()) {
    throw UsageError("which privacy policy? Give --policy FILE or set HOLDFAST_POLICY");
  }
  std::ifstream in(path, std::ios::binary);
  std::string text(kLimit + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in && !in.eof()) {
    throw Error(ErrorCode::not_found, "cannot read the privacy policy " + path);
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kLimit) {
    throw Error(ErrorCode::too_large, path + " is no privacy policy: it is larger than 512 KiB");
  }
  try {
    return PrivacyPolicy::parse(text);
  } catch (const Error& error) {
    throw Error(error.code(), path + ": " + error.what());
  }
}

json read_data(const std::string& argument) {
  try {
    return read_json(argument);
  } catch (const Error& error) {
    throw Error(error.code(), std::string("the data: ") + error.what());
  }
}

json to_json(const FieldChange& change) {
  return {{"path", change.path},
          {"action", change.action},
          {"before", change.before},
          {"after", change.after ? *change.after : json(nullptr)},
          {"dropped", !change.after.has_value()}};
}

json to_json(const Grant& grant) {
  return {{"id", grant.id},
          {"data_type", grant.data_type},
          {"purpose", grant.purpose},
          {"destination", grant.destination},
          {"policy", grant.policy_hash},
          {"given_ms", grant.given_ms},
          {"until_ms", grant.until_ms},
          {"device", grant.device},
          {"state", grant_state_name(grant.state)}};
}

void show_changes(const std::vector<FieldChange>& changes,
                  const std::function<void(const std::string&)>& print) {
  for (const FieldChange& change : changes) {
    std::string after = change.after ? json_text(*change.after) : "(not sent)";
    print(fmt::format("  {:<24} {:<11} {} -> {}", printable(change.path), change.action,
                      json_text(change.before), after));
  }
}

// The whole request, on the terminal.
bool ask(const Context& context, const Arguments& args, const PrivacyPolicy& policy,
         const PermissionRequest& request, bool has_sample) {
  note(context,
       fmt::format(
           "\nMay this leave?\n"
           "  what         {} ({})\n"
           "  what for     {} ({})\n"
           "  to           {}, {} ({}), {}\n"
           "  linked       {}\n"
           "  until        {}, or until you take it back",
           request.data_type, printable(request.data_type_text), request.purpose,
           printable(request.purpose_text), request.destination, printable(request.controller),
           printable(request.jurisdiction), printable(request.contact),
           request.linked ? "they can tell whose data it is" : "it is not linked to who you are",
           time_text(request.until_ms)));
  if (has_sample) {
    note(context, "Of the sample this would be sent:\n  " + json_text(request.preview) + "\nfrom:");
    show_changes(request.fields, [&](const std::string& line) { note(context, line); });
  } else {
    note(context, "These fields of it, and no others (--sample shows what would be sent of data):");
    for (const json& type : policy.app_store_report()["data_types"]) {
      if (type["data_type"] != request.data_type) continue;
      for (const json& field : type["fields"]) {
        note(context, fmt::format("  {:<24} {}", printable(field["field"].get<std::string>()),
                                  field["action"].get<std::string>()));
      }
    }
  }
  if (args.renew) note(context, "A no also ends the permission that there is.");
  if (args.yes) return true;
  Interrupt interrupt;
  return ask_yes("Permit it?", interrupt.flag());
}

int consent_grant(const Context& context, const Arguments& args) {
  if (!args.yes) require_terminal("answer with --yes, after reading what the policy says");
  PrivacyPolicy policy = read_policy(args);
  PermissionOptions options;
  options.destination = args.destination;
  options.lifetime_days = args.days;
  options.renew = args.renew;
  if (!args.sample.empty()) options.sample = read_data(args.sample);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy, [&](const PermissionRequest& request) {
    return ask(context, args, policy, request, !args.sample.empty());
  });
  bool granted = sync.request_sync_permission(args.data_type, args.purpose, options);
  if (context.json) print_line(json_text({{"granted", granted}}));
  if (!granted) note(context, "denied: nothing leaves");
  return granted ? kDone : kFailed;
}

int consent_ls(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  json out = json::array();
  for (const Grant& grant : sync.grants()) {
    if (context.json) {
      out.push_back(to_json(grant));
    } else {
      bool holds = grant.state == Grant::State::in_force;
      print_line(fmt::format("{}  {:<9} {} for {} to {}{}", grant.id.substr(0, 8),
                             grant_state_name(grant.state), printable(grant.data_type),
                             printable(grant.purpose), printable(grant.destination),
                             holds ? ", until " + time_text(grant.until_ms) : ""));
    }
  }
  if (context.json) print_line(json_text(out));
  return kDone;
}

int consent_revoke(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  std::size_t ended = sync.revoke(args.data_type, args.purpose, args.destination);
  if (context.json) print_line(json_text({{"ended", ended}}));
  note(context,
       fmt::format("{} permissions ended here; other devices follow with their next sync", ended));
  return kDone;
}

int consent_export(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  std::string id;
  for (const Grant& grant : sync.grants()) {
    if (!grant.id.starts_with(args.id)) continue;
    if (!id.empty()) throw UsageError("several decisions start with this: give more of the id");
    id = grant.id;
  }
  print_line(json_text(sync.export_grant(id)));
  return kDone;
}

int egress_preview(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  json data = read_data(args.data);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  AnonymizedDocument shown = sync.preview(data, args.destination, {args.data_type, args.purpose});
  if (context.json) {
    json fields = json::array();
    for (const FieldChange& change : shown.changes) fields.push_back(to_json(change));
    print_line(json_text({{"document", shown.document}, {"fields", fields}}));
    return kDone;
  }
  print_line(json_text(shown.document));
  show_changes(shown.changes, [&](const std::string& line) { note(context, line); });
  return kDone;
}

int egress_send(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  json data = read_data(args.data);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  SendResult result =
      sync.sync_with_privacy(data, args.destination, {args.data_type, args.purpose});
  if (context.json) {
    print_line(json_text({{"status", send_status_name(result.status)},
                          {"reason", result.reason},
                          {"message", result.message},
                          {"egress", result.egress}}));
  } else {
    print_line(send_status_name(result.status) +
               (result.egress.empty() ? "" : " " + result.egress));
    if (!result.message.empty()) note(context, "holdfast: " + result.message);
  }
  if (result.status == SendResult::Status::sent) return kDone;
  return result.status == SendResult::Status::queued ? kOffline : kFailed;
}

int egress_flush(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  Interrupt interrupt;
  QueueReport report = sync.send_queued(args.all, interrupt.flag());
  if (context.json) {
    print_line(json_text(
        {{"sent", report.sent}, {"dropped", report.dropped}, {"waiting", report.waiting}}));
  } else {
    print_line(fmt::format("{} sent, {} dropped, {} waiting", report.sent, report.dropped,
                           report.waiting));
  }
  if (report.waiting == 0) return kDone;
  note(context, args.all ? "holdfast: what waits could not be sent now: run this again later"
                         : "holdfast: what waits is tried again later: run this again, or with "
                           "--all now");
  return kOffline;
}

int egress_queue(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  json out = json::array();
  for (const QueuedEgress& one : sync.queue()) {
    if (context.json) {
      out.push_back({{"egress", one.egress},
                     {"grant", one.grant},
                     {"data_type", one.data_type},
                     {"purpose", one.purpose},
                     {"destination", one.destination},
                     {"attempts", one.attempts},
                     {"next_attempt_ms", one.next_attempt_ms}});
    } else {
      print_line(fmt::format("{}  {} to {}, tried {} times, next at {}", one.egress,
                             printable(one.data_type), printable(one.destination), one.attempts,
                             time_text(one.next_attempt_ms)));
    }
  }
  if (context.json) print_line(json_text(out));
  return kDone;
}

int egress_budget(const Context& context, const Arguments& args) {
  PrivacyPolicy policy = read_policy(args);
  auto store = open_store(context);
  PrivacyFirstSync sync(*store, policy);
  BudgetState state = sync.budget(args.data_type, args.purpose, args.destination);
  if (context.json) {
    print_line(json_text({{"left_today", state.today},
                          {"left", state.lifetime},
                          {"spent_today", state.spent_today},
                          {"spent", state.spent}}));
  } else {
    print_line(fmt::format("epsilon left on this device: {} today, {} for good; spent {} and {}",
                           state.today, state.lifetime, state.spent_today, state.spent));
  }
  return kDone;
}

int egress_report(const Context&, const Arguments& args) {
  print_line(json_text(read_policy(args).app_store_report()));
  return kDone;
}

using Work = int (*)(const Context&, const Arguments&);
using Adder =
    std::function<CLI::App*(const char* name, const char* what, const char* example, Work)>;

Adder adder(CLI::App* group, Context& context, const std::shared_ptr<Arguments>& args) {
  return
      [group, &context, args](const char* name, const char* what, const char* example, Work work) {
        CLI::App* command = group->add_subcommand(name, what);
        command->footer(std::string("Example:\n  holdfast ") + group->get_name() + " " + example);
        command->add_option("--policy", args->policy, "the privacy policy (or HOLDFAST_POLICY)");
        command->callback([&context, args, work] {
          context.run = [&context, args, work] { return work(context, *args); };
        });
        return command;
      };
}

void add_consent_commands(CLI::App& app, Context& context, const std::shared_ptr<Arguments>& args) {
  CLI::App* consent =
      app.add_subcommand("consent", "what may leave for others: ls, grant, revoke, export");
  consent->require_subcommand(1);
  consent->footer("Example:\n  holdfast consent ls --policy policy.json --db notes.hf");
  auto add = adder(consent, context, args);
  add("ls", "every decision, and whether it holds", "ls --policy policy.json --db notes.hf",
      consent_ls);
  CLI::App* command =
      add("grant", "ask for a permission, showing all that it is about",
          "grant usage_stats improve --policy policy.json --db notes.hf", consent_grant);
  command->add_option("DATA_TYPE", args->data_type, "what")->required();
  command->add_option("PURPOSE", args->purpose, "what for")->required();
  command->add_option("--to", args->destination, "the destination, where there are several");
  command->add_option("--days", args->days, "how long")
      ->check(CLI::Range(1, 366))
      ->capture_default_str();
  command->add_option("--sample", args->sample, "data as JSON, or -: shows what would be sent");
  command->add_flag("--yes", args->yes, "the answer is yes");
  command->add_flag("--renew", args->renew, "ask even where there is a permission; a no ends it");
  command = add("revoke", "take permissions back, at once and on every device",
                "revoke usage_stats --policy policy.json --db notes.hf", consent_revoke);
  command->add_option("DATA_TYPE", args->data_type, "what")->required();
  command->add_option("--purpose", args->purpose, "this purpose only");
  command->add_option("--to", args->destination, "this destination only");
  command = add("export", "a decision as a record of ISO/IEC TS 27560",
                "export 3f2a --policy policy.json --db notes.hf", consent_export);
  command->add_option("ID", args->id, "of the decision, or how it starts")->required();
}

void add_egress_commands(CLI::App& app, Context& context, const std::shared_ptr<Arguments>& args) {
  auto kind_options = [args](CLI::App* command) {
    command->add_option("--data-type", args->data_type, "where several fit");
    command->add_option("--purpose", args->purpose, "where several fit");
  };

  CLI::App* egress = app.add_subcommand(
      "egress",
      "what leaves for others, and the ledger of it: preview, send, flush, queue, budget, "
      "report, ls, head, verify, export, forget");
  egress->require_subcommand(1);
  egress->footer("Example:\n  holdfast egress ls --db notes.hf");
  auto add = adder(egress, context, args);
  CLI::App* command = add(
      "preview", "what a policy makes of data; sends nothing",
      "preview '{\"latency\": 12}' --to models --policy policy.json --db notes.hf", egress_preview);
  command->add_option("JSON", args->data, "the data, or -")->required();
  command->add_option("--to", args->destination, "the destination")->required();
  kind_options(command);
  command = add("send", "anonymise, seal, enter in the ledger, and send",
                "send - --to models --policy policy.json --db notes.hf <stats.json", egress_send);
  command->add_option("JSON", args->data, "the data, or -")->required();
  command->add_option("--to", args->destination, "the destination")->required();
  kind_options(command);
  command = add("flush", "send what waits and is due", "flush --policy policy.json --db notes.hf",
                egress_flush);
  command->add_flag("--all", args->all, "also what is not due yet");
  add("queue", "what waits to be sent", "queue --policy policy.json --db notes.hf", egress_queue);
  command = add("budget", "what noise may still cost",
                "budget --to models --policy policy.json --db notes.hf", egress_budget);
  command->add_option("--to", args->destination, "the destination")->required();
  kind_options(command);
  add("report", "what an app store's privacy form asks for, from the policy",
      "report --policy policy.json", egress_report);
  add_ledger_commands(*egress, context);
}

}  // namespace

void add_privacy_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  add_consent_commands(app, context, args);
  add_egress_commands(app, context, args);
}

}  // namespace holdfast::cli
