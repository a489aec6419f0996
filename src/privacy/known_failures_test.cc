// Failures of other products that were published, each as a test that would have caught it.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "src/base/test_vectors.h"
#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

bool holds(ByteView bytes, std::string_view text) {
  return std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) != bytes.end();
}

TEST(KnownFailures, WhatWasQueuedBeforeTheOptOutIsNotSentAfterIt) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.status = 0;
  for (int i = 0; i < 3; ++i) app.send();
  world.status = 200;
  int before = world.requests;
  app.sync.revoke("model_usage_stats");
  app.sync.send_queued(true);
  ASSERT_TRUE(app.permit());  // nor by a later yes
  app.sync.send_queued(true);
  EXPECT_EQ(world.requests, before);
  EXPECT_TRUE(app.sync.queue().empty());
}

TEST(KnownFailures, ClosingSendsNothing) {
  PrivateWorld world;
  {
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.status = 0;
    app.send();
    world.status = 200;
    world.requests = 0;
  }
  EXPECT_EQ(world.requests, 0);
  {
    PrivateApp app(world);  // nor does opening
    app.store.lock();
  }
  EXPECT_EQ(world.requests, 0);
}

TEST(KnownFailures, TheRulesHoldForWhatComesFromTheQueueToo) {
  PrivateWorld world;
  int calls = 0;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"] = {{"/n", {{"action", "custom"}, {"function", "mask"}}}};
  {
    PrivateApp app(world, PrivacyPolicy::from_json(policy));
    app.sync.set_custom("mask", [&](const json&) -> json {
      ++calls;
      return "masked";
    });
    ASSERT_TRUE(app.permit());
    world.status = 0;
    app.send({{"n", "raw value"}});
  }
  world.status = 200;
  PrivateApp app(world, PrivacyPolicy::from_json(policy));  // without the hook: it ran before
  EXPECT_EQ(app.sync.send_queued(true).sent, 1u);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(json::parse(world.arrived.at(0).payload), (json{{"n", "masked"}}));
}

TEST(KnownFailures, NothingIsFetchedOrIdentifiedBeforeConsent) {
  PrivateWorld world;
  PrivateApp app(world);
  app.answer = false;
  app.permit();
  app.send();
  app.sync.send_queued(true);
  app.sync.grants();
  app.sync.budget("", "", "");
  EXPECT_EQ(world.requests, 0);
  EXPECT_FALSE(app.store.engine().locked()->database().meta("pseudonym_root"));
}

TEST(KnownFailures, TheQueueOnDiskIsNotPlain) {
  PrivateWorld world;
  std::string model = "remarkable-model-name";
  json data = PrivateWorld::usage();
  data["model"] = model;
  {
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.status = 0;
    app.send(data);
    // Inside the sealed file the payload stands in the ledger; in the queue it is sealed twice.
    std::lock_guard lock(app.store.engine().mutex());
    base::Statement rows(
        app.store.engine().database().connection().prepare("SELECT body FROM egress_queue"));
    ASSERT_TRUE(rows.step());
    EXPECT_FALSE(holds(rows.blob(0), model));
    EXPECT_FALSE(holds(rows.blob(0), "HFEG"));
  }
  for (const auto& [name, content] : world.files->all()) {
    EXPECT_FALSE(holds(content->now, model)) << name;
  }
  EXPECT_FALSE(holds(world.wire_bytes, model));
}

TEST(KnownFailures, TakingBackWorksWithoutARestart) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  EXPECT_EQ(app.send().status, SendResult::Status::sent);
  PrivacyFirstSync settings(app.store, world.policy());  // another part of the app
  settings.revoke("model_usage_stats");
  EXPECT_EQ(app.send().reason, "revoked");
  EXPECT_EQ(world.requests, 1);
}

TEST(KnownFailures, ARetryIsNotNoisedAnew) {
  PrivateWorld world;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"] = {{"/calls",
                                        {{"action", "randomise"},
                                         {"mechanism", "laplace"},
                                         {"epsilon", "1/10"},
                                         {"min", 0},
                                         {"max", 1000}}}};
  std::set<std::string> seen;
  PrivateApp app(world, PrivacyPolicy::from_json(policy));
  ASSERT_TRUE(app.permit());
  world.status = 500;
  world.on_request = [&] {
    seen.insert(std::string(base::text(world.wire_bytes)));
    world.wire_bytes.clear();
  };
  app.send({{"calls", 500}});
  for (int i = 0; i < 10; ++i) app.sync.send_queued(true);
  EXPECT_EQ(seen.size(), 1u);
  world.status = 200;
  app.sync.send_queued(true);
  for (int i = 0; i < 10; ++i) app.send({{"calls", 500}});  // nor does asking again average it out
  std::set<std::string> payloads;
  for (const Arrived& one : world.arrived) payloads.insert(one.payload);
  EXPECT_EQ(payloads.size(), 1u);
}

// A kill at every moment between the ledger and the answer: all that was sent is on the record, and
// what was not is still there.
TEST(KnownFailures, AKillBetweenLedgerAndSendLosesAndRepeatsNothingUnrecorded) {
  for (bool power : {false, true}) {
    for (bool answered : {false, true}) {
      PrivateWorld world;
      std::shared_ptr<base::MemoryFiles> dead;
      {
        PrivateApp app(world);
        ASSERT_TRUE(app.permit());
        world.on_request = [&] {  // the destination has it, or not; the app dies right now
          if (!dead) dead = power ? world.files->after_power_cut() : world.files->after_kill();
        };
        world.status = answered ? 200 : 0;
        app.send();
      }
      world.on_request = nullptr;
      world.status = 200;
      world.environment.files = world.files = dead;
      PrivateApp app(world);
      EXPECT_EQ(app.sync.queue().size(), 1u);
      EXPECT_EQ(app.sync.send_queued(true).sent, 1u);
      EXPECT_EQ(world.arrived.size(), 1u);  // the same egress, byte by byte
      std::vector<std::string> kinds = app.kinds();
      EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "attempt"), world.requests);
      EXPECT_EQ(kinds.back(), "send");
      PrivacyLedger(app.store).verify();
    }
  }
}

TEST(KnownFailuresThread, RevokingWaitsForWhatIsBeingSent) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.status = 0;
  for (int i = 0; i < 30; ++i) app.send();
  world.status = 200;
  std::atomic<int> sending{0}, after{0};
  std::atomic<bool> revoked{false};
  world.on_request = [&] {
    ++sending;
    if (revoked) ++after;
  };
  std::thread sender([&] { app.sync.send_queued(true); });
  while (sending == 0) std::this_thread::yield();
  app.sync.revoke("model_usage_stats");
  revoked = true;
  sender.join();
  app.sync.send_queued(true);
  EXPECT_EQ(after, 0);
  EXPECT_TRUE(app.sync.queue().empty());
}

}  // namespace
}  // namespace holdfast::privacy
