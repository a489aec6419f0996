#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "cli/command.h"
#include "holdfast/json.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMaxSecretFile = 64 * 1024;

std::string read_file(const std::string& path, std::size_t limit, const char* what) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw Error(ErrorCode::not_found,
                std::string("cannot read the ") + what + " " + path + ": " + std::strerror(errno));
  }
  std::string out(limit + 1, '\0');
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<std::size_t>(in.gcount()));
  if (out.size() > limit) throw Error(ErrorCode::too_large, path + " is too large to be a secret");
  return out;
}

// Ctrl-C at a prompt must not leave a terminal without echo.
termios terminal_before;
int terminal_fd = -1;
void restore_terminal(int signal) {
  tcsetattr(terminal_fd, TCSAFLUSH, &terminal_before);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Asks on the terminal, without echo. The answer never touches stdout.
std::string prompt(const std::string& question, const char* otherwise) {
  FILE* terminal = std::fopen("/dev/tty", "r+");
  if (!terminal) {
    throw UsageError(otherwise);
  }
  std::fprintf(terminal, "%s: ", question.c_str());
  std::fflush(terminal);
  termios before{};
  int fd = fileno(terminal);
  tcgetattr(fd, &before);
  terminal_before = before;
  terminal_fd = fd;
  auto old_handler = std::signal(SIGINT, restore_terminal);
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(fd, TCSAFLUSH, &silent);
  std::string line;
  line.reserve(4096);  // so that no copy is left behind as it grows
  int c = 0;
  while ((c = std::fgetc(terminal)) != EOF && c != '\n' && line.size() < 4096) {
    line += static_cast<char>(c);
  }
  tcsetattr(fd, TCSAFLUSH, &before);
  std::signal(SIGINT, old_handler);
  std::fputc('\n', terminal);
  std::fclose(terminal);
  return line;
}

}  // namespace

namespace {

// From the file, the variable of the environment, or a prompt, which asks twice for a new one.
Wiped read_secret(const std::string& file, const char* variable, bool is_new, const char* otherwise,
                  const char* question = "Passphrase") {
  if (!file.empty()) {
    Wiped secret{read_file(file, kMaxSecretFile, "secret's file")};
    if (secret.text.ends_with('\n')) secret.text.pop_back();
    return secret;
  }
  if (char* set = std::getenv(variable)) {
    Wiped secret{set};
    explicit_bzero(set, std::strlen(set));
    return secret;
  }
  Wiped first{prompt(is_new ? "New passphrase" : question, otherwise)};
  if (is_new) {
    Wiped second{prompt("The same again", otherwise)};
    if (first.text != second.text) throw UsageError("the two passphrases differ: try again");
  }
  return first;
}

}  // namespace

Wiped read_new_password(const std::string& file) {
  return read_secret(
      file, "HOLDFAST_NEW_PASSPHRASE", true,
      "no new passphrase was given: use --new-passphrase-file or HOLDFAST_NEW_PASSPHRASE");
}

Wiped read_recovery_code(const std::string& file) {
  return read_secret(file, "HOLDFAST_RECOVERY_CODE", false,
                     "no recovery code was given: use --code-file or HOLDFAST_RECOVERY_CODE",
                     "The vault's recovery code");
}

void check_usage(const std::function<void()>& check) {
  try {
    check();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument && error.code() != ErrorCode::malformed) throw;
    throw UsageError(error.what());
  }
}

void require_terminal(const char* otherwise) {
  FILE* terminal = std::fopen("/dev/tty", "r+");
  if (!terminal) throw UsageError(otherwise);
  std::fclose(terminal);
}

bool ask_yes(const std::string& question, const std::atomic<bool>* interrupted) {
  FILE* terminal = std::fopen("/dev/tty", "r+");
  if (!terminal) throw UsageError("there is no terminal to ask on: give --yes");
  bool yes = false;
  for (bool answered = false; !answered && !*interrupted;) {
    std::fprintf(terminal, "%s [y/n] ", question.c_str());
    std::fflush(terminal);
    std::string line;
    pollfd ready{fileno(terminal), POLLIN, 0};
    char letter = 0;
    while (!*interrupted && letter != '\n') {
      if (::poll(&ready, 1, 200) <= 0) continue;
      if (::read(ready.fd, &letter, 1) <= 0) {
        answered = true;  // the terminal is gone
        break;
      }
      if (letter != '\n' && line.size() < 10) line += letter;
    }
    yes = strcasecmp(line.c_str(), "y") == 0 || strcasecmp(line.c_str(), "yes") == 0;
    answered = answered || yes || strcasecmp(line.c_str(), "n") == 0 ||
               strcasecmp(line.c_str(), "no") == 0;
  }
  std::fclose(terminal);
  return yes && !*interrupted;
}

UserKey read_new_passphrase(const std::string& file) {
  return UserKey::passphrase(read_new_password(file).text);
}

namespace {

// The passphrase that goes with the options, however it comes.
Wiped read_passphrase(const Context& context, bool is_new) {
  return read_secret(
      context.passphrase_file, "HOLDFAST_PASSPHRASE", is_new,
      context.key_file.empty()
          ? "no key was given: use --key-file, --passphrase-file or HOLDFAST_PASSPHRASE"
          : "an exported key needs its passphrase: use --passphrase-file or HOLDFAST_PASSPHRASE");
}

constexpr std::string_view kExportedKey = "holdfast-key-";

}  // namespace

UserKey read_key_file(const std::string& path) {
  Wiped secret{read_file(path, kMaxSecretFile, "key file")};
  return UserKey::from_key_file(
      {reinterpret_cast<const std::uint8_t*>(secret.text.data()), secret.text.size()});
}

namespace {

// Only an exported key goes with a passphrase.
void check_key_options(const Context& context) {
  if (context.key_file.empty() || context.passphrase_file.empty()) return;
  Wiped secret{read_file(context.key_file, kMaxSecretFile, "key file")};
  if (!secret.text.starts_with(kExportedKey)) {
    throw UsageError("give --key-file or --passphrase-file, not both");
  }
}

}  // namespace

UserKey read_key(const Context& context, bool is_new) {
  check_key_options(context);
  if (context.key_file.empty()) return UserKey::passphrase(read_passphrase(context, is_new).text);
  Wiped secret{read_file(context.key_file, kMaxSecretFile, "key file")};
  if (!secret.text.starts_with(kExportedKey)) return read_key_file(context.key_file);
  return UserKey::exported(secret.text, read_passphrase(context, false).text);
}

std::vector<UserKey> read_fernet_keys(const std::string& file) {
  if (file.empty()) throw UsageError("which Fernet key? Give --fernet-key-file FILE");
  Wiped secret{read_file(file, kMaxSecretFile, "Fernet key file")};
  std::vector<UserKey> keys;
  std::size_t at = 0;
  while (at < secret.text.size()) {
    std::size_t end = std::min(secret.text.find('\n', at), secret.text.size());
    std::string_view line(secret.text.data() + at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) keys.push_back(UserKey::fernet(line));
    at = end + 1;
  }
  return keys;
}

std::string store_path(const Context& context) {
  std::string db = context.db;
  if (db.empty()) {
    const char* set = std::getenv("HOLDFAST_DB");
    if (set) db = set;
  }
  if (db.empty()) throw UsageError("which store? Give --db FILE or set HOLDFAST_DB");
  return db;
}

namespace {

void check_options(const std::string& db, StoreOptions::Open open) {
  bool there = ::access(db.c_str(), F_OK) == 0;
  if (!there && open == StoreOptions::Open::existing) {
    throw Error(ErrorCode::not_found,
                "there is no store at " + db + ": make one with 'holdfast init'");
  }
  if (there && open == StoreOptions::Open::create) {
    throw Error(ErrorCode::exists, db + " exists already: choose another name");
  }
}

}  // namespace

std::unique_ptr<EncryptedLocalStore> open_store(const Context& context, const UserKey& key,
                                                StoreOptions::Open open) {
  std::string db = store_path(context);
  check_options(db, open);
  StoreOptions options;
  options.open = open;
  return std::make_unique<EncryptedLocalStore>(db, key, options);
}

std::unique_ptr<EncryptedLocalStore> open_store(const Context& context, StoreOptions::Open open) {
  check_key_options(context);
  std::string db = store_path(context);
  check_options(db, open);  // before anybody is asked for a passphrase
  return open_store(context, read_key(context, ::access(db.c_str(), F_OK) != 0), open);
}

std::string read_standard_input(std::size_t limit) {
  std::string out;
  char buffer[65536];
  std::size_t n = 0;
  while ((n = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) {
    out.append(buffer, n);
    if (out.size() > limit) {
      throw Error(ErrorCode::too_large, "the input is larger than " + std::to_string(limit / 1024) +
                                            " KiB, the limit of one record");
    }
  }
  return out;
}

nlohmann::json read_json(const std::string& argument) {
  constexpr std::size_t kLimit = 512 * 1024;
  return parse_json(argument == "-" ? read_standard_input(kLimit) : argument);
}

}  // namespace holdfast::cli
