#include "bindings/c/test.h"

static int say_yes(void* user, const char* request) {
  snprintf(user, 4096, "%s", request);
  return 1;
}
static int shout(void* user, const char* value, hf_reply* reply) {
  (void)user, (void)value;
  return hf_reply_set(reply, "\"!\"") == HF_OK ? 0 : 1;
}

void test_privacy(void) {
  hf_store* store = open_store("private.hf");
  hf_anonymizer* anonymizer = NULL;
  hf_privacy_policy *policy = NULL, *none = NULL;
  hf_privacy* privacy = NULL;
  char *text = NULL, *head = NULL, request[4096] = "", policy_text[2048];
  bool flag = false;
  int64_t version = 0;
  uint64_t count = 0;
  OK(hf_anonymizer_open(NULL, NULL, &anonymizer));
  OK(hf_anonymizer_anonymize(anonymizer, "{\"email\":\"a@example.org\",\"n\":1}", &text));
  CHECK(text && strcmp(text, "{\"n\":1}") == 0);
  hf_free(text);
  OK(hf_anonymizer_preview(anonymizer, "{\"email\":\"a@example.org\",\"n\":1}", &text));
  HAS(text, "\"drop\"");
  hf_free(text);
  OK(hf_anonymizer_close(anonymizer));
  CHECK(hf_privacy_policy_parse("{\"holdfast_policy\": 1}", &policy) == HF_INVALID_ARGUMENT);
  OK(hf_privacy_policy_none(&none));
  OK(hf_privacy_policy_close(none));
  snprintf(policy_text, sizeof policy_text,
           "{\"holdfast_policy\":1,\"version\":3,\"destinations\":[{\"id\":\"models\","
           "\"controller\":\"Example\",\"contact\":\"p@example.org\",\"jurisdiction\":\"DE\","
           "\"url\":\"%s/v1\",\"keys\":[{\"id\":\"k\",\"public_key\":\"%s\",\"not_before\":"
           "\"2020-01-01\",\"not_after\":\"2099-12-31\"}]}],\"purposes\":[{\"id\":\"improve\","
           "\"text\":\"Better\",\"term\":\"dpv:ServiceOptimisation\"}],\"data_types\":[{\"id\":"
           "\"usage\",\"text\":\"Usage\",\"linked\":false,\"fields\":{\"/model\":{\"action\":"
           "\"keep\"},\"/word\":{\"action\":\"custom\",\"function\":\"shout\"}}}],\"uses\":[{"
           "\"data_type\":\"usage\",\"purpose\":\"improve\",\"destination\":\"models\"}]}",
           collector_url, collector_key);
  OK(hf_privacy_policy_parse(policy_text, &policy));
  OK(hf_privacy_policy_version(policy, &version));
  CHECK(version == 3);
  OK(hf_privacy_policy_hash(policy, &text));
  CHECK(text && strlen(text) == 64);
  hf_free(text);
  OK(hf_privacy_policy_app_store_report(policy, &text));
  HAS(text, "usage");
  hf_free(text);
  OK(hf_anonymizer_open(policy, "usage", &anonymizer));
  OK(hf_anonymizer_set_custom(anonymizer, "shout", shout, NULL));
  OK(hf_anonymizer_anonymize(anonymizer, "{\"word\":\"low\"}", &text));
  CHECK(text && strcmp(text, "{\"word\":\"!\"}") == 0);
  hf_free(text);
  OK(hf_anonymizer_close(anonymizer));

  const char* data = "{\"model\":\"small\",\"word\":\"canary\"}";
  OK(hf_privacy_open(store, policy, say_yes, request, &privacy));
  OK(hf_privacy_policy_close(policy));
  OK(hf_privacy_set_custom(privacy, "shout", shout, NULL));
  OK(hf_privacy_send(privacy, data, "models", NULL, NULL, &text));
  HAS(text, "\"no_permission\"");
  hf_free(text);
  OK(hf_privacy_preview(privacy, data, "models", NULL, NULL, &text));
  hf_free(text);
  CHECK(hf_privacy_request(privacy, "usage", "other", NULL, &flag) == HF_NOT_FOUND);
  OK(hf_privacy_request(privacy, "usage", "improve",
                        "{\"sample\":{\"model\":\"small\"},\"lifetime_days\":3}", &flag));
  CHECK(flag);
  HAS(request, "\"preview\":{\"model\":\"small\"}");
  OK(hf_privacy_send(privacy, data, "models", NULL, NULL, &text));
  HAS(text, "\"status\":\"sent\"");
  hf_free(text);
  OK(hf_privacy_grants(privacy, &text));
  HAS(text, "\"in_force\"");
  char* record = NULL;
  OK(hf_privacy_export_grant(privacy, text_in(text, "id"), &record));
  hf_free(record);
  hf_free(text);
  OK(hf_privacy_queue(privacy, &text));
  CHECK(text && strcmp(text, "[]") == 0);
  hf_free(text);
  OK(hf_privacy_send_queued(privacy, true, NULL, &text));
  CHECK(number_in(text, "waiting") == 0);
  hf_free(text);
  OK(hf_privacy_budget(privacy, "usage", "improve", "models", &text));
  HAS(text, "\"spent\"");
  hf_free(text);
  OK(hf_privacy_revoke(privacy, "usage", NULL, NULL, &count));
  CHECK(count == 1);

  int lines = 0;
  OK(hf_ledger_head(store, &head));
  OK(hf_ledger_for_each(store, 0, count_text, &lines));
  CHECK(lines >= 4);
  char entry[4096] = "";
  int written = 0;
  OK(hf_ledger_export(store, count_text, &written));
  CHECK(written == lines + 1);
  OK(hf_ledger_prove_inclusion(store, 0, &text));
  (void)entry;
  hf_free(text);
  char* again = NULL;
  OK(hf_ledger_verify(store, head, &again));
  CHECK(again && strcmp(head, again) == 0);
  OK(hf_ledger_prove_consistency(store, 1, &text));
  OK(hf_ledger_check_consistency(head, head, "[]", &flag));
  CHECK(flag);
  hf_free(text);
  hf_free(again);
  hf_free(head);
  CHECK(hf_ledger_check_inclusion("{}", "1:00", "[]", &flag) == HF_INVALID_ARGUMENT);
  OK(hf_ledger_forget_payload(store, 0, &flag));
  OK(hf_store_close(store));
}
