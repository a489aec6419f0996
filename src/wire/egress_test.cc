#include "src/wire/egress.h"

#include <gtest/gtest.h>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

EgressHeader header() {
  EgressHeader out;
  out.id.fill(7);
  out.aead = 3;
  out.policy.fill(8);
  out.key_id = "k1";
  out.destination = "models";
  out.purpose = "improve";
  out.data_type = "usage";
  out.encapsulated.fill(9);
  return out;
}

TEST(Egress, ReadsWhatItWrites) {
  Bytes bytes = encode(header());
  std::size_t head = bytes.size();
  bytes.insert(bytes.end(), 40, 0x55);
  Egress egress = decode_egress(bytes);
  EXPECT_EQ(encode(egress.header), egress.head);
  EXPECT_EQ(egress.head.size(), head);
  EXPECT_EQ(egress.sealed, Bytes(40, 0x55));
  EXPECT_EQ(egress.header.purpose, "improve");
  for (std::size_t size = 0; size < head; ++size) {
    EXPECT_THROW(decode_egress(ByteView(bytes).first(size)), Error) << size;
  }
  bytes[4] = 2;  // its version
  EXPECT_THROW(decode_egress(bytes), Error);
}

TEST(Egress, InfoTellsEveryPartOfAHeaderApart) {
  Bytes info = egress_info(header());
  EgressHeader other = header();
  other.purpose = "improve2";
  EXPECT_NE(egress_info(other), info);
  other = header();
  std::swap(other.destination, other.purpose);
  EXPECT_NE(egress_info(other), info);
  other = header();
  other.policy[0] ^= 1;
  EXPECT_NE(egress_info(other), info);
}

TEST(Egress, PayloadsComeInBuckets) {
  for (std::size_t size : {0u, 1u, 253u, 254u, 255u, 1000u, 100'000u}) {
    std::string text(size, 'x');
    Bytes padded = pad_payload(text);
    EXPECT_EQ(padded.size() & (padded.size() - 1), 0u);
    EXPECT_GE(padded.size(), 256u);
    EXPECT_EQ(unpad_payload(padded), text);
    if (padded.back() != 0) continue;  // it fills its bucket
    padded.back() ^= 1;
    EXPECT_THROW(unpad_payload(padded), Error);
  }
  EXPECT_THROW(pad_payload(std::string(2'000'000, 'x')), Error);
  EXPECT_THROW(unpad_payload({}), Error);
}

}  // namespace
}  // namespace holdfast::wire
