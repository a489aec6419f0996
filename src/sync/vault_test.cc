// Who gets into a vault, and who does not.

#include <gtest/gtest.h>

#include "src/crypto/recovery_code.h"
#include "src/sync/test_vault.h"
#include "src/sync/ticket.h"

namespace holdfast::sync {
namespace {

using store::code_of;

TEST(Vault, MakesOneWithARecoveryCodeOfItsOwn) {
  auto clock = std::make_shared<base::FakeClock>();
  FakeRelay relay(clock);
  TestDevice device(relay, 1);
  EXPECT_EQ(code_of([&] { device.vault().id(); }), ErrorCode::no_vault);
  EXPECT_EQ(code_of([&] { device.sync->sync(); }), ErrorCode::no_vault);
  // Where the code cannot be kept there is no vault.
  EXPECT_THROW(
      device.vault().create("x", [](const std::string&) { throw std::runtime_error("full"); }),
      std::runtime_error);
  EXPECT_FALSE(device.vault().exists());
  std::string code;
  device.vault().create("phone", [&](const std::string& shown) { code = shown; });
  EXPECT_EQ(code.size(), 35u);
  EXPECT_EQ(device.vault().devices().at(0).name, "phone");
  EXPECT_EQ(code_of([&] { device.vault().create("y", [](const std::string&) {}); }),
            ErrorCode::exists);
  // The code is nowhere in the store, sealed or not, and opens the box that genesis holds for it.
  EXPECT_EQ(code_of([&] { device.sync->sync(); }), ErrorCode::invalid_argument);  // no relay yet
}

TEST(Vault, TheRecoveryKeyOpensTheEpochKey) {
  base::SeededRandom random(3);
  auto secret = random.array<16>();
  RecoveryKeys keys = recovery_keys(secret);
  RecoveryKeys again = recovery_keys(secret);
  EXPECT_EQ(keys.sign.public_key(), again.sign.public_key());
  Bytes box = crypto::box_to(keys.box.public_key(), base::view("epoch"), random);
  EXPECT_EQ(base::text(again.box.open(box)->view()), "epoch");
  std::string text = crypto::recovery_text(secret);
  EXPECT_NE(text, crypto::recovery_text(random.array<16>()));
  EXPECT_EQ(text.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ-"), std::string::npos);
}

TEST(Vault, ATicketWorksOnceAndNotForEver) {
  TestVault vault(1);
  std::string ticket = vault[0].vault().invite_ticket();
  TestDevice second(vault.relay, 2), third(vault.relay, 3), fourth(vault.relay, 4);
  second.vault().join(ticket, "second");
  EXPECT_EQ(code_of([&] { second.vault().join(ticket, "second"); }), ErrorCode::exists);
  EXPECT_EQ(code_of([&] { third.vault().join(ticket, "third"); }), ErrorCode::not_found);
  std::string late = vault[0].vault().invite_ticket(60'000);
  vault.clock->advance_ms(61'000);
  EXPECT_EQ(code_of([&] { fourth.vault().join(late, "fourth"); }), ErrorCode::not_found);
  vault.clock->advance_ms(60 * 60 * 1000);
  EXPECT_EQ(code_of([&] { fourth.vault().join(late, "fourth"); }), ErrorCode::not_found);
  vault[0].sync->sync();
  EXPECT_EQ(vault[0].vault().devices().size(), 2u);
}

TEST(Vault, AWrongClockSpoilsNoTicket) {
  TestVault vault(1);
  vault[0].world.environment.clock = std::make_shared<base::FakeClock>(1'000'000);  // 1970
  vault[0].open();
  TestDevice device(vault.relay, 2);
  device.vault().join(vault[0].vault().invite_ticket(), "d");
}

TEST(Vault, RefusesWhatIsNoTicket) {
  TestVault vault(1);
  TestDevice device(vault.relay, 2);
  std::string ticket = vault[0].vault().invite_ticket();
  for (const std::string& text : {std::string(), std::string("hello"), ticket.substr(0, 30),
                                  ticket + "AAAA", std::string("holdfast-ticket-1.")}) {
    EXPECT_EQ(code_of([&] { device.vault().join(text, "d"); }), ErrorCode::malformed) << text;
  }
  Ticket wrong = parse_ticket(ticket);
  wrong.secret[0] ^= 1;
  EXPECT_EQ(code_of([&] { device.vault().join(to_text(wrong), "d"); }), ErrorCode::malformed);
  EXPECT_EQ(code_of([&] { device.vault().join(ticket, ""); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { device.vault().join(ticket, "a\nb"); }), ErrorCode::invalid_argument);
  device.vault().join(ticket, "d");  // still good
}

TEST(Vault, AJoinThatIsCutOffCanBeRepeated) {
  TestVault vault(1);
  for (int cut = 0;; ++cut) {
    std::string ticket = vault[0].vault().invite_ticket();
    TestDevice device(vault.relay, 50 + static_cast<std::uint64_t>(cut));
    int requests = 0;
    vault.relay.after = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (requests++ == cut) response = {0, {}, 0, "cut"};
    };
    bool failed = false;
    try {
      device.vault().join(ticket, "d");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unreachable);
      failed = true;
    }
    vault.relay.after = nullptr;
    if (!failed) break;
    device.cut_power();
    device.vault().join(ticket, "d");
    EXPECT_TRUE(device.vault().exists());
    ASSERT_LT(cut, 20);
  }
}

TEST(Vault, TheRelayCanAddNobody) {
  TestVault vault;
  base::SeededRandom random(5);
  auto seed = random.array<32>();
  crypto::SigningKey intruder(seed);
  Bytes forged;
  vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.method != "GET" || request.url.find("/control?") == std::string::npos) return;
    wire::ControlRecord record;
    record.type = wire::ControlType::enrol;
    record.previous = Membership(vault[0].store->engine()).control().head();
    record.device_sign = intruder.public_key();
    record.signer = intruder.public_key();
    record.signature = intruder.sign(wire::signed_message(
        wire::kSignControl, Membership(vault[0].store->engine()).vault(), encode_unsigned(record)));
    response.body = wire::encode_list({wire::encode(record)});
  };
  vault[0].sync->sync();  // catches up on the second device first
  SyncResult result = vault[0].sync->sync();
  EXPECT_EQ(result.state, SyncState::error);
  EXPECT_EQ(result.error, ErrorCode::protocol);
  vault.relay.after = nullptr;
  EXPECT_EQ(vault[0].sync->sync().state, SyncState::up_to_date);
  EXPECT_EQ(vault[0].vault().devices().size(), 2u);
}

TEST(Vault, ASwappedParcelOrListIsNoticedByTheJoiner) {
  TestVault honest(1, 1);
  TestVault other(1, 9);
  std::string ticket = honest[0].vault().invite_ticket();
  TestDevice device(honest.relay, 3);
  honest.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (request.url.find("/control?after=0") != std::string::npos) {
      std::vector<Bytes> records = wire::decode_list(response.body);
      records.pop_back();  // an older list than the ticket was made on
      response.body = wire::encode_list(records);
    } else if (request.url.find("/control?") != std::string::npos) {
      response.body = wire::encode_list({});
    }
  };
  EXPECT_EQ(code_of([&] { device.vault().join(ticket, "d"); }), ErrorCode::protocol);
  EXPECT_FALSE(device.vault().exists());
}

TEST(Vault, RelayUrlsAreHttpsOrLoopback) {
  EXPECT_EQ(check_relay_url("https://relay.example/"), "https://relay.example");
  EXPECT_EQ(check_relay_url("http://127.0.0.1:1"), "http://127.0.0.1:1");
  EXPECT_EQ(check_relay_url("http://[::1]:1"), "http://[::1]:1");
  for (const char* url : {"", "relay", "ftp://x", "http://relay.example", "https://", "https://a b",
                          "http://127.0.0.1.evil.example", "http://localhost@evil.example",
                          "https://user@host", "file:///etc/passwd"}) {
    EXPECT_EQ(code_of([&] { check_relay_url(url); }), ErrorCode::invalid_argument) << url;
  }
}

}  // namespace
}  // namespace holdfast::sync
