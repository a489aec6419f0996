#pragma once

#include <stdexcept>
#include <string>

namespace holdfast {

// What went wrong, for a program to act on. The message of an Error is for people.
enum class ErrorCode {
  invalid_argument,  // the caller's input breaks a documented limit or rule
  wrong_key,         // no key slot of the store opens with the key that was given
  not_a_store,       // the file is something else
  newer_version,     // written by a later Holdfast: update the app
  corrupt,           // stored bytes fail authentication or are missing
  malformed,         // bytes from outside break their format
  rolled_back,       // the store is older than its anchor says: an old copy was put in its place
  locked,            // the store was locked: unlock it first
  expired,           // a token is older than it may be
  in_use,            // another process owns the store
  not_found,         // a file, collection or conflict that was named does not exist
  exists,            // would overwrite what is there
  too_large,         // a documented limit on size was passed
  no_vault,          // the store is in no vault yet
  io,                // the operating system refused to read, write or sync
  unreachable,       // the relay cannot be reached now: try again later
  busy,              // the relay asks to come back later
  refused,           // the relay refuses this device or request
  revoked,           // this device was taken out of the vault; its store stays readable
  protocol,          // the relay answers what no honest relay of this version would
  fork,              // the relay showed different histories to different devices
  cancelled,         // the caller asked to stop
};

// The stable name of a code, as scripts see it: "wrong_key". Never fails.
const char* error_code_name(ErrorCode code) noexcept;

// The one exception type of Holdfast. The message says what happened and what to do about it, and
// never holds a secret, a document or a field's value.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace holdfast
