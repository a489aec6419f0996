#include "src/crypto/keys.h"

#include <stdexcept>

#include "holdfast/error.h"

namespace holdfast::crypto {

SigningKey::SigningKey(ByteView seed32) : secret_(crypto_sign_SECRETKEYBYTES) {
  if (seed32.size() != crypto_sign_SEEDBYTES) throw std::logic_error("a seed has 32 bytes");
  crypto_sign_seed_keypair(public_.data(), secret_.data(), seed32.data());
}

std::array<std::uint8_t, 64> SigningKey::sign(ByteView message) const {
  std::array<std::uint8_t, 64> out;
  crypto_sign_detached(out.data(), nullptr, message.data(), message.size(), secret_.view().data());
  return out;
}

BoxKey::BoxKey(ByteView secret32) : secret_(secret32) {
  if (secret32.size() != crypto_box_SECRETKEYBYTES) throw std::logic_error("a key has 32 bytes");
  crypto_scalarmult_base(public_.data(), secret_.view().data());
}

std::optional<Secret> BoxKey::open(ByteView box) const {
  if (box.size() < crypto_box_SEALBYTES) return std::nullopt;
  Secret out(box.size() - crypto_box_SEALBYTES);
  if (crypto_box_seal_open(out.data(), box.data(), box.size(), public_.data(),
                           secret_.view().data()) != 0) {
    return std::nullopt;
  }
  return out;
}

// What crypto_box_seal does, with the ephemeral key from the random seam.
Bytes box_to(const base::Hash32& public_key, ByteView plain, base::Random& random) {
  Secret seed(crypto_box_SEEDBYTES);
  random.fill(seed.span());
  Secret ephemeral(crypto_box_SECRETKEYBYTES);
  Bytes out(plain.size() + crypto_box_SEALBYTES);
  crypto_box_seed_keypair(out.data(), ephemeral.data(), seed.view().data());
  std::array<std::uint8_t, crypto_box_NONCEBYTES> nonce;
  crypto_generichash_state hash;
  crypto_generichash_init(&hash, nullptr, 0, nonce.size());
  crypto_generichash_update(&hash, out.data(), crypto_box_PUBLICKEYBYTES);
  crypto_generichash_update(&hash, public_key.data(), public_key.size());
  crypto_generichash_final(&hash, nonce.data(), nonce.size());
  if (crypto_box_easy(out.data() + crypto_box_PUBLICKEYBYTES, plain.data(), plain.size(),
                      nonce.data(), public_key.data(), ephemeral.view().data()) != 0) {
    throw Error(ErrorCode::malformed, "a device's public key is not a usable X25519 key");
  }
  return out;
}

}  // namespace holdfast::crypto
