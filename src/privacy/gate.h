#pragma once

// The gate that PrivacyFirstSync is: see there. permissions.cc asks and revokes, preparing.cc makes
// what is to be sent, sending.cc sends it.

#include <mutex>
#include <variant>

#include "src/privacy/anonymizer.h"
#include "src/privacy/budget.h"
#include "src/privacy/grants.h"
#include "src/privacy/sealed_egress.h"

namespace holdfast::privacy {

class Gate {
 public:
  Gate(EncryptedLocalStore& store, PrivacyPolicy policy, PermissionPrompt prompt);

  void set_custom(const std::string& name, CustomAction action);
  bool request(const std::string& data_type, const std::string& purpose,
               const PermissionOptions& options);
  std::vector<Grant> grants();
  std::size_t revoke(const std::string& data_type, const std::string& purpose,
                     const std::string& destination);
  Json export_grant(const std::string& id);
  AnonymizedDocument preview(const Json& data, const std::string& destination,
                             const SendOptions& options);
  SendResult send(const Json& data, const std::string& destination, const SendOptions& options);
  QueueReport send_queued(bool all, const std::atomic<bool>* cancelled);
  std::vector<QueuedEgress> queue();
  BudgetState budget(const std::string& data_type, const std::string& purpose,
                     const std::string& destination);

 private:
  // Why something may not leave; an empty reason: it may.
  struct Verdict {
    std::string reason, message;
    std::size_t purged = 0;  // of the queue, because permissions had ended
    bool ok() const { return reason.empty(); }
  };
  // A row of the queue.
  struct Waiting {
    std::int64_t num = 0;
    std::string egress;  // id, in hex
    std::string grant, key_id, policy;
    std::int64_t next_ms = 0;
    int attempts = 0;
    Bytes body;  // sealed under the grant's queue key
  };
  struct Attempt {
    SealedEgress egress;
    Waiting row;
  };
  struct Sealed {
    base::Id16 id{};
    std::string key_id;
    Bytes body;
  };
  enum class Sent { yes, dropped, gone, waits, stopped };  // gone: another has seen to it

  // Those that begin with "tx_" are for the caller's transaction.
  const Use& use_of(const std::string& data_type, const std::string& purpose,
                    const std::string& destination) const;
  const Use& use_for_sending(const std::string& destination, const SendOptions& options);
  // First in every transaction: ends what has ended, and purges what waits for it. Returns how much
  // that was.
  std::size_t tx_settle();
  std::size_t tx_purge(const std::string& grant);
  Verdict tx_check(const Use& use, const std::optional<HeldGrant>& held);
  Json tx_about(const Use& use, const std::string& grant) const;
  crypto::Secret tx_pseudonym_root();
  crypto::Secret tx_make_queue_key(const std::string& grant);  // or the one that there is
  std::optional<crypto::Secret> tx_queue_key(const std::string& grant);
  std::optional<Waiting> tx_row(std::int64_t num);
  void tx_drop(const Waiting& row, const Verdict& why);

  AnonymizedDocument anonymize_for(const Use& use, const Json& data, NoiseBook& noise);
  Verdict tx_charge(const Use& use, const std::optional<HeldGrant>& held, std::int64_t cost,
                    std::int64_t now);
  Sealed seal_for(const Use& use, const DestinationKey& key, std::string_view payload);
  std::int64_t tx_queue(const Use& use, const std::string& grant, const Sealed& sealed,
                        const std::string& payload, std::int64_t cost);
  // Holds the turn from before the row is there: nobody else sends it.
  SendResult prepare(const Use& use, const Json& data, std::int64_t* num,
                     std::unique_lock<std::mutex>& turn);
  Sent attempt(std::int64_t num, bool due_only, const std::atomic<bool>* cancelled, Verdict* why);
  std::variant<Attempt, Sent> release(std::int64_t num, bool due_only, Verdict* why);
  Sent finish(const Waiting& row, const base::HttpResponse& response, Verdict* why);

  store::Engine& engine_;
  const PrivacyPolicy policy_;
  const Policy& rules_;
  const PermissionPrompt prompt_;
  TextScanner scanner_;
  Grants grants_;
  std::mutex custom_mutex_;
  std::map<std::string, CustomAction> custom_;
};

}  // namespace holdfast::privacy
