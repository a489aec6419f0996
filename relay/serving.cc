#include "relay/serving.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <thread>

namespace holdfast::relay {
namespace {

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

void keep_files_private() { umask(077); }

void take_signals() {
  sigset_t signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // for every thread: the waiter takes them
  std::signal(SIGPIPE, SIG_IGN);
}

bool is_ended_within(int seconds) {
  sigset_t signals = ending_signals();
  timespec time{seconds, 0};
  int signal = sigtimedwait(&signals, nullptr, &time);
  return signal == SIGINT || signal == SIGTERM;
}

void serve_until_signal(Server& server, const ServerOptions& options, Handler& handler) {
  // One thread waits for the signals, so that no handler has to.
  std::thread waiter([&server] {
    sigset_t signals = ending_signals();
    int signal = SIGHUP;
    while (signal == SIGHUP) {
      sigwait(&signals, &signal);
      if (signal == SIGHUP) server.reload();
    }
    server.stop();
  });
  std::printf("listening on %s:%d\n", options.address.c_str(), server.port());
  std::fflush(stdout);
  try {
    server.run(handler);
  } catch (...) {
    ::kill(::getpid(), SIGTERM);  // the waiter takes it, and ends
    waiter.join();
    throw;
  }
  waiter.join();
}

}  // namespace holdfast::relay
