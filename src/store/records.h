#pragma once

#include "src/model/record.h"
#include "src/model/view.h"
#include "src/store/database.h"

namespace holdfast::store {

using model::Json;

// Collections of Holdfast's own, which travel like any other.
constexpr std::string_view kPolicyCollection = "_policy";
constexpr std::string_view kChoiceCollection = "_choice";  // what the user chose: see settling.cc

// What a policy's document says; nothing where it cannot be read. Written by any device of the
// vault, perhaps of a later version: what is not understood in it is left out.
std::optional<model::FieldRule> rule_of(const Json& document);

// The record table: documents beside the state they are rendered from. Runs inside the engine's
// transactions and under its lock.
class Records : public model::DeviceTable {
 public:
  Records(Database& database, base::Clock& clock) : database_(database), clock_(clock) {}

  struct Row {
    std::int64_t num = 0;
    bool alive = false;
    std::string doc;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
    std::int64_t conflicts = 0;
    std::int64_t pending = 0;
    Bytes state;
  };
  // One record's name.
  struct Name {
    std::string collection;
    std::string id;
    auto operator<=>(const Name&) const = default;
  };

  std::optional<Row> load(std::string_view collection, std::string_view id);
  model::Record decode(const Row& row);
  // Applies the ops of `change` on one record, [first, last), and stores what it shows now.
  void apply(const model::ChangeSet& change, const model::Op* first, const model::Op* last);
  void restamp(const Name& name, const model::DeviceId& device,
               const std::map<std::uint64_t, model::Hlc>& times);
  // A record that is not there yet, as it is elsewhere.
  void add(const Name& name, model::Record record);
  // Between these, records are kept in memory with all that is applied to them, and written once.
  void begin_batch() { batching_ = true; }
  void end_batch();

  // All of one record's conflicts, or of every record's.
  std::vector<Conflict> conflicts();
  std::vector<Conflict> conflicts(const std::string& collection, const std::string& id);
  std::size_t count_pending();
  // Pending conflicts that have come up since this was last called.
  std::vector<Conflict> take_new_pending();
  std::vector<Name> in_conflict();
  // Records that may hold what can be forgotten.
  std::vector<Name> with_hidden();
  Bytes canonical_state();  // of everything, for tests

  // Policies.
  void set_cached_policies();
  const model::Rules& rules(const std::string& collection) const;
  // What follows from the records' state, for rows that came from elsewhere.
  void render_again();

  // History: see history.cc.
  struct PastRow {
    std::int64_t record = 0;  // 0: the records that the change set created
    Dot change;
    std::int64_t time_ms = 0;
    Bytes body;
  };
  void set_history_days(int days) { history_days_ = days; }
  int history_days() const { return history_days_; }
  void prune_history();
  void finish_history();  // before a commit: what is collected in memory
  std::vector<PastRow> history_of(std::int64_t record);
  std::vector<PastRow> history_of(const Dot& change);
  std::optional<Name> name_of(std::int64_t record);

  std::optional<std::int64_t> collection_num(std::string_view name);
  void forget_caches();  // after a rollback; reads the policies again
  void forget();         // all that is in memory
  std::int64_t add_collection(const std::string& name);
  // The collections that apply() changed since this was last called.
  std::set<std::string> take_changed() { return std::exchange(changed_, {}); }

  std::uint64_t index_of(const model::DeviceId& device) override;
  const model::DeviceId& id_of(std::uint64_t index) override;

 private:
  // What one change set did to one record.
  struct Past {
    Dot change;
    std::int64_t time_ms = 0;
    Json fields = Json::array();
  };
  struct Open {
    Row row;
    model::Record record;
    std::vector<Past> past;  // to be added to its history
  };

  void save_fresh(const Name& name, const model::ChangeSet& change, const model::Op& op);
  void save(const Name& name, Open& open);
  void save_pending(std::int64_t num, const Name& name, const model::View& view);
  void write_open();
  void add_past(Open& open, const model::ChangeSet& change, const model::Op& op,
                const std::vector<model::Taken>& taken);
  void add_history(std::int64_t record, const Past& past, ByteView body);
  void add_created(std::int64_t record, const model::Stamp& birth);
  std::set<std::string> policy_collections() const;
  void render_again(const std::string& collection);
  void load_devices();

  Database& database_;
  base::Clock& clock_;
  std::set<std::string> changed_;
  std::map<std::string, std::int64_t, std::less<>> collections_;
  std::map<std::string, model::Rules, std::less<>> policies_;
  std::vector<model::DeviceId> devices_;
  std::map<model::DeviceId, std::uint64_t> device_nums_;
  bool batching_ = false;
  std::map<Name, Open> open_;
  std::vector<std::pair<Name, std::string>> new_pending_;  // and the path
  std::optional<Past> created_by_;
  std::vector<std::int64_t> created_;  // records that this change set created
  int history_days_ = 30;
};

}  // namespace holdfast::store
