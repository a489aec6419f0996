#pragma once

// What an operator may ask about vaults and do to them, without a key of any.

#include <CLI/CLI.hpp>

#include "relay/opening.h"

namespace holdfast::relay {

// Adds the commands to the program's; the one that was given is set as `run`. What the program's
// own options say, they read when they run.
void add_operator_commands(CLI::App& app, const Place& place, const std::int64_t& retention_days,
                           std::function<int()>& run);

}  // namespace holdfast::relay
