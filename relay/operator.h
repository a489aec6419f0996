#pragma once

// What an operator may ask about vaults and do to them, without a key of any.

#include <CLI/CLI.hpp>

#include "relay/opening.h"

namespace holdfast::relay {

// Adds the commands to the program's; the one that was given is set as `run`.
void add_operator_commands(CLI::App& app, const Place& place, std::function<int()>& run);

struct VerifyReport {
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::vector<std::string> faults;
};
// Computes a vault's device list, leaves, signatures, order and chain again from what is stored.
VerifyReport verify_vault(Storage& storage, const Hash32& id);

}  // namespace holdfast::relay
