#pragma once

#include "relay/server.h"

namespace holdfast::relay {

// What is written from here on is its owner's alone.
void keep_files_private();

// Before any other thread starts: the signals that end the program are waited for, not caught.
void take_signals();

// Waits for so long; true as soon as SIGINT or SIGTERM comes.
bool is_ended_within(int seconds);

// Says where it listens, serves until SIGINT or SIGTERM, then answers what is being asked and
// returns. SIGHUP has the certificate read again.
void serve_until_signal(Server& server, const ServerOptions& options, Handler& handler);

}  // namespace holdfast::relay
