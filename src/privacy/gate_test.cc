// The life of a permission, and what passes the gate under it.

#include <gtest/gtest.h>

#include "holdfast/backup.h"
#include "src/privacy/grants.h"
#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

using Kinds = std::vector<std::string>;
constexpr std::int64_t kDay = 24 * 3'600'000;

TEST(Gate, SendsWithPermissionWhatThePolicyLeaves) {
  PrivateWorld world;
  PrivateApp app(world);
  EXPECT_EQ(app.send().reason, "no_permission");
  PermissionOptions options;
  options.sample = PrivateWorld::usage();
  ASSERT_TRUE(
      app.sync.request_sync_permission("model_usage_stats", "improve_model_quality", options));
  EXPECT_EQ(world.requests, 0);
  EXPECT_EQ(app.last.controller, "Example Models");
  EXPECT_EQ(app.last.until_ms, world.clock->now_ms() + 30 * kDay);

  SendResult result = app.send();
  EXPECT_EQ(result.status, SendResult::Status::sent) << result.message;
  ASSERT_EQ(world.arrived.size(), 1u);
  json payload = json::parse(world.arrived[0].payload);
  EXPECT_EQ(payload, app.last.preview);  // the user saw exactly this
  EXPECT_EQ(payload["model"], "small-1");
  EXPECT_EQ(payload["calls"], 130);
  EXPECT_EQ(payload["place"]["km"], 10);
  EXPECT_NE(payload["device_id"], "phone-4711");
  EXPECT_FALSE(payload.contains("user_email"));
  EXPECT_FALSE(payload.contains("transcript"));
  EXPECT_EQ(world.arrived[0].header.purpose, "improve_model_quality");
  EXPECT_EQ(base::to_hex(world.arrived[0].header.policy), world.policy().hash());
  EXPECT_EQ(app.kinds(), (Kinds{"request", "grant", "preparation", "attempt", "send"}));
  EXPECT_TRUE(app.sync.queue().empty());
}

TEST(Gate, DeniesByDefaultAndRemembersTheAnswer) {
  PrivateWorld world;
  auto store = world.open();
  PrivacyFirstSync sync(store, world.policy());
  EXPECT_FALSE(sync.request_sync_permission("model_usage_stats", "improve_model_quality"));
  EXPECT_EQ(sync.sync_with_privacy(PrivateWorld::usage(), "model_improvement_server").reason,
            "no_permission");
  ASSERT_EQ(sync.grants().size(), 1u);
  EXPECT_EQ(sync.grants()[0].state, Grant::State::denied);
  EXPECT_EQ(world.requests, 0);
}

TEST(Gate, APromptThatThrowsIsANo) {
  PrivateWorld world;
  auto store = world.open();
  PrivacyFirstSync sync(store, world.policy(), [](const PermissionRequest&) -> bool {
    throw std::runtime_error("closed");
  });
  EXPECT_THROW(sync.request_sync_permission("model_usage_stats", "improve_model_quality"),
               std::runtime_error);
  EXPECT_EQ(sync.grants().at(0).state, Grant::State::denied);
}

TEST(Gate, AsksOnceWhileThePermissionLasts) {
  PrivateWorld world;
  PrivateApp app(world);
  EXPECT_TRUE(app.permit());
  EXPECT_TRUE(app.permit());
  EXPECT_EQ(app.asked, 1);
  EXPECT_TRUE(app.permit(true));
  EXPECT_EQ(app.asked, 2);
  app.answer = false;  // a no to more ends what there is
  EXPECT_FALSE(app.permit(true));
  EXPECT_EQ(app.send().status, SendResult::Status::refused);
  EXPECT_EQ(world.requests, 0);
}

TEST(Gate, APermissionExpiresAndAClockSetBackDoesNotReviveIt) {
  PrivateWorld world;
  {
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.clock->advance_ms(30 * kDay - 1);
    EXPECT_EQ(app.send().status, SendResult::Status::sent);
    world.clock->advance_ms(1);
    EXPECT_EQ(app.send().reason, "expired");
    world.clock->set_skew_ms(-20 * kDay);
    EXPECT_EQ(app.send().reason, "expired");
  }
  PrivateApp app(world);
  EXPECT_EQ(app.send().reason, "expired");
  ASSERT_TRUE(app.permit());  // by the clock as it is now
  EXPECT_EQ(app.send().status, SendResult::Status::sent);
  EXPECT_EQ(world.requests, 2);
}

// Neither a no nor a yes to something else makes an older permission last longer.
TEST(Gate, AnswersDoNotTurnTheClockBackForOthers) {
  SendOptions first{"model_usage_stats", "improve_model_quality"};
  for (bool answer : {false, true}) {
    PrivateWorld one;
    json policy = one.policy_json();
    policy["purposes"].push_back({{"id", "debug"}, {"text", "Find faults"}});
    policy["uses"].push_back({{"data_type", "model_usage_stats"},
                              {"purpose", "debug"},
                              {"destination", "model_improvement_server"},
                              {"budget", {{"epsilon_per_day", 4}, {"epsilon_lifetime", 8}}}});
    PrivateApp app(one, PrivacyPolicy::from_json(policy));
    ASSERT_TRUE(app.permit());
    one.clock->advance_ms(29 * kDay);
    EXPECT_EQ(app.sync.queue().size(), 0u);
    one.clock->set_skew_ms(-25 * kDay);
    app.answer = answer;
    app.sync.request_sync_permission("model_usage_stats", "debug");
    one.clock->advance_ms(2 * kDay);
    EXPECT_EQ(app.sync.sync_with_privacy(PrivateWorld::usage(), "model_improvement_server", first)
                      .status == SendResult::Status::sent,
              !answer)
        << "30 days are not over, by the latest time, in the one case only";
    one.clock->advance_ms(24 * kDay);
    EXPECT_NE(
        app.sync.sync_with_privacy(PrivateWorld::usage(), "model_improvement_server", first).status,
        SendResult::Status::sent);
  }
}

// Time that nobody of Holdfast saw end a permission counts, too, as far as it was seen at all.
TEST(Gate, TheLatestTimeCounts) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.clock->advance_ms(31 * kDay);
  EXPECT_EQ(app.sync.queue().size(), 0u);
  world.clock->set_skew_ms(-31 * kDay);
  EXPECT_EQ(app.send().reason, "expired");
}

TEST(Gate, RevocationHoldsAtOnceAndDestroysWhatWaits) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.status = 500;
  EXPECT_EQ(app.send().status, SendResult::Status::queued);
  EXPECT_EQ(app.send().status, SendResult::Status::queued);
  EXPECT_EQ(app.sync.queue().size(), 2u);
  world.status = 200;
  EXPECT_EQ(app.sync.revoke("model_usage_stats"), 1u);
  int before = world.requests;
  QueueReport report = app.sync.send_queued(true);
  EXPECT_EQ(report.sent + report.waiting, 0u);
  EXPECT_EQ(app.send().reason, "revoked");
  EXPECT_EQ(world.requests, before);
  EXPECT_TRUE(world.arrived.empty());
  std::uint64_t dropped = 0;
  PrivacyLedger(app.store).for_each([&](const LedgerEntry& entry) {
    if (entry.entry["kind"] == "revocation") dropped = entry.entry["dropped"];
    return true;
  });
  EXPECT_EQ(dropped, 2u);
  std::lock_guard lock(app.store.engine().mutex());
  base::Statement keys(app.store.engine().database().connection().prepare(
      "SELECT (SELECT count(*) FROM egress_key) + (SELECT count(*) FROM egress_queue)"));
  ASSERT_TRUE(keys.step());
  EXPECT_EQ(keys.integer(0), 0);
}

TEST(Gate, ARevocationInTheMiddleOfSendingStopsIt) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.status = 0;
  for (int i = 0; i < 5; ++i) app.send();
  world.status = 200;
  world.on_request = [&] {
    if (world.requests == 7) {  // the second of five: another thread would wait for it to end
      world.on_request = nullptr;
      Grants grants(app.store.engine(), world.policy().rules());
      store::Engine::Transaction transaction(app.store.engine());
      grants.revoke({"model_usage_stats", "improve_model_quality", "model_improvement_server", {}},
                    "user");
      transaction.commit();
    }
  };
  QueueReport report = app.sync.send_queued(true);
  EXPECT_EQ(report.sent, 2u);
  EXPECT_EQ(report.dropped, 3u);
  EXPECT_EQ(world.requests, 7);
}

TEST(Gate, RetriesResendTheSameBytesWithPauses) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  std::vector<Bytes> bodies;
  world.on_request = [&] {
    bodies.push_back(world.wire_bytes);
    world.wire_bytes.clear();
  };
  world.status = 500;
  EXPECT_EQ(app.send().status, SendResult::Status::queued);
  for (int minute = 0; minute < 60; ++minute) {  // a collector that answers 500 for an hour
    world.clock->advance_ms(60'000);
    app.sync.send_queued();
  }
  EXPECT_LE(world.requests, 8);
  EXPECT_GE(world.requests, 5);
  world.status = 200;
  world.clock->advance_ms(kDay / 2);
  EXPECT_EQ(app.sync.send_queued().sent, 1u);
  for (const Bytes& body : bodies) EXPECT_EQ(body, bodies[0]);
  EXPECT_EQ(world.arrived.size(), 1u);
  Kinds kinds = app.kinds();
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "attempt"), world.requests);
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "send"), 1);
}

TEST(Gate, WhatTheDestinationRefusesIsDroppedOnTheRecord) {
  for (int status : {400, 403, 413}) {
    PrivateWorld world;
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.status = status;
    EXPECT_EQ(app.send().reason, "destination_refused");
    EXPECT_TRUE(app.sync.queue().empty());
    EXPECT_EQ(app.kinds().back(), "drop");
  }
}

TEST(Gate, NoiseIsChargedBeforeItLeavesAndNeverDrawnAnew) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  auto budget = [&] {
    return app.sync.budget("model_usage_stats", "improve_model_quality",
                           "model_improvement_server");
  };
  EXPECT_EQ(budget().today, "2");  // half of it: the policy provides for two devices
  EXPECT_EQ(budget().lifetime, "4");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(app.send().status, SendResult::Status::sent);
  for (const Arrived& one : world.arrived) {
    EXPECT_EQ(json::parse(one.payload)["liked"], json::parse(world.arrived[0].payload)["liked"]);
  }
  EXPECT_EQ(budget().spent, "0.5");
  EXPECT_EQ(budget().today, "1.5");
  json other = PrivateWorld::usage();
  other["liked"] = false;
  EXPECT_EQ(app.send(other).status, SendResult::Status::sent);
  EXPECT_EQ(budget().spent, "1");
  EXPECT_EQ(app.send().status, SendResult::Status::sent);  // it came back: another question
  EXPECT_EQ(budget().spent, "1.5");
}

// Each element is a question of its own: or else the pattern of equal ones would leave as it is.
TEST(Gate, EveryElementOfAListIsNoisedAndChargedByItself) {
  PrivateWorld world;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"] = {{"/answers/*",
                                        {{"action", "randomise"},
                                         {"mechanism", "response"},
                                         {"epsilon", "1/100"},
                                         {"values", {false, true}}}}};
  PrivateApp app(world, PrivacyPolicy::from_json(policy));
  ASSERT_TRUE(app.permit());
  json answers = json::array();
  for (int i = 0; i < 100; ++i) answers.push_back(true);
  EXPECT_EQ(app.send({{"answers", answers}}).status, SendResult::Status::sent);
  EXPECT_EQ(app.sync.budget("", "", "").spent, "1");
  json left = json::parse(world.arrived.at(0).payload)["answers"];
  auto yes = std::count(left.begin(), left.end(), json(true));
  EXPECT_GT(yes, 20);
  EXPECT_LT(yes, 80);
}

TEST(Gate, ARevocationIsOnTheRecordWhereNothingEndsByItHere) {
  PrivateWorld world;
  PrivateApp app(world);
  app.sync.revoke("model_usage_stats");
  EXPECT_EQ(app.kinds(), Kinds{"revocation"});
}

// A record that this version cannot read takes back everything.
TEST(Gate, AnUnknownRevocationEndsAll) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  {
    store::Engine::Transaction transaction(app.store.engine());
    app.store.engine().put_own({kRevocationCollection, "later"}, {{"data_types", {"all"}}});
    transaction.commit();
  }
  EXPECT_EQ(app.send().reason, "revoked");
}

// The permission ends, noticed by another part of the app, while the destination is taking it.
TEST(Gate, WhatArrivedIsOnTheRecordWhateverEndedMeanwhile) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  PrivacyFirstSync settings(app.store, world.policy());
  world.on_request = [&] {
    world.clock->advance_ms(40 * kDay);
    EXPECT_EQ(settings.queue().size(), 0u);
  };
  EXPECT_EQ(app.send().status, SendResult::Status::sent);
  EXPECT_EQ(app.kinds().back(), "send");
}

TEST(Gate, ASpentBudgetStopsSendingAndSaysSo) {
  PrivateWorld world;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"]["/calls"] = {
      {"action", "randomise"}, {"mechanism", "laplace"}, {"epsilon", 1}, {"min", 0}, {"max", 100}};
  PrivateApp app(world, PrivacyPolicy::from_json(policy));
  ASSERT_TRUE(app.permit());
  auto send = [&](int calls) { return app.send({{"calls", calls}}); };
  EXPECT_EQ(send(1).status, SendResult::Status::sent);
  EXPECT_EQ(send(2).status, SendResult::Status::sent);
  SendResult refused = send(3);
  EXPECT_EQ(refused.reason, "budget_spent");
  EXPECT_EQ(send(2).status, SendResult::Status::sent);  // said already: it costs nothing
  world.clock->advance_ms(kDay);
  EXPECT_EQ(send(4).status, SendResult::Status::sent);
  EXPECT_EQ(send(5).status, SendResult::Status::sent);
  world.clock->advance_ms(kDay);
  EXPECT_EQ(send(6).reason, "budget_spent");  // for good
  EXPECT_EQ(world.requests, 5);
  BudgetState left = app.sync.budget("", "", "");
  EXPECT_EQ(left.today, "2");
  EXPECT_EQ(left.lifetime, "0");
}

TEST(Gate, ARestoredStoreSendsNothing) {
  PrivateWorld world;
  {
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.status = 0;
    app.send();
    backup(app.store, "kept", store::FakeWorld::key(9), {});
    app.sync.revoke("model_usage_stats");
  }
  world.status = 200;
  RestoreOptions options;
  options.store = world.options();
  options.replace = true;
  restore("kept", store::FakeWorld::key(9), "test.db", store::FakeWorld::key(), options);
  PrivateApp app(world);
  EXPECT_EQ(app.send().reason, "restored");
  EXPECT_EQ(app.sync.send_queued(true).sent, 0u);
  for (const Grant& grant : app.sync.grants()) EXPECT_EQ(grant.state, Grant::State::revoked);
  EXPECT_EQ(app.sync.budget("", "", "").lifetime, "0");
  EXPECT_EQ(world.requests, 1);
}

TEST(Gate, AFullDiskLetsNothingOut) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.files->fail_writes = true;
  EXPECT_THROW(app.send(), Error);
  EXPECT_EQ(world.requests, 0);
}

// The disk fills up while the destination takes it: it is sent once more, the same, on the record.
TEST(Gate, AnAnswerThatCannotBeEnteredIsAskedForAgain) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.on_request = [&] { world.files->fail_writes = true; };
  SendResult result = app.send();
  EXPECT_EQ(result.status, SendResult::Status::queued);
  EXPECT_FALSE(result.egress.empty());
  EXPECT_FALSE(result.message.empty());
  world.on_request = nullptr;
  world.files->fail_writes = false;
  EXPECT_EQ(app.sync.send_queued(true).sent, 1u);
  EXPECT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(world.requests, 2);
  EXPECT_EQ(app.kinds(), (Kinds{"request", "grant", "preparation", "attempt", "attempt", "send"}));
}

TEST(Gate, ExportsADecisionInTheStandardsWords) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  json record = app.sync.export_grant(app.sync.grants()[0].id);
  EXPECT_EQ(record["schema_version"], "ISO/IEC TS 27560:2023");
  EXPECT_EQ(record["event"][0]["event_state"], "consent_given");
  EXPECT_EQ(record["pii_processing"]["purposes"][0]["lawful_basis"], "consent");
  EXPECT_EQ(record["party_identification"][0]["party_name"], "Example Models");
  world.clock->advance_ms(3'600'000);
  app.sync.revoke("model_usage_stats");
  record = app.sync.export_grant(app.sync.grants()[0].id);
  EXPECT_EQ(record["event"][0]["event_state"], "consent_given");
  EXPECT_EQ(record["event"][0]["event_time"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(record["event"][1]["event_state"], "consent_withdrawn");
  EXPECT_EQ(record["event"][1]["event_time"], "2023-11-14T23:13:20Z");
  EXPECT_THROW(app.sync.export_grant("none"), Error);
}

}  // namespace
}  // namespace holdfast::privacy
