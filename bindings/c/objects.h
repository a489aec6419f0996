#pragma once

// The objects behind the handles that several files use.

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "bindings/c/calls.h"
#include "holdfast/encrypted_local_store.h"
#include "holdfast/fernet.h"
#include "holdfast/holdfast.h"
#include "holdfast/privacy_policy.h"

namespace holdfast::c {

class KeyObject : public Object {
 public:
  static constexpr const char* kName = "key";
  explicit KeyObject(UserKey given) : key(std::move(given)) {}
  const char* name() const override { return kName; }
  UserKey key;
};

class FernetObject : public Object {
 public:
  static constexpr const char* kName = "Fernet";
  explicit FernetObject(Fernet given) : fernet(std::move(given)) {}
  const char* name() const override { return kName; }
  Fernet fernet;
};

// Flags of calls that run: setting it sets them all, and those that come later.
class Flags {
 public:
  void set();
  void attach(std::atomic<bool>& flag);
  void detach(std::atomic<bool>& flag);

 private:
  std::mutex mutex_;
  bool is_set_ = false;
  std::set<std::atomic<bool>*> flags_;
};

class CancelObject : public Object {
 public:
  static constexpr const char* kName = "cancel flag";
  const char* name() const override { return kName; }
  Flags flags;
};

class StoreObject : public Object {
 public:
  static constexpr const char* kName = "store";
  template <typename... Arguments>
  explicit StoreObject(Arguments&&... arguments) : store(std::forward<Arguments>(arguments)...) {}
  const char* name() const override { return kName; }
  void interrupt() noexcept override { closing.set(); }
  EncryptedLocalStore store;
  Flags closing;

  // Open transactions, the outer ones first, and whose they are.
  struct OpenTransaction {
    const Object* object;
    std::thread::id owner;
  };
  void opened(const Object* transaction);
  void ended(const Object* transaction);
  const Object* innermost_here() const;                    // of this thread; null: none
  void check_no_transaction_here(const char* what) const;  // Misuse

 private:
  mutable std::mutex mutex_;
  std::vector<OpenTransaction> transactions_;
};

class PrivacyPolicyObject : public Object {
 public:
  static constexpr const char* kName = "privacy policy";
  explicit PrivacyPolicyObject(PrivacyPolicy given) : policy(std::move(given)) {}
  const char* name() const override { return kName; }
  PrivacyPolicy policy;
};

// What is closed by a function: a subscription.
class SubscriptionObject : public Object {
 public:
  static constexpr const char* kName = "subscription";
  SubscriptionObject(std::shared_ptr<StoreObject> store, std::function<void()> end)
      : store_(std::move(store)), end_(std::move(end)) {}
  ~SubscriptionObject() override { end_(); }
  const char* name() const override { return kName; }
  // It waits for its observer on other threads, which may wait for the transaction.
  void check_close(bool alone) const override {
    if (alone) store_->check_no_transaction_here(kName);
  }

 private:
  std::shared_ptr<StoreObject> store_;
  std::function<void()> end_;
};

// A flag for one call that runs long: set by the caller's, and when the object is being closed.
class Cancellation {
 public:
  Cancellation(hf_cancel* given, Flags& closing);  // `given` may be null
  ~Cancellation();
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  const std::atomic<bool>* flag() const { return &flag_; }

 private:
  std::atomic<bool> flag_{false};
  std::optional<Use<CancelObject>> cancel_;
  Flags& closing_;
};

using UseStore = Use<StoreObject>;
using UseKey = Use<KeyObject>;

Key key_of(const char* collection, const char* id);
inline std::string collection_of(const char* given) { return given ? given : "records"; }
StoreOptions options_of(const hf_store_options* given);
Progress progress_of(hf_progress progress, void* user);
// Calls `keep`; throws Stopped where it did not return 0.
std::function<void(const std::string&)> keeper_of(hf_keep_code keep, void* user);
std::function<json(const json&)> action_of(hf_anonymize action, void* user);
std::array<std::uint8_t, 16> id_of(const std::string& hex);  // Error(invalid_argument)

}  // namespace holdfast::c
