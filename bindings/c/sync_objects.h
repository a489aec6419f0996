#pragma once

// A sync, of its own or of an engine, and its states: by handles of all of them.

#include "bindings/c/objects.h"
#include "holdfast/incremental_sync.h"

namespace holdfast::c {

class SyncObject : public Object {
 public:
  static constexpr const char* kName = "sync";
  SyncObject(std::shared_ptr<StoreObject> store, std::shared_ptr<IncrementalSync> given)
      : sync(std::move(given)), store_(std::move(store)) {}
  const char* name() const override { return kName; }
  void interrupt() override {
    closing.set();
    sync->cancel();
  }
  StoreObject& store() const { return *store_; }
  const std::shared_ptr<IncrementalSync> sync;
  Flags closing;

 private:
  std::shared_ptr<StoreObject> store_;
};

}  // namespace holdfast::c
