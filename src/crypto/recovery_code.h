#pragma once

#include "src/crypto/secret.h"

namespace holdfast::crypto {

constexpr std::size_t kRecoverySecretSize = 16;

// A recovery code: 128 bits and 20 of check, in Crockford's base 32 (crockford.com/base32.html),
// "XXXXX-XXXXX-…".
std::string recovery_text(ByteView secret16);
// Reads it as a person types it. Nothing where the check does not fit.
std::optional<Secret> parse_recovery_code(std::string_view text);

}  // namespace holdfast::crypto
