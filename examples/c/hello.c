/* A store from C. Usage: hello FILE   (the passphrase is in HOLDFAST_PASSPHRASE) */

#include <holdfast/holdfast.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char* what, hf_code code) {
  fprintf(stderr, "%s: %s: %s\n", what, hf_code_name(code), hf_error_message());
  return 1;
}

static int print_row(void* user, const char* row) {
  (void)user;
  puts(row);
  return 0; /* go on */
}

int main(int argc, char** argv) {
  const char* passphrase = getenv("HOLDFAST_PASSPHRASE");
  if (argc != 2 || !passphrase) {
    fprintf(stderr, "usage: HOLDFAST_PASSPHRASE=... hello FILE\n");
    return 2;
  }
  hf_key* key = NULL;
  hf_store* store = NULL;
  hf_code code = hf_key_passphrase(passphrase, strlen(passphrase), &key);
  if (code == HF_OK) code = hf_store_open(argv[1], key, NULL, &store);
  hf_key_close(key);
  if (code != HF_OK) return fail("opening", code);

  code = hf_store_put(store, NULL, "shopping", "{\"milk\": 2}", NULL);
  if (code != HF_OK) fail("storing", code);
  char* document = NULL;
  if (code == HF_OK) code = hf_store_get(store, NULL, "shopping", &document);
  if (document) puts(document);
  hf_free(document);
  if (code == HF_OK) {
    code = hf_store_query(store, "SELECT id FROM records WHERE doc ->> '$.milk' > ?", "[1]",
                          print_row, NULL);
  }
  if (code != HF_OK) fail("reading", code);
  hf_store_close(store);
  return code == HF_OK ? 0 : 1;
}
