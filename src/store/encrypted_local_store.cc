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

void EncryptedLocalStore::verify() const { engine_->verify(); }

}  // namespace holdfast
