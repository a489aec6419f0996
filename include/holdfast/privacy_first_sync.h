#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/data_anonymizer.h"
#include "holdfast/encrypted_local_store.h"
#include "holdfast/privacy_ledger.h"
#include "holdfast/privacy_policy.h"

namespace holdfast {

namespace privacy {
class Gate;
}

// What the user is asked: show all of it.
struct PermissionRequest {
  std::string data_type, data_type_text;
  std::string purpose, purpose_text;
  std::string destination, controller, contact, jurisdiction;
  bool linked = false;        // whether the destination can tell whose data it is
  std::int64_t until_ms = 0;  // UTC, milliseconds since 1970: when the permission ends by itself
  nlohmann::json preview;     // exactly what would be sent of the sample; null without one
  std::vector<FieldChange> fields;  // how the sample's fields became it
};

// Shows the request and returns the user's answer. Called on the thread that asks, without locks;
// what it throws counts as no, and goes on to the caller.
using PermissionPrompt = std::function<bool(const PermissionRequest&)>;

struct PermissionOptions {
  std::string destination;  // needed only where the policy has several for the type and purpose
  int lifetime_days = 30;   // 1 to 366
  nlohmann::json sample;    // data of that type, for the preview
  bool renew = false;       // ask even where there is a permission, for a longer one; a no ends it
};

struct Grant {
  enum class State {
    in_force,
    denied,  // the user said no
    expired,
    revoked,  // by the user, on any device
    void_,    // the policy lets out more now than was granted: ask again
  };
  std::string id;
  std::string data_type, purpose, destination;
  std::string policy_hash;
  std::int64_t given_ms = 0;  // UTC, milliseconds since 1970
  std::int64_t until_ms = 0;
  std::string device;  // id, in hex, of the one on which it was given
  State state = State::denied;
};
const char* grant_state_name(Grant::State state);  // "in_force", …, "void"

struct SendOptions {
  std::string data_type, purpose;  // needed only where several grants are for the destination
};

struct SendResult {
  enum class Status {
    sent,     // the destination has it
    queued,   // it waits to be sent: see send_queued()
    refused,  // nothing left and nothing waits, and `reason` says why
  };
  Status status = Status::refused;
  // "no_permission", "expired", "revoked", "policy_changed", "budget_spent", "no_valid_key",
  // "restored", "partly_received", "nothing_left", "queue_full", "damaged" or
  // "destination_refused"; empty unless refused
  std::string reason;
  std::string message;  // the same for people, and what to do
  std::string egress;   // id, in hex, as the ledger has it; empty where nothing was made
};
const char* send_status_name(SendResult::Status status);

struct QueueReport {
  std::size_t sent = 0;
  std::size_t dropped = 0;  // for want of permission, key or budget: the ledger says which
  std::size_t waiting = 0;  // for a later attempt
};

struct QueuedEgress {
  std::string egress, grant;
  std::string data_type, purpose, destination;
  std::int64_t next_attempt_ms = 0;
  int attempts = 0;
};

// What noise may still cost on this device; epsilon, as text: "0.25".
struct BudgetState {
  std::string today, lifetime;     // left
  std::string spent_today, spent;  // rounded up
};

// The only way by which data leaves for anybody but the user's own devices: with a permission that
// names what, for whom and what for, that is in force at the moment of sending; anonymised as the
// policy says; sealed to the destination; and on the record in the ledger. Sync between the user's
// devices needs none of this, because nobody else can read it.
//
// Nothing here touches the network before there is a permission. Thread-safe. Methods throw Error
// as the store's do, besides what they name.
class PrivacyFirstSync {
 public:
  // Without a prompt every request is denied. The store must outlive this object. Has nothing to do
  // with the network.
  PrivacyFirstSync(EncryptedLocalStore& store, PrivacyPolicy policy, PermissionPrompt prompt = {});
  ~PrivacyFirstSync();
  PrivacyFirstSync(const PrivacyFirstSync&) = delete;
  PrivacyFirstSync& operator=(const PrivacyFirstSync&) = delete;

  void set_custom(const std::string& name, CustomAction action);

  // Whether the user permits it: asks unless there is a permission in force. Throws Error:
  // not_found (the policy provides for no such thing), invalid_argument (several destinations, or a
  // lifetime out of range).
  bool request_sync_permission(const std::string& data_type, const std::string& purpose,
                               const PermissionOptions& options = {});
  // Every decision of the user, on any device, the latest first.
  std::vector<Grant> grants() const;
  // Ends all permissions for this, on every device with its next sync, and for good, whatever was
  // granted elsewhere meanwhile. What waits to be sent is destroyed here before it returns. Empty
  // texts stand for all. Returns how many permissions ended here.
  std::size_t revoke(const std::string& data_type, const std::string& purpose = "",
                     const std::string& destination = "");
  // A decision as a record in the words of ISO/IEC TS 27560. Throws Error(not_found).
  nlohmann::json export_grant(const std::string& id) const;

  // What the policy would make of `data` for a destination; sends nothing, needs no permission.
  // Throws Error(not_found, invalid_argument).
  AnonymizedDocument preview(const nlohmann::json& data, const std::string& destination,
                             const SendOptions& options = {}) const;
  // Anonymises, seals, enters it in the ledger, and tries to send it. A refusal is a value. Throws
  // Error: not_found (no such destination), invalid_argument (several grants: say which; a custom
  // action is missing), too_large.
  SendResult sync_with_privacy(const nlohmann::json& data, const std::string& destination,
                               const SendOptions& options = {});
  // Tries to send what waits and is due; with `all`, what is not due yet, too. Where `cancelled` is
  // set, ends soon. Each is checked again at the moment of sending.
  QueueReport send_queued(bool all = false, const std::atomic<bool>* cancelled = nullptr);
  std::vector<QueuedEgress> queue() const;

  BudgetState budget(const std::string& data_type, const std::string& purpose,
                     const std::string& destination) const;

 private:
  std::unique_ptr<privacy::Gate> gate_;
};

}  // namespace holdfast
