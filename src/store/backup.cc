#include "holdfast/backup.h"

#include <cstring>

#include "src/store/backup_stream.h"
#include "src/store/engine.h"
#include "src/store/schema.h"

namespace holdfast {
namespace {

using namespace store;

// What a backup holds, in this order: records and what they refer to. Not the device's keys, nor
// its place in a vault: a restored store is another device.
struct Table {
  const char* name;
  const char* columns;
  const char* select;
  const char* insert;
};
constexpr Table kTables[] = {
    {"collection", "num,name", "SELECT num, name FROM collection ORDER BY num",
     "INSERT INTO collection(num, name) VALUES(?, ?)"},
    {"device", "num,id,seen", "SELECT num, id, seen FROM device ORDER BY num",
     "INSERT INTO device(num, id, seen) VALUES(?, ?, ?)"},
    {"record", "num,collection,id,alive,doc,created_ms,updated_ms,conflicts,pending,state",
     "SELECT num, collection, id, alive, doc, created_ms, updated_ms, conflicts, pending, state "
     "FROM record ORDER BY num",
     "INSERT INTO record(num, collection, id, alive, doc, created_ms, updated_ms, conflicts, "
     "pending, state) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
    {"query_index", "collection,path", "SELECT collection, path FROM query_index ORDER BY num",
     nullptr},
    {"meta", "name,value",
     "SELECT name, value FROM meta WHERE name IN ('app_version', 'clock') ORDER BY name",
     "INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)"},
};
constexpr std::uint8_t kRow = 'R';
constexpr std::uint8_t kEndOfTable = 'T';

enum ValueType : std::uint8_t { kNull, kInteger, kText, kBlob };

void check(const Progress& progress, const ProgressReport& report) {
  if (progress && !progress(report)) {
    throw Error(ErrorCode::cancelled, "it was cancelled, and left nothing behind");
  }
}

void add_value(base::Writer& out, const Statement& row, int column) {
  switch (row.type(column)) {
    case SQLITE_NULL: out.u8(kNull); break;
    case SQLITE_INTEGER:
      out.u8(kInteger);
      out.u64(static_cast<std::uint64_t>(row.integer(column)));
      break;
    case SQLITE_TEXT:
      out.u8(kText);
      out.sized(row.text(column));
      break;
    default: out.u8(kBlob); out.sized(row.blob(column));
  }
}

std::size_t count_columns(const Table& table) {
  std::size_t count = 1;
  for (const char* c = table.columns; *c; ++c) count += *c == ',';
  return count;
}

std::uint64_t write_tables(Connection& connection, BackupWriter& out, const Progress& progress) {
  base::Writer head;
  head.u64(schema_version(connection));
  out.write(head.bytes());
  std::uint64_t total = 0;
  {
    Statement count(connection.prepare("SELECT count(*) FROM record"));
    count.step();
    total = static_cast<std::uint64_t>(count.integer(0));
  }
  std::uint64_t records = 0;
  for (const Table& table : kTables) {
    Statement rows(connection.prepare(table.select));
    std::size_t columns = count_columns(table);
    while (rows.step()) {
      base::Writer row;
      row.u8(kRow);
      for (std::size_t i = 0; i < columns; ++i) add_value(row, rows, static_cast<int>(i));
      out.write(row.bytes());
      if (table.name == std::string_view("record") && ++records % 256 == 0) {
        check(progress, {"writing", records, total});
      }
    }
    out.write(Bytes{kEndOfTable});
  }
  return records;
}

// A row's values, bound as they come. The texts and blobs live until it is run.
void read_row(BackupReader& in, std::size_t columns, Statement* insert,
              std::vector<std::string>& texts) {
  texts.clear();
  texts.reserve(columns);
  for (std::size_t i = 0; i < columns; ++i) {
    switch (in.u8()) {
      case kNull:
        if (insert) insert->bind(nullptr);
        break;
      case kInteger: {
        std::uint64_t value = base::Reader(in.read(8), "a backup").u64();
        if (insert) insert->bind(value);
        break;
      }
      case kText:
        texts.emplace_back(base::text(in.read(in.varint())));
        if (insert) insert->bind(texts.back());
        break;
      case kBlob:
        texts.emplace_back(base::text(in.read(in.varint())));
        if (insert) insert->bind(base::view(texts.back()));
        break;
      default: throw Error(ErrorCode::corrupt, "the backup holds a value of an unknown kind");
    }
  }
}

// Reads all of a backup, into `engine` where there is one. Returns the number of records.
std::uint64_t read_tables(BackupReader& in, Engine* engine, const Progress& progress) {
  std::uint64_t version = base::Reader(in.read(8), "a backup").u64();
  if (version > kSchemaVersion) {
    throw Error(ErrorCode::newer_version,
                "the backup was written by a newer version of Holdfast: update this app");
  }
  std::uint64_t records = 0;
  std::vector<std::string> texts;
  std::vector<IndexInfo> indexes;
  const char* phase = engine ? "restoring" : "verifying";
  for (const Table& table : kTables) {
    std::size_t columns = count_columns(table);
    std::uint8_t item = 0;
    while ((item = in.u8()) == kRow) {
      if (engine && table.insert) {
        Statement insert(engine->database().connection().prepare(table.insert));
        read_row(in, columns, &insert, texts);
        insert.run();
      } else {
        read_row(in, columns, nullptr, texts);
        if (!table.insert && texts.size() == 2) indexes.push_back({texts[0], texts[1]});
      }
      if (table.name == std::string_view("record") && ++records % 256 == 0) {
        check(progress, {phase, in.offset(), in.size()});
      }
    }
    if (item != kEndOfTable) throw Error(ErrorCode::corrupt, "the backup is damaged");
  }
  in.expect_end();
  if (engine) {
    engine->database().set_meta(kRestored, Bytes{1});
    engine->database().set_meta(kCameFromBackup, Bytes{1});
    engine->reload();
    engine->records().render_again();
    for (const IndexInfo& index : indexes) engine->create_index(index);
  }
  return records;
}

std::unique_ptr<base::File> open_backup(base::FileSystem& files, const std::string& path) {
  auto file = files.open(path, base::FileSystem::Mode::read_only);
  if (!file) throw Error(ErrorCode::not_found, "there is no backup at " + path);
  return file;
}

void remove_store(base::FileSystem& files, const std::string& path) {
  for (const char* end : {"", "-wal", ".new", ".new-wal"}) files.remove(path + end);
}

}  // namespace

BackupReport backup(const EncryptedLocalStore& store, const std::string& path, const UserKey& key,
                    const Progress& progress) {
  Engine& engine = store.engine();
  base::FileSystem& files = *engine.environment().files;
  if (files.exists(path)) {
    throw Error(ErrorCode::exists, path + " exists already: choose another name");
  }
  std::string part = path + ".holdfast-part";  // what a killed one left is written over
  auto held = lock_store(part, base::FileSystem::Mode::create, engine.environment());
  BackupReport report;
  try {
    crypto::Argon2Cost cost = engine.passphrase_cost(key.kind());
    {
      BackupWriter out(files.open(part, base::FileSystem::Mode::create), key, cost,
                       *engine.environment().random);
      engine.snapshot([&](Connection& connection) {
        report.records = write_tables(connection, out, progress);
      });
      report.bytes = out.finish();
    }
    BackupReader in(open_backup(files, part), key, part);
    if (read_tables(in, nullptr, progress) != report.records) {
      throw Error(ErrorCode::io, "the backup does not read as it was written: try another disk");
    }
    if (!files.rename_new(part, path)) {
      throw Error(ErrorCode::exists, path + " was made by another process meanwhile");
    }
  } catch (...) {
    files.remove(part);
    throw;
  }
  return report;
}

BackupReport restore(const std::string& backup_path, const UserKey& backup_key,
                     const std::string& db_path, const UserKey& store_key,
                     const RestoreOptions& options, const Progress& progress) {
  base::Environment environment =
      options.store.environment ? *options.store.environment : base::system_environment();
  base::FileSystem& files = *environment.files;
  std::string path = files.canonical(db_path);
  bool there = files.exists(path);
  if (there && !options.replace) {
    throw Error(ErrorCode::exists, path + " exists already: choose another name, or replace it");
  }
  std::unique_ptr<base::File> old;
  if (there) {
    old = lock_store(path, base::FileSystem::Mode::existing, environment);
    if (!is_store(*old)) {
      throw Error(ErrorCode::not_a_store,
                  path + " is no Holdfast store, so it is not replaced: choose another name");
    }
  }
  BackupReader in(open_backup(files, backup_path), backup_key, backup_path);
  std::string aside = path + ".restore";
  BackupReport report;
  report.bytes = in.size();
  auto held = lock_store(aside + ".lock", base::FileSystem::Mode::create, environment);
  try {
    remove_store(files, aside);
    StoreOptions create = options.store;
    create.open = StoreOptions::Open::create;
    create.anchor = {};
    {
      Engine engine(aside, store_key, create);
      Engine::Transaction transaction(engine);
      report.records = read_tables(in, &engine, progress);
      transaction.commit();
      engine.verify(progress);
      engine.with_database([](Database& database) { database.set_replaced_another(); });
    }
    if (there) {
      files.rename_over(aside, path);
    } else if (!files.rename_new(aside, path)) {
      throw Error(ErrorCode::exists, path + " was made by another process meanwhile");
    }
    files.remove(aside + ".lock");
  } catch (...) {
    remove_store(files, aside);
    files.remove(aside + ".lock");
    throw;
  }
  old.reset();
  held.reset();
  StoreOptions open = options.store;
  open.open = StoreOptions::Open::existing;
  open.anchor.load = nullptr;             // a new history: the anchor follows it from here on
  Engine settled(path, store_key, open);  // settles what is left to do, and tells the anchor
  return report;
}

}  // namespace holdfast
