#pragma once

// A policy, a user who answers, and a destination over fakes, for tests.

#include "holdfast/privacy_first_sync.h"
#include "src/crypto/hpke.h"
#include "src/store/test_store.h"
#include "src/wire/egress.h"

namespace holdfast::privacy {

using nlohmann::json;

// What arrives at a destination.
struct Arrived {
  wire::EgressHeader header;
  std::string payload;
  Bytes body;
};

struct PrivateWorld : store::FakeWorld {
  explicit PrivateWorld(std::uint64_t seed = 1)
      : store::FakeWorld(seed), receiver(crypto::HpkeKey::derive(random->array<32>())) {
    environment.network =
        std::make_shared<base::FakeNetwork>([this](const base::HttpRequest& request) {
          ++requests;
          wire_bytes.insert(wire_bytes.end(), request.body.begin(), request.body.end());
          if (on_request) on_request();
          base::HttpResponse response;
          response.status = status;
          if (status == 200) {
            Arrived one = open_egress(request.body);
            bool again = std::any_of(arrived.begin(), arrived.end(), [&](const Arrived& other) {
              return other.header.id == one.header.id;
            });
            if (!again) arrived.push_back(std::move(one));
          }
          return response;
        });
  }

  Arrived open_egress(ByteView body) const {
    wire::Egress egress = wire::decode_egress(body);
    auto context =
        crypto::HpkeContext::receiver(static_cast<crypto::HpkeAead>(egress.header.aead), receiver,
                                      egress.header.encapsulated, wire::egress_info(egress.header));
    auto plain = context.value().open(egress.head, egress.sealed);
    return {egress.header, wire::unpad_payload(plain.value().view()), base::to_bytes(body)};
  }

  // Around the fake clock's start, 2023-11-14.
  json policy_json() const {
    return {{"holdfast_policy", 1},
            {"version", 1},
            {"destinations",
             {{{"id", "model_improvement_server"},
               {"controller", "Example Models"},
               {"contact", "privacy@models.example"},
               {"jurisdiction", "DE"},
               {"url", "https://collect.models.example/v1"},
               {"keys",
                {{{"id", "k1"},
                  {"public_key", base::to_base64url(receiver.public_key())},
                  {"not_before", "2023-11-01"},
                  {"not_after", "2024-06-30"}}}}}}},
            {"purposes",
             {{{"id", "improve_model_quality"}, {"text", "Make the app's suggestions better"}}}},
            {"data_types",
             {{{"id", "model_usage_stats"},
               {"text", "How often the model was used, and how fast it was"},
               {"linked", false},
               {"fields",
                {{"/model", {{"action", "keep"}}},
                 {"/calls", {{"action", "generalise"}, {"to", "bucket"}, {"size", 10}}},
                 {"/device_id", {{"action", "pseudonym"}}},
                 {"/liked",
                  {{"action", "randomise"},
                   {"mechanism", "response"},
                   {"epsilon", "1/2"},
                   {"values", {false, true}}}},
                 {"/place", {{"action", "generalise"}, {"to", "cell"}}}}}}}},
            {"uses",
             {{{"data_type", "model_usage_stats"},
               {"purpose", "improve_model_quality"},
               {"destination", "model_improvement_server"},
               {"budget", {{"epsilon_per_day", 4}, {"epsilon_lifetime", 8}, {"devices", 2}}}}}}};
  }
  PrivacyPolicy policy() const { return PrivacyPolicy::from_json(policy_json()); }

  static json usage() {
    return {{"model", "small-1"},
            {"calls", 137},
            {"device_id", "phone-4711"},
            {"liked", true},
            {"place", {{"lat", 48.137}, {"lon", 11.575}}},
            {"user_email", "ada@example.org"},
            {"transcript", "my card is 4111 1111 1111 1111"}};
  }

  crypto::HpkeKey receiver;
  int status = 200;
  int requests = 0;
  std::function<void()> on_request;
  std::vector<Arrived> arrived;
  Bytes wire_bytes;  // all that was ever sent
};

// A store in that world with its gate; the user says yes unless told otherwise.
struct PrivateApp {
  explicit PrivateApp(PrivateWorld& in, std::optional<PrivacyPolicy> policy = {})
      : world(in),
        store(in.open()),
        sync(store, policy ? *policy : in.policy(), [this](const PermissionRequest& r) {
          ++asked;
          last = r;
          return answer;
        }) {}
  bool permit(bool renew = false) {
    PermissionOptions options;
    options.renew = renew;
    return sync.request_sync_permission("model_usage_stats", "improve_model_quality", options);
  }
  SendResult send(const json& data = PrivateWorld::usage()) {
    return sync.sync_with_privacy(data, "model_improvement_server");
  }
  std::vector<std::string> kinds() const {  // of the ledger's entries
    std::vector<std::string> out;
    PrivacyLedger(const_cast<EncryptedLocalStore&>(store)).for_each([&](const LedgerEntry& entry) {
      out.push_back(entry.entry.at("kind"));
      return true;
    });
    return out;
  }

  PrivateWorld& world;
  bool answer = true;
  int asked = 0;
  PermissionRequest last;
  EncryptedLocalStore store;
  PrivacyFirstSync sync;
};

}  // namespace holdfast::privacy
