#include "bindings/c/test.h"

static int lose_code(void* user, const char* code) {
  (void)user, (void)code;
  return 1;
}
static int decide_sum(void* user, const char* conflict, hf_reply* reply) {
  (void)conflict;
  ++*(int*)user;
  return hf_reply_set(reply, "\"decided\"") == HF_OK ? 0 : 1;
}
static void count_progress(void* user, const char* phase, uint64_t items, uint64_t total,
                           uint64_t bytes, int64_t remaining_ms) {
  (void)phase, (void)items, (void)total, (void)bytes, (void)remaining_ms;
  ++*(int*)user;
}
static void sync_once(hf_sync* sync, const char* state) {
  char* result = NULL;
  int calls = 0;
  OK(hf_sync_run(sync, count_progress, &calls, &result));
  CHECK(result && strcmp(text_in(result, "state"), state) == 0);
  CHECK(calls > 0);
  hf_free(result);
}

static void test_sync_and_conflicts(void) {
  hf_store *phone = open_store("phone.hf"), *laptop = open_store("laptop.hf");
  hf_sync *phone_sync = NULL, *laptop_sync = NULL;
  char code[4096] = "", events[4096] = "", pending[4096] = "";
  char *text = NULL, *ticket = NULL;
  const char* news = NULL;
  bool flag = true;
  uint64_t count = 0;
  uint32_t epoch = 0;
  OK(hf_vault_exists(phone, &flag));
  CHECK(!flag);
  CHECK(hf_vault_id(phone, &text) == HF_NO_VAULT);
  CHECK(hf_vault_create(phone, "phone", "phone", lose_code, NULL) == HF_CANCELLED);
  OK(hf_vault_create(phone, "phone", "phone", keep_code, code));
  CHECK(strlen(code) > 20);
  OK(hf_vault_use_relay(phone, relay_url, NULL));
  OK(hf_vault_relay(phone, &text));
  CHECK(text && strcmp(text, relay_url) == 0);
  hf_free(text);
  OK(hf_vault_invite_ticket(phone, 60000, &ticket));
  OK(hf_vault_check_join(ticket, "laptop", NULL, NULL));
  OK(hf_vault_join(laptop, ticket, "laptop", NULL, NULL, NULL, NULL, NULL));
  hf_free(ticket);
  OK(hf_sync_open(phone, &phone_sync));
  OK(hf_sync_open(laptop, &laptop_sync));
  hf_states* states = NULL;
  hf_subscription *watched = NULL, *asked = NULL;
  OK(hf_sync_states(phone_sync, &states));
  OK(hf_states_subscribe(states, keep_text, events, &watched));
  OK(hf_policy_set(phone,
                   "{\"collection\":\"records\",\"path\":\"$.v\",\"strategy\":\"user_choice\"}"));
  OK(hf_policy_set(phone, "{\"collection\":\"records\",\"path\":\"$.w\",\"strategy\":\"custom\"}"));
  OK(hf_store_put(phone, NULL, "r", "{\"v\": 1, \"w\": 1}", NULL));
  OK(hf_sync_count_pending(phone_sync, &count));
  CHECK(count > 0);
  OK(hf_sync_local_changes(phone_sync, 0, &text));
  HAS(text, "\"id\":\"r\"");
  hf_free(text);
  sync_once(phone_sync, "up_to_date");
  HAS(events, "up_to_date");
  OK(hf_sync_wait_for_news(laptop_sync, 10, NULL, &news));
  CHECK(news && (strcmp(news, "unknown") == 0 || strcmp(news, "some") == 0));
  sync_once(laptop_sync, "up_to_date");
  OK(hf_store_patch(phone, NULL, "r", "{\"v\": \"phone\", \"w\": \"phone\"}", NULL, &flag));
  OK(hf_store_patch(laptop, NULL, "r", "{\"v\": \"laptop\", \"w\": \"laptop\"}", NULL, &flag));
  OK(hf_conflicts_subscribe(laptop, keep_text, pending, &asked));
  int decided = 0;
  OK(hf_conflicts_set_custom(laptop, NULL, decide_sum, &decided));
  sync_once(phone_sync, "up_to_date");
  sync_once(laptop_sync, "conflict");
  HAS(pending, "\"$.v\"");
  hf_conflicts* conflicts = NULL;
  OK(hf_conflicts_list(laptop, true, &conflicts, &text));
  HAS(text, "\"concurrent_update\"");
  hf_free(text);
  CHECK(hf_conflicts_pick(conflicts, 5, 0) == HF_INVALID_ARGUMENT);
  CHECK(hf_conflicts_pick(conflicts, 0, 5) == HF_INVALID_ARGUMENT);
  OK(hf_conflicts_resolve(conflicts, 0, "\"both\""));
  OK(hf_conflicts_close(conflicts));
  OK(hf_conflicts_count_pending(laptop, &count));
  CHECK(count == 0);
  OK(hf_conflicts_settle(laptop, &count));
  CHECK(count == 1 && decided > 0);
  OK(hf_conflicts_set_custom(laptop, NULL, NULL, NULL));
  sync_once(laptop_sync, "up_to_date");
  sync_once(phone_sync, "up_to_date");
  OK(hf_store_get(phone, NULL, "r", &text));
  CHECK(text && strcmp(text, "{\"v\":\"both\",\"w\":\"decided\"}") == 0);
  hf_free(text);

  /* By packages that the app carries. */
  OK(hf_store_put(phone, NULL, "carried", "{}", NULL));
  OK(hf_sync_prepare_package(phone_sync, &text));
  char* result = NULL;
  OK(hf_sync_apply_package(laptop_sync, text, &result));
  CHECK(number_in(result, "applied") == 1);
  hf_free(result);
  OK(hf_sync_mark_delivered(phone_sync, text));
  hf_free(text);
  CHECK(hf_sync_apply_package(laptop_sync, "[[\"x\"]]", &result) == HF_MALFORMED);
  CHECK(hf_sync_apply_package(laptop_sync, "[\"?\"]", &result) == HF_MALFORMED);
  OK(hf_sync_apply_package(laptop_sync, "[]", &result));
  hf_free(result);
  OK(hf_sync_problems(laptop_sync, &text));
  CHECK(text && strcmp(text, "[]") == 0);
  hf_free(text);
  OK(hf_sync_progress(laptop_sync, &text));
  HAS(text, "\"phase\"");
  hf_free(text);
  OK(hf_sync_trust_relay_time(laptop_sync));
  OK(hf_subscription_close(watched));
  OK(hf_subscription_close(asked));

  OK(hf_states_metadata(states, &text));
  HAS(text, "\"network_type\":\"unknown\"");
  hf_free(text);
  OK(hf_states_set_network(states, "wifi"));
  CHECK(hf_states_transition(states, "error", NULL) == HF_ILLEGAL_STATE);
  CHECK(hf_states_transition(states, "nowhere", NULL) == HF_INVALID_ARGUMENT);
  OK(hf_states_transition(states, "syncing", "{\"sync_duration_ms\": 7}"));
  OK(hf_states_transition(states, "up_to_date", NULL));
  OK(hf_states_count_resolved(states));
  OK(hf_states_is_legal("offline", "syncing", &flag));
  CHECK(flag);
  OK(hf_states_close(states));

  OK(hf_vault_devices(phone, &text));
  HAS(text, "\"laptop\"");
  hf_free(text);
  OK(hf_vault_find_device(phone, "laptop", &text));
  char id[64];
  snprintf(id, sizeof id, "%s", text_in(text, "id"));
  hf_free(text);
  OK(hf_vault_rename(phone, id, "desk", "laptop"));
  CHECK(hf_vault_rename(phone, "xyz", "desk", NULL) == HF_INVALID_ARGUMENT);
  OK(hf_vault_rotate_key(phone));
  OK(hf_vault_replace_recovery_code(phone, keep_code, code));
  OK(hf_vault_recovery_set_by(phone, &text));
  hf_free(text);
  OK(hf_vault_revoke(phone, id, keep_code, code));
  OK(hf_vault_epoch(phone, &epoch));
  CHECK(epoch >= 2);
  OK(hf_vault_refresh(phone));
  text = NULL;
  OK(hf_sync_run(laptop_sync, NULL, NULL, &text));
  HAS(text, "\"error\":\"revoked\"");
  hf_free(text);
  hf_store* tablet = open_store("tablet.hf");
  OK(hf_vault_check_recover(code, relay_url, "tablet", NULL));
  OK(hf_vault_recover(tablet, code, relay_url, "tablet", NULL, keep_code, code));
  OK(hf_store_close(tablet));
  OK(hf_store_close(phone)); /* with its sync */
  OK(hf_store_close(laptop));
}

static void show_code(void* user, const char* code) {
  int fd = *(int*)user;
  if (write(fd, code, strlen(code) + 1) < 0) abort();
}
static int let_in(void* user, const char* name, const char* kind, const char* fingerprint) {
  (void)user, (void)kind;
  return strcmp(name, "laptop") == 0 && strlen(fingerprint) == 9;
}
struct invitation {
  hf_store* store;
  hf_cancel* cancel;
  int pipe[2];
  hf_code code;
  char* device;
};
static void* invite(void* given) {
  struct invitation* at = given;
  at->code =
      hf_vault_invite(at->store, false, show_code, let_in, &at->pipe[1], at->cancel, &at->device);
  return NULL;
}

static void test_inviting(void) {
  hf_store *phone = open_store("inviting.hf"), *laptop = open_store("invited.hf");
  char code[4096] = "", typed[256] = "";
  OK(hf_vault_create(phone, "phone", "phone", keep_code, code));
  OK(hf_vault_use_relay(phone, relay_url, NULL));
  struct invitation at = {phone, NULL, {-1, -1}, HF_INTERNAL, NULL};
  CHECK(pipe(at.pipe) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, invite, &at) == 0);
  CHECK(read(at.pipe[0], typed, sizeof typed - 1) > 0);
  OK(hf_vault_join(laptop, typed, "laptop", NULL, relay_url, NULL, NULL, NULL));
  pthread_join(thread, NULL);
  OK(at.code);
  HAS(at.device, "\"laptop\"");
  hf_free(at.device);
  /* Closing the store ends an invitation that waits; so does its flag. */
  for (int by_flag = 0; by_flag < 2; ++by_flag) {
    OK(hf_cancel_open(&at.cancel));
    at.store = by_flag ? laptop : phone;
    CHECK(pthread_create(&thread, NULL, invite, &at) == 0);
    CHECK(read(at.pipe[0], typed, sizeof typed - 1) > 0);
    if (by_flag) {
      OK(hf_cancel_set(at.cancel));
    } else {
      OK(hf_store_close(phone));
    }
    pthread_join(thread, NULL);
    CHECK(at.code == HF_CANCELLED);
    OK(hf_cancel_close(at.cancel));
  }
  OK(hf_store_close(laptop));
  close(at.pipe[0]);
  close(at.pipe[1]);
}

static void* run_engine(void* engine) { return (void*)(intptr_t)hf_engine_run(engine); }
static void note_kind(void* user, const char* json) {
  if (strcmp(text_in(json, "kind"), "state") == 0 && strstr(json, "up_to_date")) {
    if (write(*(int*)user, "u", 1) < 0) abort();
  }
}
static void count_due(void* user) { __atomic_add_fetch((int*)user, 1, __ATOMIC_SEQ_CST); }

static void test_engine(void) {
  hf_store* store = open_store("engine.hf");
  hf_engine* engine = NULL;
  hf_engine_options options = HF_ENGINE_OPTIONS;
  hf_subscription* subscription = NULL;
  hf_sync* sync = NULL;
  char code[4096], one = 0, *text = NULL;
  int ends[2], due = 0;
  int64_t due_ms = 0;
  CHECK(pipe(ends) == 0);
  OK(hf_vault_create(store, "phone", NULL, keep_code, code));
  OK(hf_vault_use_relay(store, relay_url, NULL));
  options.coalesce_ms = 0;
  OK(hf_engine_open(store, &options, &engine));
  OK(hf_engine_subscribe(engine, note_kind, &ends[1], &subscription));
  OK(hf_engine_on_due(engine, count_due, &due));
  OK(hf_engine_set_conditions(engine, "wifi", false, false));
  OK(hf_engine_step(engine, &due_ms));
  CHECK(due_ms > 0);
  CHECK(read(ends[0], &one, 1) == 1);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run_engine, engine) == 0);
  OK(hf_store_put(store, NULL, "a", "{}", NULL));
  OK(hf_engine_sync_now(engine));
  CHECK(read(ends[0], &one, 1) == 1); /* waits until it has synced */
  CHECK(due > 0);
  OK(hf_engine_sync(engine, &sync));
  OK(hf_sync_progress(sync, &text));
  hf_free(text);
  OK(hf_engine_on_due(engine, NULL, NULL));
  OK(hf_subscription_close(subscription));
  OK(hf_store_close(store)); /* stops the engine */
  void* code_of_run = NULL;
  pthread_join(thread, &code_of_run);
  CHECK((intptr_t)code_of_run == HF_OK);
  close(ends[0]);
  close(ends[1]);
}

static void test_resolving(void) {
  char* text = NULL;
  int decided = 0;
  OK(hf_resolve_conflict("{\"id\":1,\"a\":[1],\"updated_at\":1}",
                         "{\"id\":1,\"a\":[2],\"updated_at\":2}", "{\"strategy\":\"merge\"}", NULL,
                         NULL, &text));
  HAS(text, "\"a\":[1,2]");
  hf_free(text);
  OK(hf_resolve_conflict("{\"v\":1}", "{\"v\":2}", "{\"strategy\":\"custom\"}", decide_sum,
                         &decided, &text));
  HAS(text, "\"decided\"");
  hf_free(text);
  OK(hf_resolve_conflict("null", "{\"v\":2}", "{\"critical_paths\":[\"$.v\"]}", NULL, NULL, &text));
  HAS(text, "\"update_delete\"");
  hf_free(text);
  CHECK(hf_resolve_conflict("{}", "{}", "{\"strategy\":\"x\"}", NULL, NULL, &text) ==
        HF_INVALID_ARGUMENT);
}

void test_sync(void) {
  test_sync_and_conflicts();
  test_inviting();
  test_engine();
  test_resolving();
}
