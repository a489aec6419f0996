#pragma once

// A connection to PostgreSQL whose statements travel together: what answers nothing waits for the
// next that does.

#include <libpq-fe.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/bytes.h"

namespace holdfast::relay {

// Rows of an answer, in PostgreSQL's binary format.
class PgRows {
 public:
  explicit PgRows(PGresult* result) : result_(result, PQclear) {}
  int size() const { return PQntuples(result_.get()); }
  bool is_null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  ByteView bytes(int row, int column) const;        // lives as long as the rows
  std::int64_t integer(int row, int column) const;  // of a bigint
  std::uint64_t number(int row, int column) const {
    return static_cast<std::uint64_t>(integer(row, column));
  }

 private:
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

// A value of a statement: bytea, bigint, or bytea[].
class PgValue {
 public:
  PgValue(ByteView bytes) : bytes_(base::to_bytes(bytes)) {}
  PgValue(std::int64_t number);
  PgValue(std::uint64_t number) : PgValue(static_cast<std::int64_t>(number)) {}
  PgValue(int number) : PgValue(std::int64_t{number}) {}
  PgValue(std::nullptr_t) : is_null_(true) {}
  template <std::size_t N>
  PgValue(const std::array<std::uint8_t, N>& bytes) : PgValue(ByteView(bytes)) {}
  template <std::size_t N>
  static PgValue list(const std::vector<std::array<std::uint8_t, N>>& items) {
    PgValue out(nullptr);
    out.is_null_ = false;
    out.make_list(items.size(), N, items.empty() ? nullptr : items[0].data());
    return out;
  }
  const Bytes& bytes() const { return bytes_; }
  bool is_null() const { return is_null_; }

 private:
  void make_list(std::size_t count, std::size_t size, const std::uint8_t* items);
  Bytes bytes_;
  bool is_null_ = false;
};

// One thread at a time. Everything throws Error(io) where the database cannot do it: the connection
// is closed then, and opened again for the next transaction.
class PgConnection {
 public:
  // As libpq takes it: "host=… dbname=…", a postgresql:// URL, or "" for the environment.
  explicit PgConnection(std::string where) : where_(std::move(where)) {}
  ~PgConnection() { close(); }
  PgConnection(const PgConnection&) = delete;
  PgConnection& operator=(const PgConnection&) = delete;

  void begin(bool only_reads);
  // Once this returns, the database has it durably, on its synchronous standbys as well.
  void commit();
  void rollback() noexcept;

  // `sql` is a literal: its address is the prepared statement's key.
  void run(const char* sql, const std::vector<PgValue>& values = {});
  PgRows query(const char* sql, const std::vector<PgValue>& values = {});
  // query() in two parts, so that several travel together: answers come in the order of asking.
  void ask(const char* sql, const std::vector<PgValue>& values = {});
  PgRows answer();
  void execute(const char* sql);  // of several statements, alone

 private:
  void open();
  void close() noexcept;
  void send(const char* sql, const std::vector<PgValue>& values, bool is_asked);
  void flush();
  PGresult* next();
  PGresult* take();
  [[noreturn]] void fail(const std::string& what);
  static void on_notice(void* self, const PGresult* notice);

  std::string where_;
  PGconn* connection_ = nullptr;
  std::int64_t down_until_ms_ = 0;  // no use in trying before
  std::map<const char*, std::string> prepared_;
  std::deque<bool> sent_;  // whose results are still to come; true: an answer that is asked for
  bool is_on_its_way_ = false;  // all that was sent
  bool warned_ = false;
};

}  // namespace holdfast::relay
