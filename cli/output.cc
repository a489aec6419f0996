#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "cli/command.h"

namespace holdfast::cli {

void print_line(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fputc('\n', stdout) == EOF) {
    throw Error(ErrorCode::io, "cannot write to standard output");
  }
}

void note(const Context& context, const std::string& text) {
  if (!context.quiet) std::fprintf(stderr, "%s\n", text.c_str());
}

namespace {

// Replaces what could drive a terminal: C0 and C1 controls and DEL, by `escape` of their code
// point.
template <typename Escape>
std::string without_controls(const std::string& text, Escape escape) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if (c < ' ' || c == 0x7f) {
      out += escape(c);
    } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
      out += escape(next);
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string printable(const std::string& text) {
  return without_controls(text, [](unsigned c) { return fmt::format("\\x{:02x}", c); });
}

std::string json_text(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return without_controls(text, [](unsigned c) { return fmt::format("\\u{:04x}", c); });
}

std::string time_text(std::int64_t ms) {
  if (ms <= 0) return "never";
  std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char buffer[40];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return buffer;
}

ProgressLine::ProgressLine(const Context& context, std::string what)
    : shown_(!context.quiet && ::isatty(STDERR_FILENO)), what_(std::move(what)) {}

ProgressLine::~ProgressLine() {
  if (wrote_) std::fputs("\r\033[K", stderr);
}

void ProgressLine::update(std::uint64_t done, std::uint64_t total) { update(what_, done, total); }

void ProgressLine::update(const std::string& what, std::uint64_t done, std::uint64_t total) {
  if (!shown_) return;
  using namespace std::chrono;
  std::int64_t now = duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
  if (now - last_ms_ < 100) return;
  last_ms_ = now;
  wrote_ = true;
  std::string line =
      total > 0 ? fmt::format("{} {} of {}", what, done, total) : fmt::format("{} {}", what, done);
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
}

namespace {

std::atomic<bool> interrupted{false};
void interrupt(int) { interrupted = true; }

}  // namespace

Interrupt::Interrupt() : before_(std::signal(SIGINT, interrupt)) {}
Interrupt::~Interrupt() { std::signal(SIGINT, before_); }
const std::atomic<bool>* Interrupt::flag() const { return &interrupted; }

void hand_out_code(const Context& context, const std::string& code, const std::string& file,
                   const char* what) {
  if (!file.empty()) {
    write_new_file(file, code + "\n");
    note(context, "The recovery code is in " + file + ": keep it where this device is not.");
  } else if (context.json) {
    print_line(nlohmann::json{{"recovery_code", code}}.dump());
  } else {
    note(context,
         std::string("Write this recovery code down; it is shown once and kept nowhere. ") + what);
    print_line(code);
  }
  if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "cannot write to standard output");
}

void with_progress(const Context& context, const std::function<void(const Progress&)>& work) {
  ProgressLine line(context, "");
  Interrupt interrupt_here;
  work([&](const ProgressReport& report) {
    line.update(report.phase, report.done, report.total);
    return !interrupted;
  });
}

void write_new_file(const std::string& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST) {
    throw Error(ErrorCode::exists, path + " exists already: choose another name");
  }
  bool written = fd >= 0 &&
                 ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                 ::fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) ::close(fd);
  std::size_t slash = path.rfind('/');
  std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
  int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd >= 0) {
    written = written && ::fsync(folder_fd) == 0;
    ::close(folder_fd);
  }
  if (!written) throw Error(ErrorCode::io, "cannot write " + path + ": " + std::strerror(error));
}

}  // namespace holdfast::cli
