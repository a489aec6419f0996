#pragma once

// A connection and its statements, thinly: errors become holdfast::Error, memory is owned.

#include <sqlite3.h>

#include <cstddef>
#include <functional>
#include <map>

#include "src/base/bytes.h"
#include "src/base/owned_mutex.h"

namespace holdfast::base {

class Connection;

// A prepared statement in use. Values read from it live until the next step.
class Statement {
 public:
  Statement(Connection& connection, sqlite3_stmt* statement, bool own);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(std::int64_t value);
  Statement& bind(std::uint64_t value) { return bind(static_cast<std::int64_t>(value)); }
  Statement& bind(int value) { return bind(std::int64_t{value}); }
  Statement& bind(std::string_view text);  // the caller keeps the text until the statement is done
  Statement& bind(const std::string& text) { return bind(std::string_view(text)); }
  Statement& bind(const char* text) { return bind(std::string_view(text)); }
  Statement& bind(ByteView blob);  // likewise
  Statement& bind(const Bytes& blob) { return bind(ByteView(blob)); }
  Statement& bind(std::nullptr_t);

  bool step();  // true while there is a row
  void run() {
    while (step()) {
    }
  }

  std::int64_t integer(int column) const;
  std::string_view text(int column) const;
  ByteView blob(int column) const;
  bool is_null(int column) const;
  int type(int column) const { return sqlite3_column_type(statement_, column); }  // SQLITE_TEXT, …

 private:
  Connection* connection_;
  sqlite3_stmt* statement_;
  bool own_;  // not the connection's cached one
  int next_ = 1;
};

// One connection to a database. One thread at a time.
class Connection {
 public:
  // `vfs` may be null for SQLite's own. `rethrow` is asked first when SQLite reports an error: it
  // throws the exact reason where it knows one.
  Connection(const std::string& path, int flags, const char* vfs, std::function<void()> rethrow);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void execute(const char* sql);
  // A statement from the cache, reset. `sql` is a literal: its address is the key.
  Statement prepare(const char* sql);
  sqlite3* handle() {
    check_guard();
    return db_;
  }
  int changes() { return sqlite3_changes(db_); }
  // From now on, until it is set to null, each use must be by the thread that holds `mutex`:
  // anything else ends the program, before two threads can break the database between them.
  void set_guard(const OwnedMutex* mutex) { guard_ = mutex; }
  void check_guard() const {
    if (guard_ && !guard_->held()) misused();
  }
  bool has_statements() const { return statements_ > 0; }             // in use
  std::int64_t last_row() { return sqlite3_last_insert_rowid(db_); }  // that was inserted

  // Throws what `code` means.
  [[noreturn]] void fail(int code);

 private:
  [[noreturn]] static void misused();

  std::string path_;
  std::function<void()> rethrow_;
  sqlite3* db_ = nullptr;
  std::map<const char*, sqlite3_stmt*> cache_;
  const OwnedMutex* guard_ = nullptr;
  int statements_ = 0;  // in use

  friend class Statement;
};

}  // namespace holdfast::base
