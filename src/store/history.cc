// What records said before: kept as changes are applied, looked up and undone here.

#include "holdfast/history.h"

#include <algorithm>

#include "src/model/diff.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast::store {
namespace {

constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;

// One field before a change: "p" its pointer; "v" a value, "d" the number of the device that wrote
// it, "t" when; or "by", by how much a counter was changed; "gone" where it deleted the record.
Json field_of(const std::string& path, const model::Entry& entry, std::uint64_t device) {
  Json field = {{"p", path}, {"d", device}, {"t", entry.stamp.hlc.ms()}};
  if (entry.value) field["v"] = *entry.value;
  return field;
}

}  // namespace

void Records::add_past(Open& open, const model::ChangeSet& change, const model::Op& op,
                       const std::vector<model::Taken>& taken) {
  using model::OpKind;
  if (open.past.empty() || open.past.back().change != change.dot()) {
    open.past.push_back({change.dot(), change.hlc.ms(), Json::array()});
  }
  auto is_its = [&](const model::Stamp& birth) { return birth.dot == change.dot(); };
  if (std::any_of(open.record.births.begin(), open.record.births.end(), is_its)) return;
  Json& fields = open.past.back().fields;
  if (op.kind == OpKind::remove) {
    Json document = model::render(open.record, rules(op.collection)).document;
    fields.push_back({{"p", ""}, {"v", std::move(document)}, {"gone", true}});
    return;
  }
  if (op.kind != OpKind::set && op.kind != OpKind::whole && op.kind != OpKind::unset &&
      op.kind != OpKind::drop) {
    return;
  }
  std::set<std::string> named;
  for (const model::Taken& field : taken) {
    for (const model::Entry& entry : field.entries) {
      // What this very change set wrote before was not there before it.
      if (entry.stamp.dot == change.dot() || entry.sequence) continue;
      named.insert(field.path);
      Json item = field_of(field.path, entry, index_of(entry.stamp.dot.device));
      if (op.supersedes == model::Supersedes::own && entry.value) {
        item = {{"p", field.path}, {"by", model::difference(op.value, *entry.value)}};
      }
      fields.push_back(std::move(item));
    }
  }
  auto not_there = [&](const std::string& path) {
    if (named.contains(path)) return;
    bool counter = op.supersedes == model::Supersedes::own;
    fields.push_back(counter ? Json{{"p", path}, {"by", op.value}} : Json{{"p", path}});
  };
  if (op.kind == OpKind::set) {
    model::for_each_leaf(op.value, op.path,
                         [&](const std::string& path, const Json&) { not_there(path); });
  }
  if (op.kind == OpKind::whole) not_there("");
}

void Records::add_history(std::int64_t record, const Past& past, ByteView body) {
  Statement(database_.connection().prepare(
                "INSERT INTO history(record, device, sequence, time_ms, kept_ms, body) "
                "VALUES(?, ?, ?, ?, ?, ?)"))
      .bind(record)
      .bind(index_of(past.change.device))
      .bind(past.change.sequence)
      .bind(past.time_ms)
      .bind(clock_.now_ms())
      .bind(body)
      .run();
}

void Records::add_created(std::int64_t record, const model::Stamp& birth) {
  if (created_by_ && created_by_->change != birth.dot) finish_history();
  if (!created_by_) created_by_ = Past{birth.dot, birth.hlc.ms(), nullptr};
  created_.push_back(record);
}

void Records::finish_history() {
  if (!created_by_) return;
  base::Writer body;
  for (std::int64_t record : created_) body.varint(static_cast<std::uint64_t>(record));
  add_history(0, *created_by_, body.bytes());
  created_by_.reset();
  created_.clear();
}

void Records::prune_history() {
  std::int64_t until = clock_.now_ms() - history_days_ * kDayMs;
  // Rows are in the order in which they were kept.
  Statement(database_.connection().prepare(
                "DELETE FROM history WHERE num < coalesce((SELECT num FROM history WHERE "
                "kept_ms >= ? ORDER BY num LIMIT 1), 9223372036854775807)"))
      .bind(until)
      .run();
}

namespace {

Records::PastRow row_of(const Statement& query, Records& records) {
  Records::PastRow row;
  row.record = query.integer(0);
  row.change = {records.id_of(static_cast<std::uint64_t>(query.integer(1))),
                static_cast<std::uint64_t>(query.integer(2))};
  row.time_ms = query.integer(3);
  row.body = base::to_bytes(query.blob(4));
  return row;
}

}  // namespace

std::vector<Records::PastRow> Records::history_of(std::int64_t record) {
  Statement query(database_.connection().prepare(
      "SELECT record, device, sequence, time_ms, body FROM history WHERE record = ? "
      "ORDER BY num DESC"));
  query.bind(record);
  std::vector<PastRow> out;
  while (query.step()) out.push_back(row_of(query, *this));
  return out;
}

std::vector<Records::PastRow> Records::history_of(const Dot& change) {
  Statement query(
      database_.connection().prepare("SELECT record, device, sequence, time_ms, body FROM history "
                                     "WHERE device = ? AND sequence = ? ORDER BY num DESC"));
  query.bind(index_of(change.device)).bind(change.sequence);
  std::vector<PastRow> out;
  while (query.step()) out.push_back(row_of(query, *this));
  return out;
}

std::optional<Records::Name> Records::name_of(std::int64_t record) {
  Statement query(database_.connection().prepare(
      "SELECT c.name, r.id FROM record r JOIN collection c ON c.num = r.collection "
      "WHERE r.num = ?"));
  query.bind(record);
  if (!query.step()) return std::nullopt;
  return Name{std::string(query.text(0)), std::string(query.text(1))};
}

}  // namespace holdfast::store

namespace holdfast {
namespace {

using model::Json;

PastChange change_of(const store::Records::PastRow& row, store::Records& records) {
  PastChange out;
  out.change = row.change;
  out.time_ms = row.time_ms;
  Json fields = model::from_cbor(row.body);
  for (const Json& field : fields) {
    PastValue value;
    std::string pointer = field.at("p").get<std::string>();
    value.path = model::display_path(pointer);
    out.deleted |= field.contains("gone");
    if (field.contains("v")) value.value = field["v"];
    if (field.contains("by")) value.by = field["by"];
    if (field.contains("d")) value.device = records.id_of(field["d"].get<std::uint64_t>());
    value.time_ms = field.value("t", std::int64_t{0});
    out.values.push_back(std::move(value));
  }
  return out;
}

// The ops that put one record back to before a change, as far as its fields still are as the change
// left them.
struct Undoing {
  const model::Record& record;
  const model::Editing& editing;
  Dot change;
  std::vector<model::Op> ops;
  std::vector<std::string> skipped;

  bool untouched(const std::string& path) const {
    auto found = record.fields.find(path);
    if (found == record.fields.end()) return true;
    for (const model::Entry& entry : found->second) {
      if (entry.stamp.dot != change) return false;
    }
    return true;
  }
  void put_back(const std::string& path, const std::vector<const Json*>& before) {
    if (before[0]->contains("by")) {
      Json by = model::difference(0, before[0]->at("by"));
      for (model::Op& op : model::edit_counter(editing, path, by)) ops.push_back(std::move(op));
      return;
    }
    if (!untouched(path)) {
      skipped.push_back(model::display_path(path));
      return;
    }
    const Json* latest = nullptr;
    for (const Json* field : before) {
      bool later =
          !latest || field->value("t", std::int64_t{0}) > latest->value("t", std::int64_t{0});
      if (field->contains("v") && later) latest = field;
    }
    model::Op op;
    op.path = path;
    op.kind = latest ? model::OpKind::set : model::OpKind::unset;
    if (latest) op.value = latest->at("v");
    if (path.empty()) op.kind = model::OpKind::whole;
    ops.push_back(std::move(op));
  }
};

}  // namespace

std::vector<PastChange> History::changes(const Key& key) const {
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  engine.finish_change();
  store::Records& records = engine.records();
  std::vector<PastChange> out;
  std::optional<store::Records::Row> row = records.load(key.collection, key.id);
  if (row) {
    for (const auto& past : records.history_of(row->num)) out.push_back(change_of(past, records));
    for (const model::Stamp& birth : records.decode(*row).births) {
      PastChange creation;
      creation.change = birth.dot;
      creation.time_ms = birth.hlc.ms();
      creation.created = true;
      auto same = std::find_if(out.begin(), out.end(),
                               [&](const PastChange& past) { return past.change == birth.dot; });
      if (same == out.end()) {
        out.push_back(std::move(creation));
      } else {
        same->created = true;
      }
    }
  }
  transaction.commit();
  return out;
}

UndoReport History::undo(const Dot& change) {
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  engine.finish_change();
  store::Records& records = engine.records();
  std::vector<store::Records::PastRow> rows = records.history_of(change);
  if (rows.empty()) {
    throw Error(ErrorCode::not_found,
                "that change is not in this device's history: it may be older than what is kept");
  }
  UndoReport report;
  auto undo_record = [&](std::int64_t num, const Json* fields) {
    auto name = records.name_of(num);
    if (!name) return;
    auto row = records.load(name->collection, name->id);
    model::Record record = records.decode(*row);
    Json document = store::parse_stored(row->doc);
    model::Editing editing{record, records.rules(name->collection), document, engine.identity().id,
                           [&] { return engine.new_key(); }};
    Undoing undoing{record, editing, change, {}, {}};
    if (!fields) {  // it was created
      bool alone = std::all_of(record.presence.begin(), record.presence.end(),
                               [&](const auto& word) { return word.stamp.dot == change; });
      if (alone) {
        undoing.ops.emplace_back();
        undoing.ops.back().kind = model::OpKind::remove;
      } else {
        undoing.skipped.emplace_back("$");
      }
    } else {
      std::map<std::string, std::vector<const Json*>> by_path;
      for (const Json& field : *fields) by_path[field.at("p").get<std::string>()].push_back(&field);
      const Json* deleted = nullptr;
      for (const Json& field : *fields) {
        if (field.contains("gone")) deleted = &field;
      }
      bool was_deleted = deleted != nullptr;
      if (was_deleted && !row->alive) {
        undoing.ops.emplace_back();
        undoing.ops.back().value = deleted->at("v");
      } else if (was_deleted || !row->alive) {
        undoing.skipped.emplace_back("$");
      } else {
        for (const auto& [path, before] : by_path) undoing.put_back(path, before);
      }
    }
    for (const std::string& path : undoing.skipped) {
      report.skipped.push_back(name->collection + "/" + name->id + " " + path);
    }
    if (undoing.ops.empty()) return;
    ++report.records;
    engine.write(Key(name->collection, name->id), std::move(undoing.ops));
  };
  for (const auto& row : rows) {
    if (row.record == 0) {
      base::Reader in(row.body, "a history");
      while (!in.empty()) undo_record(static_cast<std::int64_t>(in.varint()), nullptr);
    } else {
      Json fields = model::from_cbor(row.body);
      undo_record(row.record, &fields);
    }
  }
  transaction.commit();
  return report;
}

}  // namespace holdfast
