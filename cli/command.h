#pragma once

// What the commands share: the global options, and how they read and print.

#include <CLI/CLI.hpp>
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

// input.cc
// The key from --key-file, --passphrase-file, HOLDFAST_PASSPHRASE, or a prompt (asked twice for a
// new store).
UserKey read_key(const Context& context, bool is_new);
std::unique_ptr<EncryptedLocalStore> open_store(
    const Context& context, StoreOptions::Open open = StoreOptions::Open::existing);
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

 private:
  bool shown_;
  bool wrote_ = false;
  std::string what_;
  std::int64_t last_ms_ = 0;
};

// Each adds its commands.
void add_record_commands(CLI::App& app, Context& context);
void add_sync_commands(CLI::App& app, Context& context);

}  // namespace holdfast::cli
