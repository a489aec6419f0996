// query, index, doctor: looking into a store.

#include <fmt/format.h>
#include <sys/stat.h>

#include <chrono>

#include "cli/command.h"
#include "holdfast/conflict_resolver.h"
#include "holdfast/incremental_sync.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;

struct Arguments {
  std::string sql, collection, path;
  std::vector<std::string> values;
  bool explain = false, drop = false;
};

int run_query(const Context& context, const Arguments& args) {
  std::vector<json> values;
  for (const std::string& text : args.values) {
    json value = json::parse(text, nullptr, false);  // JSON, or else text
    values.push_back(value.is_discarded() ? json(text) : value);
  }
  auto store = open_store(context);
  if (!args.explain) {
    store->query(args.sql, values, [](const json& row) {
      print_line(json_text(row));
      return true;
    });
    return kDone;
  }
  QueryPlan plan = store->explain(args.sql, values);
  json steps = json::array();
  for (const QueryStep& step : plan.steps) {
    steps.push_back({{"detail", step.detail}, {"scans", step.scans}});
    if (!context.json) {
      print_line(step.detail + (step.scans ? "   <- reads all of " + step.collection : ""));
    }
  }
  if (context.json) print_line(json_text({{"scans", plan.scans()}, {"steps", steps}}));
  if (plan.scans()) {
    note(context,
         "An index over a path that WHERE compares may help: 'holdfast index "
         "COLLECTION PATH'.");
  }
  return kDone;
}

int index(const Context& context, const Arguments& args) {
  auto store = open_store(context);
  if (args.collection.empty()) {
    json all = json::array();
    for (const IndexInfo& one : store->indexes()) {
      if (!context.json) print_line(printable(one.collection + " " + one.path));
      all.push_back({{"collection", one.collection}, {"path", one.path}});
    }
    if (context.json) print_line(json_text(all));
    return kDone;
  }
  if (args.path.empty()) throw UsageError("an index needs a path, such as $.due");
  try {
    bool done = args.drop ? store->drop_index(args.collection, args.path)
                          : store->create_index(args.collection, args.path);
    if (!done) note(context, args.drop ? "there is no such index" : "there is that index already");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    throw UsageError(error.what());
  }
  return kDone;
}

// What is wrong, and what to do: each finding with a name for scripts.
int doctor(const Context& context) {
  json findings = json::array();
  auto find = [&](const char* name, const std::string& message) {
    findings.push_back({{"finding", name}, {"message", message}});
    if (!context.json) print_line(printable(message));
  };
  std::string db = store_path(context);
  struct stat info{};
  if (::stat(db.c_str(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    find("permissions", db + " can be opened by other users of this machine: chmod 600 it");
  }
  auto store = open_store(context);
  with_progress(context, [&](const Progress& progress) {
    try {
      store->verify(progress);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt) throw;
      find("damaged", error.what());
    }
  });
  std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;
  for (const std::string& name : store->collections()) {
    bool future = false;
    for (const std::string& id : store->list(name)) {
      auto found = store->retrieve_versioned({name, id});
      if (found && found->updated_ms > now + kDayMs) future = true;
    }
    if (!future) continue;
    find("clock", "records of " + name +
                      " were written in the future: check this device's clock, and the others'");
  }
  for (const BatchProblem& problem : IncrementalSync(*store).problems()) {
    find(batch_problem_name(problem.kind),
         fmt::format("batch {} of the vault's log, by '{}': {}", problem.position, problem.device,
                     problem.reason));
  }
  std::size_t keys = store->key_slots().size();
  if (keys == 1) {
    find("one_key",
         "only one key opens this store: 'holdfast key add-recovery' makes a second, for paper");
  }
  if (context.json) print_line(json_text({{"findings", findings}}));
  note(context, findings.empty() ? "all is well: every page is what the store last wrote"
                                 : fmt::format("{} found", findings.size()));
  bool bad = std::any_of(findings.begin(), findings.end(),
                         [](const json& one) { return one["finding"] != "one_key"; });
  return bad ? kFailed : kDone;
}

}  // namespace

void add_query_commands(CLI::App& app, Context& context) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "query", "run one SELECT over collections: columns id, doc, created_at, updated_at");
  command->add_option("SQL", args->sql)->required();
  command->add_option("ARG", args->values, "values for each ?, JSON or else text");
  command->add_flag("--explain", args->explain, "how it is run, and where it scans");
  command->footer(
      "Example:\n  holdfast query \"SELECT id FROM people WHERE doc ->> '\\$.age' > ?\" 30 --db "
      "notes.hf");
  command->callback(
      [&context, args] { context.run = [&context, args] { return run_query(context, *args); }; });

  command =
      app.add_subcommand("index", "list the indexes, or make one over a path of a collection");
  command->add_option("COLLECTION", args->collection);
  command->add_option("PATH", args->path, "such as $.address.city");
  command->add_flag("--drop", args->drop, "remove it instead");
  command->footer("Example:\n  holdfast index people '$.age' --db notes.hf");
  command->callback(
      [&context, args] { context.run = [&context, args] { return index(context, *args); }; });

  command = app.add_subcommand("doctor", "check the store whole: what is wrong, and what to do");
  command->footer(
      "Example:\n  holdfast doctor --db notes.hf\n\nExit code 1 where something is; having "
      "one key only is told, and is none.");
  command->callback([&context] { context.run = [&context] { return doctor(context); }; });
}

}  // namespace holdfast::cli
