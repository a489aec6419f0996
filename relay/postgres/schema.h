#pragma once

#include <string>

namespace holdfast::relay {

// Brings a PostgreSQL database to this version's tables, step by step, each whole or not at all;
// several relays may try at once. Returns how many steps there were. Throws Error(io), and
// Error(newer_version) where a later version was here.
int migrate_postgres(const std::string& where);

constexpr int kPostgresVersion = 1;

}  // namespace holdfast::relay
