// Letting a device in side by side: by a typed and a scanned code, and everybody who should not get
// in that way.

#include <gtest/gtest.h>

#include "src/sync/pairing_messages.h"
#include "src/sync/test_turns.h"

namespace holdfast::sync {
namespace {

using store::code_of;
using Code = InviteOptions::Code;

// A code for the same place with another secret, its check right.
std::string wrong_code(const std::string& code) {
  PairingCode wrong = parse_pairing_code(code);
  wrong.secret.span()[3] = wrong.secret.view()[3] == 'A' ? 'B' : 'A';
  return to_text(wrong);
}

bool is_mail(const base::HttpRequest& request, const char* method) {
  return request.method == method && request.url.find("/v1/mailbox/") != std::string::npos;
}

TEST(Pairing, ByATypedAndByAScannedCode) {
  for (Code kind : {Code::typed, Code::scanned}) {
    PairingScene scene;
    scene.vault[0].store->store("a", {{"n", 1}});
    scene.vault[0].sync->sync();
    Device joined;
    scene.turns.run({[&] { joined = scene.vault[0].vault().invite(scene.inviting(kind)); },
                     [&] { scene.join_when_shown(); }});
    EXPECT_EQ(scene.shown.size(), kind == Code::typed ? 14u : 131u);
    EXPECT_EQ(scene.asked.name, "phone");
    EXPECT_EQ(scene.asked.kind, "phone");
    EXPECT_EQ(scene.asked.fingerprint, scene.fingerprint);
    EXPECT_EQ(scene.fingerprint.size(), 9u);
    EXPECT_EQ(joined.name, "phone");
    EXPECT_EQ(joined.added_by, "device-1");
    EXPECT_EQ(scene.newcomer.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(scene.newcomer.store->retrieve("a")->at("n"), 1);
    scene.newcomer.store->store("b", {{"n", 2}});
    scene.newcomer.sync->sync();
    scene.vault[0].sync->sync();
    EXPECT_EQ(scene.vault[0].state(), scene.newcomer.state());
  }
}

TEST(Pairing, CodesAreReadAsPeopleTypeThem) {
  base::SeededRandom random(4);
  int undetected = 0;
  for (int i = 0; i < 200; ++i) {
    PairingCode code = make_typed_code(random);
    std::string text = to_text(code);
    EXPECT_TRUE(crypto::equal(parse_pairing_code(text).secret.view(), code.secret.view()));
    std::string sloppy;
    for (char c : text) {
      if (c == '-') continue;
      if (c == '0') c = 'o';
      if (c == '1') c = 'l';
      sloppy += static_cast<char>(std::tolower(c));
      sloppy += ' ';
    }
    EXPECT_EQ(to_text(parse_pairing_code(sloppy)), text);
    for (std::size_t at = 0; at < text.size(); ++at) {
      std::string typo = text;
      typo[at] = typo[at] == 'Z' ? 'Y' : 'Z';
      try {
        parse_pairing_code(typo);
        ++undetected;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::malformed);
      }
    }
  }
  EXPECT_LT(undetected, 20);  // of 2,800; one in a thousand is to be expected
  for (const char* text : {"", "ABCD", "holdfast-pair-1.", "holdfast-pair-1.AAAA", "U234-5678-9ABC",
                           "ABCD-EFGH-JKMN-PQRS"}) {
    EXPECT_EQ(code_of([&] { parse_pairing_code(text); }), ErrorCode::malformed) << text;
  }
}

TEST(Pairing, AWrongCodeCostsATryAndTellsNothing) {
  PairingScene scene;
  Device joined;
  ErrorCode first{}, second{};
  scene.turns.run({[&] { joined = scene.vault[0].vault().invite(scene.inviting()); },
                   [&] {
                     while (scene.shown.empty()) scene.turns.yield();
                     first = code_of([&] { scene.join(wrong_code(scene.shown)); });
                     second = code_of([&] { scene.join(wrong_code(scene.shown)); });
                     EXPECT_TRUE(scene.fingerprint.empty());
                     EXPECT_FALSE(scene.newcomer.vault().exists());
                     scene.join(scene.shown);  // the third
                   }});
  EXPECT_EQ(first, ErrorCode::refused);
  EXPECT_EQ(second, ErrorCode::refused);
  EXPECT_EQ(joined.name, "phone");
  EXPECT_EQ(scene.newcomer.sync->sync().state, SyncState::up_to_date);
}

TEST(Pairing, ThreeWrongCodesVoidIt) {
  PairingScene scene;
  ErrorCode inviter{};
  scene.turns.run(
      {[&] { inviter = code_of([&] { scene.vault[0].vault().invite(scene.inviting()); }); },
       [&] {
         while (scene.shown.empty()) scene.turns.yield();
         for (int i = 0; i < 3; ++i) {
           EXPECT_EQ(code_of([&] { scene.join(wrong_code(scene.shown)); }), ErrorCode::refused);
         }
         EXPECT_EQ(code_of([&] { scene.join(scene.shown); }), ErrorCode::not_found);
       }});
  EXPECT_EQ(inviter, ErrorCode::refused);
  EXPECT_TRUE(scene.asked.name.empty());
  EXPECT_EQ(scene.vault[0].vault().devices().size(), 1u);
}

TEST(Pairing, TheUserMaySayNo) {
  PairingScene scene;
  scene.answer = false;
  ErrorCode inviter{}, joiner{};
  scene.turns.run(
      {[&] { inviter = code_of([&] { scene.vault[0].vault().invite(scene.inviting()); }); },
       [&] { joiner = code_of([&] { scene.join_when_shown(); }); }});
  EXPECT_EQ(inviter, ErrorCode::refused);
  EXPECT_EQ(joiner, ErrorCode::refused);
  EXPECT_EQ(scene.vault[0].vault().devices().size(), 1u);
  EXPECT_FALSE(scene.newcomer.vault().exists());
}

TEST(Pairing, IsGoodForTenMinutesAndCanBeCancelled) {
  PairingScene scene;
  EXPECT_EQ(code_of([&] { scene.vault[0].vault().invite(scene.inviting()); }), ErrorCode::expired);
  EXPECT_EQ(code_of([&] { scene.join(scene.shown); }), ErrorCode::not_found);
  std::atomic<bool> cancelled = true;
  InviteOptions options = scene.inviting();
  options.cancelled = &cancelled;
  EXPECT_EQ(code_of([&] { scene.vault[0].vault().invite(options); }), ErrorCode::cancelled);
  // A confirmation that comes too late lets nobody in.
  scene.shown.clear();
  options = scene.inviting();
  options.confirm = [&](const PairingPeer&) {
    scene.vault.clock->advance_ms(kPairingMs);
    return true;
  };
  ErrorCode inviter{}, joiner{};
  scene.turns.run({[&] { inviter = code_of([&] { scene.vault[0].vault().invite(options); }); },
                   [&] { joiner = code_of([&] { scene.join_when_shown(); }); }});
  EXPECT_EQ(inviter, ErrorCode::expired);
  EXPECT_EQ(joiner, ErrorCode::expired);
  EXPECT_EQ(scene.vault[0].vault().devices().size(), 1u);
}

TEST(Pairing, NeedsTheRightPlaceAndRelay) {
  PairingScene scene;
  base::SeededRandom random(9);
  EXPECT_EQ(code_of([&] { scene.join(to_text(make_typed_code(random))); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { scene.newcomer.vault().join(to_text(make_typed_code(random)), "x"); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { scene.vault[0].vault().invite({}); }), ErrorCode::invalid_argument);
}

// A relay that changes any message, or any byte of it, ends in a refusal on both sides; nobody it
// chooses is let in.
TEST(Pairing, ARelayInBetweenIsNoticed) {
  int let_in = 0;
  for (int message = 0; message < 4; ++message) {
    for (int attack = 0; attack < 5; ++attack) {
      PairingScene scene;
      int puts = 0;
      scene.vault.relay.before = [&](const base::HttpRequest& request) {
        if (!is_mail(request, "PUT")) return false;
        if (puts++ != message) return false;
        auto& body = const_cast<Bytes&>(request.body);
        switch (attack) {
          case 0: body.back() ^= 1; break;
          case 1: body[body.size() / 2] ^= 1; break;
          case 2: body[std::min<std::size_t>(body.size() - 1, 5)] ^= 1; break;
          case 3: body.resize(body.size() - 1); break;
          case 4: body.assign(body.size(), 0xff); break;
        }
        return false;
      };
      PairingScene::Ends ends = scene.pair();
      bool invited = !ends.inviter, joined = !ends.joiner;
      EXPECT_FALSE(joined) << "message " << message << " attack " << attack;
      // The last two come once the inviter knows who it is: that very device, and no other, gets
      // in where its user agrees, though it shows no fingerprint to compare.
      EXPECT_EQ(invited, message >= 2);
      let_in += invited;
      scene.vault[0].sync->sync();
      std::vector<Device> devices = scene.vault[0].vault().devices();
      ASSERT_EQ(devices.size(), invited ? 2u : 1u);
      if (invited) {
        EXPECT_EQ(devices[1].id, scene.newcomer.store->engine().identity().id);
      }
      EXPECT_EQ(scene.fingerprint.empty(), message < 3);
    }
  }
  EXPECT_EQ(let_in, 10);
}

// Two runs side by side: what was said in one is of no use in the other.
TEST(Pairing, AReplayedMessageIsAWrongTry) {
  PairingScene scene;
  Bytes answer;
  scene.vault.relay.before = [&](const base::HttpRequest& request) {
    if (is_mail(request, "PUT") && request.body.size() > 160) answer = request.body;
    return false;
  };
  scene.turns.run(
      {[&] { scene.vault[0].vault().invite(scene.inviting()); }, [&] { scene.join_when_shown(); }});
  ASSERT_FALSE(answer.empty());
  // The relay puts the old answer into the next pairing's place, for every try.
  scene.shown.clear();
  scene.asked = {};
  scene.vault.relay.before = nullptr;
  scene.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (is_mail(request, "GET") && response.status == 404) response = {200, answer, 0, ""};
  };
  EXPECT_EQ(code_of([&] { scene.vault[0].vault().invite(scene.inviting()); }), ErrorCode::refused);
  EXPECT_TRUE(scene.asked.name.empty());
}

// Whoever photographs the code and is quicker is another device: the user sees its fingerprint and
// name. Whoever offers another vault under the photographed code is refused by the anchor in it.
TEST(Pairing, AScannedCodeNamesTheVault) {
  PairingScene honest, evil(1, 5);
  honest.turns.run({[&] {
    InviteOptions options = honest.inviting(Code::scanned);
    std::atomic<bool> stop = true;
    options.show = [&](const std::string& code) { honest.shown = code; };
    options.cancelled = &stop;
    EXPECT_EQ(code_of([&] { honest.vault[0].vault().invite(options); }), ErrorCode::cancelled);
  }});
  PairingCode code = parse_pairing_code(honest.shown);
  // The attacker runs its own vault at its own place, and hands the victim that with the anchor of
  // the honest one.
  evil.turns.run({[&] { evil.vault[0].vault().invite(evil.inviting(Code::scanned)); },
                  [&] {
                    while (evil.shown.empty()) evil.turns.yield();
                    PairingCode mixed = parse_pairing_code(evil.shown);
                    mixed.anchor = code.anchor;
                    EXPECT_EQ(code_of([&] { evil.join(to_text(mixed)); }), ErrorCode::protocol);
                    EXPECT_FALSE(evil.newcomer.vault().exists());
                  }});
}

// The digits follow from all that somebody in between would have to choose alike on both sides.
TEST(Pairing, TheDigitsFollowFromTheKeyTheNonceAndTheNewcomer) {
  auto digits = [](std::uint8_t key, std::uint8_t nonce, std::uint8_t sign, std::uint8_t box) {
    Agreed agreed;
    agreed.keys.session_key = crypto::Secret(Bytes(64, key));
    agreed.nonce.fill(nonce);
    agreed.hello.sign.fill(sign);
    agreed.hello.box.fill(box);
    return fingerprint(agreed);
  };
  std::set<std::string> all = {digits(1, 1, 1, 1), digits(2, 1, 1, 1), digits(1, 2, 1, 1),
                               digits(1, 1, 2, 1), digits(1, 1, 1, 2)};
  EXPECT_EQ(all.size(), 5u);
  EXPECT_EQ(digits(1, 1, 1, 1), digits(1, 1, 1, 1));
}

// A hello is of the device that signed it, for this run alone: nobody comes in under another's
// keys.
TEST(Pairing, AHelloIsSignedByItsDevice) {
  base::SeededRandom random(6);
  auto seed = random.array<32>();
  crypto::SigningKey own(seed);
  seed = random.array<32>();
  crypto::SigningKey somebody(seed);
  crypto::CpaceKeys keys{crypto::Secret(Bytes(64, 1)), crypto::Secret(Bytes(64, 2)), {}};
  PairingHello hello;
  hello.sign = own.public_key();
  hello.name = "x";
  Bytes right = seal_hello(hello, keys, own, random);
  EXPECT_EQ(open_hello(right, keys, keys.own_tag.view()).name.name, "x");
  EXPECT_EQ(code_of([&] { open_hello(right, keys, Bytes(64, 3)); }), ErrorCode::malformed);
  hello.sign = somebody.public_key();
  EXPECT_EQ(
      code_of([&] { open_hello(seal_hello(hello, keys, own, random), keys, keys.own_tag.view()); }),
      ErrorCode::malformed);
}

// The relay, as the inviter with a guessed code, says that the place was taken when it has the
// answer: the joiner gives no second one.
TEST(Pairing, TheJoinerAnswersOnceATime) {
  PairingScene scene;
  int answers = 0;
  scene.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (!is_mail(request, "PUT") || request.body.size() < 200) return;
    ++answers;
    response = {409, {}, 0, ""};
  };
  PairingScene::Ends ends = scene.pair();
  EXPECT_TRUE(ends.inviter);
  EXPECT_EQ(ends.joiner, ErrorCode::refused);
  EXPECT_EQ(answers, 1);
}

// A nonce that was not promised, or a promise that was not the inviter's, ends in a refusal.
TEST(Pairing, TheInvitersNonceIsTheOneItPromised) {
  for (int message : {1, 3}) {
    PairingScene scene;
    int puts = 0;
    scene.vault.relay.before = [&](const base::HttpRequest& request) {
      if (is_mail(request, "PUT") && ++puts == message) {
        const_cast<Bytes&>(request.body).back() ^= 1;  // the promise, or the nonce
      }
      return false;
    };
    EXPECT_EQ(scene.pair().joiner, message == 1 ? ErrorCode::refused : ErrorCode::protocol);
    EXPECT_TRUE(scene.fingerprint.empty());
  }
}

TEST(Pairing, AChangeOfTheKeyMeanwhileIsCarriedAlong) {
  PairingScene scene(2);
  scene.vault.settle();
  InviteOptions options = scene.inviting();
  options.confirm = [&](const PairingPeer&) {  // before the newcomer is in the list
    scene.vault[1].vault().rotate_key();
    return true;
  };
  bool rotated = false;
  scene.vault.relay.before = [&](const base::HttpRequest& request) {
    // … and once more right after it is, before it knows.
    if (is_mail(request, "PUT") && scene.vault[0].vault().devices().size() == 3 && !rotated) {
      rotated = true;
      scene.vault[1].vault().rotate_key();
    }
    return false;
  };
  scene.turns.run(
      {[&] { scene.vault[0].vault().invite(options); }, [&] { scene.join_when_shown(); }});
  EXPECT_TRUE(rotated);
  EXPECT_EQ(scene.newcomer.vault().epoch(), 2u);
  scene.newcomer.store->store("a", {{"n", 1}});
  EXPECT_EQ(scene.newcomer.sync->sync().state, SyncState::up_to_date);
  scene.vault.settle();
  EXPECT_EQ(scene.vault[1].store->retrieve("a")->at("n"), 1);
}

// The network fails at every request in turn, on either side: it is asked again, or the user starts
// again with the same store; in the end the device is in, once.
TEST(Pairing, SurvivesACutAtEveryRequest) {
  int finished_at_once = 0;
  for (int cut = 0;; ++cut) {
    PairingScene scene;
    int requests = 0;
    bool done = false;
    auto lose = [&](const base::HttpRequest&, base::HttpResponse& response) {
      if (requests++ == cut) {
        response = {0, {}, 0, "cut"};
        done = true;
      }
    };
    scene.vault.relay.after = lose;
    for (int attempt = 0; attempt < 2; ++attempt) {
      scene.shown.clear();
      scene.pair();
      if (scene.newcomer.vault().exists()) {
        finished_at_once += attempt == 0;
        break;
      }
      scene.newcomer.cut_power();
    }
    ASSERT_TRUE(scene.newcomer.vault().exists()) << cut;
    scene.vault.relay.after = nullptr;
    EXPECT_EQ(scene.newcomer.sync->sync().state, SyncState::up_to_date);
    EXPECT_EQ(scene.newcomer.vault().devices().size(), 2u) << cut;
    if (!done) break;
    ASSERT_LT(cut, 60);
  }
  EXPECT_GT(finished_at_once, 8);
}

TEST(Pairing, ATakenPlaceIsPassedOver) {
  PairingScene scene;
  int taken = 3;
  scene.vault.relay.after = [&](const base::HttpRequest& request, base::HttpResponse& response) {
    if (is_mail(request, "PUT") && taken-- > 0) response = {409, {}, 0, ""};
  };
  scene.turns.run(
      {[&] { scene.vault[0].vault().invite(scene.inviting()); }, [&] { scene.join_when_shown(); }});
  EXPECT_TRUE(scene.newcomer.vault().exists());
}

}  // namespace
}  // namespace holdfast::sync
