#pragma once

#include "src/base/sqlite.h"

namespace holdfast::store {

// The tables' version. Raising it needs a step in schema.cc, and a store of the version before kept
// in tests/stores.
constexpr std::uint64_t kSchemaVersion = 7;

// The tables of an empty store, at the first version: upgrade() does the rest.
void create_tables(base::Connection& connection);
// Throws Error(corrupt) where there is none.
std::uint64_t schema_version(base::Connection& connection);
// Takes the tables from `from` to kSchemaVersion, in the caller's transaction. Returns what it did.
std::vector<std::string> upgrade(base::Connection& connection, std::uint64_t from);

}  // namespace holdfast::store
