#include "src/crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <unistd.h>

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::crypto {

namespace {

Secret hkdf(int mode, ByteView key, ByteView salt, ByteView info, std::size_t size) {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf),
                                                                    EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  std::uint8_t nothing = 0;
  auto octets = [&](const char* name, ByteView bytes) {
    const std::uint8_t* data = bytes.empty() ? &nothing : bytes.data();
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(data), bytes.size());
  };
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                         OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                         octets(OSSL_KDF_PARAM_KEY, key),
                         octets(OSSL_KDF_PARAM_SALT, salt),
                         octets(OSSL_KDF_PARAM_INFO, info),
                         OSSL_PARAM_construct_end()};
  Secret out(size);
  if (!context || EVP_KDF_derive(context.get(), out.data(), out.size(), params) != 1) {
    throw Error(ErrorCode::invalid_argument, "HKDF cannot give that many bytes");
  }
  return out;
}

}  // namespace

Secret hkdf_sha256(ByteView key, ByteView salt, ByteView info, std::size_t size) {
  return hkdf(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, key, salt, info, size);
}

Secret hkdf_extract_sha256(ByteView salt, ByteView key) {
  return hkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, key, salt, {}, 32);
}

Secret hkdf_expand_sha256(ByteView key32, ByteView info, std::size_t size) {
  return hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, key32, {}, info, size);
}

base::Hash32 hmac_sha256(ByteView key, ByteView message) {
  base::Hash32 out;
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key.data(), key.size());
  crypto_auth_hmacsha256_update(&state, message.data(), message.size());
  crypto_auth_hmacsha256_final(&state, out.data());
  sodium_memzero(&state, sizeof state);
  return out;
}

Argon2Cost choose_argon2_cost(std::int64_t floor_ms, std::uint64_t machine_memory_kib) {
  constexpr std::uint64_t kTargetMs = 500;
  std::uint64_t unit = static_cast<std::uint64_t>(std::max<std::int64_t>(floor_ms, 1));
  std::uint64_t floor = kArgon2Floor.memory_kib;
  std::uint64_t most =
      std::clamp<std::uint64_t>(machine_memory_kib / 4, floor, kArgon2Ceiling.memory_kib);
  std::uint64_t memory = std::clamp(floor * kTargetMs / unit, floor, most);
  std::uint64_t once_ms = std::max<std::uint64_t>(unit * memory / floor, 1);
  std::uint64_t passes = std::clamp<std::uint64_t>(kArgon2Floor.passes * kTargetMs / once_ms,
                                                   kArgon2Floor.passes, kArgon2Ceiling.passes);
  memory -= memory % 1024;
  return {static_cast<std::uint32_t>(passes), static_cast<std::uint32_t>(memory)};
}

Argon2Cost calibrate_argon2(base::Clock& clock) {
  std::array<std::uint8_t, 16> salt{};
  std::int64_t start = clock.monotonic_ms();
  argon2id(base::view("calibration"), salt, kArgon2Floor);
  std::int64_t took = clock.monotonic_ms() - start;
  auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  auto page = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PAGESIZE)));
  return choose_argon2_cost(took, pages * page / 1024);
}

Secret argon2id(ByteView passphrase, ByteView salt16, Argon2Cost cost) {
  if (salt16.size() != crypto_pwhash_argon2id_SALTBYTES || cost.passes < kArgon2Floor.passes ||
      cost.memory_kib < kArgon2Floor.memory_kib || cost.passes > kArgon2Ceiling.passes ||
      cost.memory_kib > kArgon2Ceiling.memory_kib) {
    throw Error(ErrorCode::corrupt,
                "the key slot asks for a passphrase cost outside the safe range: it was tampered "
                "with, so the passphrase is not used on it");
  }
  Secret out(32);
  if (crypto_pwhash_argon2id(out.data(), out.size(),
                             reinterpret_cast<const char*>(passphrase.data()), passphrase.size(),
                             salt16.data(), cost.passes, std::size_t{cost.memory_kib} * 1024,
                             crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0) {
    throw Error(ErrorCode::io, "not enough memory to derive the key from the passphrase (" +
                                   std::to_string(cost.memory_kib / 1024) + " MiB are needed)");
  }
  return out;
}

std::optional<Secret> parse_fernet_key(std::string_view text) {
  if (text.size() != 44 && text.size() != 43) return std::nullopt;
  std::optional<Bytes> bytes = base::from_base64url(text);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  Secret key{ByteView(*bytes)};
  wipe(*bytes);
  return key;
}

}  // namespace holdfast::crypto
