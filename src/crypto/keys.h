#pragma once

// Asymmetric keys, by libsodium. No key serves two purposes: one signs, another receives.

#include "src/base/environment.h"
#include "src/crypto/secret.h"

namespace holdfast::crypto {

// Ed25519 (RFC 8032).
class SigningKey {
 public:
  explicit SigningKey(ByteView seed32);
  const base::Hash32& public_key() const { return public_; }
  ByteView seed() const { return secret_.view().first(32); }
  // `message` starts with a purpose label; see wire/signed.h.
  std::array<std::uint8_t, 64> sign(ByteView message) const;

 private:
  Secret secret_;
  base::Hash32 public_;
};

// X25519 with libsodium's sealed boxes (an ephemeral key, XSalsa20-Poly1305): anyone can box to the
// public key, only its holder opens. The sender is not authenticated: sign what carries the box.
class BoxKey {
 public:
  explicit BoxKey(ByteView secret32);
  const base::Hash32& public_key() const { return public_; }
  ByteView secret() const { return secret_.view(); }
  std::optional<Secret> open(ByteView box) const;

 private:
  Secret secret_;
  base::Hash32 public_;
};
// Throws Error(malformed) where the key is one to which nothing can be boxed safely.
Bytes box_to(const base::Hash32& public_key, ByteView plain, base::Random& random);

}  // namespace holdfast::crypto
