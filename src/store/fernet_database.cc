// Import from and export to plain SQLite databases of Fernet tokens.

#include "holdfast/backup.h"
#include "src/model/json.h"
#include "src/store/engine.h"

namespace holdfast {
namespace {

using base::Connection;
using base::Statement;

constexpr int kUri = SQLITE_OPEN_URI;

std::string as_uri(const std::string& path, const std::string& query) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "file:";
  for (char given : path) {
    auto c = static_cast<unsigned char>(given);
    if (std::isalnum(c) || c == '/' || c == '.' || c == '-' || c == '_') {
      out += given;
    } else {
      out += '%';
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  return out + query;
}

std::unique_ptr<Connection> open_foreign(base::FileSystem& files, const std::string& given) {
  if (!files.exists(given)) throw Error(ErrorCode::not_found, "there is no database at " + given);
  std::string path =
      files.canonical(given);  // its log and journal lie beside it, not beside a link
  if (files.exists(path + "-journal")) {
    throw Error(ErrorCode::in_use,
                path +
                    " is being written, or was not closed well: close its app, or open and close "
                    "it once with its app");
  }
  Error foreign(ErrorCode::not_a_store,
                path + " is not an SQLite database with a table encrypted_data(id, data)");
  try {
    // Without a log beside it, SQLite is to make no files there either.
    bool has_log = files.exists(path + "-wal");
    auto connection = std::make_unique<Connection>(as_uri(path, has_log ? "" : "?immutable=1"),
                                                   SQLITE_OPEN_READONLY | kUri, nullptr, nullptr);
    Statement table(connection->prepare(
        "SELECT count(*) FROM pragma_table_info('encrypted_data') WHERE name IN ('id', 'data')"));
    if (!table.step() || table.integer(0) != 2) throw foreign;
    return connection;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) throw foreign;
    throw;
  }
}

void check(const Progress& progress, const ProgressReport& report) {
  if (progress && !progress(report)) {
    throw Error(ErrorCode::cancelled, "it was cancelled, and left nothing behind");
  }
}

model::Json document_of(const Fernet& keys, std::string_view token, const std::string& id) {
  try {
    std::string text = keys.decrypt(token);
    model::Json document = model::Json::parse(text, nullptr, false);
    crypto::wipe(text);
    if (document.is_object()) return document;
  } catch (const Error& error) {
    throw Error(error.code(), "row " + id + ": " + error.what() + " (nothing was imported)");
  }
  throw Error(ErrorCode::malformed,
              "row " + id + ": its token holds no JSON object (nothing was imported)");
}

}  // namespace

std::uint64_t import_fernet(EncryptedLocalStore& store, const std::string& sqlite_path,
                            const Fernet& keys, const std::string& collection,
                            const Progress& progress) {
  auto foreign = open_foreign(*store.engine().environment().files, sqlite_path);
  std::uint64_t total = 0;
  {
    Statement count(foreign->prepare("SELECT count(*) FROM encrypted_data"));
    count.step();
    total = static_cast<std::uint64_t>(count.integer(0));
  }
  Statement twice(
      foreign->prepare("SELECT CAST(id AS TEXT) AS key FROM encrypted_data GROUP BY key HAVING "
                       "count(*) > 1 LIMIT 1"));
  if (twice.step()) {
    throw Error(ErrorCode::malformed,
                "two rows have the id " + std::string(twice.text(0)) +
                    ": one would take the other's place (nothing was imported)");
  }
  std::uint64_t done = 0;
  store.transaction([&] {
    Statement rows(foreign->prepare("SELECT id, data FROM encrypted_data ORDER BY rowid"));
    while (rows.step()) {
      std::string id(rows.text(0));
      store.store({collection, id}, document_of(keys, rows.text(1), id));
      if (++done % 256 == 0) check(progress, {"importing", done, total});
    }
  });
  return done;
}

std::uint64_t export_fernet(const EncryptedLocalStore& store, const std::string& sqlite_path,
                            const Fernet& keys, const std::string& collection,
                            const Progress& progress) {
  store::Engine& engine = store.engine();
  base::FileSystem& files = *engine.environment().files;
  std::string path = files.canonical(sqlite_path);
  if (files.exists(path)) {
    throw Error(ErrorCode::exists, path + " exists already: choose another name");
  }
  std::string part = path + ".holdfast-part";  // what a killed one left is written over
  auto held = store::lock_store(part, base::FileSystem::Mode::create, engine.environment());
  std::uint64_t done = 0;
  try {
    held->truncate(0);
    {
      Connection out(part, SQLITE_OPEN_READWRITE, nullptr, nullptr);
      out.execute("PRAGMA journal_mode = MEMORY");
      out.execute("BEGIN");
      out.execute(
          "CREATE TABLE encrypted_data(id TEXT PRIMARY KEY, data TEXT NOT NULL, "
          "created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL)");
      engine.snapshot([&](Connection& connection) {
        Statement rows(connection.prepare(
            "SELECT id, doc, created_ms, updated_ms FROM record WHERE alive = 1 AND collection = "
            "(SELECT num FROM collection WHERE name = ?) ORDER BY id"));
        rows.bind(collection);
        while (rows.step()) {
          std::string token = keys.encrypt(rows.text(1));
          Statement(out.prepare("INSERT INTO encrypted_data VALUES(?, ?, ?, ?)"))
              .bind(rows.text(0))
              .bind(token)
              .bind(rows.integer(2))
              .bind(rows.integer(3))
              .run();
          if (++done % 256 == 0) check(progress, {"exporting", done, 0});
        }
      });
      out.execute("COMMIT");
    }
    held->sync();
    if (!files.rename_new(part, path)) {
      throw Error(ErrorCode::exists, path + " was made by another process meanwhile");
    }
  } catch (...) {
    files.remove(part);
    throw;
  }
  return done;
}

}  // namespace holdfast
