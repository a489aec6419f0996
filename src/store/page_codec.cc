#include "src/store/page_codec.h"

#include <cstring>

#include "src/crypto/kdf.h"

namespace holdfast::store {
namespace {

constexpr std::size_t kContexts = 32;
constexpr std::size_t kSuffixSize = crypto::Xaes::kNonceSize - crypto::Xaes::kPrefixSize;
constexpr std::size_t kPool = 128 * kSuffixSize;

crypto::Secret subkey(ByteView data_key, const base::Id16& id, const char* purpose,
                      std::size_t size) {
  return crypto::hkdf_sha256(data_key, id, base::view(purpose), size);
}

Mac keyed_hash(ByteView message, const crypto::Secret& key) {
  Mac out;
  crypto_generichash(out.data(), out.size(), message.data(), message.size(), key.view().data(),
                     key.size());
  return out;
}

}  // namespace

Mac tag_of(const std::uint8_t* sealed_page) {
  Mac tag;
  std::memcpy(tag.data(), sealed_page + kPageSize - kMacSize, kMacSize);
  return tag;
}

PageCodec::PageCodec(ByteView data_key, const base::Id16& database_id,
                     std::shared_ptr<base::Random> random)
    : database_id_(database_id),
      random_(std::move(random)),
      pages_(subkey(data_key, database_id, "holdfast store pages v1", 32).view()),
      mask_(subkey(data_key, database_id, "holdfast store mask v1", 64).view()),
      chain_key_(subkey(data_key, database_id, "holdfast store chain v1", 32)),
      table_key_(subkey(data_key, database_id, "holdfast store root v1", 32)) {
  renew();
}

// All or nothing: a source of randomness that throws must not leave half a nonce behind.
void PageCodec::renew() {
  std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix;
  random_->fill(prefix);
  crypto::Gcm writer(pages_.derive(prefix).view(), crypto::Gcm::Use::seal);
  pool_.clear();
  prefix_ = prefix;
  writer_ = std::move(writer);
  process_ = base::fork_generation();
}

PageCodec::Aad PageCodec::aad(std::uint32_t page) const {
  Aad out{kFormatVersion, kSuiteXaesGcm};
  std::memcpy(out.data() + 2, database_id_.data(), database_id_.size());
  for (int i = 0; i < 4; ++i)
    out[18 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(page >> (8 * i));
  return out;
}

bool PageCodec::seal(std::uint32_t page, const std::uint8_t* plain, std::uint8_t* out) {
  static constexpr std::uint8_t kZeros[kReserved] = {};
  if (std::memcmp(plain + kPlainSize, kZeros, kReserved) != 0) return false;
  std::lock_guard lock(mutex_);
  if (base::fork_generation() != process_) renew();
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

crypto::Secret PageCodec::derive(ByteView prefix) {
  std::lock_guard lock(mutex_);
  return pages_.derive(prefix);
}

void PageCodec::mask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  std::lock_guard lock(mutex_);
  mask_.encrypt(offset, page, blocks);
}

void PageCodec::unmask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks) {
  std::lock_guard lock(mutex_);
  mask_.decrypt(offset, page, blocks);
}

Mac PageCodec::chain_mac(ByteView message) const { return keyed_hash(message, chain_key_); }
Mac PageCodec::table_mac(ByteView message) const { return keyed_hash(message, table_key_); }

bool PageOpener::open(std::uint32_t page, const std::uint8_t* sealed, std::uint8_t* out) {
  ByteView nonce{sealed + kPlainSize, crypto::Xaes::kNonceSize};
  ByteView tag{sealed + kPlainSize + crypto::Xaes::kNonceSize, crypto::kTagSize};
  crypto::Gcm& gcm = context(nonce.first(crypto::Xaes::kPrefixSize));
  bool ok = gcm.open(nonce.subspan(crypto::Xaes::kPrefixSize), codec_->aad(page),
                     {sealed, kPlainSize}, tag, out);
  std::memset(out + kPlainSize, 0, kReserved);
  return ok;
}

crypto::Gcm& PageOpener::context(ByteView prefix) {
  auto fits = [&](const Context& one) {
    return std::memcmp(prefix.data(), one.prefix.data(), prefix.size()) == 0;
  };
  if (last_ < contexts_.size() && fits(contexts_[last_])) return contexts_[last_].gcm;
  for (last_ = 0; last_ < contexts_.size(); ++last_) {
    if (fits(contexts_[last_])) return contexts_[last_].gcm;
  }
  Context fresh{{}, crypto::Gcm(codec_->derive(prefix).view(), crypto::Gcm::Use::open)};
  std::copy(prefix.begin(), prefix.end(), fresh.prefix.begin());
  if (contexts_.size() < kContexts) return contexts_.emplace_back(std::move(fresh)).gcm;
  last_ = next_ = (next_ + 1) % kContexts;
  contexts_[last_] = std::move(fresh);
  return contexts_[last_].gcm;
}

}  // namespace holdfast::store
