#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class VersionObject : public Object {
 public:
  static constexpr const char* kName = "version";
  VersionObject(std::shared_ptr<StoreObject> store, Key key, RecordVersion given)
      : version(std::move(given)), store_(std::move(store)), key_(std::move(key)) {}
  const char* name() const override { return kName; }
  void check(const StoreObject& store, const Key& key) const {
    if (&store != store_.get() || key.collection != key_.collection || key.id != key_.id) {
      throw Misuse("a version is of another record, or of another store");
    }
  }
  RecordVersion version;

 private:
  std::shared_ptr<StoreObject> store_;
  Key key_;
};

class TransactionObject : public Object {
 public:
  static constexpr const char* kName = "transaction";
  explicit TransactionObject(std::shared_ptr<StoreObject> store)
      : store_(std::move(store)), transaction_(std::in_place, store_->store) {
    store_->opened(this);
  }
  ~TransactionObject() override { end(); }
  const char* name() const override { return kName; }
  void check_close(bool alone) const override {
    if (std::this_thread::get_id() == owner_) return;
    if (alone) throw Misuse("a transaction belongs to the thread that began it");
    throw Error(ErrorCode::busy,
                "another thread has a transaction: close the store once it is over");
  }
  void interrupt() noexcept override { end(); }  // others wait for it
  void check_innermost() const {
    check_close(true);
    if (store_->innermost_here() != this) {
      throw Misuse("a transaction that began later is still open: end that one first");
    }
  }
  void commit() { transaction_->commit(); }

 private:
  void end() {
    if (!transaction_) return;
    transaction_.reset();
    store_->ended(this);
  }
  std::shared_ptr<StoreObject> store_;
  std::thread::id owner_ = std::this_thread::get_id();
  std::optional<Transaction> transaction_;
};

WriteOptions write_options(const int64_t* priority) {
  WriteOptions out;
  if (priority) out.priority = *priority;
  return out;
}

}  // namespace

extern "C" {

hf_code hf_store_open(const char* path, hf_key* key, const hf_store_options* options,
                      hf_store** out) {
  return run([&] {
    c::out(out);
    UseKey use(key);
    give_handle(out, std::make_shared<StoreObject>(text(path), use->key, options_of(options)));
  });
}
hf_code hf_store_close(hf_store* store) {
  return run([&] { close(store, StoreObject::kName); });
}

hf_code hf_store_put(hf_store* store, const char* collection, const char* id, const char* document,
                     const int64_t* priority) {
  return run([&] {
    UseStore(store)->store.store(key_of(collection, id), parse(document), write_options(priority));
  });
}
hf_code hf_store_put_version(hf_store* store, const char* collection, const char* id,
                             const char* document, hf_version* version, const int64_t* priority) {
  return run([&] {
    Use<VersionObject> use(version);
    UseStore use_store(store);
    Key key = key_of(collection, id);
    use->check(*use_store, key);
    use_store->store.store(key, parse(document), use->version, write_options(priority));
  });
}
hf_code hf_store_get(hf_store* store, const char* collection, const char* id, char** document) {
  return run([&] {
    out(document);
    auto found = UseStore(store)->store.retrieve(key_of(collection, id));
    if (found) *document = give_json(*found);
  });
}
hf_code hf_store_get_version(hf_store* store, const char* collection, const char* id,
                             char** document, hf_version** version, int64_t* created_ms,
                             int64_t* updated_ms) {
  return run([&] {
    out(document);
    clear(version);
    clear(created_ms);
    clear(updated_ms);
    UseStore use(store);
    Key key = key_of(collection, id);
    auto found = use->store.retrieve_versioned(key);
    if (!found) return;
    std::unique_ptr<char, decltype(&hf_free)> text(give_json(found->document), hf_free);
    if (version) {
      give_handle(version, std::make_shared<VersionObject>(use.shared(), key, found->version),
                  store);
    }
    if (created_ms) *created_ms = found->created_ms;
    if (updated_ms) *updated_ms = found->updated_ms;
    *document = text.release();
  });
}
hf_code hf_version_close(hf_version* version) {
  return run([&] { close(version, VersionObject::kName); });
}
hf_code hf_store_update(hf_store* store, const char* collection, const char* id, hf_edit edit,
                        void* user, const int64_t* priority, bool* found) {
  return run([&] {
    out(found);
    function(edit);
    auto change = [&](json& document) {
      ReplyHandle reply;
      if (edit(user, document.dump().c_str(), reply.get()) != 0) {
        throw Stopped{"the record was left as it is"};
      }
      if (reply.value()) document = std::move(*reply.value());
    };
    *found = UseStore(store)->store.update(key_of(collection, id), change, write_options(priority));
  });
}
hf_code hf_store_patch(hf_store* store, const char* collection, const char* id,
                       const char* merge_patch, const int64_t* priority, bool* found) {
  return run([&] {
    out(found) = UseStore(store)->store.patch(key_of(collection, id), parse(merge_patch),
                                              write_options(priority));
  });
}
hf_code hf_store_remove(hf_store* store, const char* collection, const char* id, bool* found) {
  return run([&] { out(found) = UseStore(store)->store.remove(key_of(collection, id)); });
}

hf_code hf_store_list(hf_store* store, const char* collection, char** ids) {
  return run([&] { out(ids) = give_json(UseStore(store)->store.list(collection_of(collection))); });
}
hf_code hf_store_for_each(hf_store* store, const char* collection, hf_visit_record visit,
                          void* user) {
  return run([&] {
    function(visit);
    UseStore(store)->store.for_each(collection_of(collection),
                                    [&](const std::string& id, const json& document) {
                                      return visit(user, id.c_str(), document.dump().c_str()) == 0;
                                    });
  });
}
hf_code hf_store_collections(hf_store* store, char** names) {
  return run([&] { out(names) = give_json(UseStore(store)->store.collections()); });
}

hf_code hf_transaction_begin(hf_store* store, hf_transaction** out) {
  return run([&] {
    c::out(out);
    UseStore use(store);
    give_handle(out, std::make_shared<TransactionObject>(use.shared()), store);
  });
}
hf_code hf_transaction_commit(hf_transaction* transaction) {
  return run([&] {
    std::exception_ptr failure;
    {
      Use<TransactionObject> use(transaction);
      use->check_innermost();
      try {
        use->commit();
      } catch (...) {
        failure = std::current_exception();
      }
    }
    close(transaction, TransactionObject::kName);
    if (failure) std::rethrow_exception(failure);
  });
}
hf_code hf_transaction_rollback(hf_transaction* transaction) {
  return run([&] {
    if (!transaction) return;
    Use<TransactionObject>(transaction)->check_innermost();
    close(transaction, TransactionObject::kName);
  });
}

hf_code hf_store_migrate(hf_store* store, const hf_migration* steps, size_t count, bool dry_run,
                         char** report) {
  return run([&] {
    out(report);
    if (!steps && count > 0) throw Misuse("the steps are NULL");
    std::vector<Migration> all;
    for (std::size_t i = 0; i < count; ++i) {
      const hf_migration& step = steps[i];
      function(step.run);
      all.push_back({step.version, text(step.name), [&step, store](EncryptedLocalStore&) {
                       if (step.run(step.user, store) != 0) {
                         throw Stopped{"a step of the migration did not work: nothing was changed"};
                       }
                     }});
    }
    *report = give_json(to_json(UseStore(store)->store.migrate(all, dry_run)));
  });
}
hf_code hf_store_check_upgrade(const char* path, hf_key* key, const hf_store_options* options,
                               char** report) {
  return run([&] {
    out(report);
    UseKey use(key);
    *report = give_json(
        to_json(EncryptedLocalStore::check_upgrade(text(path), use->key, options_of(options))));
  });
}

}  // extern "C"
