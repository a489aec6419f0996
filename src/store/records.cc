#include "src/store/records.h"

#include "holdfast/error.h"
#include "src/model/json.h"
#include "src/model/path.h"

namespace holdfast::store {

using model::Json;

std::optional<std::int64_t> Records::collection_num(std::string_view name) {
  auto found = collections_.find(name);
  if (found != collections_.end()) return found->second;
  Statement query(database_.connection().prepare("SELECT num FROM collection WHERE name = ?"));
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return collections_.emplace(name, query.integer(0)).first->second;
}

std::int64_t Records::add_collection(const std::string& name) {
  if (auto num = collection_num(name)) return *num;
  Statement(database_.connection().prepare("INSERT INTO collection(name) VALUES(?)"))
      .bind(name)
      .run();
  return *collection_num(name);
}

std::optional<Records::Row> Records::load(std::string_view collection, std::string_view id) {
  auto num = collection_num(collection);
  if (!num) return std::nullopt;
  Statement query(database_.connection().prepare(
      "SELECT num, alive, doc, created_ms, updated_ms, conflicts, state FROM record "
      "WHERE collection = ? AND id = ?"));
  query.bind(*num).bind(id);
  if (!query.step()) return std::nullopt;
  return Row{
      query.integer(0), query.integer(1) != 0, std::string(query.text(2)),   query.integer(3),
      query.integer(4), query.integer(5),      base::to_bytes(query.blob(6))};
}

void Records::save(const Row& row, std::int64_t collection, std::string_view id) {
  Statement insert(database_.connection().prepare(
      "INSERT INTO record(collection, id, alive, doc, created_ms, updated_ms, conflicts, pending, "
      "state) VALUES(?, ?, 1, ?, ?, ?, 0, 0, ?)"));
  insert.bind(collection).bind(id).bind(row.doc).bind(row.created_ms).bind(row.updated_ms);
  insert.bind(row.state).run();
}

void Records::save_state(Row row, const std::string& collection, std::string_view id,
                         const model::Record& record) {
  model::View view = model::render(record, strategy_of(collection));
  row.doc = model::to_text(view.document);
  row.state = model::encode_record(record, view.document, *this);
  Connection& connection = database_.connection();
  if (row.num == 0) {
    Statement insert(connection.prepare(
        "INSERT INTO record(collection, id, alive, doc, created_ms, updated_ms, conflicts, "
        "pending, state) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    insert.bind(add_collection(collection)).bind(id).bind(record.alive()).bind(row.doc);
    insert.bind(record.created_ms).bind(record.updated_ms);
    insert.bind(std::uint64_t{view.conflicts.size()}).bind(std::uint64_t{view.pending});
    insert.bind(row.state).run();
    return;
  }
  Statement update(connection.prepare(
      "UPDATE record SET alive = ?, doc = ?, created_ms = ?, updated_ms = ?, conflicts = ?, "
      "pending = ?, state = ? WHERE num = ?"));
  update.bind(record.alive()).bind(row.doc).bind(record.created_ms).bind(record.updated_ms);
  update.bind(std::uint64_t{view.conflicts.size()}).bind(std::uint64_t{view.pending});
  update.bind(row.state).bind(row.num).run();
}

namespace {

model::Record decode(const Records::Row& row, model::DeviceTable& devices) {
  Json document = Json::parse(row.doc, nullptr, false);
  if (document.is_discarded()) throw Error(ErrorCode::corrupt, "a stored document is not JSON");
  model::Record record = model::decode_record(row.state, document, devices);
  record.created_ms = row.created_ms;
  record.updated_ms = row.updated_ms;
  return record;
}

}  // namespace

void Records::apply(const model::ChangeSet& change, const model::Op* first, const model::Op* last) {
  const std::string& collection = first->collection;
  const std::string& id = first->record;
  if (changed_.empty() || *changed_.rbegin() != collection) changed_.insert(collection);
  std::optional<Row> row = load(collection, id);
  if (!row && last - first == 1 && first->kind == model::OpKind::set && first->path.empty()) {
    // The commonest write by far: a new record, whole.
    model::Stamp stamp{change.dot(), change.hlc, first->priority, first->automatic};
    Row fresh;
    fresh.doc = model::to_text(first->value);
    fresh.created_ms = fresh.updated_ms = change.hlc.ms();
    fresh.state = model::encode_fresh_record(stamp, *this);
    save(fresh, add_collection(collection), id);
  } else {
    model::Record record;
    if (row) record = decode(*row, *this);
    for (const model::Op* op = first; op != last; ++op) model::apply(record, change, *op);
    save_state(row.value_or(Row{}), collection, id, record);
  }
  if (collection == kPolicyCollection) {
    set_cached_policies();
    render_conflicts_again();
  }
}

std::vector<Conflict> Records::conflicts() {
  std::vector<std::pair<std::string, std::string>> records;
  {
    Statement query(database_.connection().prepare(
        "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
        "WHERE r.conflicts > 0 ORDER BY c.name, r.id"));
    while (query.step()) records.emplace_back(query.text(0), query.text(1));
  }
  std::vector<Conflict> all;
  for (const auto& [collection, id] : records) {
    std::vector<Conflict> some = conflicts(collection, id);
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<Conflict> Records::conflicts(const std::string& collection, const std::string& id) {
  std::optional<Row> row = load(collection, id);
  if (!row || row->conflicts == 0) return {};
  model::View view = model::render(decode(*row, *this), strategy_of(collection));
  for (Conflict& conflict : view.conflicts) {
    conflict.collection = collection;
    conflict.id = id;
  }
  return std::move(view.conflicts);
}

std::size_t Records::count_pending() {
  Statement query(database_.connection().prepare(
      "SELECT coalesce(sum(pending), 0) FROM record WHERE conflicts > 0"));
  query.step();
  return static_cast<std::size_t>(query.integer(0));
}

// A policy changed: what conflicted records show may change with it. The others show the same under
// any.
void Records::render_conflicts_again() {
  std::vector<std::pair<std::string, std::string>> records;
  {
    Statement query(database_.connection().prepare(
        "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
        "WHERE r.conflicts > 0"));
    while (query.step()) records.emplace_back(query.text(0), query.text(1));
  }
  for (const auto& [collection, id] : records) {
    changed_.insert(collection);
    Row row = load(collection, id).value();
    model::Record record = decode(row, *this);
    save_state(std::move(row), collection, id, record);
  }
}

Bytes Records::canonical_state() {
  std::vector<std::pair<std::string, std::string>> records;
  {
    Statement query(database_.connection().prepare(
        "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
        "ORDER BY c.name, r.id"));
    while (query.step()) records.emplace_back(query.text(0), query.text(1));
  }
  base::Writer out;
  for (const auto& [collection, id] : records) {
    Row row = load(collection, id).value();
    out.sized(collection);
    out.sized(id);
    out.sized(row.doc);
    out.sized(model::canonical_state(decode(row, *this)));
  }
  return out.take();
}

void Records::set_cached_policies() {
  policies_.clear();
  auto num = collection_num(kPolicyCollection);
  if (!num) return;
  Statement query(database_.connection().prepare(
      "SELECT doc FROM record WHERE collection = ? AND alive = 1 ORDER BY id"));
  query.bind(*num);
  while (query.step()) {
    // Written by any device of the vault, perhaps of a later version: what is not understood is
    // skipped.
    Json doc = Json::parse(query.text(0), nullptr, false);
    if (!doc.is_object()) continue;
    auto text = [&](const char* name) {
      auto found = doc.find(name);
      return found != doc.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    std::optional<Strategy> strategy = strategy_from_name(text("strategy"));
    try {
      if (strategy) {
        policies_[text("collection")].push_back({model::parse_path(text("path")), *strategy});
      }
    } catch (const Error&) {
      continue;
    }
  }
}

Strategy Records::strategy(const std::string& collection, const std::string& path) const {
  auto found = policies_.find(collection);
  if (found == policies_.end()) return Strategy::timestamp;
  const Rule* best = nullptr;
  for (const Rule& rule : found->second) {
    if (rule.path != path && !model::is_below(path, rule.path)) continue;
    if (!best || rule.path.size() > best->path.size()) best = &rule;
  }
  return best ? best->strategy : Strategy::timestamp;
}

model::StrategyOf Records::strategy_of(const std::string& collection) const {
  return [this, collection](const std::string& path) { return strategy(collection, path); };
}

void Records::load_devices() {
  Statement query(database_.connection().prepare("SELECT num, id FROM device ORDER BY num"));
  while (query.step()) {
    model::DeviceId id = base::Reader(query.blob(1), "a device id").array<16>();
    auto num = static_cast<std::uint64_t>(query.integer(0));
    if (num != devices_.size()) throw Error(ErrorCode::corrupt, "a device is missing in the store");
    devices_.push_back(id);
    device_nums_[id] = num;
  }
}

std::uint64_t Records::index_of(const model::DeviceId& device) {
  if (devices_.empty()) load_devices();
  auto [found, added] = device_nums_.emplace(device, devices_.size());
  if (added) {
    Statement(database_.connection().prepare("INSERT INTO device(num, id) VALUES(?, ?)"))
        .bind(found->second)
        .bind(ByteView(device))
        .run();
    devices_.push_back(device);
  }
  return found->second;
}

const model::DeviceId& Records::id_of(std::uint64_t index) {
  if (devices_.empty()) load_devices();
  if (index >= devices_.size()) throw Error(ErrorCode::corrupt, "a record names an unknown device");
  return devices_[index];
}

void Records::forget() {
  changed_.clear();
  collections_.clear();
  devices_.clear();
  device_nums_.clear();
  policies_.clear();
}

void Records::forget_caches() {
  forget();
  set_cached_policies();
}

}  // namespace holdfast::store
