// Feedback on a model's answers, sent to its makers: only with the user's permission, without what
// says who they are, and on the record. Usage: feedback FILE POLICY-FILE

#include <fstream>
#include <iostream>
#include <sstream>

#include "holdfast/privacy_first_sync.h"

using namespace holdfast;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: feedback FILE POLICY-FILE\n";
    return 2;
  }
  std::stringstream policy;
  policy << std::ifstream(argv[2]).rdbuf();
  EncryptedLocalStore store(argv[1], UserKey::fernet(generate_fernet_key()));
  nlohmann::json usage_stats = {{"model", "small-2"},
                                {"latency_ms", 137},
                                {"comment", "Wrong. Ask me: ada@example.org"},
                                {"email", "ada@example.org"},
                                {"device_id", "A1B2-C3D4"}};

  PrivacyFirstSync privacy_sync(
      store, PrivacyPolicy::parse(policy.str()), [](const PermissionRequest& request) {
        // An app shows a dialogue here, with all of this, and returns what the user said.
        std::cout << "May " << request.controller << " get this? " << request.purpose_text << ": "
                  << request.preview["model"] << ", " << request.preview["latency_ms"] << " ms, "
                  << request.preview["comment"] << "\n";
        return true;
      });
  PermissionOptions asking;
  asking.sample = usage_stats;
  if (privacy_sync.request_sync_permission("model_usage_stats", "improve_model_quality", asking)) {
    SendResult result = privacy_sync.sync_with_privacy(usage_stats, "model_improvement_server");
    std::cout << send_status_name(result.status) << "\n";
  }
  PrivacyLedger(store).for_each([](const LedgerEntry& entry) {
    std::cout << entry.index << " " << entry.entry["kind"].get<std::string>() << "\n";
    return true;
  });
  PrivacyLedger(store).verify();
  std::cout << privacy_sync.revoke("model_usage_stats") << " permission ended\n";
  SendResult again = privacy_sync.sync_with_privacy(usage_stats, "model_improvement_server");
  std::cout << send_status_name(again.status) << ": " << again.reason << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
