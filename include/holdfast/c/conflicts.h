#ifndef HOLDFAST_C_CONFLICTS_H
#define HOLDFAST_C_CONFLICTS_H

/* Conflicts and policies: see holdfast/conflict_resolver.h. A conflict as JSON:
 *
 *   {"collection", "id", "path", "type", "visible", "shown", "merged", "pending", "suggested",
 *    "deadline_ms", "candidates": [{"value", "device", "time_ms", "priority", "automatic"}]}
 *
 * A candidate without "value" deleted; "shown" and "deadline_ms" are missing where there is none.
 * A policy, of which only the first three are needed to set one:
 *
 *   {"collection", "path", "strategy", "type", "critical", "deadline_ms", "fallback",
 *    "whole_records", "delete_wins"}
 */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Conflicts as they were when they were listed. Of its store. */
typedef struct hf_conflicts hf_conflicts;

/* By collection, id and path; `json` is an array of them. */
hf_code hf_conflicts_list(hf_store* store, bool pending_only, hf_conflicts** out, char** json);
/* Settles the conflict at `index` of the list by one of its candidates, or by another value.
 * HF_INVALID_ARGUMENT for an index that it does not have. */
hf_code hf_conflicts_pick(hf_conflicts* conflicts, size_t index, size_t candidate);
hf_code hf_conflicts_resolve(hf_conflicts* conflicts, size_t index, const char* value);
hf_code hf_conflicts_close(hf_conflicts* conflicts);

hf_code hf_conflicts_count_pending(hf_store* store, uint64_t* count);
/* Writes what is due now: fallbacks, and what custom functions decide. How many it wrote. */
hf_code hf_conflicts_settle(hf_store* store, uint64_t* count);
/* Tells of conflicts that have become pending, as an array, on the thread that committed. */
hf_code hf_conflicts_subscribe(hf_store* store, hf_observe observer, void* user,
                               hf_subscription** out);

/* The app's decision for the strategy "custom": answers with a value; without an answer, and where
 * it does not return 0, the conflict stays as it is. Called under the store's lock, on any thread
 * that uses the store; must not use the store. `decide` NULL: no function any more. */
typedef int (*hf_decide)(void* user, const char* conflict, hf_reply* reply);
hf_code hf_conflicts_set_custom(hf_store* store, const char* collection, hf_decide decide,
                                void* user);

hf_code hf_policy_set(hf_store* store, const char* policy);
hf_code hf_policies(hf_store* store, char** policies);

/* Compares two plain documents, without a store; "null" stands for a deleted one. `context` is
 * NULL, or {"strategy", "critical_paths": ["$.price"]}; `decide`, for the strategy "custom", may be
 * NULL. Gives {"type", "value", "needs_user", "lineage": [{"path", "candidates"}]}. */
hf_code hf_resolve_conflict(const char* local, const char* remote, const char* context,
                            hf_decide decide, void* user, char** resolution);

#ifdef __cplusplus
}
#endif

#endif
