#ifndef HOLDFAST_C_LEDGER_H
#define HOLDFAST_C_LEDGER_H

/* The record of everything that was asked, permitted and sent: see holdfast/privacy_ledger.h. A
 * head is text; a proof is a JSON array of hashes in hex; an entry is
 *
 *   {"index", "entry", "payload", "salt", "commitment"}, without "payload" where there is none.
 */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

hf_code hf_ledger_head(hf_store* store, char** head);
hf_code hf_ledger_for_each(hf_store* store, uint64_t first, hf_visit_text visit, void* user);
/* Computes all hashes again, and that the ledger continues `known`, which may be NULL. HF_CORRUPT
 * where it does not. */
hf_code hf_ledger_verify(hf_store* store, const char* known, char** head);
hf_code hf_ledger_prove_inclusion(hf_store* store, uint64_t index, char** proof);
hf_code hf_ledger_prove_consistency(hf_store* store, uint64_t old_size, char** proof);
hf_code hf_ledger_check_inclusion(const char* entry, const char* head, const char* proof,
                                  bool* holds);
hf_code hf_ledger_check_consistency(const char* old_head, const char* head, const char* proof,
                                    bool* holds);
/* One line of JSON for each entry, and one for the head. `write` returns 0 to go on; anything else:
 * HF_CANCELLED. */
hf_code hf_ledger_export(hf_store* store, hf_visit_text write, void* user);
hf_code hf_ledger_forget_payload(hf_store* store, uint64_t index, bool* forgotten);

#ifdef __cplusplus
}
#endif

#endif
