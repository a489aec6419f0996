#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

class AnonymizerObject : public Object {
 public:
  static constexpr const char* kName = "anonymizer";
  explicit AnonymizerObject(DataAnonymizer given) : anonymizer(std::move(given)) {}
  const char* name() const override { return kName; }
  DataAnonymizer anonymizer;
};

class PrivacyObject : public Object {
 public:
  static constexpr const char* kName = "privacy gate";
  PrivacyObject(std::shared_ptr<StoreObject> store, PrivacyPolicy policy, PermissionPrompt prompt)
      : store_(std::move(store)), gate(store_->store, std::move(policy), std::move(prompt)) {}
  const char* name() const override { return kName; }
  void interrupt() noexcept override { closing.set(); }

 private:
  std::shared_ptr<StoreObject> store_;

 public:
  PrivacyFirstSync gate;
  Flags closing;
};

using UsePolicy = Use<PrivacyPolicyObject>;
using UseAnonymizer = Use<AnonymizerObject>;
using UsePrivacy = Use<PrivacyObject>;

SendOptions send_options(const char* data_type, const char* purpose) {
  return {text_or_empty(data_type), text_or_empty(purpose)};
}

}  // namespace

extern "C" {

hf_code hf_privacy_policy_parse(const char* text, hf_privacy_policy** out) {
  return run([&] {
    c::out(out);
    give_handle(out, std::make_shared<PrivacyPolicyObject>(PrivacyPolicy::parse(c::text(text))));
  });
}
hf_code hf_privacy_policy_none(hf_privacy_policy** out) {
  return run([&] {
    c::out(out);
    give_handle(out, std::make_shared<PrivacyPolicyObject>(PrivacyPolicy::none()));
  });
}
hf_code hf_privacy_policy_version(hf_privacy_policy* policy, int64_t* version) {
  return run([&] { out(version) = UsePolicy(policy)->policy.version(); });
}
hf_code hf_privacy_policy_hash(hf_privacy_policy* policy, char** hash) {
  return run([&] { out(hash) = give(UsePolicy(policy)->policy.hash()); });
}
hf_code hf_privacy_policy_app_store_report(hf_privacy_policy* policy, char** report) {
  return run([&] { out(report) = give_json(UsePolicy(policy)->policy.app_store_report()); });
}
hf_code hf_privacy_policy_close(hf_privacy_policy* policy) {
  return run([&] { close(policy, PrivacyPolicyObject::kName); });
}

hf_code hf_anonymizer_open(hf_privacy_policy* policy, const char* data_type, hf_anonymizer** out) {
  return run([&] {
    c::out(out);
    if (!policy != !data_type) throw Misuse("a policy and a data type go together");
    give_handle(
        out, std::make_shared<AnonymizerObject>(
                 policy ? DataAnonymizer(UsePolicy(policy)->policy, data_type) : DataAnonymizer()));
  });
}
hf_code hf_anonymizer_set_custom(hf_anonymizer* anonymizer, const char* name, hf_anonymize action,
                                 void* user) {
  return run([&] {
    UseAnonymizer(anonymizer)->anonymizer.set_custom(text(name), action_of(action, user));
  });
}
hf_code hf_anonymizer_anonymize(hf_anonymizer* anonymizer, const char* document, char** out) {
  return run([&] {
    c::out(out);
    *out = give_json(UseAnonymizer(anonymizer)->anonymizer.anonymize(parse(document)));
  });
}
hf_code hf_anonymizer_preview(hf_anonymizer* anonymizer, const char* document, char** out) {
  return run([&] {
    c::out(out);
    *out = give_json(to_json(UseAnonymizer(anonymizer)->anonymizer.preview(parse(document))));
  });
}
hf_code hf_anonymizer_close(hf_anonymizer* anonymizer) {
  return run([&] { close(anonymizer, AnonymizerObject::kName); });
}

hf_code hf_privacy_open(hf_store* store, hf_privacy_policy* policy, hf_prompt prompt, void* user,
                        hf_privacy** out) {
  return run([&] {
    c::out(out);
    UseStore use(store);
    PermissionPrompt ask;
    if (prompt) {
      ask = [=](const PermissionRequest& request) {
        return prompt(user, to_json(request).dump().c_str()) == 1;
      };
    }
    give_handle(out, std::make_shared<PrivacyObject>(use.shared(), UsePolicy(policy)->policy, ask),
                store);
  });
}
hf_code hf_privacy_set_custom(hf_privacy* privacy, const char* name, hf_anonymize action,
                              void* user) {
  return run([&] { UsePrivacy(privacy)->gate.set_custom(text(name), action_of(action, user)); });
}
hf_code hf_privacy_request(hf_privacy* privacy, const char* data_type, const char* purpose,
                           const char* options, bool* granted) {
  return run([&] {
    out(granted);
    json given = parse_object(options, {"destination", "lifetime_days", "sample", "renew"});
    PermissionOptions how;
    std::int64_t days = how.lifetime_days;
    read(given, "destination", how.destination);
    read(given, "lifetime_days", days);
    read(given, "renew", how.renew);
    how.lifetime_days = static_cast<int>(std::clamp<std::int64_t>(days, 0, 1'000'000));
    how.sample = given.value("sample", json());
    *granted =
        UsePrivacy(privacy)->gate.request_sync_permission(text(data_type), text(purpose), how);
  });
}
hf_code hf_privacy_grants(hf_privacy* privacy, char** grants) {
  return run([&] { out(grants) = give_json(all_to_json(UsePrivacy(privacy)->gate.grants())); });
}
hf_code hf_privacy_revoke(hf_privacy* privacy, const char* data_type, const char* purpose,
                          const char* destination, uint64_t* ended) {
  return run([&] {
    out(ended);
    *ended = UsePrivacy(privacy)->gate.revoke(text(data_type), text_or_empty(purpose),
                                              text_or_empty(destination));
  });
}
hf_code hf_privacy_export_grant(hf_privacy* privacy, const char* id, char** record) {
  return run([&] { out(record) = give_json(UsePrivacy(privacy)->gate.export_grant(text(id))); });
}
hf_code hf_privacy_preview(hf_privacy* privacy, const char* data, const char* destination,
                           const char* data_type, const char* purpose, char** preview) {
  return run([&] {
    out(preview);
    *preview = give_json(to_json(UsePrivacy(privacy)->gate.preview(
        parse(data), text(destination), send_options(data_type, purpose))));
  });
}
hf_code hf_privacy_send(hf_privacy* privacy, const char* data, const char* destination,
                        const char* data_type, const char* purpose, char** result) {
  return run([&] {
    out(result);
    *result = give_json(to_json(UsePrivacy(privacy)->gate.sync_with_privacy(
        parse(data), text(destination), send_options(data_type, purpose))));
  });
}
hf_code hf_privacy_send_queued(hf_privacy* privacy, bool all, hf_cancel* cancel, char** report) {
  return run([&] {
    out(report);
    UsePrivacy use(privacy);
    Cancellation cancellation(cancel, use->closing);
    QueueReport done = use->gate.send_queued(all, cancellation.flag());
    *report =
        give_json({{"sent", done.sent}, {"dropped", done.dropped}, {"waiting", done.waiting}});
  });
}
hf_code hf_privacy_queue(hf_privacy* privacy, char** queue) {
  return run([&] { out(queue) = give_json(all_to_json(UsePrivacy(privacy)->gate.queue())); });
}
hf_code hf_privacy_budget(hf_privacy* privacy, const char* data_type, const char* purpose,
                          const char* destination, char** budget) {
  return run([&] {
    out(budget);
    BudgetState left =
        UsePrivacy(privacy)->gate.budget(text(data_type), text(purpose), text(destination));
    *budget = give_json({{"today", left.today},
                         {"lifetime", left.lifetime},
                         {"spent_today", left.spent_today},
                         {"spent", left.spent}});
  });
}
hf_code hf_privacy_close(hf_privacy* privacy) {
  return run([&] { close(privacy, PrivacyObject::kName); });
}

}  // extern "C"
