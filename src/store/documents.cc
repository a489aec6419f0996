// The engine's part that reads and writes documents.

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/diff.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast {

struct RecordVersion::Base {
  model::Json document;
  model::VersionVector seen;
};

namespace store {

struct VersionAccess {
  using Base = RecordVersion::Base;
  static RecordVersion make(model::Json document, model::VersionVector seen) {
    RecordVersion version;
    version.base_ = std::make_shared<const RecordVersion::Base>(
        RecordVersion::Base{std::move(document), std::move(seen)});
    return version;
  }
  static const RecordVersion::Base* base(const RecordVersion& version) {
    return version.base_.get();
  }
};

namespace {

constexpr std::size_t kMaxDiffOps = 4000;  // beyond them a document is written whole
constexpr std::size_t kMaxDiffBytes = 384 * 1024;
constexpr std::size_t kDotBytes = 20;  // of one write that an op lists
constexpr std::size_t kJoinedBytes =
    700 * 1024;  // an edit that would make a change set larger starts another

// About how many bytes a value takes; much cheaper than writing it out.
std::size_t weight(const model::Json& value) {
  std::size_t sum = value.is_number() ? 9 : 4;
  if (value.is_string()) sum += value.get_ref<const std::string&>().size();
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) sum += key.size() + 2 + weight(child);
  } else if (value.is_array()) {
    for (const auto& child : value) sum += weight(child);
  }
  return sum;
}

std::int64_t priority_of(const model::Json& document, const WriteOptions& options) {
  if (options.priority) return *options.priority;
  auto found = document.find("priority");
  if (found == document.end() || !found->is_number_integer()) return 0;
  return found->is_number_unsigned() &&
                 found->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)
             ? INT64_MAX
             : found->get<std::int64_t>();
}

}  // namespace

std::string Engine::new_key() { return base::to_base64url(environment_.random->array<8>()); }

void Engine::check_size(const Key& key) {
  auto row = records_.load(key.collection, key.id);
  if (row && row->doc.size() > model::kMaxDocument) model::check_document(parse_stored(row->doc));
}

void Engine::put_own(const Key& key, model::Json document) {
  std::vector<model::Op> ops(1);
  ops[0].value = std::move(document);
  write(key, std::move(ops));
}

void Engine::write(const Key& key, std::vector<model::Op> ops) {
  if (ops.empty()) return;
  Transaction transaction(*this);
  if (partly_received_) {
    throw Error(ErrorCode::busy,
                "this device is still receiving its vault for the first time: let a sync finish, "
                "then try again");
  }
  std::size_t added = 0;
  for (model::Op& op : ops) {
    op.collection = key.collection;
    op.record = key.id;
    added +=
        64 + op.path.size() + op.record.size() + weight(op.value) + kDotBytes * op.writes.size();
  }
  if (building_bytes_ + added > kJoinedBytes) close_change();
  open_change();
  records_.apply(*building_, ops.data(), ops.data() + ops.size());
  building_bytes_ += added;
  for (model::Op& op : ops) building_->ops.push_back(std::move(op));
  transaction.commit();
}

// A new record, or one over the hidden remains of a deleted one.
void Engine::write_new(const Key& key, model::Json document, std::int64_t priority) {
  bool whole = records_.rules(key.collection).at("").whole;
  std::vector<model::Op> ops(whole ? 2 : 1);
  if (whole) {
    ops[0].value = model::Json::object();
    ops[1].kind = model::OpKind::whole;
  }
  ops.back().value = std::move(document);
  for (model::Op& op : ops) op.priority = priority;
  write(key, std::move(ops));
}

namespace {

bool is_whole(const model::Record& record) {
  auto root = record.fields.find("");
  return root != record.fields.end() &&
         std::any_of(root->second.begin(), root->second.end(), [](const model::Entry& entry) {
           return entry.value && !entry.value->empty();
         });
}

// Live writes at a field and below, of those that `known` covers.
std::vector<Dot> writes_at(const model::Record& record, const std::string& path,
                           const model::VersionVector& known) {
  std::vector<Dot> out;
  for (auto at = record.fields.lower_bound(path);
       at != record.fields.end() && at->first.starts_with(path); ++at) {
    if (at->first != path && !model::is_below(at->first, path)) continue;
    for (const model::Entry& entry : at->second) {
      if (known.covers(entry.stamp.dot)) out.push_back(entry.stamp.dot);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace

// From `before`, or what is shown now, to `after`. `known`, with an earlier version: what it was
// made of, and so what these ops may supersede.
void Engine::write_diff(const Key& key, const Records::Row& row, const model::Json* before,
                        const model::Json& after, const model::VersionVector* known,
                        const WriteOptions& options) {
  const model::Rules& rules = records_.rules(key.collection);
  model::Json current = parse_stored(row.doc);
  if (!before) before = &current;
  std::vector<model::Op> ops;
  std::optional<model::Record> record;
  if (known || !rules.empty()) record = records_.decode(row);
  bool whole = !rules.empty() && rules.at("").whole;
  bool was_whole = record && is_whole(*record);
  if (whole || was_whole) {
    if (before->dump() == after.dump()) return;
    ops.assign(1, {});
    ops[0].kind = whole ? model::OpKind::whole : model::OpKind::set;
    ops[0].value = after;
  } else if (known && !row.alive) {
    // Deleted since that version: what lies hidden may be forgotten any moment, so all of it is
    // written.
    ops.assign(1, {});
    ops[0].value = after;
  } else if (record && row.alive) {
    model::Editing editing{*record, rules, current, identity_->id, [this] { return new_key(); }};
    ops = model::diff(*before, after, &editing);
  } else {
    ops = model::diff(*before, after);
  }
  std::size_t bytes = 0;
  for (const model::Op& op : ops) bytes += op.path.size() + weight(op.value);
  if (ops.size() > kMaxDiffOps || bytes > kMaxDiffBytes) {
    ops.assign(1, {});
    ops[0].value = after;
  }
  std::int64_t priority = priority_of(after, options);
  bool rewrites_whole = ops.size() == 1 && ops[0].path.empty() && ops[0].kind == model::OpKind::set;
  if (known || rewrites_whole) close_change();  // so that what it wrote can be listed
  for (model::Op& op : ops) {
    op.priority = priority;
    // Writing a document as a whole does not create it anew.
    bool rewrites = op.kind == model::OpKind::set && op.path.empty();
    if (op.supersedes != model::Supersedes::covered || (!known && !rewrites)) continue;
    if (!record) record = records_.decode(row);
    op.supersedes = model::Supersedes::listed;
    op.writes = writes_at(*record, op.path, known ? *known : seen_);
    if (op.kind != model::OpKind::edit) continue;
    for (const model::Entry& entry : record->fields[op.path]) {  // of the same text or list
      if (entry.sequence == op.sequence) op.writes.push_back(entry.stamp.dot);
    }
    std::sort(op.writes.begin(), op.writes.end());
    op.writes.erase(std::unique(op.writes.begin(), op.writes.end()), op.writes.end());
  }
  write(key, std::move(ops));
}

void Engine::put(const Key& key, model::Json document, const WriteOptions& options) {
  check_key(key);
  model::check_document(document);
  Transaction transaction(*this);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (row && row->alive) {
    write_diff(key, *row, nullptr, document, nullptr, options);
  } else {
    std::int64_t priority = priority_of(document, options);
    write_new(key, std::move(document), priority);
  }
  transaction.commit();
}

void Engine::put(const Key& key, const model::Json& document, const RecordVersion& version,
                 const WriteOptions& options) {
  check_key(key);
  model::check_document(document);
  const VersionAccess::Base* base = VersionAccess::base(version);
  if (!base) {
    throw Error(ErrorCode::invalid_argument,
                "the version is empty: take the one that retrieve_versioned returned");
  }
  Transaction transaction(*this);
  close_change();  // what this transaction wrote before is not part of the version
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (row) {
    write_diff(key, *row, &base->document, document, &base->seen, options);
  } else if (base->document.dump() != document.dump()) {
    write_new(key, document, priority_of(document, options));  // deleted, and forgotten since
  }
  transaction.commit();
}

std::optional<VersionedDocument> Engine::get(const Key& key) {
  std::lock_guard lock(mutex_);
  if (stale_) load();
  if (building_) {  // the version is to cover what this transaction wrote
    Transaction transaction(*this);
    close_change();
    transaction.commit();
  }
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (!row || !row->alive) return std::nullopt;
  VersionedDocument out;
  out.document = parse_stored(row->doc);
  out.version = VersionAccess::make(out.document, seen_);
  out.created_ms = row->created_ms;
  out.updated_ms = row->updated_ms;
  return out;
}

std::optional<model::Json> Engine::document_of(const Key& key) {
  std::lock_guard lock(mutex_);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (!row || !row->alive) return std::nullopt;
  return parse_stored(row->doc);
}

void Engine::write_again(const EditedAgain& edit) {
  Transaction transaction(*this);
  close_change();
  as_of_ = edit.hlc;
  std::optional<Records::Row> row = records_.load(edit.key.collection, edit.key.id);
  if (edit.after && row) {
    const model::Json nothing = model::Json::object();
    write_diff(edit.key, *row, edit.before ? &*edit.before : &nothing, *edit.after, &edit.known,
               {});
  } else if (edit.after) {
    write_new(edit.key, *edit.after, priority_of(*edit.after, {}));
  } else if (edit.before && row && row->alive) {
    model::Op op;
    op.kind = model::OpKind::remove;
    op.supersedes = model::Supersedes::listed;
    for (const model::Presence& word : records_.decode(*row).presence) {
      if (edit.known.covers(word.stamp.dot)) op.writes.push_back(word.stamp.dot);
    }
    write(edit.key, {std::move(op)});
  }
  close_change();
  as_of_.reset();
  transaction.commit();
}

bool Engine::remove(const Key& key) {
  check_key(key);
  Transaction transaction(*this);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  bool there = row && row->alive;
  if (there) {
    model::Op op;
    op.kind = model::OpKind::remove;
    write(key, {std::move(op)});
  }
  transaction.commit();
  return there;
}

}  // namespace store
}  // namespace holdfast
