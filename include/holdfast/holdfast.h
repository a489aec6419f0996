#ifndef HOLDFAST_HOLDFAST_H
#define HOLDFAST_HOLDFAST_H

/* Holdfast in C: everything that the C++ classes of this folder do, for any language that can call
 * C. C11, and C++.
 *
 *   hf_key* key = NULL;
 *   hf_store* store = NULL;
 *   char* document = NULL;
 *   if (hf_key_passphrase("correct horse", 13, &key) != HF_OK ||
 *       hf_store_open("notes.hf", key, NULL, &store) != HF_OK ||
 *       hf_store_put(store, NULL, "shopping", "{\"milk\": 2}", NULL) != HF_OK ||
 *       hf_store_get(store, NULL, "shopping", &document) != HF_OK) {
 *     fprintf(stderr, "%s\n", hf_error_message());
 *   }
 *   hf_free(document);
 *   hf_store_close(store);
 *   hf_key_close(key);
 *
 * What holds for every function is said in holdfast/c/base.h.
 */

#include "holdfast/c/base.h"
#include "holdfast/c/conflicts.h"
#include "holdfast/c/keys.h"
#include "holdfast/c/ledger.h"
#include "holdfast/c/moving.h"
#include "holdfast/c/privacy.h"
#include "holdfast/c/store.h"
#include "holdfast/c/sync.h"
#include "holdfast/c/vault.h"

#endif
