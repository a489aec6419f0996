#include "src/base/sqlite.h"

#include <cstdio>
#include <cstdlib>

#include "holdfast/error.h"

namespace holdfast::base {

Statement::Statement(Connection& connection, sqlite3_stmt* statement, bool own)
    : connection_(&connection), statement_(statement), own_(own) {
  ++connection_->statements_;
}

Statement::~Statement() {
  connection_->check_guard();
  --connection_->statements_;
  if (own_) {
    sqlite3_finalize(statement_);
    return;
  }
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::bind(std::int64_t value) {
  sqlite3_bind_int64(statement_, next_++, value);
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  sqlite3_bind_text64(statement_, next_++, text.data() ? text.data() : "", text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(ByteView blob) {
  sqlite3_bind_blob64(statement_, next_++,
                      blob.empty() ? "" : static_cast<const void*>(blob.data()), blob.size(),
                      SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(std::nullptr_t) {
  sqlite3_bind_null(statement_, next_++);
  return *this;
}

bool Statement::step() {
  connection_->check_guard();
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  connection_->fail(code);
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

ByteView Statement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  return {data, data ? static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)) : 0};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Connection::Connection(const std::string& path, int flags, const char* vfs,
                       std::function<void()> rethrow)
    : path_(path), rethrow_(std::move(rethrow)) {
  int code = sqlite3_open_v2(path.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX, vfs);
  if (code != SQLITE_OK) {
    try {
      fail(code);
    } catch (...) {
      sqlite3_close_v2(db_);
      throw;
    }
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
}

Connection::~Connection() {
  for (auto& [sql, statement] : cache_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

void Connection::misused() {
  std::fputs("holdfast: a store's database was used without its lock\n", stderr);
  std::abort();
}

void Connection::execute(const char* sql) {
  check_guard();
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

Statement Connection::prepare(const char* sql) {
  check_guard();
  sqlite3_stmt*& statement = cache_[sql];
  if (!statement) {
    int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) fail(code);
  }
  if (!sqlite3_stmt_busy(statement)) return Statement(*this, statement, false);
  sqlite3_stmt* second = nullptr;  // the cached one is being stepped by a caller further up
  int code = sqlite3_prepare_v2(db_, sql, -1, &second, nullptr);
  if (code != SQLITE_OK) fail(code);
  return Statement(*this, second, true);
}

void Connection::fail(int code) {
  // Only an I/O error has its reason with the VFS; one that SQLite swallowed earlier is not this
  // one's.
  bool from_vfs = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ||
                  (code & 0xff) == SQLITE_FULL;
  if (rethrow_ && from_vfs) rethrow_();
  std::string reason = db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw Error(ErrorCode::corrupt,
                  path_ + " is damaged (" + reason + "): restore a backup or sync a new device");
    case SQLITE_FULL:
      throw Error(ErrorCode::io, "the disk is full: free some space, then try again");
    case SQLITE_NOMEM: throw std::bad_alloc();
    default: throw Error(ErrorCode::io, "the store cannot be used: " + reason);
  }
}

}  // namespace holdfast::base
