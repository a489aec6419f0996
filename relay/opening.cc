#include "relay/opening.h"

#include <filesystem>
#include <fstream>

#include "holdfast/error.h"
#include "relay/postgres/postgres_storage.h"
#include "relay/sqlite/sqlite_storage.h"

namespace holdfast::relay {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostShards = 256;

std::string shard_path(const std::string& data, std::size_t number) {
  return data + "/relay-" + std::to_string(number) + ".db";
}

// How many shards a folder has stands in a file of its own: one that is missing is noticed.
std::optional<std::size_t> noted_shards(const std::string& data) {
  std::ifstream file(data + "/shards");
  std::size_t count = 0;
  if (file >> count && count > 0 && count <= kMostShards) return count;
  if (fs::exists(data + "/shards")) {
    throw Error(ErrorCode::corrupt, data + "/shards is damaged: it holds how many there are");
  }
  return std::nullopt;
}

std::size_t count_shards(const std::string& data, std::size_t wanted) {
  if (fs::exists(data + "/relay.db")) {
    throw Error(ErrorCode::newer_version,
                data + " was written by an older relay, in one file: give another --data");
  }
  std::optional<std::size_t> noted = noted_shards(data);
  for (std::size_t i = 0; i < noted.value_or(0); ++i) {
    if (fs::exists(shard_path(data, i))) continue;
    throw Error(ErrorCode::corrupt, shard_path(data, i) + " is missing: put the whole backup back");
  }
  return noted.value_or(wanted);
}

}  // namespace

void note_shards(const std::string& data, std::size_t count) {
  base::Environment environment = base::system_environment();
  base::FileSystem& files = *environment.files;
  std::string aside = data + "/shards.new";
  auto file = files.open(aside, base::FileSystem::Mode::create);
  file->truncate(0);
  file->write(0, base::view(std::to_string(count) + "\n"));
  file->sync();
  files.rename_over(aside, data + "/shards");
}

std::size_t shard_of(const Hash32& vault, std::size_t shards) {
  return base::Reader(vault, "a key").u64() % shards;
}

Opened open_storages(const Place& place, std::size_t shards, std::size_t connections, bool alone) {
  Opened out;
  if (place.is_postgres()) {
    for (std::size_t i = 0; i < connections; ++i) {
      out.storages.push_back(std::make_unique<PostgresStorage>(place.postgres));
    }
    return out;
  }
  std::error_code error;
  if (!alone && !fs::is_directory(place.data, error)) {
    throw Error(ErrorCode::not_found, place.data + " is no relay's folder");
  }
  fs::create_directories(place.data, error);
  if (error) throw Error(ErrorCode::io, "cannot make " + place.data + ": " + error.message());
  base::Environment environment = base::system_environment();
  if (alone) {
    out.lock = environment.files->open(place.data + "/lock", base::FileSystem::Mode::create);
    if (!out.lock->try_lock()) {
      throw Error(ErrorCode::in_use, "another relay uses " + place.data + ": stop it first");
    }
  }
  std::size_t count = count_shards(place.data, shards);
  bool is_new = !noted_shards(place.data);
  if (!alone && is_new) {
    throw Error(ErrorCode::not_found, place.data + " is no relay's folder");
  }
  for (std::size_t i = 0; i < count; ++i) {
    out.storages.push_back(std::make_unique<SqliteStorage>(shard_path(place.data, i)));
    if (is_new && !out.storages.back()->vaults({}, 1).empty()) {
      throw Error(ErrorCode::corrupt,
                  place.data +
                      " lacks the file 'shards', which says how many there are: put the "
                      "whole backup back");
    }
  }
  // Last: without it, a start was cut short before anything was served.
  if (is_new) note_shards(place.data, count);
  return out;
}

}  // namespace holdfast::relay
