#include "src/store/engine.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/change_codec.h"
#include "src/model/diff.h"
#include "src/model/json.h"

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

constexpr std::size_t kChangeBytes =
    256 * 1024;  // beyond it a transaction continues in another change set
constexpr std::size_t kChangeOps = 2000;

void check_key(const Key& key) {
  model::check_name(key.id, "a record's id");
  model::check_name(key.collection, "a collection's name");
  if (key.collection[0] == '_') {
    throw Error(ErrorCode::invalid_argument,
                "collections whose names start with '_' belong to Holdfast: choose another name");
  }
}

void check_size(const model::Json& document) {
  model::check_document(document);
  if (model::to_text(document).size() > model::kMaxDocument) {
    throw Error(ErrorCode::too_large, "the document is larger than 512 KiB, the limit: split it");
  }
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

model::Json parse_stored(std::string_view doc) {
  model::Json document = model::Json::parse(doc, nullptr, false);
  if (document.is_discarded()) throw Error(ErrorCode::corrupt, "a stored document is not JSON");
  return document;
}

}  // namespace

Engine::Engine(const std::string& path, const UserKey& key, const StoreOptions& options)
    : environment_(options.environment ? *options.environment : base::system_environment()),
      database_(path, key, options, environment_),
      records_(database_) {
  if (!database_.meta("sign_seed")) make_identity();
  load();
}

void Engine::make_identity() {
  crypto::Secret sign(32);
  crypto::Secret box(32);
  environment_.random->fill(sign.span());
  environment_.random->fill(box.span());
  database_.connection().execute("BEGIN IMMEDIATE");
  database_.set_meta("box_secret", box.view());
  database_.set_meta("sign_seed", sign.view());
  database_.connection().execute("COMMIT");
}

void Engine::load() {
  records_.forget_caches();
  std::optional<Bytes> sign = database_.meta("sign_seed");
  std::optional<Bytes> box = database_.meta("box_secret");
  if (!sign || !box || sign->size() != 32 || box->size() != 32) {
    throw Error(ErrorCode::corrupt, "the store has lost its device's keys: restore a backup");
  }
  crypto::SigningKey signing(*sign);
  model::DeviceId id = base::device_id_of(signing.public_key());
  identity_.emplace(Identity{std::move(signing), crypto::BoxKey(*box), id});
  crypto::wipe(*sign);
  crypto::wipe(*box);
  std::optional<Bytes> last = database_.meta("clock");
  saved_clock_ = {last ? base::Reader(*last, "the clock").u64() : 0};
  clock_ = model::HybridClock(saved_clock_);
  seen_ = {};
  Statement devices(database_.connection().prepare("SELECT id, seen FROM device"));
  while (devices.step()) {
    seen_.set(base::Reader(devices.blob(0), "a device id").array<16>(),
              static_cast<std::uint64_t>(devices.integer(1)));
  }
}

Engine::Transaction::Transaction(Engine& engine) : engine_(engine), lock_(engine.mutex_) {
  if (engine_.depth_ == 0) {
    engine_.failed_ = false;
    engine_.database_.connection().execute("BEGIN IMMEDIATE");
  }
  ++engine_.depth_;
}

void Engine::Transaction::commit() {
  if (engine_.depth_ == 1) {
    if (engine_.failed_) {
      throw Error(ErrorCode::invalid_argument,
                  "a part of this transaction failed, so none of it is kept: let its error out");
    }
    engine_.close_change();
    engine_.save_clock();
    engine_.database_.connection().execute("COMMIT");
  }
  --engine_.depth_;
  done_ = true;
}

Engine::Transaction::~Transaction() {
  if (done_) return;
  engine_.failed_ = true;
  if (--engine_.depth_ > 0) return;
  engine_.building_.reset();
  try {
    if (!sqlite3_get_autocommit(engine_.database_.connection().handle())) {
      engine_.database_.connection().execute("ROLLBACK");
    }
    engine_.load();
  } catch (...) {
    // The next use of the store meets the same failure and reports it.
  }
}

void Engine::open_change(const model::VersionVector* context) {
  bool same_base =
      building_ && (context ? building_base_ && *building_base_ == *context : !building_base_);
  bool room = building_bytes_ < kChangeBytes && (!building_ || building_->ops.size() < kChangeOps);
  if (building_ && same_base && room) return;
  close_change();
  building_.emplace();
  building_->device = identity_->id;
  building_->sequence = seen_.at(identity_->id) + 1;
  building_->hlc = clock_.tick(environment_.clock->now_ms());
  building_->context = context ? *context : seen_;
  building_base_.reset();
  if (context) building_base_ = *context;
  building_bytes_ = 0;
}

void Engine::close_change() {
  if (!building_) return;
  model::ChangeSet change = std::move(*building_);
  building_.reset();
  if (change.ops.empty()) return;
  Bytes body = model::encode_changes({change});
  Statement(database_.connection().prepare("INSERT INTO change VALUES(?, ?)"))
      .bind(change.sequence)
      .bind(body)
      .run();
  set_seen(change.device, change.sequence);
}

void Engine::save_clock() {
  if (clock_.last() == saved_clock_) return;
  base::Writer last;
  last.u64(clock_.last().value);
  database_.set_meta("clock", last.bytes());
  saved_clock_ = clock_.last();
}

void Engine::set_seen(const model::DeviceId& device, std::uint64_t sequence) {
  std::uint64_t num = records_.index_of(device);
  Statement(database_.connection().prepare("UPDATE device SET seen = ? WHERE num = ?"))
      .bind(sequence)
      .bind(num)
      .run();
  seen_.set(device, sequence);
}

void Engine::write(const Key& key, std::vector<model::Op> ops,
                   const model::VersionVector* context) {
  if (ops.empty()) return;
  Transaction transaction(*this);
  open_change(context);
  for (model::Op& op : ops) {
    op.collection = key.collection;
    op.record = key.id;
  }
  records_.apply(*building_, ops.data(), ops.data() + ops.size());
  for (model::Op& op : ops) {
    building_bytes_ += 64 + op.path.size() + op.record.size();
    if (op.kind == model::OpKind::set) {
      building_bytes_ += op.value.is_structured() ? op.value.dump().size() : 16;
      if (op.value.is_string()) building_bytes_ += op.value.get_ref<const std::string&>().size();
    }
    building_->ops.push_back(std::move(op));
  }
  transaction.commit();
}

void Engine::write_diff(const Key& key, const model::Json& before, const model::Json& after,
                        const model::VersionVector* context, const WriteOptions& options) {
  std::vector<model::Op> ops = model::diff(before, after);
  std::int64_t priority = priority_of(after, options);
  for (model::Op& op : ops) op.priority = priority;
  write(key, std::move(ops), context);
}

void Engine::put(const Key& key, model::Json document, const WriteOptions& options) {
  check_key(key);
  check_size(document);
  Transaction transaction(*this);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (row && row->alive) {
    write_diff(key, parse_stored(row->doc), document, nullptr, options);
  } else {
    model::Op op;  // a new record, or over the hidden remains of a deleted one: whole
    op.priority = priority_of(document, options);
    op.value = std::move(document);
    std::vector<model::Op> ops;
    ops.push_back(std::move(op));
    write(key, std::move(ops), nullptr);
  }
  transaction.commit();
}

void Engine::put(const Key& key, const model::Json& document, const RecordVersion& version,
                 const WriteOptions& options) {
  check_key(key);
  check_size(document);
  const VersionAccess::Base* base = VersionAccess::base(version);
  if (!base) {
    throw Error(ErrorCode::invalid_argument,
                "the version is empty: take the one that retrieve_versioned returned");
  }
  Transaction transaction(*this);
  close_change();  // what this transaction wrote before is not part of the version
  write_diff(key, base->document, document, &base->seen, options);
  transaction.commit();
}

std::optional<VersionedDocument> Engine::get(const Key& key) {
  std::lock_guard lock(mutex_);
  if (building_) close_change();  // so that the version covers what this transaction wrote
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (!row || !row->alive) return std::nullopt;
  VersionedDocument out;
  out.document = parse_stored(row->doc);
  out.version = VersionAccess::make(out.document, seen_);
  out.created_ms = row->created_ms;
  out.updated_ms = row->updated_ms;
  return out;
}

std::optional<model::Json> Engine::get_document(const Key& key) {
  std::lock_guard lock(mutex_);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  if (!row || !row->alive) return std::nullopt;
  return parse_stored(row->doc);
}

bool Engine::remove(const Key& key) {
  check_key(key);
  Transaction transaction(*this);
  std::optional<Records::Row> row = records_.load(key.collection, key.id);
  bool there = row && row->alive;
  if (there) {
    model::Op op;
    op.kind = model::OpKind::remove;
    write(key, {std::move(op)}, nullptr);
  }
  transaction.commit();
  return there;
}

std::vector<std::string> Engine::list(const std::string& collection) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  auto num = records_.collection_num(collection);
  if (!num) return ids;
  Statement query(database_.connection().prepare(
      "SELECT id FROM record WHERE collection = ? AND alive = 1 ORDER BY id"));
  query.bind(*num);
  while (query.step()) ids.emplace_back(query.text(0));
  return ids;
}

void Engine::for_each(const std::string& collection,
                      const std::function<bool(const std::string&, const model::Json&)>& visit) {
  std::lock_guard lock(mutex_);
  auto num = records_.collection_num(collection);
  if (!num) return;
  Statement query(database_.connection().prepare(
      "SELECT id, doc FROM record WHERE collection = ? AND alive = 1 ORDER BY id"));
  query.bind(*num);
  while (query.step()) {
    if (!visit(std::string(query.text(0)), parse_stored(query.text(1)))) return;
  }
}

std::vector<std::string> Engine::collections() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  Statement query(database_.connection().prepare(
      "SELECT name FROM collection c WHERE substr(name, 1, 1) <> '_' AND EXISTS "
      "(SELECT 1 FROM record r WHERE r.collection = c.num AND alive = 1) ORDER BY name"));
  while (query.step()) names.emplace_back(query.text(0));
  return names;
}

void Engine::verify() {
  std::lock_guard lock(mutex_);
  database_.verify();
}

void Engine::apply(const model::ChangeSet& change) {
  // Ops on one record are applied together: it is read and rendered once.
  for (std::size_t i = 0; i < change.ops.size();) {
    std::size_t end = i + 1;
    while (end < change.ops.size() && change.ops[end].record == change.ops[i].record &&
           change.ops[end].collection == change.ops[i].collection) {
      ++end;
    }
    records_.apply(change, change.ops.data() + i, change.ops.data() + end);
    i = end;
  }
  clock_.observe(change.hlc, environment_.clock->now_ms());
  set_seen(change.device, change.sequence);
}

Received Engine::receive(const model::ChangeSet& change) {
  Transaction transaction(*this);
  Received result = Received::known;
  if (change.sequence > seen_.at(change.device)) {
    bool ready = change.sequence == seen_.at(change.device) + 1 && seen_.covers(change.context);
    result = ready ? Received::applied : Received::waiting;
    if (ready) {
      apply(change);
      apply_waiting();
    } else {
      Bytes body = model::encode_changes({change});
      Statement(database_.connection().prepare("INSERT OR IGNORE INTO waiting VALUES(?, ?, ?)"))
          .bind(ByteView(change.device))
          .bind(change.sequence)
          .bind(body)
          .run();
    }
  }
  transaction.commit();
  return result;
}

void Engine::apply_waiting() {
  for (bool progress = true; progress;) {
    progress = false;
    std::vector<model::ChangeSet> ready;
    {
      Statement query(database_.connection().prepare("SELECT device, sequence, body FROM waiting"));
      while (query.step()) {
        model::DeviceId device = base::Reader(query.blob(0), "a device id").array<16>();
        auto sequence = static_cast<std::uint64_t>(query.integer(1));
        if (sequence > seen_.at(device) + 1) continue;
        ready.push_back(model::decode_changes(query.blob(2), device).front());
      }
    }
    for (const model::ChangeSet& change : ready) {
      bool due = change.sequence == seen_.at(change.device) + 1 && seen_.covers(change.context);
      bool known = change.sequence <= seen_.at(change.device);
      if (!due && !known) continue;
      if (due) apply(change);
      Statement(
          database_.connection().prepare("DELETE FROM waiting WHERE device = ? AND sequence = ?"))
          .bind(ByteView(change.device))
          .bind(change.sequence)
          .run();
      progress = true;
    }
  }
}

}  // namespace store
}  // namespace holdfast
