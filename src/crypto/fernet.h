#pragma once

#include "src/base/environment.h"
#include "src/crypto/secret.h"

namespace holdfast::crypto {

// One Fernet token (github.com/fernet/spec) under one key of 32 bytes: the first half signs, the
// second encrypts.
std::string seal_fernet(ByteView key32, std::int64_t seconds, const base::Id16& iv, ByteView plain);

struct FernetToken {
  std::int64_t seconds = 0;  // since 1970, when it was made
  Secret plain;
};
// Nothing where it is no token, or not of this key.
std::optional<FernetToken> open_fernet(ByteView key32, std::string_view token);

}  // namespace holdfast::crypto
