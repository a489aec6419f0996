/* The C interface, from C: each family of functions, its errors, misuse, and threads.
 * Usage: c_tests FOLDER RELAY-URL COLLECTOR-URL COLLECTOR-KEY */

#include <signal.h>
#include <sys/wait.h>

#include "bindings/c/test.h"

int failures;
const char* folder;
const char* relay_url;
const char* collector_url;
const char* collector_key;
const uint8_t kRaw[32] = {7};

const char* in_folder(const char* name) {
  static char paths[8][512];
  static int next;
  char* path = paths[next++ % 8];
  snprintf(path, 512, "%s/%s", folder, name);
  return path;
}

hf_store* open_store(const char* name) {
  hf_key* key = NULL;
  hf_store* store = NULL;
  OK(hf_key_raw(kRaw, sizeof kRaw, &key));
  OK(hf_store_open(in_folder(name), key, NULL, &store));
  OK(hf_key_close(key));
  return store;
}

int64_t number_in(const char* json, const char* member) {
  char name[64];
  snprintf(name, sizeof name, "\"%s\":", member);
  const char* found = json ? strstr(json, name) : NULL;
  return found ? strtoll(found + strlen(name), NULL, 10) : INT64_MIN;
}

/* The text of a member, in a buffer of its own. */
char* text_in(const char* json, const char* member) {
  static char values[4][2048];
  static int next;
  char name[64];
  char* out = values[next++ % 4];
  *out = 0;
  snprintf(name, sizeof name, "\"%s\":\"", member);
  const char* found = json ? strstr(json, name) : NULL;
  if (!found) return out;
  found += strlen(name);
  size_t size = strcspn(found, "\"");
  if (size < 2048) {
    memcpy(out, found, size);
    out[size] = 0;
  }
  return out;
}

void keep_text(void* user, const char* text) { snprintf(user, 4096, "%s", text); }

int count_text(void* user, const char* text) {
  (void)text;
  ++*(int*)user;
  return 0;
}
int keep_code(void* user, const char* code) {
  snprintf(user, 4096, "%s", code);
  return 0;
}

/* Misuse is a named error in a release build, and an abort in a debug build. */
static void expect_misuse(const char* what, hf_code (*use)(void* argument), void* argument) {
#ifdef NDEBUG
  hf_code code = use(argument);
  if (code != HF_MISUSE) {
    ++failures;
    fprintf(stderr, "%s: %s instead of misuse\n", what, hf_code_name(code));
  }
#else
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(3);
    use(argument);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
    ++failures;
    fprintf(stderr, "%s: no abort\n", what);
  }
#endif
}
static hf_code close_store(void* store) { return hf_store_close(store); }
static hf_code put(void* store) { return hf_store_put(store, NULL, "a", "{}", NULL); }
static hf_code put_null(void* store) { return hf_store_put(store, NULL, NULL, "{}", NULL); }
static hf_code get_nowhere(void* store) { return hf_store_get(store, NULL, "a", NULL); }
static hf_code no_function(void* store) { return hf_store_for_each(store, NULL, NULL, NULL); }
static hf_code commit(void* transaction) { return hf_transaction_commit(transaction); }
static hf_code open_sync_of_key(void* key) {
  hf_sync* sync = NULL;
  return hf_sync_open((hf_store*)key, &sync);
}
static hf_code set_reply(void* reply) { return hf_reply_set(reply, "1"); }
static int keep_reply(void* user, const char* document, hf_reply* reply) {
  (void)document;
  *(hf_reply**)user = reply;
  return 0;
}
static hf_code bad_size(void* key) {
  hf_store_options options = HF_STORE_OPTIONS;
  hf_store* store = NULL;
  options.size = 3;
  return hf_store_open(in_folder("size.hf"), key, &options, &store);
}
static int close_within(void* user, const char* id, const char* document) {
  (void)id, (void)document;
  expect_misuse("closing a store within its visit", close_store, user);
  return 0;
}
static void* commit_there(void* transaction) {
  expect_misuse("committing on another thread", commit, transaction);
  return NULL;
}
static void* close_there(void* store) {
  CHECK(hf_store_close(store) == HF_BUSY); /* while another thread has a transaction */
  return NULL;
}

static void test_misuse(void) {
  hf_store *store = open_store("misuse.hf"), *closed = open_store("closed.hf");
  hf_key* key = NULL;
  hf_transaction *outer = NULL, *inner = NULL;
  hf_reply* reply = NULL;
  bool found = false;
  int on_stack = 0;
  OK(hf_store_close(closed));
  OK(hf_store_close(NULL));
  expect_misuse("a closed store", put, closed);
  expect_misuse("closing twice", close_store, closed);
  expect_misuse("no store", put, NULL);
  expect_misuse("something else", put, &on_stack);
  expect_misuse("no id", put_null, store);
  expect_misuse("no place for a result", get_nowhere, store);
  expect_misuse("no function", no_function, store);
  OK(hf_key_raw(kRaw, 32, &key));
  expect_misuse("a key for a store", open_sync_of_key, key);
  expect_misuse("options of no size", bad_size, key);
  OK(hf_key_close(key));
  OK(put(store));
  OK(hf_store_update(store, NULL, "a", keep_reply, &reply, NULL, &found));
  expect_misuse("a reply after its callback", set_reply, reply);
  OK(hf_store_for_each(store, NULL, close_within, store));
  OK(hf_transaction_begin(store, &outer));
  OK(hf_transaction_begin(store, &inner));
  expect_misuse("the outer transaction first", commit, outer);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, commit_there, inner) == 0);
  pthread_join(thread, NULL);
  CHECK(pthread_create(&thread, NULL, close_there, store) == 0);
  pthread_join(thread, NULL);
  OK(hf_transaction_commit(inner));
  OK(hf_transaction_commit(outer));
  expect_misuse("a transaction that is over", commit, outer);
  OK(hf_store_close(store));
}

struct shared {
  hf_store* store;
  int seen;
};
static void* work(void* given) {
  struct shared* at = given;
  char* text = NULL;
  for (int i = 0; i < 200; ++i) {
    char id[16];
    snprintf(id, sizeof id, "k%d", i % 10);
    OK(hf_store_put(at->store, NULL, id, "{\"n\": 1}", NULL));
    OK(hf_store_get(at->store, NULL, id, &text));
    hf_free(text);
  }
  return NULL;
}
static void count_change(void* user, const char* json) {
  (void)json;
  __atomic_add_fetch((int*)user, 1, __ATOMIC_SEQ_CST);
}

static void test_threads(void) {
  struct shared at = {open_store("threads.hf"), 0};
  pthread_t threads[4];
  OK(put(at.store)); /* a collection is there from its first record on */
  for (int i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, work, &at) == 0);
  for (int i = 0; i < 50; ++i) {
    hf_live_query* live = NULL;
    OK(hf_store_watch(at.store, "SELECT id FROM records", NULL, count_change, &at.seen, &live));
    OK(hf_live_query_close(live));
  }
  for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  CHECK(at.seen >= 50);
  OK(hf_store_close(at.store));
}

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: c_tests FOLDER RELAY-URL COLLECTOR-URL COLLECTOR-KEY\n");
    return 2;
  }
  folder = argv[1];
  relay_url = argv[2];
  collector_url = argv[3];
  collector_key = argv[4];
  CHECK(strcmp(hf_library_version(), "0.1.0") == 0);
  CHECK(strcmp(hf_code_name(1234), "unknown") == 0);
  test_store();
  test_keys_and_moving();
  test_sync();
  test_privacy();
  test_misuse();
  test_threads();
  if (failures) return 1;
  puts("the C interface does what its headers say");
  return 0;
}
