#include "bindings/c/test.h"

static int stop_at_once(void* user, const char* phase, uint64_t done, uint64_t total) {
  (void)user, (void)phase, (void)done, (void)total;
  return 1;
}
static int lookup(void* user, const uint8_t slot_id[16], uint8_t secret[32]) {
  (void)user;
  memset(secret, slot_id[0], 32);
  return 0;
}
static int anchor_load(void* user, uint64_t* commits, uint8_t root[16]) {
  (void)root;
  *commits = *(uint64_t*)user;
  return *commits == 0 ? 1 : 0;
}
static int anchor_save(void* user, uint64_t commits, const uint8_t root[16]) {
  (void)root;
  *(uint64_t*)user = commits;
  return 0;
}

static void test_keys(void) {
  hf_key *raw = NULL, *passphrase = NULL, *wrong = NULL, *exported = NULL, *platform = NULL;
  hf_store* store = open_store("keys.hf");
  char* text = NULL;
  const char* kind = NULL;
  uint8_t number = 0;
  bool locked = false;
  OK(hf_key_raw(kRaw, 32, &raw));
  CHECK(hf_key_raw(kRaw, 31, &wrong) == HF_INVALID_ARGUMENT && wrong == NULL);
  CHECK(hf_key_passphrase("", 0, &wrong) == HF_INVALID_ARGUMENT);
  OK(hf_key_passphrase("a b", 3, &passphrase));
  OK(hf_key_callback(lookup, NULL, &platform));
  OK(hf_store_add_key(store, platform, &number));
  CHECK(hf_store_add_key(store, raw, &number) == HF_EXISTS);
  OK(hf_store_key_slots(store, &text));
  HAS(text, "\"callback\"");
  hf_free(text);
  OK(hf_store_export_key(store, "pass", 4, &text));
  OK(hf_key_exported(text, "pass", 4, &exported));
  CHECK(hf_key_exported(text, "word", 4, &wrong) == HF_WRONG_KEY);
  OK(hf_key_kind(exported, &kind));
  CHECK(kind && strcmp(kind, "exported") == 0);
  hf_free(text);
  OK(hf_store_lock(store));
  OK(hf_store_is_locked(store, &locked));
  CHECK(locked);
  CHECK(hf_store_get(store, NULL, "a", &text) == HF_LOCKED);
  CHECK(hf_store_unlock(store, passphrase) == HF_WRONG_KEY);
  OK(hf_store_unlock(store, platform));
  OK(hf_store_lock(store));
  OK(hf_store_unlock(store, exported));
  CHECK(hf_store_rekey(store, stop_at_once, NULL) == HF_CANCELLED);
  OK(hf_store_rekey(store, NULL, NULL));
  OK(hf_store_change_key(store, 1, raw));
  OK(hf_store_verify(store, NULL, NULL));
  CHECK(hf_store_remove_key(store, 77) == HF_NOT_FOUND);
  OK(hf_store_close(store));

  hf_store_options options = HF_STORE_OPTIONS;
  options.open = HF_OPEN_EXISTING;
  CHECK(hf_store_open(in_folder("none.hf"), raw, &options, &store) == HF_NOT_FOUND && !store);
  uint64_t commits = 0;
  options.open = HF_CREATE;
  options.anchor_load = anchor_load;
  options.anchor_save = anchor_save;
  options.anchor_user = &commits;
  OK(hf_store_open(in_folder("anchored.hf"), raw, &options, &store));
  OK(hf_store_put(store, NULL, "a", "{}", NULL));
  OK(hf_store_close(store));
  CHECK(commits > 0);
  commits += 10; /* the store is older than what was kept */
  options.open = HF_OPEN_EXISTING;
  CHECK(hf_store_open(in_folder("anchored.hf"), raw, &options, &store) == HF_ROLLED_BACK);
  OK(hf_store_check_upgrade(in_folder("keys.hf"), raw, NULL, &text));
  HAS(text, "\"steps\":[]");
  hf_free(text);
  OK(hf_key_close(raw));
  OK(hf_key_close(passphrase));
  OK(hf_key_close(exported));
  OK(hf_key_close(platform));
}

static void test_fernet_and_moving(void) {
  char *fernet_key = NULL, *token = NULL, *rotated = NULL, *code = NULL;
  uint8_t* plain = NULL;
  size_t size = 0;
  int64_t seconds = 0;
  uint64_t records = 0, bytes = 0;
  hf_key *key = NULL, *paper = NULL;
  hf_fernet* fernet = NULL;
  OK(hf_generate_fernet_key(&fernet_key));
  OK(hf_key_fernet(fernet_key, &key));
  OK(hf_fernet_open(&key, 1, &fernet));
  OK(hf_fernet_encrypt(fernet, "a\0b", 3, &token));
  OK(hf_fernet_decrypt(fernet, token, -1, &plain, &size));
  CHECK(size == 3 && memcmp(plain, "a\0b", 4) == 0);
  hf_free(plain);
  OK(hf_fernet_rotate(fernet, token, &rotated));
  OK(hf_fernet_timestamp(fernet, rotated, &seconds));
  CHECK(seconds > 1600000000);
  token[20] = token[20] == 'A' ? 'B' : 'A';
  CHECK(hf_fernet_decrypt(fernet, token, -1, &plain, &size) == HF_MALFORMED && plain == NULL);
  hf_free(token);
  hf_free(rotated);
  hf_free(fernet_key);

  OK(hf_generate_recovery_code(&code));
  OK(hf_key_recovery_code(code, &paper));
  hf_store* store = open_store("moving.hf");
  OK(hf_store_put(store, NULL, "a", "{\"n\": 1}", NULL));
  OK(hf_backup(store, in_folder("a.backup"), paper, NULL, NULL, &records, &bytes));
  CHECK(records == 1 && bytes > 0);
  CHECK(hf_backup(store, in_folder("a.backup"), paper, NULL, NULL, NULL, NULL) == HF_EXISTS);
  CHECK(hf_store_verify(store, stop_at_once, NULL) == HF_CANCELLED);
  OK(hf_export_fernet(store, in_folder("plain.db"), fernet, NULL, NULL, NULL, &records));
  CHECK(records == 1);
  OK(hf_import_fernet(store, in_folder("plain.db"), fernet, "imported", NULL, NULL, &records));
  CHECK(records == 1);
  OK(hf_store_close(store));
  OK(hf_restore(in_folder("a.backup"), paper, in_folder("restored.hf"), key, false, NULL, NULL,
                NULL, &records, NULL));
  CHECK(records == 1);
  CHECK(hf_restore(in_folder("a.backup"), key, in_folder("again.hf"), key, false, NULL, NULL, NULL,
                   NULL, NULL) == HF_WRONG_KEY);
  OK(hf_fernet_close(fernet));
  OK(hf_key_close(key));
  OK(hf_key_close(paper));
  hf_free(code);
}

void test_keys_and_moving(void) {
  test_keys();
  test_fernet_and_moving();
}
