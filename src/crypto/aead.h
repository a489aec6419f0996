#pragma once

// Authenticated encryption, composed from OpenSSL's AES.

#include "src/base/environment.h"
#include "src/crypto/secret.h"

struct evp_cipher_ctx_st;

namespace holdfast::crypto {

constexpr std::size_t kTagSize = 16;

// AES-256-GCM under one key, its key schedule done once (and only for the directions that are
// used). One thread at a time.
class Gcm {
 public:
  enum class Use { seal, open };
  Gcm(ByteView key32, Use use);
  ~Gcm();
  Gcm(Gcm&& other) noexcept;
  Gcm& operator=(Gcm&& other) noexcept;

  // `out` has the size of `plain` and may be the same memory. A nonce must never repeat.
  void seal(ByteView nonce12, ByteView aad, ByteView plain, std::uint8_t* out, std::uint8_t* tag16);
  // False, and `out` zeroed, where the tag does not fit.
  [[nodiscard]] bool open(ByteView nonce12, ByteView aad, ByteView sealed, ByteView tag16,
                          std::uint8_t* out);

 private:
  evp_cipher_ctx_st* context_ = nullptr;
};

// AES-256-XTS (IEEE 1619) over whole blocks, where there is no room for a nonce or a tag. The tweak
// is a file offset and a page number. One thread at a time.
class Xts {
 public:
  explicit Xts(ByteView key64);
  ~Xts();
  Xts(const Xts&) = delete;
  Xts& operator=(const Xts&) = delete;
  void encrypt(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);
  void decrypt(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);

 private:
  evp_cipher_ctx_st* encrypt_;
  evp_cipher_ctx_st* decrypt_;
};

// XAES-256-GCM (C2SP, XAES-256-GCM.md): a 24-byte nonce whose first half selects the AES key, so
// that random nonces never run out.
class Xaes {
 public:
  static constexpr std::size_t kNonceSize = 24;
  static constexpr std::size_t kPrefixSize = 12;
  explicit Xaes(ByteView key32);
  ~Xaes();
  Xaes(const Xaes&) = delete;
  Xaes& operator=(const Xaes&) = delete;

  // The AES-256-GCM key for all nonces that start with this prefix; seal with the nonce's other
  // half.
  Secret derive(ByteView prefix12) const;

 private:
  evp_cipher_ctx_st* cipher_;
  Secret k1_;
};

// The committing form, for what lies on a relay or guards a key: a fresh key and a commitment to it
// from (key, random salt, context). It opens under one key only.
constexpr std::size_t kSaltSize = 16;
constexpr std::size_t kCommitmentSize = 32;
constexpr std::size_t kCommittingOverhead = kSaltSize + kCommitmentSize + kTagSize;

struct Committed {
  Secret key;
  base::Hash32 commitment;
};
Committed derive_committed(ByteView key32, ByteView salt16, ByteView context);

// salt, commitment, ciphertext, tag. `context` says what is sealed, and is authenticated.
Bytes seal_committing(ByteView key32, std::string_view context, ByteView plain,
                      base::Random& random);
// Nothing where the key is another or a bit was changed.
std::optional<Secret> open_committing(ByteView key32, std::string_view context, ByteView sealed);

// One message under a key that is used for nothing else: AES-256-GCM with the zero nonce.
Bytes seal_once(ByteView key32, ByteView aad, ByteView plain);
std::optional<Secret> open_once(ByteView key32, ByteView aad, ByteView sealed);

}  // namespace holdfast::crypto
