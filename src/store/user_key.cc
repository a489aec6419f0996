#include "holdfast/user_key.h"

#include "holdfast/error.h"
#include "src/base/environment.h"
#include "src/crypto/kdf.h"
#include "src/crypto/recovery_code.h"
#include "src/store/exported_key.h"

namespace holdfast {

UserKey::UserKey(Kind kind, std::shared_ptr<const crypto::Secret> secret)
    : kind_(kind), secret_(std::move(secret)) {}

UserKey UserKey::passphrase(std::string_view passphrase) {
  if (passphrase.empty()) {
    throw Error(ErrorCode::invalid_argument, "the passphrase is empty: give one");
  }
  return {Kind::passphrase, std::make_shared<crypto::Secret>(base::view(passphrase))};
}

UserKey UserKey::raw(std::span<const std::uint8_t> key) {
  if (key.size() != 32) {
    throw Error(ErrorCode::invalid_argument, "a raw key has exactly 32 bytes");
  }
  return {Kind::raw, std::make_shared<crypto::Secret>(key)};
}

UserKey UserKey::fernet(std::string_view key) {
  std::optional<crypto::Secret> secret = crypto::parse_fernet_key(key);
  if (!secret) {
    throw Error(ErrorCode::invalid_argument,
                "that is no Fernet key: it must be 32 bytes in url-safe base64");
  }
  return {Kind::fernet, std::make_shared<crypto::Secret>(std::move(*secret))};
}

UserKey UserKey::recovery_code(std::string_view code) {
  std::optional<crypto::Secret> secret = crypto::parse_recovery_code(code);
  if (!secret) {
    throw Error(ErrorCode::invalid_argument,
                "that is no recovery code: check it letter by letter against the paper");
  }
  return {Kind::recovery_code, std::make_shared<crypto::Secret>(std::move(*secret))};
}

UserKey UserKey::callback(Lookup lookup) {
  if (!lookup) throw Error(ErrorCode::invalid_argument, "the callback is empty");
  UserKey key(Kind::callback, std::make_shared<crypto::Secret>());
  key.lookup_ = std::move(lookup);
  return key;
}

UserKey UserKey::exported(std::string_view text, std::string_view password) {
  return {Kind::exported,
          std::make_shared<crypto::Secret>(store::open_exported_key(text, password))};
}

UserKey UserKey::from_key_file(std::span<const std::uint8_t> contents) {
  if (contents.size() == 32) return raw(contents);
  if (!contents.empty() && contents.back() == '\n') contents = contents.first(contents.size() - 1);
  if (contents.size() == 32) return raw(contents);
  if (contents.size() == 44) return fernet(base::text(contents));
  if (auto code = crypto::parse_recovery_code(base::text(contents))) {
    return {Kind::recovery_code, std::make_shared<crypto::Secret>(std::move(*code))};
  }
  throw Error(ErrorCode::invalid_argument,
              "the key file must hold 32 raw bytes, a Fernet key (44 characters) or a recovery "
              "code");
}

const char* key_kind_name(UserKey::Kind kind) noexcept {
  switch (kind) {
    case UserKey::Kind::passphrase: return "passphrase";
    case UserKey::Kind::raw: return "raw";
    case UserKey::Kind::fernet: return "fernet";
    case UserKey::Kind::recovery_code: return "recovery_code";
    case UserKey::Kind::callback: return "callback";
    case UserKey::Kind::exported: return "exported";
  }
  return "unknown";
}

std::string generate_recovery_code() {
  crypto::Secret secret(crypto::kRecoverySecretSize);
  base::system_random()->fill(secret.span());
  return crypto::recovery_text(secret.view());
}

std::string generate_fernet_key() {
  crypto::Secret key(32);
  base::system_random()->fill(key.span());
  return base::to_base64url(key.view()) + "=";
}

}  // namespace holdfast
