#pragma once

// What the commands share: the global options, and how they read and print.

#include <strings.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "holdfast/encrypted_local_store.h"

namespace holdfast::cli {

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kConflicts = 3, kOffline = 4 };

// Options that stand before or after any command, and what the chosen command returned.
struct Context {
  std::string db;
  std::string key_file;
  std::string passphrase_file;
  bool json = false;
  bool quiet = false;
  std::function<int()> run;  // the chosen command
};

// A usage error found after parsing: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Errors in what was given on the command line are usage errors.
void check_usage(const std::function<void()>& check);

// input.cc
// The key from --key-file, --passphrase-file, HOLDFAST_PASSPHRASE, or a prompt (asked twice for a
// new store).
UserKey read_key(const Context& context, bool is_new);
UserKey read_key_file(const std::string& path);
// A secret that is wiped when it goes.
struct Wiped {
  std::string text;
  explicit Wiped(std::string given) : text(std::move(given)) {}
  Wiped(Wiped&& other) noexcept : text(std::move(other.text)) { other.wipe(); }
  Wiped& operator=(Wiped&&) = delete;
  ~Wiped() { wipe(); }
  void wipe() {  // with what a moved short string leaves behind its end
    text.resize(text.capacity());
    explicit_bzero(text.data(), text.size());
  }
};
// From the file, HOLDFAST_NEW_PASSPHRASE, or a prompt that asks twice.
Wiped read_new_password(const std::string& file);
UserKey read_new_passphrase(const std::string& file);
Wiped read_recovery_code(const std::string& file);
// Throws UsageError, with `otherwise` for advice, where there is no terminal to ask on.
void require_terminal(const char* otherwise);
// Asks on the terminal until the answer is yes or no; no where the flag is set meanwhile.
bool ask_yes(const std::string& question, const std::atomic<bool>* interrupted);
std::vector<UserKey> read_fernet_keys(const std::string& file);  // one a line
std::string store_path(const Context& context);                  // of --db or HOLDFAST_DB
std::unique_ptr<EncryptedLocalStore> open_store(
    const Context& context, StoreOptions::Open open = StoreOptions::Open::existing);
std::unique_ptr<EncryptedLocalStore> open_store(
    const Context& context, const UserKey& key,
    StoreOptions::Open open = StoreOptions::Open::existing);
// Fails where the file exists; durable when it returns. For its owner alone.
void write_new_file(const std::string& path, const std::string& text);
// A document from an argument, or from standard input for "-".
nlohmann::json read_json(const std::string& argument);
std::string read_standard_input(std::size_t limit);

// output.cc
void print_line(const std::string& text);               // a result, on stdout
void note(const Context& context, const std::string&);  // for a person, on stderr, not with --quiet
// Text from outside, without what could drive a terminal.
std::string printable(const std::string& text);
// JSON on one line; controls that a terminal would obey are escaped, as JSON allows.
std::string json_text(const nlohmann::json& value);
std::string time_text(std::int64_t ms);  // "2026-11-22 14:03:05 UTC"

// Shows "importing … 12,345" on a terminal, and nothing anywhere else.
class ProgressLine {
 public:
  ProgressLine(const Context& context, std::string what);
  ~ProgressLine();
  void update(std::uint64_t done, std::uint64_t total = 0);
  void update(const std::string& what, std::uint64_t done, std::uint64_t total);

 private:
  bool shown_;
  bool wrote_ = false;
  std::string what_;
  std::int64_t last_ms_ = 0;
};

// While it lives, Ctrl-C sets the flag instead of ending the program.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  const std::atomic<bool>* flag() const;

 private:
  void (*before_)(int);
};

// A new recovery code, to the file, or else to stdout; durable, or written out, when it returns.
// `what` tells a person what it is for.
void hand_out_code(const Context& context, const std::string& code, const std::string& file,
                   const char* what);

// Shows the progress of `work` on a terminal. Ctrl-C cancels it cleanly.
void with_progress(const Context& context, const std::function<void(const Progress&)>& work);

// Each adds its commands.
void add_record_commands(CLI::App& app, Context& context);
void add_query_commands(CLI::App& app, Context& context);
void add_conflict_commands(CLI::App& app, Context& context);
void add_key_commands(CLI::App& app, Context& context);
void add_moving_commands(CLI::App& app, Context& context);
void add_sync_commands(CLI::App& app, Context& context);
void add_device_commands(CLI::App& app, Context& context);
void add_vault_commands(CLI::App& app, Context& context);
void add_privacy_commands(CLI::App& app, Context& context);
void add_ledger_commands(CLI::App& egress, Context& context);  // among those of `egress`

// qr.cc: a QR code for a terminal, a quarter of a cell a module.
std::string draw_qr(const std::string& text);

}  // namespace holdfast::cli
