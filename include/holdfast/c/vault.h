#ifndef HOLDFAST_C_VAULT_H
#define HOLDFAST_C_VAULT_H

/* The vault: one user's devices and the keys they share. See holdfast/vault.h, whose errors these
 * have. A device as JSON:
 *
 *   {"id", "name", "kind", "added_by", "by_recovery", "this_device", "state", "last_seen_ms",
 *    "revoked_by"}
 *
 * One thread at a time for each store; not inside a transaction, nor from within a callback of a
 * sync. Device names have 1 to 64 bytes; `kind` ("phone", "laptop", …) may be NULL.
 */

#include "holdfast/c/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Gets a new recovery code, which is kept nowhere else: to be written down. Returns 0 once it is;
 * anything else, and nothing has happened: HF_CANCELLED. */
typedef int (*hf_keep_code)(void* user, const char* code);

hf_code hf_vault_exists(hf_store* store, bool* exists);
hf_code hf_vault_id(hf_store* store, char** id);
hf_code hf_vault_create(hf_store* store, const char* name, const char* kind, hf_keep_code keep,
                        void* user);
/* `invitation`: a code, where the relay asks for one; else NULL. */
hf_code hf_vault_use_relay(hf_store* store, const char* url, const char* invitation);
/* Has the relay forget the vault, for all of its devices and for good. Stores keep what they have.
 * `backup_days`: in how many days the operator's backups forget it as well, as the relay says; -1
 * where it does not say. May be NULL. */
hf_code hf_vault_erase_from_relay(hf_store* store, int64_t* backup_days);
hf_code hf_vault_relay(hf_store* store, char** url); /* NULL where none was chosen */

/* Lets one other device in while both are there. `show` gets the code, typed (twelve characters) or
 * `scanned` (a line for a QR code); `confirm` gets who wants in and the fingerprint that the other
 * device must show too, and returns 1 to let it in. `cancel` may be NULL. */
typedef void (*hf_show)(void* user, const char* text);
typedef int (*hf_confirm)(void* user, const char* name, const char* kind, const char* fingerprint);
hf_code hf_vault_invite(hf_store* store, bool scanned, hf_show show, hf_confirm confirm, void* user,
                        hf_cancel* cancel, char** device);
hf_code hf_vault_invite_ticket(hf_store* store, int64_t lifetime_ms, char** code);
/* `relay` is for a typed code, else NULL; `show_fingerprint` and `cancel` may be NULL. */
hf_code hf_vault_join(hf_store* store, const char* code, const char* name, const char* kind,
                      const char* relay, hf_show show_fingerprint, void* user, hf_cancel* cancel);
hf_code hf_vault_check_join(const char* code, const char* name, const char* kind,
                            const char* relay);

hf_code hf_vault_devices(hf_store* store, char** devices);
hf_code hf_vault_refresh(hf_store* store);
/* By its name, or by the first digits of its id. */
hf_code hf_vault_find_device(hf_store* store, const char* name, char** device);
hf_code hf_vault_rename(hf_store* store, const char* device_id, const char* name, const char* kind);
/* `keep` may be NULL: it is needed where that device knows the recovery code. */
hf_code hf_vault_revoke(hf_store* store, const char* device_id, hf_keep_code keep, void* user);
hf_code hf_vault_rotate_key(hf_store* store);
hf_code hf_vault_epoch(hf_store* store, uint32_t* epoch);
hf_code hf_vault_recovery_set_by(hf_store* store, char** name);
hf_code hf_vault_replace_recovery_code(hf_store* store, hf_keep_code keep, void* user);
hf_code hf_vault_recover(hf_store* store, const char* code, const char* relay, const char* name,
                         const char* kind, hf_keep_code keep, void* user);
hf_code hf_vault_check_recover(const char* code, const char* relay, const char* name,
                               const char* kind);

#ifdef __cplusplus
}
#endif

#endif
