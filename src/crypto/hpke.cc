#include "src/crypto/hpke.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::crypto {
namespace {

constexpr std::uint16_t kKem = 0x0020;  // DHKEM(X25519, HKDF-SHA256)
constexpr std::uint16_t kKdf = 0x0001;  // HKDF-SHA256

void put_u16(Bytes& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// LabeledExtract and LabeledExpand of section 4, for one suite.
class Labeled {
 public:
  explicit Labeled(Bytes suite) : suite_(std::move(suite)) {}

  static Labeled kem() {
    Bytes suite = base::to_bytes(base::view("KEM"));
    put_u16(suite, kKem);
    return Labeled(std::move(suite));
  }
  static Labeled hpke(HpkeAead aead) {
    Bytes suite = base::to_bytes(base::view("HPKE"));
    put_u16(suite, kKem);
    put_u16(suite, kKdf);
    put_u16(suite, static_cast<std::size_t>(aead));
    return Labeled(std::move(suite));
  }

  Secret extract(ByteView salt, std::string_view label, ByteView key) const {
    Bytes input = joined({base::view("HPKE-v1"), suite_, base::view(label), key});
    Secret out = hkdf_extract_sha256(salt, input);
    wipe(input);
    return out;
  }
  Secret expand(const Secret& key, std::string_view label, ByteView info, std::size_t size) const {
    Bytes input;
    put_u16(input, size);
    input = joined({input, base::view("HPKE-v1"), suite_, base::view(label), info});
    return hkdf_expand_sha256(key.view(), input, size);
  }

 private:
  Bytes suite_;
};

// ExtractAndExpand of section 4.1 over a Diffie-Hellman result; nothing where that is zero.
std::optional<Secret> shared_secret(ByteView own, const base::Hash32& peer, ByteView encapsulated,
                                    ByteView receiver) {
  Secret product(crypto_scalarmult_BYTES);
  if (crypto_scalarmult(product.data(), own.data(), peer.data()) != 0) return std::nullopt;
  Labeled kem = Labeled::kem();
  Secret extracted = kem.extract({}, "eae_prk", product.view());
  return kem.expand(extracted, "shared_secret", joined({encapsulated, receiver}), 32);
}

}  // namespace

HpkeKey::HpkeKey(Secret secret32) : secret_(std::move(secret32)) {
  if (secret_.size() != crypto_scalarmult_SCALARBYTES) {
    throw Error(ErrorCode::invalid_argument, "an HPKE key has 32 bytes");
  }
  crypto_scalarmult_base(public_.data(), secret_.data());
}

HpkeKey HpkeKey::derive(ByteView random) {
  Labeled kem = Labeled::kem();
  return HpkeKey(kem.expand(kem.extract({}, "dkp_prk", random), "sk", {}, 32));
}

HpkeContext::HpkeContext(HpkeAead aead, const base::Hash32& encapsulated, const Secret& shared,
                         ByteView info)
    : aead_(aead), encapsulated_(encapsulated) {
  Labeled suite = Labeled::hpke(aead);
  Secret psk_id = suite.extract({}, "psk_id_hash", {});
  Secret info_hash = suite.extract({}, "info_hash", info);
  const std::uint8_t mode_base[] = {0};
  Bytes context = joined({mode_base, psk_id.view(), info_hash.view()});
  Secret secret = suite.extract(shared.view(), "secret", {});
  key_ = suite.expand(secret, "key", context, 32);
  base_nonce_ = suite.expand(secret, "base_nonce", context, 12);
}

HpkeContext HpkeContext::sender(HpkeAead aead, const base::Hash32& public_key, ByteView info,
                                base::Random& random) {
  Secret bytes(32);
  random.fill(bytes.span());
  HpkeKey own = HpkeKey::derive(bytes.view());
  auto shared = shared_secret(own.secret(), public_key, own.public_key(), public_key);
  if (!shared) {
    throw Error(ErrorCode::malformed, "the destination's public key is no key: ask its operator");
  }
  return HpkeContext(aead, own.public_key(), *shared, info);
}

std::optional<HpkeContext> HpkeContext::receiver(HpkeAead aead, const HpkeKey& key,
                                                 const base::Hash32& encapsulated, ByteView info) {
  auto shared = shared_secret(key.secret(), encapsulated, encapsulated, key.public_key());
  if (!shared) return std::nullopt;
  return HpkeContext(aead, encapsulated, *shared, info);
}

std::array<std::uint8_t, 12> HpkeContext::nonce() const {
  std::array<std::uint8_t, 12> out;
  std::copy_n(base_nonce_.view().begin(), out.size(), out.begin());
  for (std::size_t i = 0; i < 8; ++i) {
    out[11 - i] ^= static_cast<std::uint8_t>(sequence_ >> (8 * i));
  }
  return out;
}

Bytes HpkeContext::seal(ByteView aad, ByteView plain) {
  Bytes out(plain.size() + kTagSize);
  if (aead_ == HpkeAead::aes_256_gcm) {
    Gcm(key_.view(), Gcm::Use::seal)
        .seal(nonce(), aad, plain, out.data(), out.data() + plain.size());
  } else {
    crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, plain.data(), plain.size(),
                                              aad.data(), aad.size(), nullptr, nonce().data(),
                                              key_.data());
  }
  ++sequence_;
  return out;
}

std::optional<Secret> HpkeContext::open(ByteView aad, ByteView sealed) {
  if (sealed.size() < kTagSize) return std::nullopt;
  Secret plain(sealed.size() - kTagSize);
  bool opened = false;
  if (aead_ == HpkeAead::aes_256_gcm) {
    opened =
        Gcm(key_.view(), Gcm::Use::open)
            .open(nonce(), aad, sealed.first(plain.size()), sealed.last(kTagSize), plain.data());
  } else {
    opened = crypto_aead_chacha20poly1305_ietf_decrypt(
                 plain.data(), nullptr, nullptr, sealed.data(), sealed.size(), aad.data(),
                 aad.size(), nonce().data(), key_.data()) == 0;
  }
  if (!opened) return std::nullopt;
  ++sequence_;
  return plain;
}

}  // namespace holdfast::crypto
