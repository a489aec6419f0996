#pragma once

#include "src/model/record.h"
#include "src/model/view.h"
#include "src/store/database.h"

namespace holdfast::store {

// Policies and pending questions live in collections of Holdfast's own.
constexpr std::string_view kPolicyCollection = "_policy";

// The record table: documents beside the state they are rendered from. Runs inside the engine's
// transactions and under its lock.
class Records : public model::DeviceTable {
 public:
  explicit Records(Database& database) : database_(database) {}

  struct Row {
    std::int64_t num = 0;
    bool alive = false;
    std::string doc;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
    std::int64_t conflicts = 0;
    Bytes state;
  };

  std::optional<Row> load(std::string_view collection, std::string_view id);
  // Applies the ops of `change` on one record, [first, last), and stores what it shows now.
  void apply(const model::ChangeSet& change, const model::Op* first, const model::Op* last);
  // All of one record's conflicts, or of every record's.
  std::vector<Conflict> conflicts();
  std::vector<Conflict> conflicts(const std::string& collection, const std::string& id);
  std::size_t count_pending();
  Bytes canonical_state();  // of everything, for tests

  // Policies: the longest path that is the field's or above it counts.
  void set_cached_policies();
  Strategy strategy(const std::string& collection, const std::string& path) const;

  std::optional<std::int64_t> collection_num(std::string_view name);
  void forget_caches();  // after a rollback; reads the policies again
  void forget();         // all that is in memory
  std::int64_t add_collection(const std::string& name);
  // The collections that apply() changed since this was last called.
  std::set<std::string> take_changed() { return std::exchange(changed_, {}); }

  std::uint64_t index_of(const model::DeviceId& device) override;
  const model::DeviceId& id_of(std::uint64_t index) override;

 private:
  void save(const Row& row, std::int64_t collection, std::string_view id);
  void save_state(Row row, const std::string& collection, std::string_view id,
                  const model::Record& record);
  model::StrategyOf strategy_of(const std::string& collection) const;
  void render_conflicts_again();
  void load_devices();

  struct Rule {
    std::string path;
    Strategy strategy;
  };

  Database& database_;
  std::set<std::string> changed_;
  std::map<std::string, std::int64_t, std::less<>> collections_;
  std::map<std::string, std::vector<Rule>, std::less<>> policies_;
  std::vector<model::DeviceId> devices_;
  std::map<model::DeviceId, std::uint64_t> device_nums_;
};

}  // namespace holdfast::store
