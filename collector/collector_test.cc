#include "collector/collector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "holdfast/error.h"
#include "src/base/fakes.h"
#include "src/wire/egress.h"

namespace holdfast::collector {
namespace {

using nlohmann::json;

struct World {
  World() : key(crypto::HpkeKey::derive(random->array<32>())) {}

  Collector open() {
    std::vector<crypto::HpkeKey> keys;
    keys.emplace_back(crypto::Secret(key.secret()));
    return Collector(std::move(keys), "out", {clock, random, files, nullptr});
  }
  Bytes egress(const std::string& payload) {
    wire::EgressHeader header;
    header.id = random->array<16>();
    header.aead = 2;
    header.key_id = "k";
    header.destination = header.purpose = header.data_type = "x";
    auto context = crypto::HpkeContext::sender(crypto::HpkeAead::aes_256_gcm, key.public_key(),
                                               wire::egress_info(header), *random);
    header.encapsulated = context.encapsulated();
    Bytes body = wire::encode(header);
    Bytes sealed = context.seal(body, wire::pad_payload(payload));
    body.insert(body.end(), sealed.begin(), sealed.end());
    return body;
  }
  static int post(Collector& collector, const Bytes& body) {
    return collector.take({"POST", "/", "", body}).status;
  }
  std::vector<json> lines() {
    std::vector<json> out;
    std::string all(base::text(files->content("out")));
    for (std::size_t at = 0; at < all.size(); at = all.find('\n', at) + 1) {
      out.push_back(json::parse(all.substr(at, all.find('\n', at) - at)));
    }
    return out;
  }

  std::shared_ptr<base::FakeClock> clock = std::make_shared<base::FakeClock>();
  std::shared_ptr<base::SeededRandom> random = std::make_shared<base::SeededRandom>(1);
  std::shared_ptr<base::MemoryFiles> files = std::make_shared<base::MemoryFiles>();
  crypto::HpkeKey key;
};

TEST(Collector, TakesEachPayloadOnceAlsoAfterARestart) {
  World world;
  Bytes one = world.egress(R"({"n":1})"), two = world.egress(R"({"n":2})");
  {
    Collector collector = world.open();
    EXPECT_EQ(World::post(collector, one), 200);
    EXPECT_EQ(World::post(collector, one), 200);
    EXPECT_EQ(collector.count(), 1u);
  }
  Collector collector = world.open();
  EXPECT_EQ(World::post(collector, one), 200);
  EXPECT_EQ(World::post(collector, two), 200);
  ASSERT_EQ(world.lines().size(), 2u);
  EXPECT_EQ(world.lines()[1]["data"]["n"], 2);
}

TEST(Collector, RefusesWhatItCannotOpenOrRead) {
  World world;
  Collector collector = world.open();
  Bytes body = world.egress(R"({"n":1})");
  for (std::size_t i = 0; i < body.size(); ++i) {
    Bytes spoilt = body;
    spoilt[i] ^= 1;
    EXPECT_EQ(World::post(collector, spoilt), 400) << i;
    EXPECT_EQ(World::post(collector, {body.begin(), body.begin() + static_cast<long>(i)}), 400);
  }
  EXPECT_EQ(World::post(collector, world.egress("no json")), 400);
  EXPECT_EQ(World::post(collector, world.egress(std::string(20'000, '['))), 400);
  EXPECT_EQ(collector.take({"GET", "/", "", {}}).status, 405);
  EXPECT_TRUE(world.lines().empty());
}

TEST(Collector, AFullDiskLosesAndSpoilsNothing) {
  World world;
  Bytes longer = world.egress(R"({"text":"a longer payload than the next one"})");
  Bytes shorter = world.egress("1");
  {
    Collector collector = world.open();
    world.files->fail_syncs = true;
    EXPECT_EQ(World::post(collector, longer), 503);
    world.files->fail_syncs = false;
    EXPECT_EQ(World::post(collector, shorter), 200);
    EXPECT_EQ(World::post(collector, longer), 200);
  }
  EXPECT_EQ(world.lines().size(), 2u);
  EXPECT_EQ(world.open().count(), 2u);
}

TEST(Collector, CutsOffHalfALineAndNothingElse) {
  World world;
  {
    Collector collector = world.open();
    World::post(collector, world.egress("1"));
  }
  Bytes whole = world.files->content("out");
  for (const char* tail : {"{", "{\"egress\":\"00"}) {
    world.files->content("out") = whole;
    for (const char* c = tail; *c; ++c) {
      world.files->content("out").push_back(static_cast<std::uint8_t>(*c));
    }
    EXPECT_EQ(world.open().count(), 1u);
    EXPECT_EQ(world.files->content("out"), whole);
  }
  // A key, say, given as the file by mistake.
  world.files->content("out") = Bytes(32, 0x77);
  EXPECT_THROW(world.open(), Error);
  EXPECT_EQ(world.files->content("out").size(), 32u);
  world.files->content("out") = base::to_bytes(base::view("something else\n"));
  EXPECT_THROW(world.open(), Error);
}

}  // namespace
}  // namespace holdfast::collector
