#pragma once

#include "src/base/environment.h"
#include "src/crypto/kdf.h"

namespace holdfast::store {

// A data key as text, under Argon2id and a password: EncryptedLocalStore::export_key_for_backup.
std::string export_key(ByteView data_key, std::string_view password, crypto::Argon2Cost cost,
                       base::Random& random);
// Throws Error(invalid_argument) for other text, Error(wrong_key) for another password.
crypto::Secret open_exported_key(std::string_view text, std::string_view password);

}  // namespace holdfast::store
