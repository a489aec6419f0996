// holdfast: the command for people and scripts.

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>

#include "cli/command.h"

namespace {

using namespace holdfast;
using namespace holdfast::cli;

int exit_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::unreachable:
    case ErrorCode::busy: return kOffline;
    default: return kFailed;
  }
}

void report(const Context& context, const char* code, const char* message) {
  if (context.json) {
    nlohmann::json out = {{"error", code}, {"message", message}};
    std::fprintf(stderr, "%s\n",
                 out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "holdfast: %s\n", printable(message).c_str());
  }
}

int run(const Context& context) {
  try {
    int code = context.run();
    if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "cannot write to standard output");
    return code;
  } catch (const UsageError& error) {
    report(context, "usage", error.what());
    return kUsage;
  } catch (const Error& error) {
    report(context, error_code_name(error.code()), error.what());
    return exit_of(error);
  } catch (const std::bad_alloc&) {
    report(context, "out_of_memory", "not enough memory");
    return kFailed;
  } catch (const std::exception& error) {
    report(context, "internal", error.what());
    return kFailed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A core dump would hold the keys' surroundings. The limit alone does not stop one that the
  // system pipes to a program.
  rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);

  Context context;
  CLI::App app{
      "Holdfast: an encrypted store of JSON records that syncs between your devices through a "
      "relay that can read nothing."};
  app.name("holdfast");
  app.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--db", context.db, "the store's file (or HOLDFAST_DB)");
  app.add_option("--key-file", context.key_file,
                 "its key: 32 raw bytes, a Fernet key, a recovery code or an exported key");
  app.add_option("--passphrase-file", context.passphrase_file,
                 "its passphrase (or HOLDFAST_PASSPHRASE, or a prompt)");
  app.add_flag("--json", context.json, "results and errors as JSON");
  app.add_flag("--quiet", context.quiet, "results and errors only");
  app.footer(
      "Example:\n"
      "  holdfast init --db notes.hf\n"
      "  holdfast put shopping '{\"milk\": 2}' --db notes.hf\n"
      "  holdfast get shopping --db notes.hf\n\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 conflicts are pending (sync and status), "
      "4 offline or retry later.");
  add_record_commands(app, context);
  add_query_commands(app, context);
  add_conflict_commands(app, context);
  add_key_commands(app, context);
  add_moving_commands(app, context);
  add_sync_commands(app, context);
  add_device_commands(app, context);
  add_vault_commands(app, context);
  add_privacy_commands(app, context);
  for (CLI::App* command : app.get_subcommands({})) {
    command->fallthrough();
    for (CLI::App* nested : command->get_subcommands({})) nested->fallthrough();
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return run(context);
}
