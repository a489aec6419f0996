#include "holdfast/privacy_first_sync.h"

#include "src/privacy/gate.h"

namespace holdfast {

PrivacyFirstSync::PrivacyFirstSync(EncryptedLocalStore& store, PrivacyPolicy policy,
                                   PermissionPrompt prompt)
    : gate_(std::make_unique<privacy::Gate>(store, std::move(policy), std::move(prompt))) {}

PrivacyFirstSync::~PrivacyFirstSync() = default;

void PrivacyFirstSync::set_custom(const std::string& name, CustomAction action) {
  gate_->set_custom(name, std::move(action));
}

bool PrivacyFirstSync::request_sync_permission(const std::string& data_type,
                                               const std::string& purpose,
                                               const PermissionOptions& options) {
  return gate_->request(data_type, purpose, options);
}

std::vector<Grant> PrivacyFirstSync::grants() const { return gate_->grants(); }

std::size_t PrivacyFirstSync::revoke(const std::string& data_type, const std::string& purpose,
                                     const std::string& destination) {
  return gate_->revoke(data_type, purpose, destination);
}

nlohmann::json PrivacyFirstSync::export_grant(const std::string& id) const {
  return gate_->export_grant(id);
}

AnonymizedDocument PrivacyFirstSync::preview(const nlohmann::json& data,
                                             const std::string& destination,
                                             const SendOptions& options) const {
  return gate_->preview(data, destination, options);
}

SendResult PrivacyFirstSync::sync_with_privacy(const nlohmann::json& data,
                                               const std::string& destination,
                                               const SendOptions& options) {
  return gate_->send(data, destination, options);
}

QueueReport PrivacyFirstSync::send_queued(bool all, const std::atomic<bool>* cancelled) {
  return gate_->send_queued(all, cancelled);
}

std::vector<QueuedEgress> PrivacyFirstSync::queue() const { return gate_->queue(); }

BudgetState PrivacyFirstSync::budget(const std::string& data_type, const std::string& purpose,
                                     const std::string& destination) const {
  return gate_->budget(data_type, purpose, destination);
}

}  // namespace holdfast
