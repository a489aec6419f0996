// vault show, rotate, erase, recovery-code, recover.

#include "holdfast/vault.h"

#include <fmt/format.h>

#include "cli/command.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string relay, name, kind, code_file, out;
  bool sure = false;
};

int show(const Context& context, const Arguments&) {
  auto store = open_store(context);
  Vault vault(*store);
  std::optional<std::string> relay = vault.relay();
  if (context.json) {
    print_line(json_text({{"id", vault.id()},
                          {"epoch", vault.epoch()},
                          {"recovery_set_by", vault.recovery_set_by()},
                          {"relay", relay ? json(*relay) : json(nullptr)}}));
    return kDone;
  }
  print_line("id      " + vault.id());
  print_line(fmt::format("key     changed {} times", vault.epoch()));
  print_line("relay   " + relay.value_or("none chosen"));
  std::string by = vault.recovery_set_by();
  if (!by.empty()) print_line("code    replaced on " + printable(by));
  return kDone;
}

int rotate(const Context& context, const Arguments&) {
  auto store = open_store(context);
  Vault vault(*store);
  vault.rotate_key();
  if (context.json) print_line(json_text({{"epoch", vault.epoch()}}));
  note(context,
       "From now on the vault seals under a new key. Unspent tickets are void; every device gets "
       "the key with its next sync.");
  return kDone;
}

int erase(const Context& context, const Arguments& args) {
  if (!args.sure) {
    throw UsageError("this is for all devices, and for good: say --yes");
  }
  auto store = open_store(context);
  std::optional<std::uint32_t> days = Vault(*store).erase_from_relay();
  if (context.json)
    print_line(json_text({{"backup_days", days ? nlohmann::json(*days) : nlohmann::json()}}));
  std::string backups = "It does not say when backups of it are thrown away: ask who runs it.";
  if (days) {
    backups = *days == 0 ? "It says that there are no backups of it."
                         : fmt::format("It says that its backups forget it within {} days.", *days);
  }
  note(context, "The relay has forgotten the vault. " + backups +
                    " This store and the other devices' keep what they have.");
  return kDone;
}

int replace_code(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  Vault(*store).replace_recovery_code([&](const std::string& code) {
    hand_out_code(context, code, args.out, "It counts once this command has succeeded.");
  });
  note(context, "The old code opens nothing new any more.");
  return kDone;
}

int recover(const Context& context, const Arguments& args) {
  Wiped code = read_recovery_code(args.code_file);
  check_usage([&] { Vault::check_recover(code.text, args.relay, {args.name, args.kind}); });
  auto store = open_store(context, StoreOptions::Open::or_create);
  Vault(*store).recover(code.text, args.relay, {args.name, args.kind},
                        [&](const std::string& next) {
                          hand_out_code(context, next, args.out,
                                        "It takes the place of the one that you gave, once this "
                                        "command has succeeded.");
                        });
  note(context,
       "This device is the vault's only one now; all others are out. 'holdfast sync' fetches the "
       "records.");
  return kDone;
}

}  // namespace

void add_vault_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  CLI::App* vault = app.add_subcommand(
      "vault", "the vault's key and recovery: show, rotate, erase, recovery-code, recover");
  vault->require_subcommand(1);
  vault->footer("Example:\n  holdfast vault rotate --db notes.hf");
  auto add = [&](const char* name, const char* what, const char* example,
                 int (*work)(const Context&, const Arguments&)) {
    CLI::App* command = vault->add_subcommand(name, what);
    command->footer(std::string("Example:\n  holdfast vault ") + example);
    command->callback([&context, args, work] {
      context.run = [&context, args, work] { return work(context, *args); };
    });
    return command;
  };
  add("show", "its id, relay, and how often its key was changed", "show --db notes.hf", show);
  add("rotate", "change its key: all that comes is sealed under a new one", "rotate --db notes.hf",
      rotate);
  CLI::App* command = add("erase", "have the relay forget the vault, for all devices and for good",
                          "erase --yes --db notes.hf", erase);
  command->add_flag("--yes", args->sure, "sure");
  command =
      add("recovery-code", "replace the recovery code, and the key with it; prints the code once",
          "recovery-code --recovery-out code.txt --db notes.hf", replace_code);
  command->add_option("--recovery-out", args->out, "write the code to a new file instead");

  command =
      add("recover", "when every device is lost: enter with the recovery code, in a new store",
          "recover --relay https://relay.example --name phone --db new.hf", recover);
  command->add_option("--relay", args->relay, "where the vault is registered")->required();
  command->add_option("--name", args->name, "this device's name")->required();
  command->add_option("--kind", args->kind, "what it is: phone, laptop, …");
  command->add_option("--code-file", args->code_file,
                      "the code (or HOLDFAST_RECOVERY_CODE, or a prompt)");
  command->add_option("--recovery-out", args->out, "write the new code to a new file instead");
}

}  // namespace holdfast::cli
