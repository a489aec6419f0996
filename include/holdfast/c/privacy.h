#ifndef HOLDFAST_C_PRIVACY_H
#define HOLDFAST_C_PRIVACY_H

/* Permission, anonymising and sending to third parties: see holdfast/privacy_first_sync.h,
 * privacy_policy.h and data_anonymizer.h. */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What may leave for whom, as JSON: docs/privacy.md. */
typedef struct hf_privacy_policy hf_privacy_policy;
hf_code hf_privacy_policy_parse(const char* text, hf_privacy_policy** out);
hf_code hf_privacy_policy_none(hf_privacy_policy** out);
hf_code hf_privacy_policy_version(hf_privacy_policy* policy, int64_t* version);
hf_code hf_privacy_policy_hash(hf_privacy_policy* policy, char** hash);
hf_code hf_privacy_policy_app_store_report(hf_privacy_policy* policy, char** report);
hf_code hf_privacy_policy_close(hf_privacy_policy* policy);

/* An app's own action: answers with what leaves in the value's place; without an answer the field
 * is dropped. Where it does not return 0, the call that anonymises is HF_CANCELLED. */
typedef int (*hf_anonymize)(void* user, const char* value, hf_reply* reply);

/* By itself, nothing is sent. One thread at a time. */
typedef struct hf_anonymizer hf_anonymizer;
/* With NULL for both: the rules for the usual sensitive fields. */
hf_code hf_anonymizer_open(hf_privacy_policy* policy, const char* data_type, hf_anonymizer** out);
hf_code hf_anonymizer_set_custom(hf_anonymizer* anonymizer, const char* name, hf_anonymize action,
                                 void* user);
hf_code hf_anonymizer_anonymize(hf_anonymizer* anonymizer, const char* document, char** out);
/* {"document", "changes": [{"path", "action", "before", "after"}]}; without "after": dropped. */
hf_code hf_anonymizer_preview(hf_anonymizer* anonymizer, const char* document, char** out);
hf_code hf_anonymizer_close(hf_anonymizer* anonymizer);

/* The gate. Of its store. */
typedef struct hf_privacy hf_privacy;
/* Shows {"data_type", "data_type_text", "purpose", "purpose_text", "destination", "controller",
 * "contact", "jurisdiction", "linked", "until_ms", "preview", "fields": [change]} and returns 1 for
 * the user's yes; anything else is a no. */
typedef int (*hf_prompt)(void* user, const char* request);
/* Without a prompt every request is denied. The policy may be closed after. */
hf_code hf_privacy_open(hf_store* store, hf_privacy_policy* policy, hf_prompt prompt, void* user,
                        hf_privacy** out);
hf_code hf_privacy_set_custom(hf_privacy* privacy, const char* name, hf_anonymize action,
                              void* user);
/* `options` is NULL or {"destination", "lifetime_days", "sample", "renew"}. */
hf_code hf_privacy_request(hf_privacy* privacy, const char* data_type, const char* purpose,
                           const char* options, bool* granted);
/* [{"id", "data_type", "purpose", "destination", "policy_hash", "given_ms", "until_ms", "device",
 *   "state"}] */
hf_code hf_privacy_grants(hf_privacy* privacy, char** grants);
/* NULL for purpose and destination: all. How many permissions ended here. */
hf_code hf_privacy_revoke(hf_privacy* privacy, const char* data_type, const char* purpose,
                          const char* destination, uint64_t* ended);
hf_code hf_privacy_export_grant(hf_privacy* privacy, const char* id, char** record);
/* `data_type` and `purpose` may be NULL where one grant is for the destination. What the policy
 * would make of `data`, as of hf_anonymizer_preview: sends nothing. */
hf_code hf_privacy_preview(hf_privacy* privacy, const char* data, const char* destination,
                           const char* data_type, const char* purpose, char** preview);
/* Anonymises, seals, records, and tries to send. {"status": "sent" | "queued" | "refused",
 * "reason", "message", "egress"} */
hf_code hf_privacy_send(hf_privacy* privacy, const char* data, const char* destination,
                        const char* data_type, const char* purpose, char** result);
/* {"sent", "dropped", "waiting"}; `cancel` may be NULL, and only ends it sooner. */
hf_code hf_privacy_send_queued(hf_privacy* privacy, bool all, hf_cancel* cancel, char** report);
/* [{"egress", "grant", "data_type", "purpose", "destination", "next_attempt_ms", "attempts"}] */
hf_code hf_privacy_queue(hf_privacy* privacy, char** queue);
/* {"today", "lifetime", "spent_today", "spent"}: epsilon, as text. */
hf_code hf_privacy_budget(hf_privacy* privacy, const char* data_type, const char* purpose,
                          const char* destination, char** budget);
hf_code hf_privacy_close(hf_privacy* privacy);

#ifdef __cplusplus
}
#endif

#endif
