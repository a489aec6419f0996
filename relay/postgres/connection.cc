#include "relay/postgres/connection.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "holdfast/error.h"

namespace holdfast::relay {
namespace {

constexpr int kAnswerMs = 30'000;      // what takes longer has failed
constexpr std::int64_t kDownMs = 500;  // between tries to connect
constexpr Oid kByteArray = 17;

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void put_big_endian(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

}  // namespace

ByteView PgRows::bytes(int row, int column) const {
  const char* data = PQgetvalue(result_.get(), row, column);
  auto size = static_cast<std::size_t>(PQgetlength(result_.get(), row, column));
  return {reinterpret_cast<const std::uint8_t*>(data), size};
}

std::int64_t PgRows::integer(int row, int column) const {
  ByteView raw = bytes(row, column);
  if (raw.size() != 8) throw Error(ErrorCode::corrupt, "the database answered with another type");
  std::uint64_t value = 0;
  for (std::uint8_t byte : raw) value = value << 8 | byte;
  return static_cast<std::int64_t>(value);
}

PgValue::PgValue(std::int64_t number) {
  put_big_endian(bytes_, static_cast<std::uint64_t>(number), 8);
}

// As array_send of PostgreSQL writes it: dimensions, nulls, type, then size and bytes of each.
void PgValue::make_list(std::size_t count, std::size_t size, const std::uint8_t* items) {
  put_big_endian(bytes_, count == 0 ? 0 : 1, 4);
  put_big_endian(bytes_, 0, 4);
  put_big_endian(bytes_, kByteArray, 4);
  if (count == 0) return;
  put_big_endian(bytes_, count, 4);
  put_big_endian(bytes_, 1, 4);
  for (std::size_t i = 0; i < count; ++i) {
    put_big_endian(bytes_, size, 4);
    bytes_.insert(bytes_.end(), items + i * size, items + (i + 1) * size);
  }
}

void PgConnection::on_notice(void* self, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity && std::strcmp(severity, "WARNING") == 0) {
    static_cast<PgConnection*>(self)->warned_ = true;
  }
}

void PgConnection::open() {
  if (connection_) return;
  if (now_ms() < down_until_ms_) {
    throw Error(ErrorCode::io, "the database cannot be reached: trying again soon");
  }
  // What `where` says comes after these, and counts.
  const char* keys[] = {"connect_timeout",
                        "tcp_user_timeout",
                        "keepalives_idle",
                        "target_session_attrs",
                        "application_name",
                        "dbname",
                        nullptr};
  const char* values[] = {"5",    "10000", "10", "read-write", "holdfast-relay", where_.c_str(),
                          nullptr};
  connection_ = PQconnectdbParams(keys, values, 1);
  if (PQstatus(connection_) != CONNECTION_OK) {
    down_until_ms_ = now_ms() + kDownMs;
    fail("the database cannot be reached");
  }
  PQsetNoticeReceiver(connection_, on_notice, this);
  // What is acknowledged is durable, whatever the server's default is.
  execute(
      "SET synchronous_commit = on; SET client_min_messages = warning; "
      "SET statement_timeout = '25s'; SET lock_timeout = '10s'; "
      "SET idle_in_transaction_session_timeout = '60s'");
  PGresult* shown = PQexec(connection_, "SHOW fsync");
  bool is_durable = PQntuples(shown) == 1 && std::strcmp(PQgetvalue(shown, 0, 0), "on") == 0;
  PQclear(shown);
  if (!is_durable) {
    close();
    throw Error(ErrorCode::io,
                "the database runs with fsync off: a relay that acknowledged on it would lie");
  }
  PQsetnonblocking(connection_, 1);
  if (PQenterPipelineMode(connection_) != 1) fail("no pipeline");
}

void PgConnection::close() noexcept {
  if (connection_) PQfinish(connection_);
  connection_ = nullptr;
  prepared_.clear();
  sent_.clear();
}

// libpq's messages name hosts and databases, no values of ours: the statements have them apart.
void PgConnection::fail(const std::string& what) {
  std::string reason = connection_ ? PQerrorMessage(connection_) : "";
  while (!reason.empty() && reason.back() == '\n') reason.pop_back();
  std::replace_if(reason.begin(), reason.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  close();
  throw Error(ErrorCode::io, what + ": " + (reason.empty() ? "no answer" : reason));
}

void PgConnection::execute(const char* sql) {
  if (!connection_) open();
  bool pipelined = PQpipelineStatus(connection_) == PQ_PIPELINE_ON;
  if (pipelined) {
    PQexitPipelineMode(connection_);
    PQsetnonblocking(connection_, 0);
  }
  PGresult* result = PQexec(connection_, sql);
  ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail("the database refused");
  if (pipelined) {
    PQsetnonblocking(connection_, 1);
    PQenterPipelineMode(connection_);
  }
}

void PgConnection::send(const char* sql, const std::vector<PgValue>& values, bool is_asked) {
  if (!connection_) fail("the connection to the database was lost");
  auto [found, is_new] = prepared_.try_emplace(sql);
  if (is_new) {
    found->second = "s" + std::to_string(prepared_.size());
    if (PQsendPrepare(connection_, found->second.c_str(), sql, 0, nullptr) != 1) fail("prepare");
    sent_.push_back(false);
  }
  std::vector<const char*> data;
  std::vector<int> sizes;
  std::vector<int> formats(values.size(), 1);
  for (const PgValue& value : values) {
    static const char kEmpty = 0;
    const char* bytes =
        value.bytes().empty() ? &kEmpty : reinterpret_cast<const char*>(value.bytes().data());
    data.push_back(value.is_null() ? nullptr : bytes);
    sizes.push_back(static_cast<int>(value.bytes().size()));
  }
  if (PQsendQueryPrepared(connection_, found->second.c_str(), static_cast<int>(values.size()),
                          data.data(), sizes.data(), formats.data(), 1) != 1) {
    fail("the database takes nothing");
  }
  sent_.push_back(is_asked);
  is_on_its_way_ = false;
}

void PgConnection::flush() {
  for (;;) {
    int left = PQflush(connection_);
    if (left == 0) return;
    if (left < 0) fail("the connection to the database was lost");
    pollfd wait{PQsocket(connection_), POLLIN | POLLOUT, 0};
    if (::poll(&wait, 1, kAnswerMs) <= 0) fail("the database does not answer");
    if ((wait.revents & POLLIN) && PQconsumeInput(connection_) != 1) {
      fail("the connection to the database was lost");
    }
  }
}

// The next result, or null where those of one statement end.
PGresult* PgConnection::next() {
  while (PQisBusy(connection_)) {
    pollfd wait{PQsocket(connection_), POLLIN, 0};
    if (::poll(&wait, 1, kAnswerMs) <= 0) fail("the database does not answer");
    if (PQconsumeInput(connection_) != 1) fail("the connection to the database was lost");
  }
  return PQgetResult(connection_);
}

// Of the oldest statement sent. The caller frees it.
PGresult* PgConnection::take() {
  PGresult* result = next();
  ExecStatusType status = PQresultStatus(result);
  if (!result || (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)) {
    const char* text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : nullptr;
    std::string reason = text ? text : "the connection was lost";
    PQclear(result);
    close();
    throw Error(ErrorCode::io, "the database refused: " + reason);
  }
  while (PGresult* more = next()) PQclear(more);
  sent_.pop_front();
  return result;
}

void PgConnection::run(const char* sql, const std::vector<PgValue>& values) {
  send(sql, values, false);
}

void PgConnection::ask(const char* sql, const std::vector<PgValue>& values) {
  send(sql, values, true);
}

PgRows PgConnection::answer() {
  if (!connection_) fail("the connection to the database was lost");
  if (!is_on_its_way_) {  // once for all that was asked, and not for each answer
    PQsendFlushRequest(connection_);
    flush();
    is_on_its_way_ = true;
  }
  for (;;) {
    bool is_asked = sent_.front();
    PgRows rows(take());
    if (is_asked) return rows;
  }
}

PgRows PgConnection::query(const char* sql, const std::vector<PgValue>& values) {
  ask(sql, values);
  return answer();
}

void PgConnection::begin(bool only_reads) {
  open();
  warned_ = false;
  if (only_reads) {
    run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  } else {
    run("BEGIN");
  }
}

void PgConnection::commit() {
  run("COMMIT");
  if (PQpipelineSync(connection_) != 1) fail("the connection to the database was lost");
  flush();
  std::string said;
  while (!sent_.empty()) {
    PGresult* result = take();
    said = PQcmdStatus(result);
    PQclear(result);
  }
  PGresult* synced = next();
  bool is_synced = PQresultStatus(synced) == PGRES_PIPELINE_SYNC;
  PQclear(synced);
  // A warning: it did not wait for its standbys. And it says COMMIT in that case, too.
  if (!is_synced || said != "COMMIT" || warned_) {
    close();
    throw Error(ErrorCode::io, "the database did not say that it is durable: try again");
  }
}

// Nothing is known of what was under way: a new connection knows that there is nothing.
void PgConnection::rollback() noexcept { close(); }

}  // namespace holdfast::relay
