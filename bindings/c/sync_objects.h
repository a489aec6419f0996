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
  void interrupt() noexcept override {
    is_closing = true;
    closing.set();
    sync->cancel();
  }
  const std::shared_ptr<StoreObject>& shared_store() const { return store_; }
  const std::shared_ptr<IncrementalSync> sync;
  Flags closing;
  std::atomic<bool> is_closing{false};  // for a sync that begins only now

 private:
  std::shared_ptr<StoreObject> store_;
};

}  // namespace holdfast::c
