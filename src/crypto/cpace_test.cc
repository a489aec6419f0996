// CPace against the vectors of its internet draft (draft-irtf-cfrg-cpace-21, appendix B.3), and its
// key confirmation, for which the draft has none, against an independent computation.

#include "src/crypto/cpace.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "src/base/fakes.h"
#include "src/base/test_vectors.h"

namespace holdfast::crypto {
namespace {

using base::hex;

// Gives the bytes it was made with, then nothing.
class Given : public base::Random {
 public:
  explicit Given(Bytes bytes) : bytes_(std::move(bytes)) {}
  void fill(std::span<std::uint8_t> out) override {
    ASSERT_LE(out.size(), bytes_.size());
    std::copy_n(bytes_.begin(), out.size(), out.begin());
  }

 private:
  Bytes bytes_;
};

const Bytes kSession = hex("7e4b4791d6a8ef019b936c79fb7f2c57");
const Bytes kChannel = hex("0a41696e69746961746f720a42726573706f6e646572");

Cpace with_scalar(Cpace::Role role, const std::string& scalar) {
  Bytes wide = hex(scalar);
  wide.resize(64);  // a reduced scalar is its own reduction
  Given random(wide);
  return Cpace(role, base::view("Password"), kChannel, kSession, random);
}

const char* const kScalarA = "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08";
const char* const kScalarB = "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d";

TEST(Cpace, GivesTheDraftsSharesAndKey) {
  Cpace a = with_scalar(Cpace::Role::initiator, kScalarA);
  Cpace b = with_scalar(Cpace::Role::responder, kScalarB);
  EXPECT_EQ(base::to_hex(a.share()),
            "383a85dd236978f17f8c8545b50dabc52a39fcdab2cf8bc531ce040ff77ca82d");
  EXPECT_EQ(base::to_hex(b.share()),
            "a6206309c0e8e5f579295e35997ac4300ab3fecec3c17f7b604f3e698fa1383c");
  auto ka = a.finish(b.share(), base::view("ADa"), base::view("ADb"));
  auto kb = b.finish(a.share(), base::view("ADb"), base::view("ADa"));
  ASSERT_TRUE(ka && kb);
  EXPECT_EQ(base::to_hex(ka->session_key.view()),
            "e91ccb2c0f5e0d0993a33956e3be59754f3f2b07db57631f5394452ea2e7b435"
            "4674eb1f5686c078462bf83bec72e8743df440108e638f3526d9b90e85be096f");
  EXPECT_TRUE(equal(ka->session_key.view(), kb->session_key.view()));
  EXPECT_TRUE(equal(ka->own_tag.view(), kb->peer_tag.view()));
  EXPECT_TRUE(equal(kb->own_tag.view(), ka->peer_tag.view()));
  EXPECT_FALSE(equal(ka->own_tag.view(), ka->peer_tag.view()));

  // mac_key = SHA-512("CPaceMac" || sid || ISK), T = HMAC-SHA-512(mac_key, lv_cat(Y, AD)): OpenSSL.
  Bytes keyed = base::to_bytes(base::view("CPaceMac"));
  keyed.insert(keyed.end(), kSession.begin(), kSession.end());
  keyed.insert(keyed.end(), ka->session_key.view().begin(), ka->session_key.view().end());
  std::array<std::uint8_t, 64> mac_key;
  EVP_Digest(keyed.data(), keyed.size(), mac_key.data(), nullptr, EVP_sha512(), nullptr);
  Bytes message = {32};
  message.insert(message.end(), a.share().begin(), a.share().end());
  for (char c : std::string("\x03"
                            "ADa")) {
    message.push_back(static_cast<std::uint8_t>(c));
  }
  std::array<std::uint8_t, 64> tag;
  HMAC(EVP_sha512(), mac_key.data(), mac_key.size(), message.data(), message.size(), tag.data(),
       nullptr);
  EXPECT_EQ(base::to_hex(ka->own_tag.view()), base::to_hex(tag));
}

TEST(Cpace, AbortsOnWhatIsNoShare) {
  Cpace a = with_scalar(Cpace::Role::initiator,
                        "7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05");
  EXPECT_TRUE(
      a.finish(hex("2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"), {}, {}));
  EXPECT_FALSE(
      a.finish(hex("2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"), {}, {}));
  EXPECT_FALSE(a.finish(Bytes(32), {}, {}));
  EXPECT_FALSE(a.finish(Bytes(31, 1), {}, {}));
  EXPECT_FALSE(a.finish(Bytes(32, 0xff), {}, {}));
}

TEST(Cpace, AnythingThatDiffersGivesOtherKeys) {
  base::SeededRandom random(1);
  auto run = [&](const char* code, const char* channel, const char* session, const char* said) {
    Cpace a(Cpace::Role::initiator, base::view("1234"), base::view("c"), base::view("s"), random);
    Cpace b(Cpace::Role::responder, base::view(code), base::view(channel), base::view(session),
            random);
    auto ka = a.finish(b.share(), base::view("x"), base::view("y"));
    auto kb = b.finish(a.share(), base::view("y"), base::view(said));
    return equal(ka->session_key.view(), kb->session_key.view()) &&
           equal(ka->own_tag.view(), kb->peer_tag.view());
  };
  EXPECT_TRUE(run("1234", "c", "s", "x"));
  EXPECT_FALSE(run("1235", "c", "s", "x"));
  EXPECT_FALSE(run("1234", "d", "s", "x"));
  EXPECT_FALSE(run("1234", "c", "t", "x"));
  EXPECT_FALSE(run("1234", "c", "s", "z"));
}

}  // namespace
}  // namespace holdfast::crypto
