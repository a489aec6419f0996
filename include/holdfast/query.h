#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace holdfast {

// How a query will be run, step by step, in SQLite's words.
struct QueryStep {
  std::string detail;      // "SEARCH notes USING INDEX on $.due (<expr><?)"
  bool scans = false;      // reads all of a collection, or of an index
  std::string collection;  // that it scans
};
struct QueryPlan {
  std::vector<QueryStep> steps;
  bool scans() const;  // whether any step does
};

// An index over one path of a collection's documents. It serves queries that name the path in the
// same words: `doc ->> '$.due'`. Indexes are this device's own, and are not synced.
struct IndexInfo {
  std::string collection;
  std::string path;  // "$.due"
};

// What a live query tells: rows that are in its result now and were not, and the other way round. A
// row that changed is in both.
struct QueryChange {
  std::vector<nlohmann::json> added;
  std::vector<nlohmann::json> removed;
  std::size_t rows = 0;  // of the result, now
};

// A query that is run again whenever a collection changed that it reads; ends when it is destroyed.
// Destroying waits for a callback that runs on another thread, and so must not be done inside a
// transaction. Keeps the rows of its last result in memory, also while the store is locked. Must
// not outlive its store.
class LiveQuery {
 public:
  class State;
  explicit LiveQuery(std::shared_ptr<State> state);
  ~LiveQuery();
  LiveQuery(LiveQuery&&) noexcept;
  LiveQuery& operator=(LiveQuery&&) noexcept;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace holdfast
