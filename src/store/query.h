#pragma once

// SQL from outside, over the collections: read-only, and of nothing else in the file.

#include <set>

#include "holdfast/query.h"
#include "src/base/sqlite.h"

namespace holdfast::store {

// What a connection knows for queries. Its address must not change while the connection lives.
struct QueryScope {
  std::int64_t known = 0;                          // the highest collection that was looked at
  std::map<std::string, std::string> collections;  // by name in lower case, as SQL sees it
  std::set<std::string> ambiguous;                 // names that differ in case only: not in SQL
  // Starts the names of the views that read the tables. No query can know it.
  std::string secret;
  bool restricted = false;                   // SQL from outside is being run
  std::set<std::string>* touched = nullptr;  // collects the collections it reads
  bool denied = false;
};

// To be called once for a connection, before any query. Others' statements on it stay as they are.
void install_authorizer(base::Connection& connection, QueryScope& scope);

// Takes the views of queries away again, from a connection that is for more than queries.
class TemporaryViews {
 public:
  TemporaryViews(base::Connection& connection, QueryScope& scope)
      : connection_(connection), scope_(scope) {}
  ~TemporaryViews();
  TemporaryViews(const TemporaryViews&) = delete;
  TemporaryViews& operator=(const TemporaryViews&) = delete;

 private:
  base::Connection& connection_;
  QueryScope& scope_;
};

// Calls `visit` for each row, an object by column, until it returns false. `touched` may be null.
// Throws Error(invalid_argument) where the SQL is wrong or more than one SELECT over collections.
void run_query(base::Connection& connection, QueryScope& scope, const std::string& sql,
               const std::vector<nlohmann::json>& parameters,
               const std::function<bool(const nlohmann::json&)>& visit,
               std::set<std::string>* touched);

QueryPlan explain_query(base::Connection& connection, QueryScope& scope, const std::string& sql,
                        const std::vector<nlohmann::json>& parameters);

// In the caller's transaction. False where there is one already (create), or none (drop). Throws
// Error(invalid_argument) for a path that is none.
bool create_index(base::Connection& connection, std::int64_t collection_num,
                  const IndexInfo& index);
bool drop_index(base::Connection& connection, const IndexInfo& index);
std::vector<IndexInfo> list_indexes(base::Connection& connection);

}  // namespace holdfast::store
