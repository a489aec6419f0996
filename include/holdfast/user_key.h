#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace holdfast {

namespace crypto {
class Secret;
}

// What opens a store: the user's own secret. Kept in memory that is wiped when the last copy goes.
// Copies share it. Safe to use from many threads.
class UserKey {
 public:
  enum class Kind { passphrase, raw, fernet };

  // Any bytes but none at all: Error(invalid_argument) for an empty passphrase.
  static UserKey passphrase(std::string_view passphrase);
  // 32 random bytes, such as a platform's key store gives. Error(invalid_argument) for another
  // size.
  static UserKey raw(std::span<const std::uint8_t> key);
  // A Fernet key: 32 bytes in url-safe base64. Error(invalid_argument) for anything else.
  static UserKey fernet(std::string_view key);
  // A key file's contents: 32 raw bytes or a Fernet key, one trailing newline ignored.
  // Error(invalid_argument) for anything else.
  static UserKey from_key_file(std::span<const std::uint8_t> contents);

  Kind kind() const noexcept { return kind_; }
  const crypto::Secret& secret() const noexcept { return *secret_; }

 private:
  UserKey(Kind kind, std::shared_ptr<const crypto::Secret> secret);
  Kind kind_;
  std::shared_ptr<const crypto::Secret> secret_;
};

// A new Fernet key from the system's random source, as text: keep it as you would a passphrase.
std::string generate_fernet_key();

}  // namespace holdfast
