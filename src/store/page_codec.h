#pragma once

#include <mutex>

#include "src/base/environment.h"
#include "src/crypto/aead.h"

namespace holdfast::store {

constexpr std::size_t kPageSize = 4096;
constexpr std::size_t kReserved = 40;  // at a page's end: nonce (24), tag (16)
constexpr std::size_t kPlainSize = kPageSize - kReserved;
constexpr std::size_t kMacSize = 16;
constexpr std::uint8_t kFormatVersion = 1;
constexpr std::uint8_t kSuiteXaesGcm = 1;

using Mac = std::array<std::uint8_t, kMacSize>;

// Seals pages and WAL frame headers under keys derived from the store's data key. Thread-safe.
class PageCodec {
 public:
  PageCodec(ByteView data_key, const base::Id16& database_id, std::shared_ptr<base::Random> random);

  // `plain` and `out` are whole pages. False where the reserved bytes of `plain` are not zero:
  // SQLite must believe that they are, for it checksums them.
  [[nodiscard]] bool seal(std::uint32_t page, const std::uint8_t* plain, std::uint8_t* out);
  // False where the page fails authentication. The reserved bytes come out as zeros.
  [[nodiscard]] bool open(std::uint32_t page, const std::uint8_t* sealed, std::uint8_t* out);

  // XEX over whole 16-byte blocks (AES-256-XTS), for the parts of the WAL whose size is fixed.
  void mask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);
  void unmask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);

  // Keyed BLAKE2b of a WAL header or frame.
  Mac mac(ByteView message) const;
  // Random bytes that start a WAL's generation numbers.
  std::uint64_t random_generation();

 private:
  void renew();  // new nonce prefix: at the start, and in a forked child
  void xts(bool encrypt, std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);
  std::array<std::uint8_t, 22> aad(std::uint32_t page) const;
  crypto::Gcm& reader(ByteView prefix);

  struct Reader {
    std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix;
    crypto::Gcm gcm;
  };

  std::mutex mutex_;
  base::Id16 database_id_;
  std::shared_ptr<base::Random> random_;
  crypto::Xaes pages_;
  crypto::Secret mask_key_;
  crypto::Secret chain_key_;
  long process_ = 0;
  std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix_{};
  std::optional<crypto::Gcm> writer_;
  Bytes pool_;  // random bytes for the other half of nonces
  std::vector<Reader> readers_;
  std::size_t next_reader_ = 0;
};

}  // namespace holdfast::store
