#include "src/store/records.h"

#include "holdfast/error.h"
#include "src/base/hash.h"
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
      "SELECT num, alive, doc, created_ms, updated_ms, conflicts, pending, state FROM record "
      "WHERE collection = ? AND id = ?"));
  query.bind(*num).bind(id);
  if (!query.step()) return std::nullopt;
  Row row;
  row.num = query.integer(0);
  row.alive = query.integer(1) != 0;
  row.doc = query.text(2);
  row.created_ms = query.integer(3);
  row.updated_ms = query.integer(4);
  row.conflicts = query.integer(5);
  row.pending = query.integer(6);
  row.state = base::to_bytes(query.blob(7));
  return row;
}

model::Record Records::decode(const Row& row) {
  Json document = Json::parse(row.doc, nullptr, false);
  if (document.is_discarded()) throw Error(ErrorCode::corrupt, "a stored document is not JSON");
  model::Record record = model::decode_record(row.state, document, *this);
  constexpr std::uint8_t kFirstRelease = 1;
  if (row.state[0] == kFirstRelease && !record.presence.empty()) {  // which kept the time elsewhere
    model::Stamp birth = record.presence.front().stamp;
    birth.hlc.value = static_cast<std::uint64_t>(row.created_ms) << 16;
    record.births.push_back(birth);
  }
  return record;
}

// The commonest write by far: a new record, whole.
void Records::save_fresh(const Name& name, const model::ChangeSet& change, const model::Op& op) {
  model::Stamp stamp{change.dot(), change.hlc, op.priority, false};
  Bytes state = model::encode_fresh_record(stamp, *this);
  std::string doc = model::to_text(op.value);
  Statement insert(database_.connection().prepare(
      "INSERT INTO record(collection, id, alive, doc, created_ms, updated_ms, conflicts, pending, "
      "state) VALUES(?, ?, 1, ?, ?, ?, 0, 0, ?)"));
  insert.bind(add_collection(name.collection)).bind(name.id).bind(doc);
  insert.bind(change.hlc.ms()).bind(change.hlc.ms()).bind(state).run();
  if (history_days_ > 0 && name.collection[0] != '_') {
    add_created(database_.connection().last_row(), stamp);
  }
}

void Records::save(const Name& name, Open& open) {
  Connection& connection = database_.connection();
  Row& row = open.row;
  if (open.record.empty()) {  // purged
    // Its number may be another's one day.
    Statement(connection.prepare("DELETE FROM history WHERE record = ?")).bind(row.num).run();
    Statement(connection.prepare("DELETE FROM pending WHERE record = ?")).bind(row.num).run();
    Statement(connection.prepare("DELETE FROM record WHERE num = ?")).bind(row.num).run();
    return;
  }
  model::View view = model::render(open.record, rules(name.collection));
  std::string doc = model::to_text(view.document);
  Bytes state = model::encode_record(open.record, view.document, *this);
  bool hidden = model::may_forget(open.record);
  const char* sql = row.num == 0
                        ? "INSERT INTO record(alive, doc, created_ms, updated_ms, conflicts, "
                          "pending, state, hidden, collection, id) "
                          "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                        : "UPDATE record SET alive = ?, doc = ?, created_ms = ?, updated_ms = ?, "
                          "conflicts = ?, pending = ?, state = ?, hidden = ? WHERE num = ?";
  Statement statement(connection.prepare(sql));
  statement.bind(view.alive).bind(doc);
  statement.bind(open.record.created_ms()).bind(open.record.updated_ms());
  statement.bind(std::uint64_t{view.conflicts.size()}).bind(std::uint64_t{view.pending});
  statement.bind(state).bind(hidden);
  if (row.num == 0) {
    statement.bind(add_collection(name.collection)).bind(name.id).run();
    row.num = connection.last_row();
    bool keeps = history_days_ > 0 && name.collection[0] != '_' && !open.record.births.empty();
    if (keeps) add_created(row.num, open.record.births.front());
  } else {
    statement.bind(row.num).run();
  }
  if (view.pending > 0 || row.pending > 0) save_pending(row.num, name, view);
  row.pending = static_cast<std::int64_t>(view.pending);
  for (const Past& past : open.past) {
    if (!past.fields.empty()) add_history(row.num, past, model::to_cbor(past.fields));
  }
  open.past.clear();
}

void Records::restamp(const Name& name, const model::DeviceId& device,
                      const std::map<std::uint64_t, model::Hlc>& times) {
  std::optional<Row> row = load(name.collection, name.id);
  if (!row) return;
  Open open;
  open.record = decode(*row);
  open.row = std::move(*row);
  model::restamp(open.record, device, times);
  changed_.insert(name.collection);
  save(name, open);
}

void Records::add(const Name& name, model::Record record) {
  if (record.empty()) return;
  changed_.insert(name.collection);
  Open open;
  open.record = std::move(record);
  save(name, open);
}

// Since when each pending conflict waits here: its deadline counts from there.
void Records::save_pending(std::int64_t num, const Name& name, const model::View& view) {
  Connection& connection = database_.connection();
  std::map<std::string, Bytes> before;
  {
    Statement query(connection.prepare("SELECT path, sides FROM pending WHERE record = ?"));
    query.bind(num);
    while (query.step()) before.emplace(query.text(0), base::to_bytes(query.blob(1)));
  }
  for (const Conflict& conflict : view.conflicts) {
    if (!conflict.pending) continue;
    // A side that was not there before makes it another question.
    base::Writer dots;
    for (const Candidate& side : conflict.candidates) {
      for (const Dot& dot : side.dots) {
        dots.raw(dot.device);
        dots.u64(dot.sequence);
      }
    }
    base::Hash32 sides = base::sha256({dots.bytes()});
    auto known = before.find(conflict.path);
    bool same = known != before.end() &&
                std::equal(sides.begin(), sides.end(), known->second.begin(), known->second.end());
    if (known != before.end()) before.erase(known);
    if (same) continue;
    Statement(connection.prepare("INSERT OR REPLACE INTO pending VALUES(?, ?, ?, ?)"))
        .bind(num)
        .bind(conflict.path)
        .bind(clock_.now_ms())
        .bind(ByteView(sides))
        .run();
    new_pending_.emplace_back(name, conflict.path);
  }
  for (const auto& [path, sides] : before) {
    Statement(connection.prepare("DELETE FROM pending WHERE record = ? AND path = ?"))
        .bind(num)
        .bind(path)
        .run();
  }
}

void Records::apply(const model::ChangeSet& change, const model::Op* first, const model::Op* last) {
  Name name{first->collection, first->record};
  if (changed_.empty() || *changed_.rbegin() != name.collection) changed_.insert(name.collection);
  bool policy = name.collection == kPolicyCollection;
  auto kept = open_.find(name);
  if (kept == open_.end()) {
    std::optional<Row> row = load(name.collection, name.id);
    bool creates = last - first == 1 && first->kind == model::OpKind::set && first->path.empty() &&
                   first->supersedes == model::Supersedes::covered && !first->automatic &&
                   !rules(name.collection).has_types();
    if (!row && creates && !policy) return save_fresh(name, change, *first);
    Open open;
    if (row) open.record = decode(*row);
    open.row = std::move(row).value_or(Row{});
    kept = open_.emplace(name, std::move(open)).first;
  }
  Open& open = kept->second;
  for (const model::Op* op = first; op != last; ++op) {
    std::vector<model::Taken> taken;
    bool keep_past = history_days_ > 0 && name.collection[0] != '_';
    model::apply(open.record, change, *op, keep_past ? &taken : nullptr);
    if (keep_past) add_past(open, change, *op, taken);
  }
  constexpr std::size_t kMostOpen = 2000;
  if (!batching_ || policy || open_.size() > kMostOpen) write_open();
  if (!policy) return;
  // What records show may change with it; which collection it was for, its old form may say.
  std::set<std::string> touched = policy_collections();
  set_cached_policies();
  touched.merge(policy_collections());
  for (const std::string& collection : touched) render_again(collection);
}

void Records::write_open() {
  for (auto& [name, open] : open_) save(name, open);
  open_.clear();
}

void Records::end_batch() {
  batching_ = false;
  write_open();
}

namespace {

std::vector<Records::Name> names(Statement query) {
  std::vector<Records::Name> out;
  while (query.step()) out.push_back({std::string(query.text(0)), std::string(query.text(1))});
  return out;
}

}  // namespace

std::vector<Records::Name> Records::in_conflict() {
  return names(database_.connection().prepare(
      "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
      "WHERE r.conflicts > 0 ORDER BY c.name, r.id"));
}

std::vector<Records::Name> Records::with_hidden() {
  return names(database_.connection().prepare(
      "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
      "WHERE r.hidden > 0 ORDER BY c.name, r.id"));
}

std::vector<Conflict> Records::conflicts() {
  std::vector<Conflict> all;
  for (const Name& name : in_conflict()) {
    std::vector<Conflict> some = conflicts(name.collection, name.id);
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<Conflict> Records::conflicts(const std::string& collection, const std::string& id) {
  std::optional<Row> row = load(collection, id);
  if (!row || row->conflicts == 0) return {};
  const model::Rules& declared = rules(collection);
  model::View view = model::render(decode(*row), declared);
  std::map<std::string, std::int64_t> since;
  Statement query(
      database_.connection().prepare("SELECT path, since_ms FROM pending WHERE record = ?"));
  query.bind(row->num);
  while (query.step()) since.emplace(query.text(0), query.integer(1));
  for (Conflict& conflict : view.conflicts) {
    conflict.collection = collection;
    conflict.id = id;
    auto waits = since.find(conflict.path);
    if (!conflict.pending || waits == since.end()) continue;
    conflict.deadline_ms =
        waits->second + declared.at(model::parse_path(conflict.path)).deadline_ms;
  }
  return std::move(view.conflicts);
}

std::size_t Records::count_pending() {
  Statement query(database_.connection().prepare(
      "SELECT coalesce(sum(pending), 0) FROM record WHERE conflicts > 0"));
  query.step();
  return static_cast<std::size_t>(query.integer(0));
}

std::vector<Conflict> Records::take_new_pending() {
  std::vector<Conflict> out;
  for (const auto& [name, path] : std::exchange(new_pending_, {})) {
    for (Conflict& conflict : conflicts(name.collection, name.id)) {
      if (conflict.path == path && conflict.pending) out.push_back(std::move(conflict));
    }
  }
  return out;
}

void Records::render_again(const std::string& collection) {
  auto num = collection_num(collection);
  if (!num) return;
  // Those that one write made show the same under any policy, but for members of a set.
  std::vector<std::string> ids;
  {
    Statement query(database_.connection().prepare(
        "SELECT id FROM record WHERE collection = ? AND (? OR substr(state, 1, 1) <> x'02') "
        "ORDER BY id"));
    query.bind(*num).bind(rules(collection).has_types());
    while (query.step()) ids.emplace_back(query.text(0));
  }
  for (const std::string& id : ids) {
    Name name{collection, id};
    changed_.insert(name.collection);
    Open open;
    open.row = load(name.collection, name.id).value();
    open.record = decode(open.row);
    save(name, open);
  }
}

void Records::render_again() {
  std::vector<std::string> collections;
  Statement query(database_.connection().prepare("SELECT name FROM collection"));
  while (query.step()) collections.emplace_back(query.text(0));
  for (const std::string& collection : collections) render_again(collection);
}

Bytes Records::canonical_state() {
  base::Writer out;
  std::vector<Name> all = names(database_.connection().prepare(
      "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
      "ORDER BY c.name, r.id"));
  for (const Name& name : all) {
    Row row = load(name.collection, name.id).value();
    out.sized(name.collection);
    out.sized(name.id);
    out.sized(row.doc);
    out.sized(model::canonical_state(decode(row)));
  }
  return out.take();
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
  created_by_.reset();
  created_.clear();
  open_.clear();
  batching_ = false;
  new_pending_.clear();
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
