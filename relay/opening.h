#pragma once

// Where a relay's data is, and its storages.

#include "relay/storage.h"
#include "src/base/environment.h"

namespace holdfast::relay {

struct Place {
  std::string data;      // a folder: SQLite files in it, one a shard
  std::string postgres;  // else a database, as libpq names it
  bool is_postgres() const { return data.empty(); }
};

struct Opened {
  std::unique_ptr<base::File> lock;  // of the folder, where it was asked for
  std::vector<std::unique_ptr<Storage>> storages;
};

// The storages, each for one thread. A new folder gets `shards` of them; one that is there keeps
// its own number. `connections` are for a database. With `alone`, nobody else may have the folder.
// Throws Error(io), Error(in_use), Error(newer_version).
Opened open_storages(const Place& place, std::size_t shards, std::size_t connections, bool alone);
// Writes down, durably, how many shards a folder has.
void note_shards(const std::string& data, std::size_t count);
// In which of so many shards a vault is.
std::size_t shard_of(const Hash32& vault, std::size_t shards);

}  // namespace holdfast::relay
