#pragma once

#include "relay/server.h"

namespace holdfast::relay {

// For a program that serves, before it starts a thread: SIGINT and SIGTERM wait for
// serve_until_signal(), a peer that hangs up is no signal, and files are for their owner alone.
void prepare_process();

// Prints where it listens, and serves until SIGINT or SIGTERM. Throws what Server::run() throws.
void serve_until_signal(Server& server, const ServerOptions& options, Handler& handler);

}  // namespace holdfast::relay
