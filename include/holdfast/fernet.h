#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/user_key.h"

namespace holdfast {

namespace base {
struct Environment;
}

// Fernet tokens (github.com/fernet/spec, version 0x80): AES-128-CBC and HMAC-SHA-256, as other
// languages' libraries make and open them. A token shows when it was made. Copies share the keys;
// safe to use from many threads.
class Fernet {
 public:
  // Of UserKey::fernet. The first one seals; any one opens. Throws Error(invalid_argument) for none
  // or for keys of another kind. `environment` gives clock and randomness; null: the real ones.
  explicit Fernet(std::vector<UserKey> keys, const base::Environment* environment = nullptr);
  explicit Fernet(const UserKey& key) : Fernet(std::vector<UserKey>{key}) {}

  std::string encrypt(std::string_view plain) const;
  // Throws Error(malformed) where it is no token of these keys, Error(expired) where it is older
  // than `lifetime_s` seconds, or, with a lifetime, made more than a minute in the future.
  std::string decrypt(std::string_view token,
                      std::optional<std::int64_t> lifetime_s = std::nullopt) const;
  // The same contents and time under the first key. Throws Error(malformed).
  std::string rotate(std::string_view token) const;
  // When it was made, in seconds since 1970, once it is known to be genuine. Throws
  // Error(malformed).
  std::int64_t timestamp(std::string_view token) const;

 private:
  std::vector<UserKey> keys_;
  std::shared_ptr<const base::Environment> environment_;
};

}  // namespace holdfast
