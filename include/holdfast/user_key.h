#pragma once

#include <cstdint>
#include <functional>
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
  enum class Kind { passphrase, raw, fernet, recovery_code, callback, exported };
  // Gives the 32 bytes that belong to a slot's id, for ever the same: looked up in the platform's
  // key store, or computed there from the id by a key that never leaves it. False where there is
  // none. Called while a store is opened and when it gets the slot; must be safe on any thread.
  using Lookup = std::function<bool(std::span<const std::uint8_t, 16> slot_id,
                                    std::span<std::uint8_t, 32> secret)>;

  // Any bytes but none at all: Error(invalid_argument) for an empty passphrase.
  static UserKey passphrase(std::string_view passphrase);
  // 32 random bytes, such as a platform's key store gives. Error(invalid_argument) for another
  // size.
  static UserKey raw(std::span<const std::uint8_t> key);
  // A Fernet key: 32 bytes in url-safe base64. Error(invalid_argument) for anything else.
  static UserKey fernet(std::string_view key);
  // A code from generate_recovery_code, as a person types it: case and hyphens do not matter, O
  // reads as 0, I and L as 1. Error(invalid_argument) where a letter is wrong or missing.
  static UserKey recovery_code(std::string_view code);
  // A platform's key store. Error(invalid_argument) for an empty function.
  static UserKey callback(Lookup lookup);
  // What EncryptedLocalStore::export_key_for_backup gave, and its password. Opens that store until
  // its next rekey, whatever its key slots are. Slow, as a passphrase is. Error(invalid_argument)
  // for other text, Error(wrong_key) for another password.
  static UserKey exported(std::string_view text, std::string_view password);
  // A key file's contents: 32 raw bytes, a Fernet key or a recovery code, one trailing newline
  // ignored.
  // Error(invalid_argument) for anything else.
  static UserKey from_key_file(std::span<const std::uint8_t> contents);

  Kind kind() const noexcept { return kind_; }
  const crypto::Secret& secret() const noexcept { return *secret_; }  // not of a callback
  const Lookup& lookup() const noexcept { return lookup_; }           // of a callback

 private:
  UserKey(Kind kind, std::shared_ptr<const crypto::Secret> secret);
  Kind kind_;
  std::shared_ptr<const crypto::Secret> secret_;
  Lookup lookup_;
};

// The stable name of a kind, as scripts see it: "passphrase". Never fails.
const char* key_kind_name(UserKey::Kind kind) noexcept;

// A new Fernet key from the system's random source, as text: keep it as you would a passphrase.
std::string generate_fernet_key();
// A new recovery code, 128 random bits as "XXXXX-XXXXX-…": for paper, not for a device.
std::string generate_recovery_code();

}  // namespace holdfast
