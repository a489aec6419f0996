#pragma once

// Hybrid public-key encryption (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// and AES-256-GCM or ChaCha20-Poly1305. Anyone can seal to a public key; the sender is not
// authenticated. Composed from libsodium's X25519 and OpenSSL's HKDF and ciphers.

#include <optional>

#include "src/base/environment.h"
#include "src/crypto/secret.h"

namespace holdfast::crypto {

// Numbers of RFC 9180, section 7.3.
enum class HpkeAead : std::uint16_t { aes_256_gcm = 2, chacha20_poly1305 = 3 };

// A receiver's key, or a sender's for one message.
class HpkeKey {
 public:
  // DeriveKeyPair of section 7.1.3: at least 32 random bytes become a key.
  static HpkeKey derive(ByteView random);
  explicit HpkeKey(Secret secret32);
  const base::Hash32& public_key() const { return public_; }
  ByteView secret() const { return secret_.view(); }

 private:
  Secret secret_;
  base::Hash32 public_;
};

// One direction between one sender and one receiver: messages must be opened in the order in which
// they were sealed. One thread at a time.
class HpkeContext {
 public:
  // The sender's. Throws Error(malformed) for a public key to which nothing can be sealed safely.
  static HpkeContext sender(HpkeAead aead, const base::Hash32& public_key, ByteView info,
                            base::Random& random);
  // The receiver's; nothing where `encapsulated` is no share that a sender can make.
  static std::optional<HpkeContext> receiver(HpkeAead aead, const HpkeKey& key,
                                             const base::Hash32& encapsulated, ByteView info);

  const base::Hash32& encapsulated() const { return encapsulated_; }  // to be sent, "enc"
  Bytes seal(ByteView aad, ByteView plain);
  // Nothing where it is not the next message of this context, or a bit was changed.
  std::optional<Secret> open(ByteView aad, ByteView sealed);

 private:
  HpkeContext(HpkeAead aead, const base::Hash32& encapsulated, const Secret& shared, ByteView info);
  std::array<std::uint8_t, 12> nonce() const;

  HpkeAead aead_;
  base::Hash32 encapsulated_;
  Secret key_;
  Secret base_nonce_;
  std::uint64_t sequence_ = 0;
};

}  // namespace holdfast::crypto
