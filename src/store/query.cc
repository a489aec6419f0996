#include "src/store/query.h"

#include <algorithm>
#include <cctype>

#include "holdfast/error.h"
#include "holdfast/json.h"
#include "src/model/json.h"
#include "src/model/path.h"

namespace holdfast {

bool QueryPlan::scans() const {
  return std::any_of(steps.begin(), steps.end(), [](const QueryStep& step) { return step.scans; });
}

namespace store {
namespace {

using base::Connection;
using base::Statement;
using nlohmann::json;

constexpr std::string_view kIndexPrefix = "query_index_";

std::string lower(std::string text) {  // as SQLite compares names: ASCII only
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string quoted(const std::string& text, char quote) {
  std::string out(1, quote);
  for (char c : text) {
    if (c == quote) out += quote;
    out += c;
  }
  return out + quote;
}

bool is_one_of(const char* name, std::initializer_list<std::string_view> names) {
  return name && std::find(names.begin(), names.end(), std::string_view(name)) != names.end();
}

// A column may be read of a collection's view, of the hidden view that it reads, and through that
// one alone of the table. `accessor` is the innermost view, or whatever else a query gave a name.
int authorize_read(QueryScope& scope, const char* table, const char* database,
                   const char* accessor) {
  if (!table) return SQLITE_DENY;
  bool temporary = !database || is_one_of(database, {"temp"});
  auto collection = scope.collections.find(lower(table));
  if (collection != scope.collections.end() && temporary) {
    if (scope.touched) scope.touched->insert(collection->second);
    return SQLITE_OK;
  }
  if (std::string_view(table).starts_with(scope.secret) && temporary) return SQLITE_OK;
  if (is_one_of(table, {"json_each", "json_tree"})) return SQLITE_OK;
  bool hidden = accessor && std::string_view(accessor).starts_with(scope.secret);
  return is_one_of(table, {"record"}) && hidden ? SQLITE_OK : SQLITE_DENY;
}

int authorize(void* data, int action, const char* first, const char* second, const char* database,
              const char* accessor) noexcept {
  QueryScope& scope = *static_cast<QueryScope*>(data);
  if (!scope.restricted) return SQLITE_OK;
  int result = SQLITE_DENY;
  try {
    switch (action) {
      case SQLITE_SELECT:
      case SQLITE_RECURSIVE: result = SQLITE_OK; break;
      case SQLITE_FUNCTION:
        result = is_one_of(second, {"load_extension", "fts3_tokenizer"}) ? SQLITE_DENY : SQLITE_OK;
        break;
      case SQLITE_READ: result = authorize_read(scope, first, database, accessor); break;
      default: break;
    }
  } catch (...) {
    result = SQLITE_DENY;  // out of memory
  }
  if (result == SQLITE_DENY) scope.denied = true;
  return result;
}

void drop_view(Connection& connection, QueryScope& scope, const std::string& name) {
  connection.execute(("DROP VIEW IF EXISTS temp." + quoted(name, '"')).c_str());
  scope.collections.erase(lower(name));
}

// A view for every collection, over a hidden one of its rows. Names that SQL cannot tell apart, or
// keeps for itself, have none.
void add_views(Connection& connection, QueryScope& scope) {
  if (scope.known == 0) {  // SQLite sets these tables up at their first use, in ways of its own
    connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')");
  }
  std::vector<std::pair<std::int64_t, std::string>> fresh;
  {
    Statement query(connection.prepare(
        "SELECT num, name FROM main.collection WHERE num > ? AND substr(name, 1, 1) <> '_' "
        "ORDER BY num"));
    query.bind(scope.known);
    while (query.step()) fresh.emplace_back(query.integer(0), query.text(1));
  }
  for (const auto& [num, name] : fresh) {
    std::string view = lower(name);
    auto same = scope.collections.find(view);
    if (same != scope.collections.end() && same->second != name) {
      scope.ambiguous.insert(view);
      drop_view(connection, scope, std::string(same->second));
    }
    if (!view.starts_with("sqlite_") && scope.ambiguous.count(view) == 0) {
      std::string hidden = quoted(scope.secret + std::to_string(num), '"');
      connection.execute(("CREATE TEMP VIEW IF NOT EXISTS " + hidden +
                          " AS SELECT id, doc, created_ms AS created_at, updated_ms AS updated_at "
                          "FROM main.record AS " +
                          quoted(name, '"') + " WHERE collection = " + std::to_string(num) +
                          " AND alive = 1")
                             .c_str());
      connection.execute(("CREATE TEMP VIEW IF NOT EXISTS " + quoted(name, '"') +
                          " AS SELECT id, doc, created_at, updated_at FROM temp." + hidden)
                             .c_str());
      scope.collections.emplace(view, name);
    }
    scope.known = num;
  }
}

// One statement of the user's.
class UserStatement {
 public:
  UserStatement(Connection& connection, QueryScope& scope, const std::string& sql,
                const std::vector<json>& parameters, std::set<std::string>* touched)
      : connection_(connection), scope_(scope) {
    scope_.denied = false;
    scope_.touched = touched;
    scope_.restricted = true;
    const char* rest = nullptr;
    int code = sqlite3_prepare_v2(connection.handle(), sql.c_str(), static_cast<int>(sql.size()),
                                  &statement_, &rest);
    if (code != SQLITE_OK) {
      scope_.restricted = false;
      fail(code);
    }
    try {
      while (rest && (std::isspace(static_cast<unsigned char>(*rest)) || *rest == ';')) ++rest;
      if (!statement_ || (rest && *rest != '\0') || !sqlite3_stmt_readonly(statement_)) {
        throw Error(ErrorCode::invalid_argument, "a query is one SELECT");
      }
      bind(parameters);
    } catch (...) {
      finish();
      throw;
    }
  }
  ~UserStatement() { finish(); }
  UserStatement(const UserStatement&) = delete;
  UserStatement& operator=(const UserStatement&) = delete;

  bool step() {
    int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    fail(code);
  }
  sqlite3_stmt* get() { return statement_; }

 private:
  void finish() {
    sqlite3_finalize(std::exchange(statement_, nullptr));
    scope_.restricted = false;
    scope_.touched = nullptr;
  }

  [[noreturn]] void fail(int code) {
    if (scope_.denied) {
      throw Error(ErrorCode::invalid_argument,
                  "a query may only read collections: their columns are id, doc, created_at and "
                  "updated_at");
    }
    if ((code & 0xff) == SQLITE_ERROR) {
      std::string reason = sqlite3_errmsg(connection_.handle());
      for (const std::string& name : scope_.ambiguous) {
        if (lower(reason).ends_with(": " + name)) {
          reason += " (collections of that name differ in case only, which SQL cannot tell apart)";
        }
      }
      throw Error(ErrorCode::invalid_argument, "the query is wrong: " + reason);
    }
    if ((code & 0xff) == SQLITE_TOOBIG) {
      throw Error(ErrorCode::too_large, "a value of the query's result is too large");
    }
    connection_.fail(code);
  }

  void bind(const std::vector<json>& parameters) {
    int wanted = sqlite3_bind_parameter_count(statement_);
    if (static_cast<std::size_t>(wanted) != parameters.size()) {
      throw Error(ErrorCode::invalid_argument,
                  "the query has " + std::to_string(wanted) + " parameters, and " +
                      std::to_string(parameters.size()) + " were given");
    }
    for (int i = 0; i < wanted; ++i) {
      const json& value = parameters[static_cast<std::size_t>(i)];
      if (value.is_null()) {
        sqlite3_bind_null(statement_, i + 1);
      } else if (value.is_boolean()) {
        sqlite3_bind_int(statement_, i + 1, value.get<bool>() ? 1 : 0);
      } else if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) {
        sqlite3_bind_double(statement_, i + 1, value.get<double>());
      } else if (value.is_number_integer()) {
        sqlite3_bind_int64(statement_, i + 1, value.get<std::int64_t>());
      } else if (value.is_number()) {
        sqlite3_bind_double(statement_, i + 1, value.get<double>());
      } else {
        std::string text = value.is_string() ? value.get<std::string>() : value.dump();
        sqlite3_bind_text64(statement_, i + 1, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8);
      }
    }
  }

  Connection& connection_;
  QueryScope& scope_;
  sqlite3_stmt* statement_ = nullptr;
};

std::vector<std::string> column_names(sqlite3_stmt* statement) {
  std::vector<std::string> names;
  for (int i = 0; i < sqlite3_column_count(statement); ++i) {
    const char* name = sqlite3_column_name(statement, i);
    if (!name) throw std::bad_alloc();
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      throw Error(ErrorCode::invalid_argument, std::string("two columns of the query are called ") +
                                                   name + ": name them with AS");
    }
    names.emplace_back(name);
  }
  return names;
}

json column_value(sqlite3_stmt* statement, int i, const std::string& name) {
  switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER: return sqlite3_column_int64(statement, i);
    case SQLITE_FLOAT: return sqlite3_column_double(statement, i);
    case SQLITE_NULL: return nullptr;
    default: break;
  }
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, i));
  std::string text(data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement, i)));
  if (sqlite3_column_type(statement, i) == SQLITE_BLOB || !model::valid_utf8(text)) {
    return base::to_base64url(base::view(text));
  }
  if (name == "doc") {  // the document itself, unless the query made it up
    try {
      return parse_json(text);
    } catch (const Error&) {
      return text;
    }
  }
  return text;
}

}  // namespace

TemporaryViews::~TemporaryViews() {
  try {
    std::map<std::string, std::string> collections = scope_.collections;
    for (const auto& [view, name] : collections) drop_view(connection_, scope_, name);
    std::vector<std::string> hidden;
    {
      Statement query(connection_.prepare("SELECT name FROM temp.sqlite_schema"));
      while (query.step()) hidden.emplace_back(query.text(0));
    }
    for (const std::string& name : hidden) drop_view(connection_, scope_, name);
  } catch (...) {
    // The transaction failed, and its views go with it.
  }
  scope_.collections.clear();
  scope_.ambiguous.clear();
  scope_.known = 0;
}

void install_authorizer(Connection& connection, QueryScope& scope) {
  std::array<std::uint8_t, 16> random;
  sqlite3_randomness(static_cast<int>(random.size()), random.data());
  scope.secret = "_" + base::to_hex(random) + "_";
  sqlite3_set_authorizer(connection.handle(), authorize, &scope);
  sqlite3_limit(connection.handle(), SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
}

void run_query(Connection& connection, QueryScope& scope, const std::string& sql,
               const std::vector<json>& parameters, const std::function<bool(const json&)>& visit,
               std::set<std::string>* touched) {
  add_views(connection, scope);
  UserStatement statement(connection, scope, sql, parameters, touched);
  if (sqlite3_stmt_isexplain(statement.get()) != 0) {
    throw Error(ErrorCode::invalid_argument, "a query is one SELECT: explain() explains it");
  }
  std::vector<std::string> names = column_names(statement.get());
  while (statement.step()) {
    json row = json::object();
    for (std::size_t i = 0; i < names.size(); ++i) {
      row[names[i]] = column_value(statement.get(), static_cast<int>(i), names[i]);
    }
    if (!visit(row)) return;
  }
}

QueryPlan explain_query(Connection& connection, QueryScope& scope, const std::string& sql,
                        const std::vector<json>& parameters) {
  add_views(connection, scope);
  std::map<std::string, std::string> indexes;  // its name in SQLite: the path
  {
    Statement query(connection.prepare("SELECT num, path FROM main.query_index"));
    while (query.step()) {
      indexes[std::string(kIndexPrefix) + std::to_string(query.integer(0))] = query.text(1);
    }
  }
  QueryPlan plan;
  UserStatement statement(connection, scope, "EXPLAIN QUERY PLAN " + sql, parameters, nullptr);
  while (statement.step()) {
    QueryStep step;
    step.detail = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 3));
    std::size_t name_at = step.detail.find(' ') + 1;
    for (const auto& [view, name] : scope.collections) {
      bool names_it = step.detail.compare(name_at, name.size(), name) == 0 &&
                      (step.detail.size() == name_at + name.size() ||
                       step.detail[name_at + name.size()] == ' ');
      if (!names_it || name.size() < step.collection.size()) continue;
      // All records are in one table, by collection: to search for that alone is to scan it.
      bool all_of_it = step.detail.ends_with("(collection=?)");
      step.scans = step.detail.starts_with("SCAN ") || all_of_it;
      if (step.scans) step.collection = name;
    }
    std::size_t at = step.detail.find(kIndexPrefix);
    if (at != std::string::npos) {
      std::size_t end = std::min(step.detail.find(' ', at), step.detail.size());
      auto index = indexes.find(step.detail.substr(at, end - at));
      if (index != indexes.end()) step.detail.replace(at, end - at, "on " + index->second);
    }
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

bool create_index(Connection& connection, std::int64_t collection_num, const IndexInfo& index) {
  if (model::parse_path(index.path).empty()) {
    throw Error(ErrorCode::invalid_argument, "an index needs a path below $, such as $.due");
  }
  Statement insert(
      connection.prepare("INSERT OR IGNORE INTO query_index(collection, path) "
                         "VALUES(?, ?)"));
  insert.bind(index.collection).bind(index.path).run();
  if (connection.changes() == 0) return false;
  std::string name =
      std::string(kIndexPrefix) + std::to_string(sqlite3_last_insert_rowid(connection.handle()));
  std::string sql = "CREATE INDEX " + name + " ON record(doc ->> " + quoted(index.path, '\'') +
                    ") WHERE collection = " + std::to_string(collection_num) + " AND alive = 1";
  connection.execute(sql.c_str());
  return true;
}

bool drop_index(Connection& connection, const IndexInfo& index) {
  std::string name(kIndexPrefix);
  {
    Statement query(
        connection.prepare("SELECT num FROM query_index WHERE collection = ? AND path = ?"));
    query.bind(index.collection).bind(index.path);
    if (!query.step()) return false;
    name += std::to_string(query.integer(0));
  }
  Statement(connection.prepare("DELETE FROM query_index WHERE collection = ? AND path = ?"))
      .bind(index.collection)
      .bind(index.path)
      .run();
  connection.execute(("DROP INDEX IF EXISTS " + name).c_str());
  return true;
}

std::vector<IndexInfo> list_indexes(Connection& connection) {
  std::vector<IndexInfo> out;
  Statement query(
      connection.prepare("SELECT collection, path FROM query_index ORDER BY collection, path"));
  while (query.step()) out.push_back({std::string(query.text(0)), std::string(query.text(1))});
  return out;
}

}  // namespace store
}  // namespace holdfast
