#include "src/base/bytes.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>

#include "holdfast/error.h"
#include "src/base/fakes.h"

namespace holdfast::base {
namespace {

TEST(Bytes, NumbersRoundTrip) {
  EXPECT_TRUE(rc::check([](std::uint64_t a, std::int64_t b, std::uint32_t c) {
    Writer out;
    out.varint(a);
    out.zigzag(b);
    out.u32(c);
    out.u64(a);
    Reader in(out.bytes(), "it");
    RC_ASSERT(in.varint() == a);
    RC_ASSERT(in.zigzag() == b);
    RC_ASSERT(in.u32() == c);
    RC_ASSERT(in.u64() == a);
    in.expect_end();
  }));
  for (std::uint64_t edge : {std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128},
                             std::numeric_limits<std::uint64_t>::max()}) {
    Writer out;
    out.varint(edge);
    EXPECT_EQ(Reader(out.bytes(), "it").varint(), edge);
  }
}

TEST(Bytes, RefusesLongAndOverflowingNumbers) {
  auto read = [](Bytes bytes) { Reader(bytes, "it").varint(); };
  EXPECT_THROW(read({0x80, 0x00}), Error);  // 0 in two bytes
  EXPECT_THROW(read({0x80}), Error);
  EXPECT_THROW(read({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}), Error);
}

TEST(Bytes, RefusesCountsBeyondTheInput) {
  Bytes bytes = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3};
  EXPECT_THROW(Reader(bytes, "it").count(1), Error);
  EXPECT_THROW(Reader(bytes, "it").sized(), Error);
}

TEST(Bytes, TextFormsRoundTrip) {
  EXPECT_TRUE(rc::check([](const Bytes& bytes) {
    RC_ASSERT(from_hex(to_hex(bytes)) == bytes);
    RC_ASSERT(from_base64url(to_base64url(bytes)) == bytes);
  }));
  EXPECT_EQ(from_hex("0"), std::nullopt);
  EXPECT_EQ(from_hex("0g"), std::nullopt);
  EXPECT_EQ(from_base64url("ab+/"), std::nullopt);
  EXPECT_EQ(from_base64url("a"), std::nullopt);
}

TEST(Fakes, APowerCutKeepsWhatWasSynced) {
  MemoryFiles files;
  auto file = files.open("f", FileSystem::Mode::create);
  file->write(0, view("one"));
  file->sync();
  file->write(0, view("two"));
  auto after = files.after_power_cut();
  EXPECT_EQ(text(after->content("f")), "one");
  EXPECT_EQ(text(files.content("f")), "two");
}

TEST(Fakes, SeededRandomRepeats) {
  SeededRandom a(5), b(5), c(6);
  auto first = a.array<32>();
  EXPECT_EQ(first, b.array<32>());
  EXPECT_NE(first, c.array<32>());
  EXPECT_NE(first, a.array<32>());
}

}  // namespace
}  // namespace holdfast::base
