#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class LiveQueryObject : public Object {
 public:
  static constexpr const char* kName = "live query";
  LiveQueryObject(std::shared_ptr<StoreObject> store, LiveQuery query)
      : store_(std::move(store)), query_(std::move(query)) {}
  const char* name() const override { return kName; }
  // It waits for its callback on other threads, which may wait for the transaction.
  void check_close(bool alone) const override {
    if (alone) store_->check_no_transaction_here(kName);
  }

 private:
  std::shared_ptr<StoreObject> store_;
  LiveQuery query_;
};

}  // namespace

extern "C" {

hf_code hf_store_query(hf_store* store, const char* sql, const char* parameters,
                       hf_visit_text visit, void* user) {
  return run([&] {
    function(visit);
    UseStore(store)->store.query(text(sql), parse_array(parameters), [&](const json& row) {
      return visit(user, row.dump().c_str()) == 0;
    });
  });
}
hf_code hf_store_query_all(hf_store* store, const char* sql, const char* parameters, char** rows) {
  return run([&] {
    out(rows);
    *rows = give_json(UseStore(store)->store.query(text(sql), parse_array(parameters)));
  });
}
hf_code hf_store_explain(hf_store* store, const char* sql, const char* parameters, char** plan) {
  return run([&] {
    out(plan);
    *plan = give_json(to_json(UseStore(store)->store.explain(text(sql), parse_array(parameters))));
  });
}
hf_code hf_store_watch(hf_store* store, const char* sql, const char* parameters, hf_observe changed,
                       void* user, hf_live_query** out) {
  return run([&] {
    c::out(out);
    function(changed);
    UseStore use(store);
    LiveQuery query = use->store.watch(
        text(sql), parse_array(parameters),
        [=](const QueryChange& change) { changed(user, to_json(change).dump().c_str()); });
    give_handle(out, std::make_shared<LiveQueryObject>(use.shared(), std::move(query)), store);
  });
}
hf_code hf_live_query_close(hf_live_query* query) {
  return run([&] { close(query, LiveQueryObject::kName); });
}

hf_code hf_store_create_index(hf_store* store, const char* collection, const char* path,
                              bool* created) {
  return run([&] {
    out(created) = UseStore(store)->store.create_index(collection_of(collection), text(path));
  });
}
hf_code hf_store_drop_index(hf_store* store, const char* collection, const char* path,
                            bool* dropped) {
  return run([&] {
    out(dropped) = UseStore(store)->store.drop_index(collection_of(collection), text(path));
  });
}
hf_code hf_store_indexes(hf_store* store, char** indexes) {
  return run([&] {
    json all = json::array();
    out(indexes);
    for (const IndexInfo& index : UseStore(store)->store.indexes()) {
      all.push_back({{"collection", index.collection}, {"path", index.path}});
    }
    *indexes = give_json(all);
  });
}

}  // extern "C"
