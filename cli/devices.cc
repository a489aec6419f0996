// device ls, invite, join, rename, revoke.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/command.h"
#include "holdfast/vault.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string code, name, new_name, kind, relay, recovery_out;
  bool ticket = false, qr = false, yes = false, all = false;
};

std::string hex(const std::array<std::uint8_t, 16>& id) {
  std::string out;
  for (std::uint8_t byte : id) out += fmt::format("{:02x}", byte);
  return out;
}

json to_json(const Device& device) {
  return {{"id", hex(device.id)},
          {"name", device.name},
          {"kind", device.kind},
          {"state", device_state_name(device.state)},
          {"added_by", device.by_recovery ? "recovery code" : device.added_by},
          {"revoked_by", device.revoked_by},
          {"last_seen", device.last_seen_ms},
          {"this_device", device.this_device}};
}

void print_device(const Device& device) {
  std::string line = hex(device.id).substr(0, 8) + "  " + printable(device.name);
  if (!device.kind.empty()) line += " (" + printable(device.kind) + ")";
  if (device.this_device) line += "  this device";
  if (device.by_recovery) {
    line += ", came by the recovery code";
  } else if (!device.added_by.empty()) {
    line += ", let in by " + printable(device.added_by);
  }
  if (device.state == Device::State::revoked) {
    line += ", revoked by " + printable(device.revoked_by);
  } else if (!device.this_device) {
    line += device.last_seen_ms == 0 ? ", has sent nothing yet"
                                     : ", last sent something " + time_text(device.last_seen_ms);
  }
  if (device.state == Device::State::unconfirmed) {
    line += ", not yet confirmed by another device";
  }
  print_line(line);
}

int list(const Context& context, bool all) {
  auto store = open_store(context);
  json out = json::array();
  for (const Device& device : Vault(*store).devices()) {
    if (!all && device.state == Device::State::revoked && !device.this_device) continue;
    out.push_back(to_json(device));
    if (!context.json) print_device(device);
  }
  if (context.json) print_line(json_text(out));
  return kDone;
}

int invite_by_ticket(const Context& context) {
  auto store = open_store(context);
  std::string ticket = Vault(*store).invite_ticket();
  note(context, "One device may join with this within an hour. Whoever has it can read the vault:");
  print_line(context.json ? json_text({{"code", ticket}}) : ticket);
  return kDone;
}

void show_code(const Context& context, const std::string& code, bool qr, const std::string& relay) {
  if (qr && !context.quiet && ::isatty(STDERR_FILENO)) std::fputs(draw_qr(code).c_str(), stderr);
  note(context, qr ? "Scan this, or paste the line, on the other device within ten minutes:"
                   : "Within ten minutes, on the other device: holdfast device join CODE --relay " +
                         relay + " --name NAME --db FILE\nwith this code:");
  print_line(context.json ? json_text({{"code", code}}) : code);
  std::fflush(stdout);
}

int invite(const Context& context, const Arguments& args) {
  if (args.ticket) return invite_by_ticket(context);
  if (!args.yes)
    require_terminal("there is no terminal to confirm on: give --yes, or use --ticket");
  auto store = open_store(context);
  Vault vault(*store);
  std::string relay = vault.relay().value_or("");
  Interrupt interrupt;
  InviteOptions options;
  options.code = args.qr ? InviteOptions::Code::scanned : InviteOptions::Code::typed;
  options.cancelled = interrupt.flag();
  options.show = [&](const std::string& code) { show_code(context, code, args.qr, relay); };
  options.confirm = [&](const PairingPeer& peer) {
    std::string who = "'" + printable(peer.name) + "'";
    if (!peer.kind.empty()) who += " (" + printable(peer.kind) + ")";
    if (context.json) {
      print_line(json_text({{"name", peer.name}, {"fingerprint", peer.fingerprint}}));
    } else if (args.yes) {  // with --quiet, too: it is there to be compared
      std::fprintf(stderr, "%s joins; it shows %s\n", who.c_str(), peer.fingerprint.c_str());
    }
    if (args.yes) return true;
    return ask_yes("Let " + who + " in? It must show " + peer.fingerprint, interrupt.flag());
  };
  Device joined = vault.invite(options);
  if (context.json) {
    print_line(json_text({{"joined", to_json(joined)}}));
  } else {
    note(context, "'" + printable(joined.name) + "' is in the vault now.");
  }
  return kDone;
}

int join(const Context& context, const Arguments& args) {
  Wiped given{args.code == "-" ? read_standard_input(4096) : args.code};
  std::string& code = given.text;
  while (!code.empty() && std::isspace(static_cast<unsigned char>(code.back()))) code.pop_back();
  Interrupt interrupt;
  JoinOptions options;
  options.relay = args.relay;
  options.cancelled = interrupt.flag();
  options.show_fingerprint = [&](const std::string& digits) {
    // With --quiet, too: it is there to be compared.
    std::fprintf(stderr, "The other device must show %s. Confirm there.\n", digits.c_str());
  };
  check_usage([&] { Vault::check_join(code, {args.name, args.kind}, options); });
  auto store = open_store(context, StoreOptions::Open::or_create);
  Vault vault(*store);
  vault.join(code, {args.name, args.kind}, options);
  if (context.json) print_line(json_text({{"vault", vault.id()}}));
  note(context, "This device is in the vault now. 'holdfast sync' fetches its records.");
  return kDone;
}

int rename(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  Vault vault(*store);
  vault.refresh();
  Device device = vault.find_device(args.name);
  vault.rename(device.id, {args.new_name, args.kind.empty() ? device.kind : args.kind});
  if (context.json) print_line(json_text(to_json(vault.find_device(hex(device.id)))));
  return kDone;
}

int revoke(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  Vault vault(*store);
  vault.refresh();  // it may have come in just now
  Device device = vault.find_device(args.name);
  Interrupt interrupt;
  std::string who = "'" + printable(device.name) + "'";
  if (!args.yes) require_terminal("there is no terminal to ask on: give --yes");
  if (!args.yes && !ask_yes("Take " + who + " out of the vault, for good?", interrupt.flag())) {
    note(context, "Nothing was changed.");
    return kFailed;
  }
  vault.revoke(device.id, [&](const std::string& code) {
    note(context, who + " replaced the vault's recovery code and may know it: here is a new one.");
    hand_out_code(context, code, args.recovery_out, "It counts once this command has succeeded.");
  });
  if (context.json) {
    for (const Device& out : vault.devices()) {
      if (out.id == device.id) print_line(json_text(to_json(out)));
    }
  }
  note(context, who +
                    " is out: it gets nothing new. What it has it keeps. 'holdfast sync' seals "
                    "what you have under the vault's new key.");
  return kDone;
}

}  // namespace

void add_device_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  CLI::App* device =
      app.add_subcommand("device", "the vault's devices: ls, invite, join, rename, revoke");
  device->require_subcommand(1);
  device->footer(
      "Example, side by side:\n  holdfast device invite --db laptop.hf\n"
      "  holdfast device join ABCD-EFGH-JKMN --relay https://relay.example --db phone.hf --name "
      "phone");
  auto add = [&](const char* name, const char* what, const char* example,
                 int (*work)(const Context&, const Arguments&)) {
    CLI::App* command = device->add_subcommand(name, what);
    command->footer(std::string("Example:\n  holdfast device ") + example);
    command->callback([&context, args, work] {
      context.run = [&context, args, work] { return work(context, *args); };
    });
    return command;
  };

  CLI::App* command = add("ls", "list them, as of the last sync", "ls --db notes.hf",
                          [](const Context& c, const Arguments& a) { return list(c, a.all); });
  command->add_flag("--all", args->all, "those that were revoked, too");

  command = add("invite", "let one other device join; waits until it has", "invite --db laptop.hf",
                invite);
  auto* ticket = command->add_flag("--ticket", args->ticket,
                                   "by a code for later, for scripts; prints the code and returns");
  command->add_flag("--qr", args->qr, "by a code to scan or paste, drawn on the terminal")
      ->excludes(ticket);
  command->add_flag("--yes", args->yes, "let it in without asking (compare nothing)");

  command =
      add("join", "enter a vault, with a new store if need be",
          "join ABCD-EFGH-JKMN --relay https://relay.example --db phone.hf --name phone", join);
  command->add_option("CODE", args->code, "what 'device invite' gave, or - for standard input")
      ->required();
  command->add_option("--name", args->name, "this device's name")->required();
  command->add_option("--kind", args->kind, "what it is: phone, laptop, …");
  command->add_option("--relay", args->relay, "where the other device syncs, for a typed code");

  command =
      add("rename", "give a device another name", "rename phone 'old phone' --db notes.hf", rename);
  command->add_option("NAME", args->name, "its name, or the first 8 digits of its id")->required();
  command->add_option("NEW", args->new_name)->required();
  command->add_option("--kind", args->kind, "what it is: phone, laptop, …");

  command = add("revoke", "take a device out, and change the vault's key",
                "revoke 'old phone' --db notes.hf", revoke);
  command->add_option("NAME", args->name, "its name, or the first 8 digits of its id")->required();
  command->add_flag("--yes", args->yes, "do not ask");
  command->add_option("--recovery-out", args->recovery_out,
                      "where a new recovery code goes, if the device may know the old one");
}

}  // namespace holdfast::cli
