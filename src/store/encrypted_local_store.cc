#include "holdfast/encrypted_local_store.h"

#include "src/store/engine.h"

namespace holdfast {

EncryptedLocalStore::EncryptedLocalStore(const std::string& db_path, const UserKey& user_key,
                                         const StoreOptions& options)
    : engine_(std::make_unique<store::Engine>(db_path, user_key, options)) {}

EncryptedLocalStore::~EncryptedLocalStore() = default;
EncryptedLocalStore::EncryptedLocalStore(EncryptedLocalStore&&) noexcept = default;
EncryptedLocalStore& EncryptedLocalStore::operator=(EncryptedLocalStore&&) noexcept = default;

void EncryptedLocalStore::store(const Key& key, nlohmann::json document,
                                const WriteOptions& options) {
  engine_->put(key, std::move(document), options);
}

void EncryptedLocalStore::store(const Key& key, const nlohmann::json& document,
                                const RecordVersion& version, const WriteOptions& options) {
  engine_->put(key, document, version, options);
}

std::optional<nlohmann::json> EncryptedLocalStore::retrieve(const Key& key) const {
  return engine_->get_document(key);
}

std::optional<VersionedDocument> EncryptedLocalStore::retrieve_versioned(const Key& key) const {
  return engine_->get(key);
}

bool EncryptedLocalStore::update(const Key& key, const std::function<void(nlohmann::json&)>& edit,
                                 const WriteOptions& options) {
  store::Engine::Transaction transaction(*engine_);
  std::optional<nlohmann::json> document = engine_->get_document(key);
  bool there = document.has_value();
  if (there) {
    edit(*document);
    engine_->put(key, std::move(*document), options);
  }
  transaction.commit();
  return there;
}

bool EncryptedLocalStore::patch(const Key& key, const nlohmann::json& merge_patch,
                                const WriteOptions& options) {
  return update(key, [&](nlohmann::json& document) { document.merge_patch(merge_patch); }, options);
}

bool EncryptedLocalStore::remove(const Key& key) { return engine_->remove(key); }

std::vector<std::string> EncryptedLocalStore::list(const std::string& collection) const {
  return engine_->list(collection);
}

void EncryptedLocalStore::for_each(
    const std::string& collection,
    const std::function<bool(const std::string& id, const nlohmann::json&)>& visit) const {
  engine_->for_each(collection, visit);
}

std::vector<std::string> EncryptedLocalStore::collections() const { return engine_->collections(); }

void EncryptedLocalStore::transaction(const std::function<void()>& work) {
  store::Engine::Transaction transaction(*engine_);
  work();
  transaction.commit();
}

struct Transaction::Impl : store::Engine::Transaction {
  using store::Engine::Transaction::Transaction;
};
Transaction::Transaction(EncryptedLocalStore& store)
    : impl_(std::make_unique<Impl>(store.engine())) {}
Transaction::~Transaction() = default;
void Transaction::commit() { impl_->commit(); }

void EncryptedLocalStore::verify(const Progress& progress) const { engine_->verify(progress); }

std::vector<nlohmann::json> EncryptedLocalStore::query(
    const std::string& sql, const std::vector<nlohmann::json>& parameters) const {
  std::vector<nlohmann::json> rows;
  query(sql, parameters, [&](const nlohmann::json& row) {
    rows.push_back(row);
    return true;
  });
  return rows;
}

void EncryptedLocalStore::query(const std::string& sql,
                                const std::vector<nlohmann::json>& parameters,
                                const std::function<bool(const nlohmann::json& row)>& visit) const {
  engine_->query(sql, parameters, visit, nullptr);
}

QueryPlan EncryptedLocalStore::explain(const std::string& sql,
                                       const std::vector<nlohmann::json>& parameters) const {
  return engine_->explain(sql, parameters);
}

LiveQuery EncryptedLocalStore::watch(const std::string& sql,
                                     const std::vector<nlohmann::json>& parameters,
                                     const std::function<void(const QueryChange&)>& changed) const {
  return engine_->watch(sql, parameters, changed);
}

bool EncryptedLocalStore::create_index(const std::string& collection, const std::string& path) {
  return engine_->create_index({collection, path});
}
bool EncryptedLocalStore::drop_index(const std::string& collection, const std::string& path) {
  return engine_->drop_index({collection, path});
}
std::vector<IndexInfo> EncryptedLocalStore::indexes() const { return engine_->indexes(); }

std::vector<KeySlotInfo> EncryptedLocalStore::key_slots() const {
  std::vector<KeySlotInfo> out;
  engine_->with_database([&](store::Database& database) { out = database.key_slots(); });
  return out;
}

std::uint8_t EncryptedLocalStore::add_key(const UserKey& key) {
  std::uint8_t number = 0;
  engine_->with_database([&](store::Database& database) { number = database.add_key(key); });
  return number;
}

void EncryptedLocalStore::change_key(std::uint8_t number, const UserKey& key) {
  engine_->with_database([&](store::Database& database) { database.change_key(number, key); });
}

void EncryptedLocalStore::remove_key(std::uint8_t number) {
  engine_->with_database([&](store::Database& database) { database.remove_key(number); });
}

void EncryptedLocalStore::rekey(const Progress& progress) { engine_->rekey(progress); }

std::string EncryptedLocalStore::export_key_for_backup(const std::string& password) const {
  std::string text;
  engine_->with_database([&](store::Database& database) { text = database.export_key(password); });
  return text;
}

void EncryptedLocalStore::lock() { engine_->lock(); }
void EncryptedLocalStore::unlock(const UserKey& user_key) { engine_->unlock(user_key); }
bool EncryptedLocalStore::is_locked() const { return engine_->is_locked(); }

}  // namespace holdfast
