#include "src/store/page_codec.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <cstring>

#include "src/crypto/kdf.h"

namespace holdfast::store {
namespace {

constexpr std::size_t kReaders = 32;
constexpr std::size_t kSuffixSize = crypto::Xaes::kNonceSize - crypto::Xaes::kPrefixSize;
constexpr std::size_t kPool = 128 * kSuffixSize;

crypto::Secret subkey(ByteView data_key, const base::Id16& id, const char* purpose,
                      std::size_t size) {
  return crypto::hkdf_sha256(data_key, id, base::view(purpose), size);
}

}  // namespace

PageCodec::PageCodec(ByteView data_key, const base::Id16& database_id,
                     std::shared_ptr<base::Random> random)
    : database_id_(database_id),
      random_(std::move(random)),
      pages_(subkey(data_key, database_id, "holdfast store pages v1", 32).view()),
      mask_key_(subkey(data_key, database_id, "holdfast store mask v1", 64)),
      chain_key_(subkey(data_key, database_id, "holdfast store chain v1", 32)) {
  renew();
}

// All or nothing: a source of randomness that throws must not leave half a nonce behind.
void PageCodec::renew() {
  std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix;
  random_->fill(prefix);
  crypto::Gcm writer(pages_.derive(prefix).view());
  pool_.clear();
  prefix_ = prefix;
  writer_ = std::move(writer);
  process_ = ::getpid();
}

std::array<std::uint8_t, 22> PageCodec::aad(std::uint32_t page) const {
  std::array<std::uint8_t, 22> out{kFormatVersion, kSuiteXaesGcm};
  std::memcpy(out.data() + 2, database_id_.data(), database_id_.size());
  for (int i = 0; i < 4; ++i)
    out[18 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(page >> (8 * i));
  return out;
}

bool PageCodec::seal(std::uint32_t page, const std::uint8_t* plain, std::uint8_t* out) {
  static constexpr std::uint8_t kZeros[kReserved] = {};
  if (std::memcmp(plain + kPlainSize, kZeros, kReserved) != 0) return false;
  std::lock_guard lock(mutex_);
  if (::getpid() != process_) renew();
  if (pool_.empty()) {
    Bytes fresh(kPool);
    random_->fill(fresh);
    pool_ = std::move(fresh);
  }
  std::uint8_t* nonce = out + kPlainSize;
  std::memcpy(nonce, prefix_.data(), prefix_.size());
  std::memcpy(nonce + prefix_.size(), pool_.data() + pool_.size() - kSuffixSize, kSuffixSize);
  pool_.resize(pool_.size() - kSuffixSize);
  writer_->seal({nonce + prefix_.size(), kSuffixSize}, aad(page), {plain, kPlainSize}, out,
                nonce + crypto::Xaes::kNonceSize);
  return true;
}

bool PageCodec::open(std::uint32_t page, const std::uint8_t* sealed, std::uint8_t* out) {
  std::lock_guard lock(mutex_);
  ByteView nonce{sealed + kPlainSize, crypto::Xaes::kNonceSize};
  ByteView tag{sealed + kPlainSize + crypto::Xaes::kNonceSize, crypto::kTagSize};
  crypto::Gcm& gcm = reader(nonce.first(crypto::Xaes::kPrefixSize));
  bool ok =
      gcm.open(nonce.subspan(crypto::Xaes::kPrefixSize), aad(page), {sealed, kPlainSize}, tag, out);
  std::memset(out + kPlainSize, 0, kReserved);
  return ok;
}

crypto::Gcm& PageCodec::reader(ByteView prefix) {
  for (Reader& reader : readers_) {
    if (std::equal(prefix.begin(), prefix.end(), reader.prefix.begin())) return reader.gcm;
  }
  Reader fresh{{}, crypto::Gcm(pages_.derive(prefix).view())};
  std::copy(prefix.begin(), prefix.end(), fresh.prefix.begin());
  if (readers_.size() < kReaders) return readers_.emplace_back(std::move(fresh)).gcm;
  next_reader_ = (next_reader_ + 1) % kReaders;
  readers_[next_reader_] = std::move(fresh);
  return readers_[next_reader_].gcm;
}

void PageCodec::mask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  xts(true, offset, page, blocks);
}

void PageCodec::unmask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  xts(false, offset, page, blocks);
}

void PageCodec::xts(bool encrypt, std::uint64_t offset, std::uint32_t page,
                    std::span<std::uint8_t> blocks) {
  std::lock_guard lock(mutex_);
  std::uint8_t tweak[16] = {};
  for (int i = 0; i < 8; ++i) tweak[i] = static_cast<std::uint8_t>(offset >> (8 * i));
  for (int i = 0; i < 4; ++i) tweak[8 + i] = static_cast<std::uint8_t>(page >> (8 * i));
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-XTS", nullptr);
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                          EVP_CIPHER_CTX_free);
  int n = 0;
  if (!context ||
      EVP_CipherInit_ex2(context.get(), cipher, mask_key_.view().data(), tweak, encrypt, nullptr) !=
          1 ||
      EVP_CipherUpdate(context.get(), blocks.data(), &n, blocks.data(),
                       static_cast<int>(blocks.size())) != 1) {
    throw std::bad_alloc();
  }
}

Mac PageCodec::mac(ByteView message) const {
  Mac out;
  crypto_generichash(out.data(), out.size(), message.data(), message.size(),
                     chain_key_.view().data(), chain_key_.size());
  return out;
}

std::uint64_t PageCodec::random_generation() {
  auto bytes = random_->array<8>();
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data(), bytes.size());
  return out >> 8;  // room to count up
}

}  // namespace holdfast::store
