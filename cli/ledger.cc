// egress ls, head, verify, export, forget: the ledger.

#include <fmt/format.h>

#include "cli/command.h"
#include "holdfast/privacy_ledger.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string head, file;
  std::uint64_t index = 0;
  bool payloads = false;
};

std::string text_of(const json& entry, const char* name) {
  auto found = entry.find(name);
  if (found == entry.end()) return "";
  return printable(found->is_string() ? found->get<std::string>() : found->dump());
}

int list(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  PrivacyLedger(*store).for_each([&](const LedgerEntry& entry) {
    if (context.json) {
      json line = entry.entry;
      line["index"] = entry.index;
      if (args.payloads && entry.payload) line["sent_payload"] = *entry.payload;
      print_line(json_text(line));
      return true;
    }
    std::string egress = text_of(entry.entry, "egress");
    std::string reason = text_of(entry.entry, "reason");
    print_line(fmt::format("{:>6}  {}  {:<11} {} {} {}{}", entry.index,
                           time_text(entry.entry.value("time_ms", std::int64_t{0})),
                           text_of(entry.entry, "kind"), text_of(entry.entry, "data_type"),
                           text_of(entry.entry, "destination"),
                           egress.empty() ? "" : egress.substr(0, 8),
                           reason.empty() ? "" : " (" + reason + ")") +
               (entry.entry.value("dropped", json(0)) == 0
                    ? ""
                    : ", dropped " + text_of(entry.entry, "dropped")));
    if (args.payloads && entry.payload) print_line("        " + json_text(*entry.payload));
    return true;
  });
  return kDone;
}

void print_head(const Context& context, const LedgerHead& head) {
  if (context.json) {
    print_line(json_text({{"size", head.size}, {"root", head.root}}));
  } else {
    print_line(head.text());
  }
}

int head(const Context& context, const Arguments&) {
  auto store = open_store(context);
  print_head(context, PrivacyLedger(*store).head());
  return kDone;
}

int verify(const Context& context, const Arguments& args) {
  std::optional<LedgerHead> known;
  check_usage([&] {
    if (!args.head.empty()) known = LedgerHead::parse(args.head);
  });
  auto store = open_store(context);
  print_head(context, PrivacyLedger(*store).verify(known));
  note(context, known ? "nothing was removed or altered since that head"
                      : "the ledger fits together; keep this head elsewhere, and give it with "
                        "--head to see that nothing was removed since");
  return kDone;
}

int export_ledger(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  PrivacyLedger ledger(*store);
  if (args.file == "-") {
    ledger.export_ndjson(print_line);
    return kDone;
  }
  std::string text;
  ledger.export_ndjson([&](const std::string& line) { text += line + "\n"; });
  write_new_file(args.file, text);
  note(context, "written to " + args.file);
  return kDone;
}

int forget(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  if (!PrivacyLedger(*store).forget_payload(args.index)) {
    throw Error(ErrorCode::not_found,
                "no payload is kept for that entry: 'egress ls --payloads' shows which have one");
  }
  note(context, "the payload is forgotten; the entry and its proofs stay");
  return kDone;
}

}  // namespace

void add_ledger_commands(CLI::App& egress, Context& context) {
  auto args = std::make_shared<Arguments>();
  auto add = [&](const char* name, const char* what, const char* example,
                 int (*work)(const Context&, const Arguments&)) {
    CLI::App* command = egress.add_subcommand(name, what);
    command->footer(std::string("Example:\n  holdfast egress ") + example);
    command->callback([&context, args, work] {
      context.run = [&context, args, work] { return work(context, *args); };
    });
    return command;
  };
  CLI::App* command =
      add("ls", "everything that was asked, permitted and sent", "ls --db notes.hf", list);
  command->add_flag("--payloads", args->payloads, "with what was sent");
  add("head", "the whole ledger in one line, to be kept elsewhere", "head --db notes.hf", head);
  command = add("verify", "see that nothing was altered or removed",
                "verify --head 12:9f2c… --db notes.hf", verify);
  command->add_option("--head", args->head, "an earlier head, as 'egress head' printed it");
  command = add("export", "entries with proofs as NDJSON, without payloads",
                "export ledger.ndjson --db notes.hf", export_ledger);
  command->add_option("FILE", args->file, "a new file, or -")->required();
  command = add("forget", "forget what one entry's payload was", "forget 12 --db notes.hf", forget);
  command->add_option("INDEX", args->index, "of the entry")->required();
}

}  // namespace holdfast::cli
