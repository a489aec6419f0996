#pragma once

#include <mutex>

#include "src/base/environment.h"
#include "src/crypto/aead.h"

namespace holdfast::store {

constexpr std::size_t kPageSize = 4096;
constexpr std::size_t kReserved = 40;  // at a page's end: nonce (24), tag (16)
constexpr std::size_t kPlainSize = kPageSize - kReserved;
constexpr std::size_t kMacSize = 16;
constexpr std::uint8_t kFormatVersion = 2;
constexpr std::uint8_t kSuiteXaesGcm = 1;

using Mac = std::array<std::uint8_t, kMacSize>;

// The tag of a sealed page.
Mac tag_of(const std::uint8_t* sealed_page);

// Seals pages and WAL frame headers under keys derived from the store's data key. Thread-safe.
class PageCodec {
 public:
  PageCodec(ByteView data_key, const base::Id16& database_id, std::shared_ptr<base::Random> random);

  // `plain` and `out` are whole pages. False where the reserved bytes of `plain` are not zero:
  // SQLite must believe that they are, for it checksums them.
  [[nodiscard]] bool seal(std::uint32_t page, const std::uint8_t* plain, std::uint8_t* out);

  // XEX over whole 16-byte blocks (AES-256-XTS), for the parts of the WAL whose size is fixed.
  void mask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);
  void unmask(std::uint64_t offset, std::uint32_t page, std::span<std::uint8_t> blocks);

  // Keyed BLAKE2b of a WAL header or frame.
  Mac chain_mac(ByteView message) const;
  // Keyed BLAKE2b over the page-to-tag table.
  Mac table_mac(ByteView message) const;

 private:
  friend class PageOpener;
  using Aad = std::array<std::uint8_t, 22>;
  void renew();  // new nonce prefix: at the start, and in a forked child
  Aad aad(std::uint32_t page) const;
  crypto::Secret derive(ByteView prefix);

  std::mutex mutex_;
  base::Id16 database_id_;
  std::shared_ptr<base::Random> random_;
  crypto::Xaes pages_;
  crypto::Xts mask_;
  crypto::Secret chain_key_;
  crypto::Secret table_key_;
  unsigned process_ = 0;
  std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix_{};
  std::optional<crypto::Gcm> writer_;
  Bytes pool_;  // random bytes for the other half of nonces
};

// Opens pages; keeps a small cache of keyed contexts, one for each nonce prefix it meets. One
// thread at a time: every open file has its own, so that readers do not wait for each other.
class PageOpener {
 public:
  explicit PageOpener(PageCodec& codec) : codec_(&codec) {}
  // False where the page fails authentication. The reserved bytes come out as zeros.
  [[nodiscard]] bool open(std::uint32_t page, const std::uint8_t* sealed, std::uint8_t* out);

 private:
  struct Context {
    std::array<std::uint8_t, crypto::Xaes::kPrefixSize> prefix;
    crypto::Gcm gcm;
  };
  crypto::Gcm& context(ByteView prefix);

  PageCodec* codec_;
  std::vector<Context> contexts_;
  std::size_t last_ = 0;
  std::size_t next_ = 0;
};

}  // namespace holdfast::store
