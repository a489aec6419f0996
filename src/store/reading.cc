// The engine's reads: records, lists and queries, beside the writer where they can.

#include "holdfast/error.h"
#include "src/store/engine.h"

namespace holdfast::store {

model::Json parse_stored(std::string_view doc) {
  model::Json document = model::Json::parse(doc, nullptr, false);
  if (document.is_discarded()) throw Error(ErrorCode::corrupt, "a stored document is not JSON");
  return document;
}

std::optional<model::Json> Engine::get_document(const Key& key) {
  auto find = [&](Connection& connection) -> std::optional<model::Json> {
    Statement query(
        connection.prepare("SELECT doc FROM record WHERE alive = 1 AND id = ?2 AND collection = "
                           "(SELECT num FROM collection WHERE name = ?1)"));
    query.bind(key.collection).bind(key.id);
    if (!query.step()) return std::nullopt;
    return parse_stored(query.text(0));
  };
  // The writer's connection has the warmest cache, but is not worth waiting for.
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock && !database_.is_open()) database_.connection();  // throws
  if (lock) return find(database_.connection());
  return read([&](Connection& connection) { return find(connection); });
}

std::vector<std::string> Engine::list(const std::string& collection) {
  return read([&](Connection& connection) {
    std::vector<std::string> ids;
    Statement query(connection.prepare(
        "SELECT id FROM record WHERE collection = (SELECT num FROM collection WHERE name = ?) "
        "AND alive = 1 ORDER BY id"));
    query.bind(collection);
    while (query.step()) ids.emplace_back(query.text(0));
    return ids;
  });
}

void Engine::for_each(const std::string& collection,
                      const std::function<bool(const std::string&, const model::Json&)>& visit) {
  read([&](Connection& connection) {
    Statement query(connection.prepare(
        "SELECT id, doc FROM record WHERE collection = "
        "(SELECT num FROM collection WHERE name = ?) AND alive = 1 ORDER BY id"));
    query.bind(collection);
    while (query.step()) {
      if (!visit(std::string(query.text(0)), parse_stored(query.text(1)))) return;
    }
  });
}

std::vector<std::string> Engine::collections() {
  return read([&](Connection& connection) {
    std::vector<std::string> names;
    Statement query(connection.prepare(
        "SELECT name FROM collection c WHERE substr(name, 1, 1) <> '_' AND EXISTS "
        "(SELECT 1 FROM record r WHERE r.collection = c.num AND alive = 1) ORDER BY name"));
    while (query.step()) names.emplace_back(query.text(0));
    return names;
  });
}

void Engine::query(const std::string& sql, const std::vector<model::Json>& parameters,
                   const std::function<bool(const model::Json&)>& visit,
                   std::set<std::string>* touched) {
  if (!in_own_transaction()) {
    Readers::Lease reader = database_.readers().lease(Readers::Use::queries);
    run_query(*reader->connection, reader->scope, sql, parameters, visit, touched);
    return;
  }
  // On the writer's connection nothing of a query may be left while the app goes on.
  std::vector<model::Json> rows;
  {
    TemporaryViews views(database_.connection(), database_.scope());
    auto keep = [&](const model::Json& row) {
      rows.push_back(row);
      return true;
    };
    run_query(database_.connection(), database_.scope(), sql, parameters, keep, touched);
  }
  for (const model::Json& row : rows) {
    if (!visit(row)) return;
  }
}

QueryPlan Engine::explain(const std::string& sql, const std::vector<model::Json>& parameters) {
  if (!in_own_transaction()) {
    Readers::Lease reader = database_.readers().lease(Readers::Use::queries);
    return explain_query(*reader->connection, reader->scope, sql, parameters);
  }
  TemporaryViews views(database_.connection(), database_.scope());
  return explain_query(database_.connection(), database_.scope(), sql, parameters);
}

LiveQuery Engine::watch(const std::string& sql, const std::vector<model::Json>& parameters,
                        LiveQuery::State::Callback callback) {
  require_no_transaction();
  auto run = [this, sql, parameters](std::set<std::string>* touched) {
    std::vector<model::Json> rows;
    query(
        sql, parameters,
        [&](const model::Json& row) {
          rows.push_back(row);
          return true;
        },
        touched);
    return rows;
  };
  auto state = std::make_shared<LiveQuery::State>(std::move(run), std::move(callback));
  live_.add(state);
  state->refresh();
  return LiveQuery(std::move(state));
}

bool Engine::create_index(const IndexInfo& index) {
  check_key({index.collection, "x"});
  Transaction transaction(*this);
  bool made =
      store::create_index(database_.connection(), records_.add_collection(index.collection), index);
  transaction.commit();
  return made;
}

bool Engine::drop_index(const IndexInfo& index) {
  Transaction transaction(*this);
  bool dropped = store::drop_index(database_.connection(), index);
  transaction.commit();
  return dropped;
}

std::vector<IndexInfo> Engine::indexes() {
  return read([](Connection& connection) { return list_indexes(connection); });
}

void Engine::snapshot(const std::function<void(Connection&)>& work) {
  if (in_own_transaction()) {
    throw Error(ErrorCode::invalid_argument, "this cannot be part of a transaction: commit first");
  }
  Readers::Lease reader = database_.readers().lease(Readers::Use::own);
  reader->connection->execute("BEGIN");
  try {
    work(*reader->connection);
    reader->connection->execute("COMMIT");
  } catch (...) {
    reader.discard();
    throw;
  }
}

crypto::Argon2Cost Engine::passphrase_cost(UserKey::Kind kind) {
  std::lock_guard lock(mutex_);
  return database_.passphrase_cost(kind);
}

void Engine::verify(const Progress& progress) {
  std::lock_guard lock(mutex_);
  database_.connection();
  database_.verify(progress);
}

}  // namespace holdfast::store
