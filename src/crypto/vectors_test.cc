// Published vectors for every primitive in use.

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "src/base/fakes.h"
#include "src/base/test_vectors.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"
#include "src/crypto/keys.h"

namespace holdfast::crypto {
namespace {

using base::hex;

Bytes xaes_seal(ByteView key, ByteView nonce, ByteView aad, ByteView plain) {
  Bytes out(plain.size() + kTagSize);
  Gcm(Xaes(key).derive(nonce.first(12)).view(), Gcm::Use::seal)
      .seal(nonce.subspan(12), aad, plain, out.data(), out.data() + plain.size());
  return out;
}

TEST(Vectors, Xaes256Gcm) {
  HOLDFAST_VECTORS_OR_SKIP(file, "xaes/xaes_256_gcm.json");
  for (const auto& v : file["vectors"]) {
    Bytes key = hex(v["key"]);
    std::string nonce = v["nonce_ascii"], plain = v["plaintext_ascii"], aad = v["aad_ascii"];
    EXPECT_EQ(base::to_hex(Xaes(key).derive(base::view(nonce).first(12)).view()),
              v["derived_key"].get<std::string>());
    EXPECT_EQ(base::to_hex(xaes_seal(key, base::view(nonce), base::view(aad), base::view(plain))),
              v["ciphertext_and_tag"].get<std::string>());
  }
}

class Shake128 {
 public:
  // OpenSSL 3.0 squeezes once only, so the stream is taken whole.
  static Bytes stream(ByteView input, std::size_t size) {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    Bytes out(size);
    EVP_DigestInit_ex(ctx.get(), EVP_shake128(), nullptr);
    EVP_DigestUpdate(ctx.get(), input.data(), input.size());
    EVP_DigestFinalXOF(ctx.get(), out.data(), out.size());
    return out;
  }
};

TEST(Vectors, Xaes256GcmAccumulated) {
  HOLDFAST_VECTORS_OR_SKIP(file, "xaes/xaes_256_gcm.json");
  Bytes stream = Shake128::stream({}, 10000 * (32 + 24 + 256 + 256));
  ByteView rest = stream;
  auto take = [&](std::size_t n) {
    ByteView out = rest.first(n);
    rest = rest.subspan(n);
    return out;
  };
  Bytes all;
  for (int i = 0; i < 10000; ++i) {
    ByteView key = take(32);
    ByteView nonce = take(24);
    ByteView plain = take(take(1)[0]);
    ByteView aad = take(take(1)[0]);
    Bytes sealed = xaes_seal(key, nonce, aad, plain);
    all.insert(all.end(), sealed.begin(), sealed.end());
  }
  EXPECT_EQ(base::to_hex(Shake128::stream(all, 32)),
            file["accumulated"]["after_10000"].get<std::string>());
}

TEST(Vectors, AesGcm) {
  HOLDFAST_VECTORS_OR_SKIP(file, "wycheproof/aes_gcm_test.json");
  int ran = 0;
  for (const auto& group : file["testGroups"]) {
    if (group["keySize"] != 256 || group["ivSize"] != 96 || group["tagSize"] != 128) continue;
    for (const auto& v : group["tests"]) {
      Bytes key = hex(v["key"]), iv = hex(v["iv"]), aad = hex(v["aad"]), msg = hex(v["msg"]);
      Bytes ct = hex(v["ct"]), tag = hex(v["tag"]);
      Bytes out(ct.size());
      bool ok = Gcm(key, Gcm::Use::open).open(iv, aad, ct, tag, out.data());
      EXPECT_EQ(ok, v["result"] != "invalid") << v["tcId"];
      if (ok) {
        EXPECT_EQ(out, msg);
        Bytes again(msg.size());
        std::array<std::uint8_t, 16> made;
        Gcm(key, Gcm::Use::seal).seal(iv, aad, msg, again.data(), made.data());
        EXPECT_EQ(again, ct);
        EXPECT_EQ(base::to_hex(made), base::to_hex(tag));
      }
      ++ran;
    }
  }
  EXPECT_GT(ran, 40);
}

TEST(Vectors, HkdfSha256) {
  HOLDFAST_VECTORS_OR_SKIP(file, "wycheproof/hkdf_sha256_test.json");
  for (const auto& group : file["testGroups"]) {
    for (const auto& v : group["tests"]) {
      Bytes ikm = hex(v["ikm"]), salt = hex(v["salt"]), info = hex(v["info"]);
      auto derive = [&] { return hkdf_sha256(ikm, salt, info, v["size"].get<std::size_t>()); };
      if (v["result"] == "invalid") {
        EXPECT_THROW(derive(), Error) << v["tcId"];
      } else {
        EXPECT_EQ(base::to_hex(derive().view()), v["okm"].get<std::string>()) << v["tcId"];
      }
    }
  }
}

TEST(Vectors, HmacSha256) {
  HOLDFAST_VECTORS_OR_SKIP(file, "wycheproof/hmac_sha256_test.json");
  int valid = 0;
  for (const auto& group : file["testGroups"]) {
    for (const auto& v : group["tests"]) {
      base::Hash32 tag = hmac_sha256(hex(v["key"]), hex(v["msg"]));
      Bytes expected = hex(v["tag"]);
      bool ok = equal(ByteView(tag).first(expected.size()), expected);
      EXPECT_EQ(ok, v["result"] == "valid") << v["tcId"];
      valid += ok;
    }
  }
  EXPECT_GT(valid, 50);
}

TEST(Vectors, Ed25519) {
  HOLDFAST_VECTORS_OR_SKIP(file, "wycheproof/ed25519_test.json");
  int valid = 0;
  for (const auto& group : file["testGroups"]) {
    Bytes pk = hex(group["publicKey"]["pk"]);
    for (const auto& v : group["tests"]) {
      Bytes msg = hex(v["msg"]), sig = hex(v["sig"]);
      bool ok = sig.size() == 64 &&
                crypto_sign_verify_detached(sig.data(), msg.data(), msg.size(), pk.data()) == 0;
      EXPECT_EQ(ok, v["result"] == "valid") << v["tcId"];
      valid += ok;
    }
  }
  EXPECT_GT(valid, 50);
}

TEST(Vectors, X25519) {
  HOLDFAST_VECTORS_OR_SKIP(file, "wycheproof/x25519_test.json");
  for (const auto& group : file["testGroups"]) {
    for (const auto& v : group["tests"]) {
      Bytes pk = hex(v["public"]), sk = hex(v["private"]), shared = hex(v["shared"]), out(32);
      bool ok = crypto_scalarmult(out.data(), sk.data(), pk.data()) == 0;
      if (v["result"] == "valid") {
        EXPECT_TRUE(ok) << v["tcId"];
      }
      if (ok) {
        EXPECT_EQ(out, shared) << v["tcId"];
      }
    }
  }
}

TEST(Vectors, FernetKeys) {
  HOLDFAST_VECTORS_OR_SKIP(file, "fernet/verify.json");
  for (const auto& v : file) {
    auto key = parse_fernet_key(v["secret"].get<std::string>());
    ASSERT_TRUE(key);
    EXPECT_EQ(base::to_base64url(key->view()) + "=", v["secret"].get<std::string>());
  }
  EXPECT_FALSE(parse_fernet_key("too short"));
  EXPECT_FALSE(parse_fernet_key(std::string(44, '%')));
}

TEST(Committing, OpensUnderOneKeyAndContextOnly) {
  base::SeededRandom random(3);
  Bytes key(32, 1), other(32, 2);
  Bytes sealed = seal_committing(key, "a", base::view("secret"), random);
  EXPECT_EQ(sealed.size(), 6 + kCommittingOverhead);
  EXPECT_EQ(base::text(open_committing(key, "a", sealed)->view()), "secret");
  EXPECT_FALSE(open_committing(other, "a", sealed));
  EXPECT_FALSE(open_committing(key, "b", sealed));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes changed = sealed;
    changed[i] ^= 1;
    EXPECT_FALSE(open_committing(key, "a", changed)) << i;
  }
  EXPECT_FALSE(open_committing(key, "a", ByteView(sealed).first(10)));
}

TEST(Box, OnlyItsHolderOpens) {
  base::SeededRandom random(4);
  auto a = random.array<32>(), b = random.array<32>();
  BoxKey alice(a), bob(b);
  Bytes box = box_to(bob.public_key(), base::view("hello"), random);
  EXPECT_EQ(base::text(bob.open(box)->view()), "hello");
  EXPECT_FALSE(alice.open(box));
  box[40] ^= 1;
  EXPECT_FALSE(bob.open(box));
  EXPECT_THROW(box_to(base::Hash32{}, base::view("x"), random), Error);
}

TEST(Argon2id, KeepsToFloorAndCeiling) {
  std::array<std::uint8_t, 16> salt{};
  EXPECT_THROW(argon2id(base::view("p"), salt, {3, 1024}), Error);
  EXPECT_THROW(argon2id(base::view("p"), salt, {1, 65536}), Error);
  EXPECT_THROW(argon2id(base::view("p"), salt, {3, 1u << 30}), Error);
  EXPECT_EQ(argon2id(base::view("p"), salt, kArgon2Floor).size(), 32u);
}

}  // namespace
}  // namespace holdfast::crypto
