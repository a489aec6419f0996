// init, put, get, ls, rm, import, policy: what needs no relay.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "cli/command.h"
#include "holdfast/json.h"
#include "holdfast/vault.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxRecordText = 512 * 1024;

std::string this_machine() {
  char name[64] = "device";
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "device";
  return name;
}

struct InitOptions {
  std::string name, kind, recovery_out;
};

int init(const Context& context, const InitOptions& options) {
  auto store = open_store(context, StoreOptions::Open::or_create);
  Vault vault(*store);
  if (vault.exists()) {
    throw Error(ErrorCode::exists, "this store is in a vault already: there is nothing to make");
  }
  std::string name = options.name.empty() ? this_machine() : options.name;
  // Out of our hands before the vault exists: a code that nobody has seen would be worth nothing.
  vault.create({name, options.kind}, [&](const std::string& code) {
    hand_out_code(context, code, options.recovery_out,
                  "With it and the relay, 'holdfast vault recover' opens the vault when every "
                  "device is lost.");
  });
  return kDone;
}

int get(const Context& context, const Key& key, bool meta) {
  auto store = open_store(context);
  auto found = store->retrieve_versioned(key);
  if (!found) {
    note(context, "no record " + printable(key.id) + " in " + printable(key.collection));
    return kFailed;
  }
  if (meta) {
    print_line(json_text({{"collection", key.collection},
                          {"id", key.id},
                          {"created_at", found->created_ms},
                          {"updated_at", found->updated_ms},
                          {"document", found->document}}));
  } else {
    print_line(json_text(found->document));
  }
  return kDone;
}

int list(const Context& context, const std::string& collection) {
  auto store = open_store(context);
  std::vector<std::string> ids = store->list(collection);
  if (context.json) {
    print_line(json_text(ids));
  } else {
    for (const std::string& id : ids) print_line(printable(id));
  }
  return kDone;
}

int remove(const Context& context, const std::string& collection,
           const std::vector<std::string>& ids) {
  auto store = open_store(context);
  int code = kDone;
  store->transaction([&] {
    for (const std::string& id : ids) {
      if (store->remove({collection, id})) continue;
      note(context, "no record " + printable(id) + " in " + printable(collection));
      code = kFailed;
    }
  });
  return code;
}

// Reads records one by one from NDJSON, or from a JSON array of any size, without holding all of
// them.
class RecordReader {
 public:
  explicit RecordReader(std::istream& in) : in_(in) {
    skip_space();
    if (in_.peek() == '[') {
      in_.get();
      is_array_ = true;
      skip_space();
    }
  }

  // The next record's text; nothing at the end.
  std::optional<std::string> next() {
    std::optional<std::string> text = is_array_ ? next_element() : next_line();
    if (text) ++number_;
    return text;
  }
  std::uint64_t number() const { return number_; }

 private:
  [[noreturn]] void fail(const std::string& why) {
    throw Error(ErrorCode::malformed, "record " + std::to_string(number_ + 1) + ": " + why);
  }

  void skip_space() {
    while (in_.peek() != EOF && std::isspace(in_.peek())) in_.get();
  }

  void add(std::string& out, char c) {
    if (out.size() >= kMaxRecordText) {
      throw Error(ErrorCode::too_large, "record " + std::to_string(number_ + 1) +
                                            " is larger than 512 KiB, the limit of one record");
    }
    out += c;
  }

  std::optional<std::string> next_line() {
    skip_space();
    std::string out;
    for (int c = in_.get(); c != EOF && c != '\n'; c = in_.get()) add(out, static_cast<char>(c));
    if (in_.bad()) throw Error(ErrorCode::io, "cannot read the input");
    if (out.empty()) return std::nullopt;
    return out;
  }

  // Up to the comma or bracket that ends the element: brackets are counted outside strings.
  std::optional<std::string> next_element() {
    if (done_) return std::nullopt;
    std::string out;
    int depth = 0;
    bool in_string = false;
    for (;;) {
      int c = in_.get();
      if (c == EOF) fail("the JSON array ends too early");
      if (in_string) {
        add(out, static_cast<char>(c));
        if (c == '\\') {
          add(out, static_cast<char>(in_.get()));
        } else if (c == '"') {
          in_string = false;
        }
        continue;
      }
      if (depth == 0 && (c == ',' || c == ']')) {
        done_ = c == ']';
        break;
      }
      if (c == '"') in_string = true;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      add(out, static_cast<char>(c));
    }
    skip_space();
    if (done_ && in_.peek() != EOF) fail("something follows the JSON array");
    bool empty = out.find_first_not_of(" \t\r\n") == std::string::npos;
    if (empty && done_ && number_ == 0) return std::nullopt;
    if (empty) fail("it is empty");
    return out;
  }

  std::istream& in_;
  bool is_array_ = false;
  bool done_ = false;
  std::uint64_t number_ = 0;
};

std::string id_of(const json& document, const std::string& field) {
  auto found = document.find(field);
  if (found != document.end() && found->is_string()) return found->get<std::string>();
  if (found != document.end() && found->is_number_integer()) return found->dump();
  throw Error(ErrorCode::invalid_argument,
              "it has no string or number in its field '" + field +
                  "': name the field that identifies a record with --id");
}

int import(const Context& context, const std::string& file, const std::string& collection,
           const std::string& id_field) {
  std::ifstream from_file;
  if (file != "-") {
    from_file.open(file, std::ios::binary);
    if (!from_file) throw Error(ErrorCode::not_found, "cannot read " + file);
  }
  auto store = open_store(context);
  auto start = std::chrono::steady_clock::now();
  RecordReader reader(file == "-" ? std::cin : from_file);
  std::uint64_t count = 0;
  store->transaction([&] {
    ProgressLine progress(context, "importing");
    while (std::optional<std::string> text = reader.next()) {
      try {
        json document = parse_json(*text);
        if (!document.is_object()) {
          throw Error(ErrorCode::invalid_argument, "it is not a JSON object");
        }
        std::string id = id_of(document, id_field);
        store->store({collection, id}, std::move(document));
      } catch (const Error& error) {
        if (error.code() == ErrorCode::io || error.code() == ErrorCode::corrupt) throw;
        throw Error(error.code(), "record " + std::to_string(reader.number()) + ": " +
                                      error.what() + " (nothing was imported)");
      }
      progress.update(++count);
    }
  });
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double rate = static_cast<double>(count) / std::max(seconds, 1e-9);
  if (context.json) {
    print_line(
        json{{"imported", count}, {"seconds", seconds}, {"records_per_second", rate}}.dump());
  } else {
    print_line(
        fmt::format("imported {} records in {:.2f} s, {:.0f} a second", count, seconds, rate));
  }
  return kDone;
}

struct Arguments {
  std::string key, value, collection = "records", file, id_field = "id", name, kind;
  std::string recovery_out;
  std::vector<std::string> keys;
  std::optional<std::int64_t> priority;
  bool meta = false;
};

}  // namespace

void add_record_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto on = [&context](CLI::App* command, std::function<int()> work) {
    command->callback([&context, command, work = std::move(work)] {
      if (command->get_subcommands().empty()) context.run = work;
    });
  };

  CLI::App* command =
      app.add_subcommand("init", "make a new store and a vault with this device in it");
  command->add_option("--recovery-out", args->recovery_out,
                      "write the recovery code to a new file");
  command->add_option("--name", args->name, "this device's name (default: the machine's)");
  command->add_option("--kind", args->kind, "what it is: phone, laptop, …");
  command->footer("Example:\n  holdfast init --db notes.hf --name laptop");
  on(command,
     [&context, args] { return init(context, {args->name, args->kind, args->recovery_out}); });

  command = app.add_subcommand("put", "store a record: a JSON object, or - for standard input");
  command->add_option("KEY", args->key)->required();
  command->add_option("JSON", args->value)->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->add_option("--priority", args->priority,
                      "ranks this write under the strategy 'priority'");
  command->footer("Example:\n  holdfast put ada '{\"name\": \"Ada\"}' -c people --db notes.hf");
  on(command, [&context, args] {
    json document = read_json(args->value);
    auto store = open_store(context);
    store->store({args->collection, args->key}, std::move(document), WriteOptions{args->priority});
    return kDone;
  });

  command = app.add_subcommand("get", "print a record as JSON; exit code 1 where there is none");
  command->add_option("KEY", args->key)->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->add_flag("--meta", args->meta, "with its times");
  command->footer("Example:\n  holdfast get ada -c people --db notes.hf");
  on(command, [&context, args] { return get(context, {args->collection, args->key}, args->meta); });

  command = app.add_subcommand("ls", "list the keys of a collection");
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->footer("Example:\n  holdfast ls -c people --db notes.hf");
  on(command, [&context, args] { return list(context, args->collection); });

  command = app.add_subcommand("rm", "delete records; exit code 1 where one was not there");
  command->add_option("KEY", args->keys)->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->footer("Example:\n  holdfast rm ada grace -c people --db notes.hf");
  on(command, [&context, args] { return remove(context, args->collection, args->keys); });

  command =
      app.add_subcommand("import", "store records from NDJSON or a JSON array: all or nothing");
  command->add_option("FILE", args->file, "or - for standard input")->required();
  command->add_option("-c,--collection", args->collection)->capture_default_str();
  command->add_option("--id", args->id_field, "the field whose value is the record's key")
      ->capture_default_str();
  command->footer("Example:\n  holdfast import people.ndjson -c people --id email --db notes.hf");
  on(command,
     [&context, args] { return import(context, args->file, args->collection, args->id_field); });
}

}  // namespace holdfast::cli
