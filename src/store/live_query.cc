#include "src/store/live_query.h"

#include <algorithm>

namespace holdfast {

LiveQuery::LiveQuery(std::shared_ptr<State> state) : state_(std::move(state)) {}
LiveQuery::~LiveQuery() {
  if (state_) state_->end();
}
LiveQuery::LiveQuery(LiveQuery&&) noexcept = default;
LiveQuery& LiveQuery::operator=(LiveQuery&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

void LiveQuery::State::refresh() {
  std::lock_guard lock(mutex_);
  again_ = true;
  if (running_) return;  // from within the callback: the loop below goes round once more
  running_ = true;
  struct Done {
    bool& flag;
    ~Done() { flag = false; }
  } done{running_};
  while (again_ && run_) {
    again_ = false;
    std::set<std::string> touched;
    std::multiset<std::string> now;
    for (const nlohmann::json& row : run_(&touched)) now.insert(row.dump());
    touched_ = std::move(touched);
    QueryChange change;
    change.rows = now.size();
    auto parsed = [](std::vector<nlohmann::json>& out, const std::string& text) {
      out.push_back(nlohmann::json::parse(text));
    };
    std::vector<std::string> texts;
    std::set_difference(now.begin(), now.end(), rows_.begin(), rows_.end(),
                        std::back_inserter(texts));
    for (const std::string& text : texts) parsed(change.added, text);
    texts.clear();
    std::set_difference(rows_.begin(), rows_.end(), now.begin(), now.end(),
                        std::back_inserter(texts));
    for (const std::string& text : texts) parsed(change.removed, text);
    rows_ = std::move(now);
    Callback callback = callback_;
    if (callback && (!change.added.empty() || !change.removed.empty())) callback(change);
  }
}

bool LiveQuery::State::reads(const std::set<std::string>& collections) {
  std::lock_guard lock(mutex_);
  return std::any_of(touched_.begin(), touched_.end(),
                     [&](const std::string& name) { return collections.count(name) != 0; });
}

void LiveQuery::State::end() {
  std::lock_guard lock(mutex_);
  run_ = nullptr;
  callback_ = nullptr;
}

namespace store {

void LiveQueries::add(const std::shared_ptr<LiveQuery::State>& query) {
  std::lock_guard lock(mutex_);
  std::erase_if(queries_, [](const auto& one) { return one.expired(); });
  queries_.push_back(query);
}

void LiveQueries::notify(const std::set<std::string>& collections) {
  std::vector<std::shared_ptr<LiveQuery::State>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& one : queries_) {
      if (auto query = one.lock()) all.push_back(std::move(query));
    }
  }
  for (const auto& query : all) {
    try {
      if (query->reads(collections)) query->refresh();
    } catch (...) {
      // The write that led here is done and is not to fail for a reader of it. What could not be
      // told now is part of the next change.
    }
  }
}

bool LiveQueries::empty() {
  std::lock_guard lock(mutex_);
  return queries_.empty();
}

}  // namespace store
}  // namespace holdfast
