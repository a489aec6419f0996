// backup, restore, import-fernet, export: records on their way to and from other files.

#include <fmt/format.h>

#include "cli/command.h"
#include "holdfast/backup.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string file, collection = "records", backup_key_file, backup_passphrase_file, key_file;
  bool replace = false, fernet = false, plaintext = false;
};

// The backup's own key, where one was given; by default it is the store's.
UserKey backup_key(const Context& context, const Arguments& args, bool is_new) {
  Context other = context;
  if (!args.backup_key_file.empty() || !args.backup_passphrase_file.empty()) {
    other.key_file = args.backup_key_file;
    other.passphrase_file = args.backup_passphrase_file;
  }
  return read_key(other, is_new);
}

void report(const Context& context, const char* what, const BackupReport& done) {
  if (context.json) {
    print_line(json{{"records", done.records}, {"bytes", done.bytes}}.dump());
  } else {
    print_line(fmt::format("{} {} records, {} bytes", what, done.records, done.bytes));
  }
}

int make_backup(const Context& context, const Arguments& args) {
  UserKey key = read_key(context, false);
  UserKey seal = args.backup_key_file.empty() && args.backup_passphrase_file.empty()
                     ? key
                     : backup_key(context, args, true);
  auto store = open_store(context, key);
  with_progress(context, [&](const Progress& progress) {
    report(context, "saved", backup(*store, args.file, seal, progress));
  });
  return kDone;
}

int restore_backup(const Context& context, const Arguments& args) {
  std::string db = store_path(context);
  UserKey key = read_key(context, true);
  UserKey seal = args.backup_key_file.empty() && args.backup_passphrase_file.empty()
                     ? key
                     : backup_key(context, args, false);
  RestoreOptions options;
  options.replace = args.replace;
  with_progress(context, [&](const Progress& progress) {
    report(context, "restored", restore(args.file, seal, db, key, options, progress));
  });
  note(context,
       "This store is a new device, in no vault: 'holdfast device join' lets it into one, "
       "'holdfast init' makes one.");
  return kDone;
}

int import_tokens(const Context& context, const Arguments& args) {
  Fernet keys(read_fernet_keys(args.key_file));
  auto store = open_store(context);
  std::uint64_t count = 0;
  with_progress(context, [&](const Progress& progress) {
    count = import_fernet(*store, args.file, keys, args.collection, progress);
  });
  if (context.json) {
    print_line(json{{"imported", count}}.dump());
  } else {
    print_line(fmt::format("imported {} records", count));
  }
  return kDone;
}

int export_records(const Context& context, const Arguments& args) {
  if (args.fernet == args.plaintext) {
    throw UsageError(
        "say how: --fernet FILE --fernet-key-file KEY for a database of tokens, or --plaintext for "
        "documents that anybody can read");
  }
  if (args.fernet == args.file.empty()) {
    throw UsageError(args.fernet
                         ? "which FILE is to be made?"
                         : "--plaintext writes to standard output: redirect that to a file");
  }
  if (args.fernet) {
    Fernet keys(read_fernet_keys(args.key_file));
    auto store = open_store(context);
    std::uint64_t count = 0;
    with_progress(context, [&](const Progress& progress) {
      count = export_fernet(*store, args.file, keys, args.collection, progress);
    });
    note(context,
         fmt::format("exported {} records; their ids and times are readable there", count));
    return kDone;
  }
  auto store = open_store(context);
  for (const std::string& id : store->list(args.collection)) {
    auto found = store->retrieve_versioned({args.collection, id});
    if (!found) continue;
    print_line(json_text({{"collection", args.collection},
                          {"id", id},
                          {"created_at", found->created_ms},
                          {"updated_at", found->updated_ms},
                          {"document", found->document}}));
  }
  return kDone;
}

}  // namespace

void add_moving_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto add = [&](const char* name, const char* what, const char* example,
                 int (*work)(const Context&, const Arguments&)) {
    CLI::App* command = app.add_subcommand(name, what);
    command->footer(std::string("Example:\n  holdfast ") + example);
    command->callback([&context, args, work] {
      context.run = [&context, args, work] { return work(context, *args); };
    });
    return command;
  };
  auto backup_key_options = [&](CLI::App* command) {
    command->add_option("--backup-key-file", args->backup_key_file,
                        "the backup's key, where it is not the store's");
    command->add_option("--backup-passphrase-file", args->backup_passphrase_file,
                        "the backup's passphrase, where it is not the store's");
  };

  CLI::App* command = add("backup", "save all records in a sealed file, and check it",
                          "backup notes.backup --db notes.hf", make_backup);
  command->add_option("FILE", args->file, "a new file")->required();
  backup_key_options(command);

  command = add("restore", "make a store of a backup, once all of it has proved whole",
                "restore notes.backup --db restored.hf", restore_backup);
  command->add_option("FILE", args->file, "the backup")->required();
  command->add_flag("--replace", args->replace, "put it in the place of the store that --db names");
  backup_key_options(command);

  command = add("import-fernet",
                "import a plain SQLite database whose table encrypted_data(id, data) holds Fernet "
                "tokens of JSON",
                "import-fernet app_data.db --fernet-key-file old.key --db notes.hf", import_tokens);
  command->add_option("FILE", args->file, "the database")->required();
  command->add_option("--fernet-key-file", args->key_file, "its Fernet keys, one a line")
      ->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();

  command = add("export", "write a collection for other programs",
                "export --plaintext -c people --db notes.hf >people.ndjson", export_records);
  command->add_flag("--plaintext", args->plaintext,
                    "to standard output as NDJSON, readable by anybody who gets it");
  command->add_flag("--fernet", args->fernet, "to FILE, a plain SQLite database of Fernet tokens");
  command->add_option("FILE", args->file, "a new file, for --fernet");
  command->add_option("--fernet-key-file", args->key_file,
                      "the Fernet keys, one a line: the first "
                      "one seals");
  command->add_option("-c,--collection", args->collection)->capture_default_str();
}

}  // namespace holdfast::cli
