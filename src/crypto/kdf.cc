#include "src/crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "holdfast/error.h"

namespace holdfast::crypto {

Secret hkdf_sha256(ByteView key, ByteView salt, ByteView info, std::size_t size) {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf),
                                                                    EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  auto octets = [](const char* name, ByteView bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()),
                                             bytes.size());
  };
  std::uint8_t nothing = 0;
  if (salt.empty()) salt = ByteView(&nothing, 0);
  if (info.empty()) info = ByteView(&nothing, 0);
  if (key.empty()) key = ByteView(&nothing, 0);
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                         octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_SALT, salt),
                         octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  Secret out(size);
  if (!context || EVP_KDF_derive(context.get(), out.data(), out.size(), params) != 1) {
    throw Error(ErrorCode::invalid_argument, "HKDF cannot give that many bytes");
  }
  return out;
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
