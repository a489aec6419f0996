// HPKE against the published vectors of RFC 9180, and against what is spoilt.

#include "src/crypto/hpke.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "src/base/fakes.h"
#include "src/base/test_vectors.h"
#include "src/crypto/kdf.h"

namespace holdfast::crypto {
namespace {

using base::hex;

// Gives the bytes that a vector names.
class GivenRandom : public base::Random {
 public:
  explicit GivenRandom(Bytes bytes) : bytes_(std::move(bytes)) {}
  void fill(std::span<std::uint8_t> out) override {
    ASSERT_EQ(out.size(), bytes_.size());
    std::copy(bytes_.begin(), bytes_.end(), out.begin());
  }

 private:
  Bytes bytes_;
};

base::Hash32 hash_of(const nlohmann::json& text) {
  base::Hash32 out{};
  Bytes bytes = hex(text);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

TEST(Hpke, Rfc9180Vectors) {
  const char* set = std::getenv("HOLDFAST_VECTORS");
  std::string path =
      (set ? set : HOLDFAST_VECTORS_DEFAULT) + std::string("/hpke/vectors_rfc9180.json.gz");
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) {
    const char* ci = std::getenv("CI");
    if (ci && std::string(ci) == "true") FAIL() << "no test vectors at " << path;
    GTEST_SKIP() << "the folder of test vectors is not here: set HOLDFAST_VECTORS";
  }
  std::string text;
  char part[65536];
  for (int n = 0; (n = gzread(file, part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(n));
  }
  gzclose(file);
  int vectors = 0, messages = 0;
  for (const auto& v : nlohmann::json::parse(text)) {
    if (v["mode"] != 0 || v["kem_id"] != 32 || v["kdf_id"] != 1) continue;
    if (v["aead_id"] != 2 && v["aead_id"] != 3) continue;
    ++vectors;
    auto aead = static_cast<HpkeAead>(v["aead_id"].get<int>());
    HpkeKey receiver = HpkeKey::derive(hex(v["ikmR"]));
    EXPECT_EQ(base::to_hex(receiver.secret()), v["skRm"].get<std::string>());
    EXPECT_EQ(receiver.public_key(), hash_of(v["pkRm"]));
    GivenRandom random(hex(v["ikmE"]));
    HpkeContext sender = HpkeContext::sender(aead, receiver.public_key(), hex(v["info"]), random);
    EXPECT_EQ(sender.encapsulated(), hash_of(v["enc"]));
    auto opener = HpkeContext::receiver(aead, receiver, hash_of(v["enc"]), hex(v["info"]));
    ASSERT_TRUE(opener);
    for (const auto& message : v["encryptions"]) {
      Bytes sealed = sender.seal(hex(message["aad"]), hex(message["pt"]));
      EXPECT_EQ(base::to_hex(sealed), message["ct"].get<std::string>());
      auto opened = opener->open(hex(message["aad"]), sealed);
      ASSERT_TRUE(opened);
      EXPECT_EQ(base::to_hex(opened->view()), message["pt"].get<std::string>());
      ++messages;
    }
  }
  EXPECT_EQ(vectors, 2);
  EXPECT_GE(messages, 500);
}

TEST(Hpke, RefusesWhatIsSpoilt) {
  base::SeededRandom random(1);
  HpkeKey key = HpkeKey::derive(random.array<32>());
  HpkeKey other = HpkeKey::derive(random.array<32>());
  for (HpkeAead aead : {HpkeAead::aes_256_gcm, HpkeAead::chacha20_poly1305}) {
    HpkeContext sender = HpkeContext::sender(aead, key.public_key(), base::view("info"), random);
    Bytes sealed = sender.seal(base::view("aad"), base::view("hello"));
    auto opens = [&](const HpkeKey& with, std::string_view info, std::string_view aad,
                     ByteView bytes) {
      auto receiver = HpkeContext::receiver(aead, with, sender.encapsulated(), base::view(info));
      return receiver && receiver->open(base::view(aad), bytes);
    };
    EXPECT_TRUE(opens(key, "info", "aad", sealed));
    EXPECT_FALSE(opens(other, "info", "aad", sealed));
    EXPECT_FALSE(opens(key, "else", "aad", sealed));
    EXPECT_FALSE(opens(key, "info", "else", sealed));
    for (std::size_t i = 0; i < sealed.size() * 8; ++i) {
      Bytes spoilt = sealed;
      spoilt[i / 8] ^= static_cast<std::uint8_t>(1 << (i % 8));
      EXPECT_FALSE(opens(key, "info", "aad", spoilt));
    }
    for (std::size_t size = 0; size < sealed.size(); ++size) {
      EXPECT_FALSE(opens(key, "info", "aad", ByteView(sealed).first(size)));
    }
  }
  EXPECT_FALSE(HpkeContext::receiver(HpkeAead::aes_256_gcm, key, base::Hash32{}, {}));
  EXPECT_THROW(HpkeContext::sender(HpkeAead::aes_256_gcm, base::Hash32{}, {}, random), Error);
}

}  // namespace
}  // namespace holdfast::crypto
