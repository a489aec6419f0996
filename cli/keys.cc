// key ls, add-passphrase, add-file, add-recovery, change, rm, rekey, export.

#include <fmt/format.h>

#include <cstdio>

#include "cli/command.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  unsigned slot = 0;
  std::string file;
  std::string new_passphrase_file;
};

int list(const Context& context) {
  auto store = open_store(context);
  json all = json::array();
  for (const KeySlotInfo& slot : store->key_slots()) {
    if (!context.json) {
      print_line(fmt::format("{}  {:<14}  {}", slot.number, slot.kind, time_text(slot.created_ms)));
    }
    all.push_back({{"slot", slot.number}, {"kind", slot.kind}, {"created_at", slot.created_ms}});
  }
  if (context.json) print_line(json_text(all));
  return kDone;
}

int added(const Context& context, unsigned slot) {
  if (context.json) {
    print_line(json{{"slot", slot}}.dump());
  } else {
    print_line(fmt::format("key slot {}", slot));
  }
  return kDone;
}

int add_recovery(const Context& context, const std::string& file) {
  auto store = open_store(context);
  constexpr std::size_t kMostKeys = 8;
  if (store->key_slots().size() >= kMostKeys) {
    throw Error(ErrorCode::too_large,
                "the store has as many keys as it can have: remove one first");
  }
  Wiped secret{generate_recovery_code()};
  const std::string& code = secret.text;
  // Out of our hands before it opens anything: a code that nobody has seen would be worth nothing.
  hand_out_code(context, code, file, "It is for this file, not for the vault.");
  unsigned slot = store->add_key(UserKey::recovery_code(code));
  note(context, fmt::format("It opens this store, as key slot {}: put it into a file and give that "
                            "as --key-file.",
                            slot));
  return kDone;
}

std::uint8_t slot_number(unsigned slot) {
  if (slot > 255) throw UsageError("there is no such key slot: see 'holdfast key ls'");
  return static_cast<std::uint8_t>(slot);
}

}  // namespace

void add_key_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  CLI::App* key = app.add_subcommand("key", "the keys that open the store");
  key->require_subcommand(1);
  key->footer("Example:\n  holdfast key add-recovery --db notes.hf");
  auto command = [&](const char* name, const char* what, const char* example,
                     std::function<int()> work) {
    CLI::App* out = key->add_subcommand(name, what);
    out->footer(std::string("Example:\n  holdfast key ") + example);
    out->callback([&context, work = std::move(work)] { context.run = work; });
    return out;
  };

  command("ls", "list them", "ls --db notes.hf", [&context] { return list(context); });

  CLI::App* add = command(
      "add-passphrase", "let another passphrase open it, too", "add-passphrase --db notes.hf",
      [&context, args] {
        auto store = open_store(context);
        return added(context, store->add_key(read_new_passphrase(args->new_passphrase_file)));
      });
  add->add_option("--new-passphrase-file", args->new_passphrase_file,
                  "the new one (or HOLDFAST_NEW_PASSPHRASE, or a prompt)");

  add = command("add-file", "let a key file open it, too", "add-file new.key --db notes.hf",
                [&context, args] {
                  UserKey extra = read_key_file(args->file);
                  auto store = open_store(context);
                  return added(context, store->add_key(extra));
                });
  add->add_option("FILE", args->file, "32 raw bytes, or a Fernet key")->required();

  add = command("add-recovery", "let a new recovery code open it, too; prints it once",
                "add-recovery --out code.txt --db notes.hf",
                [&context, args] { return add_recovery(context, args->file); });
  add->add_option("--out", args->file, "write the code to a new file instead");

  add = command("change", "put a new passphrase in a slot's place", "change 1 --db notes.hf",
                [&context, args] {
                  auto store = open_store(context);
                  store->change_key(slot_number(args->slot),
                                    read_new_passphrase(args->new_passphrase_file));
                  return kDone;
                });
  add->add_option("SLOT", args->slot, "its number, from 'key ls'")->required();
  add->add_option("--new-passphrase-file", args->new_passphrase_file,
                  "the new one (or HOLDFAST_NEW_PASSPHRASE, or a prompt)");

  add = command("rm", "remove a key: it opens this file no more", "rm 2 --db notes.hf",
                [&context, args] {
                  open_store(context)->remove_key(slot_number(args->slot));
                  note(context, "That key opens this file no more; older copies of it, it does.");
                  return kDone;
                });
  add->add_option("SLOT", args->slot, "its number, from 'key ls'")->required();

  command("rekey", "encrypt everything anew, so that old copies of the data key open nothing",
          "rekey --db notes.hf", [&context] {
            auto store = open_store(context);
            with_progress(context, [&](const Progress& progress) { store->rekey(progress); });
            note(context, "Every key slot opens it as before; keys that were exported do not.");
            return kDone;
          });

  add = command("export", "write the data key to a new file, under the passphrase of the prompt",
                "export key-backup.txt --db notes.hf", [&context, args] {
                  auto store = open_store(context);
                  Wiped password = read_new_password(args->new_passphrase_file);
                  write_new_file(args->file, store->export_key_for_backup(password.text) + "\n");
                  note(context, "It opens the store as --key-file, until the next 'key rekey'.");
                  return kDone;
                });
  add->add_option("FILE", args->file)->required();
  add->add_option("--new-passphrase-file", args->new_passphrase_file,
                  "the passphrase for it (or HOLDFAST_NEW_PASSPHRASE, or a prompt)");
}

}  // namespace holdfast::cli
