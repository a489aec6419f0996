#pragma once

// Writing the ledger: see PrivacyLedger for reading it. docs/formats.md has its form.

#include <nlohmann/json.hpp>

#include "src/privacy/merkle.h"
#include "src/store/engine.h"

namespace holdfast::privacy {

using Json = nlohmann::json;

// In the caller's transaction. Returns the entry's number. `kind` is one that LedgerEntry names; of
// `payload` the entry gets a commitment of its own.
std::uint64_t append_to_ledger(store::Engine& engine, const char* kind, Json entry,
                               const std::optional<std::string>& payload = std::nullopt);

Hash32 ledger_commitment(ByteView salt16, std::string_view entry);

}  // namespace holdfast::privacy
