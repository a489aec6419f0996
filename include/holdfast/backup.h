#pragma once

// Moving a store's records into other files and back. Functions of a store may run while other
// threads use it; each works on the records as of one moment.

#include <cstdint>
#include <string>

#include "holdfast/encrypted_local_store.h"
#include "holdfast/fernet.h"

namespace holdfast {

struct BackupReport {
  std::uint64_t records = 0;  // with those deleted that are still remembered
  std::uint64_t bytes = 0;    // of the file
};

// Writes all records, with their times, versions and conflicts, into a new file sealed by `key` (a
// passphrase, raw, Fernet or recovery key), then reads it back and checks it whole. The device's
// own keys and its place in a vault are not in it. Throws Error(exists) where the file exists,
// Error(io, cancelled); then there is no file.
BackupReport backup(const EncryptedLocalStore& store, const std::string& path, const UserKey& key,
                    const Progress& progress = {});

struct RestoreOptions {
  // Put it in the place of a store that exists, whatever its keys; of nothing else.
  bool replace = false;
  StoreOptions store;  // for the new store; `open` is not used
};

// Makes a store at `db_path`, opened by `store_key`, of a backup's records. The backup is proved
// whole, and the store written and checked aside, before anything takes its place. The store is a
// new device, in no vault: let it join with a ticket. Throws Error(exists) where there is a file
// and it is not to be replaced, in_use, wrong_key, not_a_store (no backup, or no store to replace),
// newer_version, corrupt (damaged or cut), io, cancelled; then nothing has changed.
BackupReport restore(const std::string& backup_path, const UserKey& backup_key,
                     const std::string& db_path, const UserKey& store_key,
                     const RestoreOptions& options = {}, const Progress& progress = {});

// Imports a plain SQLite database whose table `encrypted_data` has columns `id` (text or a number)
// and `data` (a Fernet token of a JSON object): each row becomes the record `id` of `collection`,
// in one transaction. The database is not changed. Returns the number of records. Throws
// Error(not_found, not_a_store) where there is no such database or table, Error(malformed) for a
// row that is no token of the keys or no JSON object, with its id; then nothing was imported.
std::uint64_t import_fernet(EncryptedLocalStore& store, const std::string& sqlite_path,
                            const Fernet& keys, const std::string& collection = "records",
                            const Progress& progress = {});

// Writes one collection into a new SQLite database in that form, for other libraries to read; its
// columns are id, data, created_at and updated_at (milliseconds since 1970). Ids and times are in
// plain text there. Returns the number of records. Throws Error(exists, io, cancelled); then there
// is no file.
std::uint64_t export_fernet(const EncryptedLocalStore& store, const std::string& sqlite_path,
                            const Fernet& keys, const std::string& collection = "records",
                            const Progress& progress = {});

}  // namespace holdfast
