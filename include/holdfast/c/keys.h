#ifndef HOLDFAST_C_KEYS_H
#define HOLDFAST_C_KEYS_H

/* What opens a store, and Fernet tokens: see holdfast/user_key.h and holdfast/fernet.h. */

#include "holdfast/c/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_key hf_key;

/* Each makes a key; HF_INVALID_ARGUMENT where it cannot be one. The bytes given are copied into
 * memory that is wiped; the caller wipes its own. */
hf_code hf_key_passphrase(const void* passphrase, size_t size, hf_key** out); /* any bytes, some */
hf_code hf_key_raw(const uint8_t* key, size_t size, hf_key** out);            /* 32 bytes */
hf_code hf_key_fernet(const char* key, hf_key** out);                         /* url-safe base64 */
hf_code hf_key_recovery_code(const char* code, hf_key** out); /* as a person types it */
/* What hf_store_export_key gave, and its password. HF_WRONG_KEY for another password. Slow. */
hf_code hf_key_exported(const char* text, const void* password, size_t size, hf_key** out);
/* A key file's contents: 32 raw bytes, a Fernet key or a recovery code, one newline ignored. */
hf_code hf_key_from_file_contents(const uint8_t* contents, size_t size, hf_key** out);

/* A platform's key store: gives the 32 bytes that belong to the 16 of `slot_id`, for ever the same.
 * Returns 0 where it did, anything else where it has none. Called while a store is opened and when
 * it gets this key, on any thread; until the key is closed and every store that uses it. */
typedef int (*hf_key_lookup)(void* user, const uint8_t slot_id[16], uint8_t secret[32]);
hf_code hf_key_callback(hf_key_lookup lookup, void* user, hf_key** out);

/* "passphrase", "raw", "fernet", "recovery_code", "callback" or "exported". */
hf_code hf_key_kind(hf_key* key, const char** out);
hf_code hf_key_close(hf_key* key); /* stores that it opened stay open */

hf_code hf_generate_fernet_key(char** out);
hf_code hf_generate_recovery_code(char** out); /* for paper, not for a device */

/* Fernet tokens, as other languages' libraries make them. */
typedef struct hf_fernet hf_fernet;
/* `keys` are Fernet keys: the first one seals, any one opens. */
hf_code hf_fernet_open(hf_key* const* keys, size_t count, hf_fernet** out);
hf_code hf_fernet_encrypt(hf_fernet* fernet, const void* plain, size_t size, char** token);
/* `lifetime_s` in seconds; -1: any age. HF_MALFORMED: no token of these keys; HF_EXPIRED. The bytes
 * end with a NUL that `size` does not count. */
hf_code hf_fernet_decrypt(hf_fernet* fernet, const char* token, int64_t lifetime_s, uint8_t** plain,
                          size_t* size);
hf_code hf_fernet_rotate(hf_fernet* fernet, const char* token, char** rotated);
hf_code hf_fernet_timestamp(hf_fernet* fernet, const char* token, int64_t* seconds);
hf_code hf_fernet_close(hf_fernet* fernet);

#ifdef __cplusplus
}
#endif

#endif
