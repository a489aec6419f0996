#pragma once

#include <mutex>
#include <set>

#include "holdfast/query.h"

namespace holdfast {

// A live query's part that the store holds on to.
class LiveQuery::State {
 public:
  using Run = std::function<std::vector<nlohmann::json>(std::set<std::string>* touched)>;
  using Callback = std::function<void(const QueryChange&)>;
  State(Run run, Callback callback) : run_(std::move(run)), callback_(std::move(callback)) {}

  // Runs the query, and tells of what changed since the last time; the first time of every row.
  void refresh();
  bool reads(const std::set<std::string>& collections);
  void end();

 private:
  std::recursive_mutex mutex_;  // recursive: a callback may write, and may end its query
  Run run_;
  Callback callback_;
  std::set<std::string> touched_;
  std::multiset<std::string> rows_;  // as text
  bool running_ = false;
  bool again_ = false;
};

namespace store {

// The live queries of a store. Thread-safe.
class LiveQueries {
 public:
  void add(const std::shared_ptr<LiveQuery::State>& query);
  // After a commit that changed these; to be called without the engine's lock.
  void notify(const std::set<std::string>& collections);
  bool empty();

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<LiveQuery::State>> queries_;
};

}  // namespace store
}  // namespace holdfast
