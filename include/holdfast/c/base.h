#ifndef HOLDFAST_C_BASE_H
#define HOLDFAST_C_BASE_H

/* Rules of the C interface; codes, messages, memory, cancelling.
 *
 * Results. A function that returns hf_code has done its work where that is HF_OK, and nothing
 * otherwise; then hf_error_message() says what to do about it. What a function gives through a
 * pointer is set to NULL, 0 or false where it fails. Such pointers may not be NULL, unless it is
 * said. What is absent (a record, say) is no error: the result is NULL, or `found` is false.
 *
 * Text is UTF-8 that ends with a NUL, and is copied where it has to stay. JSON is text of that
 * kind; its members are named with the function, and others are refused. Its integers beyond 64
 * bits become floating-point numbers, and of repeated keys the last one counts. Ids of devices are
 * 32 hex digits, times are UTC milliseconds since 1970, unless it is said.
 *
 * Memory. A char* or uint8_t* that a function gives belongs to the caller: hf_free() wipes and
 * frees it. A const char* belongs to the library.
 *
 * Handles (hf_store*, …) are names of objects, never read through. They come from the functions
 * that give them and go with their …_close function; closing NULL does nothing. Closing a store
 * closes everything made from it. A close waits for calls of other threads, and ends syncs,
 * engines, invitations, joins and the sending of what waits; what such calls begin meanwhile is
 * HF_CANCELLED. It cannot be done from within a call or callback of the same object, nor, of live
 * queries and subscriptions alone, inside a transaction. Handles may be used from all threads, a
 * transaction's apart, where it is not said otherwise.
 *
 * Callbacks run on the calling thread where nothing else is said, get `user` back, and must return
 * normally: no exception, no longjmp. Their arguments are theirs until they return. A function that
 * takes another's place (hf_engine_on_due, hf_conflicts_set_custom, …) does not wait for that one:
 * keep its `user` until the handle is closed.
 *
 * Misuse (a NULL where none may be, a handle that is closed or of another kind, the wrong thread)
 * is HF_MISUSE; a debug build of the library prints it and aborts.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong: the codes of holdfast::ErrorCode, explained in holdfast/error.h, and four more.
 * Their numbers stay as they are. */
typedef enum hf_code {
  HF_OK = 0,
  HF_INVALID_ARGUMENT = 1,
  HF_WRONG_KEY = 2,
  HF_NOT_A_STORE = 3,
  HF_NEWER_VERSION = 4,
  HF_CORRUPT = 5,
  HF_MALFORMED = 6,
  HF_ROLLED_BACK = 7,
  HF_LOCKED = 8,
  HF_EXPIRED = 9,
  HF_IN_USE = 10,
  HF_NOT_FOUND = 11,
  HF_EXISTS = 12,
  HF_TOO_LARGE = 13,
  HF_NO_VAULT = 14,
  HF_IO = 15,
  HF_UNREACHABLE = 16,
  HF_BUSY = 17,
  HF_REFUSED = 18,
  HF_REVOKED = 19,
  HF_PROTOCOL = 20,
  HF_FORK = 21,
  HF_CANCELLED = 22, /* by the caller: by a callback, too, that said to stop */
  HF_OUT_OF_MEMORY = 100,
  HF_MISUSE = 101,       /* a bug in the caller */
  HF_INTERNAL = 102,     /* a bug in Holdfast: please report the message */
  HF_ILLEGAL_STATE = 103 /* a transition that the states of sync do not have */
} hf_code;

/* The stable name of a code: "wrong_key"; "unknown" for another number. Never fails. */
const char* hf_code_name(int code);

/* What the last call of this thread that failed said: for people, without secrets. Empty before.
 * Valid until this thread's next call that fails. Never fails. */
const char* hf_error_message(void);

/* The library's version: "0.1.0". Never fails. */
const char* hf_library_version(void);

/* Wipes and frees what a function gave. NULL does nothing. */
void hf_free(void* memory);

/* A flag that ends a long call soon, from another thread: the call then returns HF_CANCELLED, or
 * what it says. One flag may serve many calls. */
typedef struct hf_cancel hf_cancel;
hf_code hf_cancel_open(hf_cancel** out);
hf_code hf_cancel_set(hf_cancel* cancel);
hf_code hf_cancel_close(hf_cancel* cancel);

/* Where a callback puts its answer, as JSON; good until the callback returns. A second answer
 * replaces the first. HF_MALFORMED, HF_TOO_LARGE for what is no JSON within the limits. */
typedef struct hf_reply hf_reply;
hf_code hf_reply_set(hf_reply* reply, const char* json);

/* An observer's registration. After closing it, which waits for calls of the observer on other
 * threads, the observer is not called any more. It may be closed from within the observer. */
typedef struct hf_subscription hf_subscription;
hf_code hf_subscription_close(hf_subscription* subscription);

/* Called now and then during long work; `total` is 0 where it is not known. Returns 0 to go on;
 * anything else stops the work, which leaves nothing behind, with HF_CANCELLED. Must not use the
 * store. */
typedef int (*hf_progress)(void* user, const char* phase, uint64_t done, uint64_t total);

#ifdef __cplusplus
}
#endif

#endif
