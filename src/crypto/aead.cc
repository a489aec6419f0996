#include "src/crypto/aead.h"

#include <openssl/evp.h>

#include <stdexcept>
#include <utility>

#include "src/crypto/kdf.h"

namespace holdfast::crypto {
namespace {

// These calls fail only for want of memory or through a bug of ours.
void must(int result) {
  if (result != 1) throw std::bad_alloc();
}

const EVP_CIPHER* gcm_cipher() {
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

EVP_CIPHER_CTX* new_context() {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  if (!context) throw std::bad_alloc();
  return context;
}

constexpr std::array<std::uint8_t, 12> kZeroNonce{};

}  // namespace

Gcm::Gcm(ByteView key32, Use use) : context_(new_context()) {
  if (key32.size() != 32) throw std::logic_error("AES-256-GCM needs a key of 32 bytes");
  must(EVP_CipherInit_ex2(context_, gcm_cipher(), key32.data(), nullptr, use == Use::seal ? 1 : 0,
                          nullptr));
}

Gcm::~Gcm() { EVP_CIPHER_CTX_free(context_); }

Gcm::Gcm(Gcm&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}

Gcm& Gcm::operator=(Gcm&& other) noexcept {
  std::swap(context_, other.context_);
  return *this;
}

void Gcm::seal(ByteView nonce12, ByteView aad, ByteView plain, std::uint8_t* out,
               std::uint8_t* tag16) {
  int n = 0;
  must(EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce12.data(), nullptr));
  if (!aad.empty()) {
    must(EVP_EncryptUpdate(context_, nullptr, &n, aad.data(), static_cast<int>(aad.size())));
  }
  if (!plain.empty()) {
    must(EVP_EncryptUpdate(context_, out, &n, plain.data(), static_cast<int>(plain.size())));
  }
  std::uint8_t rest[16];
  must(EVP_EncryptFinal_ex(context_, rest, &n));
  must(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag16));
}

bool Gcm::open(ByteView nonce12, ByteView aad, ByteView sealed, ByteView tag16, std::uint8_t* out) {
  int n = 0;
  must(EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce12.data(), nullptr));
  must(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kTagSize,
                           const_cast<std::uint8_t*>(tag16.data())));
  if (!aad.empty()) {
    must(EVP_DecryptUpdate(context_, nullptr, &n, aad.data(), static_cast<int>(aad.size())));
  }
  if (!sealed.empty()) {
    must(EVP_DecryptUpdate(context_, out, &n, sealed.data(), static_cast<int>(sealed.size())));
  }
  std::uint8_t rest[16];
  if (EVP_DecryptFinal_ex(context_, rest, &n) == 1) return true;
  if (!sealed.empty()) sodium_memzero(out, sealed.size());
  return false;
}

namespace {

void xts(EVP_CIPHER_CTX* context, std::uint64_t offset, std::uint32_t page,
         std::span<std::uint8_t> blocks) {
  std::uint8_t tweak[16] = {};
  for (int i = 0; i < 8; ++i) tweak[i] = static_cast<std::uint8_t>(offset >> (8 * i));
  for (int i = 0; i < 4; ++i) tweak[8 + i] = static_cast<std::uint8_t>(page >> (8 * i));
  int n = 0;
  must(EVP_CipherInit_ex2(context, nullptr, nullptr, tweak, -1, nullptr));
  must(
      EVP_CipherUpdate(context, blocks.data(), &n, blocks.data(), static_cast<int>(blocks.size())));
}

}  // namespace

Xts::Xts(ByteView key64) : encrypt_(new_context()), decrypt_(new_context()) {
  if (key64.size() != 64) throw std::logic_error("AES-256-XTS needs a key of 64 bytes");
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-XTS", nullptr);
  must(EVP_CipherInit_ex2(encrypt_, cipher, key64.data(), nullptr, 1, nullptr));
  must(EVP_CipherInit_ex2(decrypt_, cipher, key64.data(), nullptr, 0, nullptr));
}

Xts::~Xts() {
  EVP_CIPHER_CTX_free(encrypt_);
  EVP_CIPHER_CTX_free(decrypt_);
}

void Xts::encrypt(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  xts(encrypt_, offset, page, blocks);
}
void Xts::decrypt(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  xts(decrypt_, offset, page, blocks);
}

// The derivation of the specification: NIST SP 800-108r1 in counter mode with CMAC-AES-256, which
// for two blocks comes down to one AES call for K1 (done once) and two for the key.
Xaes::Xaes(ByteView key32) : cipher_(EVP_CIPHER_CTX_new()), k1_(16) {
  if (key32.size() != 32) throw std::logic_error("XAES-256-GCM needs a key of 32 bytes");
  must(EVP_EncryptInit_ex2(cipher_, EVP_aes_256_ecb(), key32.data(), nullptr, nullptr));
  must(EVP_CIPHER_CTX_set_padding(cipher_, 0));
  std::uint8_t zero[16] = {};
  int n = 0;
  must(EVP_EncryptUpdate(cipher_, k1_.data(), &n, zero, 16));
  std::uint8_t* k1 = k1_.data();
  std::uint8_t carry = 0;
  for (int i = 15; i >= 0; --i) {
    std::uint8_t top = static_cast<std::uint8_t>(k1[i] >> 7);
    k1[i] = static_cast<std::uint8_t>(k1[i] << 1 | carry);
    carry = top;
  }
  k1[15] ^= static_cast<std::uint8_t>(carry * 0x87);
}

Xaes::~Xaes() { EVP_CIPHER_CTX_free(cipher_); }

Secret Xaes::derive(ByteView prefix12) const {
  Secret out(32);
  for (std::uint8_t half = 0; half < 2; ++half) {
    std::uint8_t block[16] = {0, static_cast<std::uint8_t>(half + 1), 'X', 0};
    std::memcpy(block + 4, prefix12.data(), kPrefixSize);
    for (int i = 0; i < 16; ++i) block[i] ^= k1_.view()[static_cast<std::size_t>(i)];
    int n = 0;
    must(EVP_EncryptUpdate(cipher_, out.data() + 16 * half, &n, block, 16));
  }
  return out;
}

Committed derive_committed(ByteView key32, ByteView salt16, ByteView context) {
  Secret both = hkdf_sha256(key32, salt16, context, 64);
  Committed out{Secret(both.view().first(32)), {}};
  std::memcpy(out.commitment.data(), both.data() + 32, 32);
  return out;
}

Bytes seal_committing(ByteView key32, std::string_view context, ByteView plain,
                      base::Random& random) {
  auto salt = random.array<kSaltSize>();
  Committed committed = derive_committed(key32, salt, base::view(context));
  base::Writer out;
  out.raw(salt);
  out.raw(committed.commitment);
  out.raw(seal_once(committed.key.view(), base::view(context), plain));
  return out.take();
}

std::optional<Secret> open_committing(ByteView key32, std::string_view context, ByteView sealed) {
  if (sealed.size() < kCommittingOverhead) return std::nullopt;
  Committed committed = derive_committed(key32, sealed.first(kSaltSize), base::view(context));
  if (!equal(committed.commitment, sealed.subspan(kSaltSize, kCommitmentSize))) return std::nullopt;
  return open_once(committed.key.view(), base::view(context),
                   sealed.subspan(kSaltSize + kCommitmentSize));
}

Bytes seal_once(ByteView key32, ByteView aad, ByteView plain) {
  Bytes out(plain.size() + kTagSize);
  Gcm(key32, Gcm::Use::seal).seal(kZeroNonce, aad, plain, out.data(), out.data() + plain.size());
  return out;
}

std::optional<Secret> open_once(ByteView key32, ByteView aad, ByteView sealed) {
  if (sealed.size() < kTagSize) return std::nullopt;
  std::size_t size = sealed.size() - kTagSize;
  Secret out(size);
  if (!Gcm(key32, Gcm::Use::open)
           .open(kZeroNonce, aad, sealed.first(size), sealed.subspan(size), out.data())) {
    return std::nullopt;
  }
  return out;
}

}  // namespace holdfast::crypto
