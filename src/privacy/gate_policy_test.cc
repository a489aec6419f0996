// What another policy does to permissions, and to what waits.

#include <gtest/gtest.h>

#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

constexpr std::int64_t kDay = 24 * 3'600'000;

TEST(Gate, APolicyThatLetsOutMoreVoidsPermissionsAndOneThatLetsOutLessDoesNot) {
  auto reason_under = [](const std::function<void(json&)>& change) {
    PrivateWorld world;
    {
      PrivateApp app(world);
      EXPECT_TRUE(app.permit());
    }
    json policy = world.policy_json();
    policy["version"] = 2;
    change(policy);
    PrivateApp app(world, PrivacyPolicy::from_json(policy));
    return app.send().reason;
  };
  auto fields = [](json& policy) -> json& { return policy["data_types"][0]["fields"]; };
  EXPECT_EQ(reason_under([](json&) {}), "");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/calls"]["size"] = 20; }), "");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/model"] = {{"action", "drop"}}; }), "");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/liked"]["epsilon"] = 0.25; }), "");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/new"] = {{"action", "drop"}}; }), "");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/calls"]["size"] = 5; }), "policy_changed");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/calls"] = {{"action", "keep"}}; }),
            "policy_changed");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/new"] = {{"action", "keep"}}; }),
            "policy_changed");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)["/liked"]["epsilon"] = 1; }), "policy_changed");
  EXPECT_EQ(reason_under([&](json& p) { fields(p)[""] = {{"action", "keep"}}; }), "policy_changed");
  EXPECT_EQ(reason_under([](json& p) { p["data_types"][0]["linked"] = true; }), "policy_changed");
  EXPECT_EQ(reason_under([](json& p) { p["data_types"][0]["text"] = "Your messages"; }),
            "policy_changed");
  EXPECT_EQ(
      reason_under([](json& p) { p["destinations"][0]["url"] = "https://elsewhere.example/"; }),
      "policy_changed");
  EXPECT_EQ(reason_under([](json& p) { p["destinations"][0]["controller"] = "Another"; }),
            "policy_changed");
  EXPECT_EQ(reason_under([](json& p) { p["purposes"][0]["text"] = "Advertising"; }),
            "policy_changed");
  EXPECT_EQ(reason_under([](json& p) { p["uses"][0]["budget"]["epsilon_lifetime"] = 9; }),
            "policy_changed");
}

TEST(Gate, WideningIsNoticedWhereRulesOverlap) {
  auto voids = [](const json& before, const json& after) {
    PrivateWorld world;
    json policy = world.policy_json();
    policy["data_types"][0]["fields"] = before;
    {
      PrivateApp app(world, PrivacyPolicy::from_json(policy));
      EXPECT_TRUE(app.permit());
    }
    policy["data_types"][0]["fields"] = after;
    PrivateApp app(world, PrivacyPolicy::from_json(policy));
    return app.sync.grants().at(0).state == Grant::State::void_;
  };
  json keep = {{"action", "keep"}}, drop = {{"action", "drop"}};
  json cell = {{"action", "generalise"}, {"to", "cell"}};
  json bucket = {{"action", "generalise"}, {"to", "bucket"}, {"size", 10}};
  EXPECT_TRUE(
      voids({{"/*", keep}, {"/a/*", drop}}, {{"/*", keep}, {"/a/*", drop}, {"/*/x", keep}}));
  EXPECT_TRUE(
      voids({{"/*/x/*", drop}, {"/a", keep}}, {{"/*/x/*", drop}, {"/a", keep}, {"/a/*/y", keep}}));
  EXPECT_TRUE(voids({{"/place", keep}}, {{"/place", cell}}));
  EXPECT_TRUE(voids({{"/*", keep}}, {{"/*", bucket}}));
  EXPECT_TRUE(voids({{"", keep}}, {{"", keep}, {"/email", keep}}));
  EXPECT_TRUE(voids({{"/a", keep}, {"/a/b", drop}}, {{"/a", keep}}));
  EXPECT_TRUE(voids({{"", keep}, {"/gps", keep}}, {{"", keep}}));
  EXPECT_TRUE(
      voids({{"", keep}, {"/gps", keep}, {"/gps/lat", drop}}, {{"", keep}, {"/gps/lat", drop}}));
  EXPECT_TRUE(voids({{"/r", keep}}, {{"/r", keep}, {"/r/ada@example.org", keep}}));
  EXPECT_TRUE(voids({{"/w", cell}, {"/w/lat", drop}}, {{"/w", cell}}));
  EXPECT_FALSE(voids({{"/*", keep}, {"/a/*", drop}}, {{"/*", keep}, {"/a", drop}, {"/a/*", drop}}));
  EXPECT_FALSE(voids({{"/a", keep}}, {{"/a", keep}, {"/a/b", drop}}));
}

TEST(Gate, WhatWaitsUnderAnotherPolicyIsNotSent) {
  PrivateWorld world;
  {
    PrivateApp app(world);
    ASSERT_TRUE(app.permit());
    world.status = 0;
    app.send();
  }
  world.status = 200;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"]["/model"] = {{"action", "drop"}};
  PrivateApp app(world, PrivacyPolicy::from_json(policy));
  QueueReport report = app.sync.send_queued(true);
  EXPECT_EQ(report.dropped, 1u);
  EXPECT_TRUE(world.arrived.empty());
}

// A policy that does not know a use at all says nothing of its permissions.
TEST(Gate, AnotherPolicyEndsNothing) {
  PrivateWorld world;
  PrivateApp app(world);
  ASSERT_TRUE(app.permit());
  world.status = 0;
  app.send();
  json other = world.policy_json();
  other["data_types"][0]["id"] = other["uses"][0]["data_type"] = "something_else";
  PrivacyFirstSync another(app.store, PrivacyPolicy::from_json(other));
  EXPECT_EQ(another.queue().size(), 1u);
  EXPECT_EQ(another.grants().at(0).state, Grant::State::void_);
  EXPECT_EQ(another.send_queued(true).waiting, 1u);
  world.status = 200;
  EXPECT_EQ(app.sync.send_queued(true).sent, 1u);
}

TEST(Gate, KeysHaveTheirTime) {
  PrivateWorld world;
  json policy = world.policy_json();
  policy["destinations"][0]["keys"][0]["not_after"] = "2023-11-20";
  PrivateApp app(world, PrivacyPolicy::from_json(policy));
  ASSERT_TRUE(app.permit());
  world.status = 0;
  EXPECT_EQ(app.send().status, SendResult::Status::queued);
  world.status = 200;
  world.clock->advance_ms(10 * kDay);
  EXPECT_EQ(app.send().reason, "no_valid_key");
  EXPECT_EQ(app.sync.send_queued(true).dropped, 1u);
  EXPECT_EQ(world.requests, 1);

  policy["destinations"][0]["keys"].push_back(
      {{"id", "k2"},
       {"public_key", policy["destinations"][0]["keys"][0]["public_key"]},
       {"not_before", "2023-11-15"},
       {"not_after", "2025-06-30"}});
  PrivacyFirstSync renewed(app.store, PrivacyPolicy::from_json(policy));
  EXPECT_EQ(renewed.sync_with_privacy(PrivateWorld::usage(), "model_improvement_server").status,
            SendResult::Status::sent);
  EXPECT_EQ(world.arrived.at(0).header.key_id, "k2");
}

}  // namespace
}  // namespace holdfast::privacy
