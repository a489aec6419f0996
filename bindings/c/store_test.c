#include "bindings/c/test.h"

static int double_n(void* user, const char* document, hf_reply* reply) {
  char text[64];
  ++*(int*)user;
  snprintf(text, sizeof text, "{\"n\": %lld}", (long long)(2 * number_in(document, "n")));
  return hf_reply_set(reply, text) == HF_OK ? 0 : 1;
}
static int refuse(void* user, const char* document, hf_reply* reply) {
  (void)user, (void)document, (void)reply;
  return 1;
}
static int count_record(void* user, const char* id, const char* document) {
  (void)id, (void)document;
  return ++*(int*)user == 2;
}

static void test_records(void) {
  hf_store* store = open_store("records.hf");
  char* text = NULL;
  bool found = false;
  int calls = 0;
  OK(hf_store_put(store, NULL, "a", "{\"n\": 1, \"ü\": [null]}", NULL));
  OK(hf_store_get(store, "records", "a", &text));
  CHECK(text && strcmp(text, "{\"n\":1,\"ü\":[null]}") == 0);
  hf_free(text);
  text = (char*)"stale";
  OK(hf_store_get(store, NULL, "none", &text));
  CHECK(text == NULL);
  OK(hf_store_update(store, NULL, "a", double_n, &calls, NULL, &found));
  CHECK(found && calls == 1);
  CHECK(hf_store_update(store, NULL, "a", refuse, NULL, NULL, &found) == HF_CANCELLED);
  OK(hf_store_patch(store, NULL, "a", "{\"m\": 3}", NULL, &found));
  OK(hf_store_get(store, NULL, "a", &text));
  HAS(text, "\"n\":2");
  HAS(text, "\"m\":3");
  hf_free(text);
  CHECK(hf_store_put(store, NULL, "a", "[]", NULL) == HF_INVALID_ARGUMENT);
  CHECK(hf_store_put(store, NULL, "a", "{\"n\":", NULL) == HF_MALFORMED);
  HAS(hf_error_message(), "JSON");
  CHECK(strcmp(hf_code_name(HF_MALFORMED), "malformed") == 0);

  hf_version* version = NULL;
  int64_t created = 0, updated = 0;
  OK(hf_store_get_version(store, NULL, "a", &text, &version, &created, &updated));
  CHECK(version && created > 1600000000000 && updated >= created);
  hf_free(text);
  OK(hf_store_patch(store, NULL, "a", "{\"m\": 4}", NULL, &found));
  OK(hf_store_put_version(store, NULL, "a", "{\"n\": 5, \"m\": 3}", version, NULL));
  OK(hf_version_close(version));
  OK(hf_store_get(store, NULL, "a", &text));
  HAS(text, "\"m\":4");
  HAS(text, "\"n\":5");
  hf_free(text);

  int64_t priority = 9;
  OK(hf_store_put(store, "notes", "b", "{}", &priority));
  OK(hf_store_put(store, "notes", "c", "{}", NULL));
  OK(hf_store_put(store, "notes", "d", "{}", NULL));
  OK(hf_store_list(store, "notes", &text));
  CHECK(text && strcmp(text, "[\"b\",\"c\",\"d\"]") == 0);
  hf_free(text);
  calls = 0;
  OK(hf_store_for_each(store, "notes", count_record, &calls));
  CHECK(calls == 2);
  OK(hf_store_collections(store, &text));
  HAS(text, "\"notes\",\"records\"");
  hf_free(text);
  OK(hf_store_remove(store, "notes", "b", &found));
  CHECK(found);
  OK(hf_store_remove(store, "notes", "b", &found));
  CHECK(!found);
  OK(hf_store_close(store));
}

static void test_transactions(void) {
  hf_store* store = open_store("transactions.hf");
  hf_transaction* outer = NULL;
  hf_transaction* inner = NULL;
  char* text = NULL;
  OK(hf_transaction_begin(store, &outer));
  OK(hf_store_put(store, NULL, "a", "{}", NULL));
  OK(hf_transaction_begin(store, &inner));
  OK(hf_store_put(store, NULL, "b", "{}", NULL));
  OK(hf_transaction_commit(inner));
  OK(hf_transaction_rollback(outer));
  OK(hf_store_list(store, NULL, &text));
  CHECK(text && strcmp(text, "[]") == 0);
  hf_free(text);
  OK(hf_transaction_begin(store, &outer));
  OK(hf_store_put(store, NULL, "a", "{}", NULL));
  OK(hf_transaction_commit(outer));
  OK(hf_transaction_begin(store, &outer));
  OK(hf_store_put(store, NULL, "c", "{}", NULL));
  OK(hf_store_close(store)); /* rolls back */
  store = open_store("transactions.hf");
  OK(hf_store_list(store, NULL, &text));
  CHECK(text && strcmp(text, "[\"a\"]") == 0);
  hf_free(text);
  OK(hf_store_close(store));
}

static void test_queries(void) {
  hf_store* store = open_store("queries.hf");
  char* text = NULL;
  char seen[4096] = "";
  bool changed = false;
  int rows = 0;
  OK(hf_store_put(store, "notes", "a", "{\"due\": 1}", NULL));
  OK(hf_store_put(store, "notes", "b", "{\"due\": 9}", NULL));
  OK(hf_store_query_all(store, "SELECT id FROM notes WHERE doc ->> '$.due' > ?", "[5]", &text));
  CHECK(text && strcmp(text, "[{\"id\":\"b\"}]") == 0);
  hf_free(text);
  OK(hf_store_query(store, "SELECT * FROM notes", NULL, count_text, &rows));
  CHECK(rows == 2);
  CHECK(hf_store_query_all(store, "DELETE FROM notes", NULL, &text) == HF_INVALID_ARGUMENT);
  CHECK(hf_store_query_all(store, "SELECT 1", "{}", &text) == HF_INVALID_ARGUMENT);
  OK(hf_store_create_index(store, "notes", "$.due", &changed));
  CHECK(changed);
  OK(hf_store_indexes(store, &text));
  HAS(text, "{\"collection\":\"notes\",\"path\":\"$.due\"}");
  hf_free(text);
  OK(hf_store_explain(store, "SELECT id FROM notes WHERE doc ->> '$.due' > ?", "[5]", &text));
  HAS(text, "\"scans\":false");
  hf_free(text);
  OK(hf_store_drop_index(store, "notes", "$.due", &changed));
  CHECK(changed);
  hf_live_query* live = NULL;
  OK(hf_store_watch(store, "SELECT id FROM notes ORDER BY id", NULL, keep_text, seen, &live));
  HAS(seen, "\"rows\":2");
  OK(hf_store_put(store, "notes", "c", "{}", NULL));
  HAS(seen, "\"added\":[{\"id\":\"c\"}]");
  OK(hf_live_query_close(live));
  OK(hf_store_put(store, "notes", "d", "{}", NULL));
  CHECK(strstr(seen, "\"d\"") == NULL);
  OK(hf_store_close(store));
}

static int migrate_step(void* user, hf_store* store) {
  (void)user;
  return hf_store_put(store, NULL, "migrated", "{}", NULL) == HF_OK ? 0 : 1;
}

static void test_fields_history_migrations(void) {
  hf_store* store = open_store("fields.hf");
  char* text = NULL;
  bool found = false;
  OK(hf_policy_set(store, "{\"collection\":\"records\",\"path\":\"$.n\",\"type\":\"counter\"}"));
  OK(hf_policy_set(store, "{\"collection\":\"records\",\"path\":\"$.s\",\"type\":\"set\"}"));
  OK(hf_policy_set(store, "{\"collection\":\"records\",\"path\":\"$.l\",\"type\":\"list\"}"));
  OK(hf_policy_set(store, "{\"collection\":\"records\",\"path\":\"$.t\",\"type\":\"text\"}"));
  CHECK(hf_policy_set(store, "{\"collection\":\"records\",\"path\":\"$.x\",\"type\":\"blob\"}") ==
        HF_INVALID_ARGUMENT);
  OK(hf_policies(store, &text));
  HAS(text, "\"counter\"");
  hf_free(text);
  OK(hf_store_put(store, NULL, "r", "{\"n\":1,\"s\":[1],\"l\":[1,2],\"t\":\"held\"}", NULL));
  OK(hf_field_add(store, NULL, "r", "$.n", 41, &found));
  CHECK(found);
  OK(hf_field_insert_member(store, NULL, "r", "$.s", "2", &found));
  OK(hf_field_remove_member(store, NULL, "r", "$.s", "1", &found));
  OK(hf_field_insert(store, NULL, "r", "$.l", 2, "3", &found));
  OK(hf_field_move(store, NULL, "r", "$.l", 2, 0, &found));
  OK(hf_field_erase(store, NULL, "r", "$.l", 1, &found));
  OK(hf_field_edit_text(store, NULL, "r", "$.t", 4, 0, " fast", &found));
  CHECK(hf_field_erase(store, NULL, "r", "$.l", 9, &found) == HF_INVALID_ARGUMENT);
  OK(hf_field_add(store, NULL, "none", "$.n", 1, &found));
  CHECK(!found);
  OK(hf_store_get(store, NULL, "r", &text));
  CHECK(text && strcmp(text, "{\"l\":[3,2],\"n\":42,\"s\":[2],\"t\":\"held fast\"}") == 0);
  hf_free(text);
  OK(hf_store_patch(store, NULL, "r", "{\"v\": 1}", NULL, &found));
  OK(hf_store_patch(store, NULL, "r", "{\"v\": 2}", NULL, &found));
  OK(hf_history_changes(store, NULL, "r", &text));
  char* change = text_in(text, "change");
  char* report = NULL;
  OK(hf_history_undo(store, change, &report));
  HAS(report, "\"records\":1");
  hf_free(report);
  CHECK(hf_history_undo(store, "nonsense", &report) == HF_INVALID_ARGUMENT);
  hf_free(text);
  OK(hf_store_get(store, NULL, "r", &text));
  HAS(text, "\"v\":1");
  hf_free(text);
  hf_migration steps[] = {{1, "first", migrate_step, NULL}};
  OK(hf_store_migrate(store, steps, 1, false, &text));
  HAS(text, "\"to\":1");
  hf_free(text);
  OK(hf_store_close(store));
}

void test_store(void) {
  test_records();
  test_transactions();
  test_queries();
  test_fields_history_migrations();
}
