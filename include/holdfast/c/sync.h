#ifndef HOLDFAST_C_SYNC_H
#define HOLDFAST_C_SYNC_H

/* Sync, its states, and the engine that syncs while an app runs: see holdfast/incremental_sync.h,
 * sync_state_manager.h and sync_engine.h. */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One store's sync. One call of hf_sync_run at a time; another waits. Of its store. */
typedef struct hf_sync hf_sync;
hf_code hf_sync_open(hf_store* store, hf_sync** out);
hf_code hf_sync_close(hf_sync* sync); /* cancels a sync that is under way */

/* `phase` is "connecting", "receiving", "applying" or "sending"; `remaining_ms` is -1 where it
 * cannot be told. Must not sync. */
typedef void (*hf_sync_observe)(void* user, const char* phase, uint64_t items, uint64_t total,
                                uint64_t bytes, int64_t remaining_ms);
/* Receives, then sends; `observe` may be NULL. Being offline is a result:
 * {"state", "applied", "sent", "conflicts_pending", "duration_ms", "error", "message", "waiting",
 *  "rejected": [text], "notices": [text]}, "error" being a code's name or null. */
hf_code hf_sync_run(hf_sync* sync, hf_sync_observe observe, void* user, char** result);
hf_code hf_sync_cancel(hf_sync* sync); /* from any thread: the result's error is "cancelled" */
/* {"phase", "items", "total", "bytes", "remaining_ms"} of a sync that runs, or of the last one. */
hf_code hf_sync_progress(hf_sync* sync, char** progress);
/* Waits at the relay for `ms` at most; `cancel` may be NULL. "none", "some" or "unknown". */
hf_code hf_sync_wait_for_news(hf_sync* sync, int64_t ms, hf_cancel* cancel, const char** news);

/* A package that the app carries: a JSON array of sealed batches in base64url. The same again until
 * it is marked as delivered, or a relay has it. */
hf_code hf_sync_prepare_package(hf_sync* sync, char** package);
hf_code hf_sync_mark_delivered(hf_sync* sync, const char* package);
/* {"applied", "waiting", "conflicts": [conflict], "rejected": [text]} */
hf_code hf_sync_apply_package(hf_sync* sync, const char* package, char** result);
/* [{"sequence", "time_ms", "collection", "id", "path", "kind"}] */
hf_code hf_sync_local_changes(hf_sync* sync, uint64_t since, char** changes);
hf_code hf_sync_count_pending(hf_sync* sync, uint64_t* count);
hf_code hf_sync_trust_relay_time(hf_sync* sync);
/* [{"kind", "position", "device", "reason"}] */
hf_code hf_sync_problems(hf_sync* sync, char** problems);

/* The states. {"state", "last_sync_timestamp", "items_synced", "conflicts_resolved",
 * "sync_duration_ms", "error_message", "network_type"} */
typedef struct hf_states hf_states;
/* Of a store: as it was kept. Of a sync: moves with it. */
hf_code hf_states_open(hf_store* store, hf_states** out);
hf_code hf_sync_states(hf_sync* sync, hf_states** out);
hf_code hf_states_close(hf_states* states);
hf_code hf_states_metadata(hf_states* states, char** metadata);
hf_code hf_states_is_legal(const char* from, const char* to, bool* legal);
/* Moves on to a state; `metadata` is NULL, or the members that change. HF_ILLEGAL_STATE for a
 * transition that does not exist. */
hf_code hf_states_transition(hf_states* states, const char* to, const char* metadata);
hf_code hf_states_set_network(hf_states* states, const char* type);
hf_code hf_states_count_resolved(hf_states* states);
/* Tells of each change, on the thread that caused it. */
hf_code hf_states_subscribe(hf_states* states, hf_observe observer, void* user,
                            hf_subscription** out);

/* Keeps a store in sync while an app runs; starts no thread. Of its store. */
typedef struct hf_engine hf_engine;
/* Start with HF_ENGINE_OPTIONS. */
typedef struct hf_engine_options {
  size_t size;
  int64_t coalesce_ms; /* how long edits are collected */
  int64_t interval_ms; /* how often the relay is asked without another reason */
  bool watch;          /* whether hf_engine_run waits at the relay for news */
} hf_engine_options;
#define HF_ENGINE_OPTIONS {sizeof(hf_engine_options), 3000, 15 * 60 * 1000, true}
hf_code hf_engine_open(hf_store* store, const hf_engine_options* options, hf_engine** out);
hf_code hf_engine_close(hf_engine* engine); /* stops it first */
/* Syncs when it is time to, until hf_engine_stop or hf_engine_close. */
hf_code hf_engine_run(hf_engine* engine);
/* Does what is due, and says after how many milliseconds to call again, at the latest. */
hf_code hf_engine_step(hf_engine* engine, int64_t* due_ms);
/* `due` is called on any thread when hf_engine_step should be called sooner; NULL: nobody. */
hf_code hf_engine_on_due(hf_engine* engine, void (*due)(void* user), void* user);
hf_code hf_engine_sync_now(hf_engine* engine);
hf_code hf_engine_set_conditions(hf_engine* engine, const char* network, bool metered,
                                 bool saves_power);
hf_code hf_engine_stop(hf_engine* engine);
/* {"kind": "state" | "progress" | "conflicts" | "warning"} with "state" (as of hf_states),
 * "progress", "conflicts" or "warning". On the thread that caused it; the observer must not call
 * hf_engine_run or hf_engine_step, of which one may run at a time. */
hf_code hf_engine_subscribe(hf_engine* engine, hf_observe observer, void* user,
                            hf_subscription** out);
/* The engine's own sync and states; closed with the engine. */
hf_code hf_engine_sync(hf_engine* engine, hf_sync** out);

#ifdef __cplusplus
}
#endif

#endif
