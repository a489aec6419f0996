#include "src/crypto/fernet.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>
#include <stdexcept>

namespace holdfast::crypto {
namespace {

constexpr std::uint8_t kVersion = 0x80;
constexpr std::size_t kBlock = 16;
constexpr std::size_t kHalf = 16;
constexpr std::size_t kHead = 1 + 8 + kBlock;
constexpr std::size_t kMac = 32;

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

void must(int result) {
  if (result != 1) throw std::bad_alloc();
}

base::Hash32 mac_of(ByteView key32, ByteView message) {
  base::Hash32 mac;
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), key32.data(), static_cast<int>(kHalf), message.data(), message.size(),
            mac.data(), &size)) {
    throw std::bad_alloc();
  }
  return mac;
}

}  // namespace

std::string seal_fernet(ByteView key32, std::int64_t seconds, const base::Id16& iv,
                        ByteView plain) {
  Bytes token{kVersion};
  for (int shift = 56; shift >= 0; shift -= 8) {
    token.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(seconds) >> shift));
  }
  token.insert(token.end(), iv.begin(), iv.end());
  token.resize(kHead + plain.size() / kBlock * kBlock + kBlock);
  Context context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int n = 0;
  int last = 0;
  std::uint8_t nothing = 0;
  must(EVP_EncryptInit_ex2(context.get(), EVP_aes_128_cbc(), key32.data() + kHalf, iv.data(),
                           nullptr));
  must(EVP_EncryptUpdate(context.get(), token.data() + kHead, &n,
                         plain.empty() ? &nothing : plain.data(), static_cast<int>(plain.size())));
  must(EVP_EncryptFinal_ex(context.get(), token.data() + kHead + n, &last));
  base::Hash32 mac = mac_of(key32, token);
  token.insert(token.end(), mac.begin(), mac.end());
  std::string text = base::to_base64url(token);
  while (text.size() % 4 != 0) text += '=';
  return text;
}

std::optional<FernetToken> open_fernet(ByteView key32, std::string_view token) {
  if (token.size() % 4 != 0) return std::nullopt;
  std::optional<Bytes> bytes = base::from_base64url(token);
  if (!bytes || bytes->size() < kHead + kBlock + kMac ||
      (bytes->size() - kHead - kMac) % kBlock != 0 || bytes->front() != kVersion) {
    return std::nullopt;
  }
  ByteView body = ByteView(*bytes).first(bytes->size() - kMac);
  if (!equal(mac_of(key32, body), ByteView(*bytes).last(kMac))) return std::nullopt;
  FernetToken out;
  std::uint64_t seconds = 0;
  for (std::size_t i = 1; i <= 8; ++i) seconds = seconds << 8 | body[i];
  out.seconds = static_cast<std::int64_t>(seconds);
  ByteView sealed = body.subspan(kHead);
  Secret plain(sealed.size());
  Context context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int n = 0;
  int last = 0;
  must(EVP_DecryptInit_ex2(context.get(), EVP_aes_128_cbc(), key32.data() + kHalf, body.data() + 9,
                           nullptr));
  must(EVP_DecryptUpdate(context.get(), plain.data(), &n, sealed.data(),
                         static_cast<int>(sealed.size())));
  // Authentic bytes with wrong padding come only from a faulty writer who had the key.
  if (EVP_DecryptFinal_ex(context.get(), plain.data() + n, &last) != 1) return std::nullopt;
  out.plain =
      Secret(plain.view().first(static_cast<std::size_t>(n) + static_cast<std::size_t>(last)));
  return out;
}

}  // namespace holdfast::crypto
