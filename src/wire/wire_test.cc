#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "holdfast/error.h"
#include "src/base/fakes.h"
#include "src/wire/control.h"
#include "src/wire/messages.h"

namespace holdfast::wire {
namespace {

TEST(Padding, IsPadmeWithAFloor) {
  EXPECT_EQ(padded_size(1), 512u);
  EXPECT_EQ(padded_size(512), 512u);
  EXPECT_EQ(padded_size(513), 544u);  // 513 has 10 bits: the last 5 are cleared
  for (std::size_t size = 513; size < 2'000'000; size += 997) {
    std::size_t padded = padded_size(size);
    ASSERT_GE(padded, size);
    ASSERT_LE(static_cast<double>(padded), static_cast<double>(size) * 1.12);
    ASSERT_EQ(padded_size(padded), padded);
  }
}

TEST(Log, TheChainDependsOnEveryLeafAndItsPlace) {
  Id16 log{1};
  Hash32 a = leaf_of(Bytes{1}), b = leaf_of(Bytes{2});
  Hash32 start = chain_start(log);
  Hash32 ab = chain_next(chain_next(start, 1, a), 2, b);
  EXPECT_NE(ab, chain_next(chain_next(start, 1, b), 2, a));
  EXPECT_NE(ab, chain_next(chain_next(chain_start(Id16{2}), 1, a), 2, b));
  EXPECT_NE(chain_next(start, 1, a), chain_next(start, 2, a));
}

TEST(Log, SignaturesAreBoundToPurposeAndVault) {
  std::array<std::uint8_t, 64> secret;
  Hash32 pk;
  Bytes seed(32, 5);
  crypto_sign_seed_keypair(pk.data(), secret.data(), seed.data());
  Bytes whole = signed_message(kSignBatch, Hash32{1}, base::view("message"));
  Bytes signature(64);
  crypto_sign_detached(signature.data(), nullptr, whole.data(), whole.size(), secret.data());
  EXPECT_TRUE(verify(pk, kSignBatch, Hash32{1}, base::view("message"), signature));
  EXPECT_FALSE(verify(pk, kSignControl, Hash32{1}, base::view("message"), signature));
  EXPECT_FALSE(verify(pk, kSignBatch, Hash32{2}, base::view("message"), signature));
  EXPECT_FALSE(verify(pk, kSignBatch, Hash32{1}, base::view("massage"), signature));
  EXPECT_FALSE(
      verify(pk, kSignBatch, Hash32{1}, base::view("message"), ByteView(signature).first(63)));
}

TEST(BatchHeader, RoundTripsAndRefusesWrongSizes) {
  BatchHeader header;
  header.vault[3] = 7;
  header.epoch = 9;
  Bytes batch = encode(header);
  EXPECT_EQ(batch.size(), BatchHeader::kSize);
  batch.resize(512);
  EXPECT_EQ(encode(decode_batch_header(batch)), encode(header));
  for (std::size_t size :
       {std::size_t{0}, std::size_t{100}, std::size_t{511}, std::size_t{513}, kMaxBatch + 1}) {
    Bytes wrong = batch;
    wrong.resize(size);
    EXPECT_THROW(decode_batch_header(wrong), Error) << size;
  }
  batch[0] = 3;
  EXPECT_THROW(decode_batch_header(batch), Error);
}

// Every decoder: random bytes and every truncation of a right message give an Error or a value.
template <typename Decode>
void survives_anything(const Bytes& right, Decode decode) {
  for (std::size_t size = 0; size < right.size(); ++size) {
    EXPECT_THROW(decode(ByteView(right).first(size)), Error) << size;
  }
  decode(right);
  base::SeededRandom random(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes bytes = right;
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random.below(bytes.size())] = random.array<1>()[0];
    }
    try {
      decode(bytes);
    } catch (const Error&) {
    }
  }
}

TEST(Messages, DecodersTakeHostileInput) {
  SessionRequest session;
  session.nonce = Bytes(57, 1);
  session.origin = "http://127.0.0.1:1";
  survives_anything(encode(session), decode_session_request);
  survives_anything(encode(SessionAnswer{"AAAA", 5, 6}), decode_session_answer);
  survives_anything(encode_list({Bytes{1, 2}, Bytes{}, Bytes(300, 3)}), decode_list);
  PushAnswer push;
  push.items = {{PushStatus::ok, 4}, {PushStatus::device_fork, 0}};
  survives_anything(encode(push), decode_push_answer);
  LogPage page;
  page.batches = {Bytes(20, 1), Bytes(30, 2)};
  survives_anything(encode(page), decode_log_page);
  // One form alone: a flag is 0 or 1.
  Bytes odd = encode(page);
  std::size_t flag = 16 + 8 + 32 + 32 + 8 + 8 + 32;
  EXPECT_LE(odd.at(flag), 1);
  odd.at(flag) = 2;
  EXPECT_THROW(decode_log_page(odd), Error);
  survives_anything(encode(ControlPost{{}, Bytes(40, 1)}), decode_control_post);
  ControlRecord genesis;
  genesis.epoch.boxes.push_back({{}, Bytes(80, 1)});
  genesis.name.sealed = Bytes(20, 2);
  survives_anything(encode(genesis), decode_control);
  EXPECT_THROW(decode_list(Bytes{0xff, 0xff, 0xff, 0xff, 0x0f}), Error);
  EXPECT_THROW(decode_session_answer(encode(SessionAnswer{"a\r\nX: y", 5, 6})), Error);
}

TEST(Messages, RoundTrip) {
  EXPECT_TRUE(rc::check([](const std::vector<Bytes>& items) {
    RC_ASSERT(decode_list(encode_list(items)) == items);
  }));
}

}  // namespace
}  // namespace holdfast::wire
