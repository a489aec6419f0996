#include "src/privacy/anonymizer.h"

#include <gtest/gtest.h>

#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

TEST(DataAnonymizer, TakesOutTheUsualSensitiveFieldsUnderTheirCommonNames) {
  DataAnonymizer anonymizer;
  for (const char* name : {"email",
                           "e_mail",
                           "userEmail",
                           "EMAIL_ADDRESS",
                           "user.e-mail",
                           "phone",
                           "phoneNumber",
                           "mobile_number",
                           "Telephone",
                           "name",
                           "firstName",
                           "last_name",
                           "fullname",
                           "userName",
                           "home_address",
                           "streetAddress",
                           "postcode",
                           "zip",
                           "biometric_template",
                           "fingerprint",
                           "faceId",
                           "password",
                           "apiKey",
                           "auth_token",
                           "ssn",
                           "passportNumber",
                           "dateOfBirth",
                           "dob",
                           "iban",
                           "cardNumber",
                           "ip_address",
                           "ipAddress"}) {
    json in = {{name, "x1"}, {"count", 3}, {"deep", {{{"list", {{{name, {"y2", "z3"}}}}}}}}};
    std::string out = anonymizer.anonymize(in).dump();
    EXPECT_EQ(out.find("x1"), out.npos) << name;
    EXPECT_EQ(out.find("y2"), out.npos) << name;
    EXPECT_EQ(out.find("z3"), out.npos) << name;
    EXPECT_NE(out.find("\"count\":3"), out.npos) << name;
  }
  for (const char* name : {"device_id", "deviceId", "DeviceIdentifier", "android_id", "idfa",
                           "imei", "user_id", "installationId", "serial_number"}) {
    json in = {{name, "x1"}, {"other", {{name, "x1"}}}};
    json out = anonymizer.anonymize(in);
    EXPECT_NE(out.at(name), "x1") << name;
    EXPECT_EQ(out[name], out["other"][name]) << "a pseudonym stays the same";
    EXPECT_EQ(out[name], anonymizer.anonymize(in)[name]);
    EXPECT_NE(out[name], DataAnonymizer().anonymize(in)[name]) << "of one object alone";
  }
  for (const char* name : {"model_name", "filename", "event_name", "latency", "count", "titles",
                           "tokens_per_second_max", "mode", "version", "platform"}) {
    bool may = std::string(name) == "tokens_per_second_max";  // "tokens" may be keys
    if (!may) {
      EXPECT_EQ(anonymizer.anonymize({{name, 7}}), (json{{name, 7}})) << name;
    }
  }
}

TEST(DataAnonymizer, ScansTextsAndNamesOfMembers) {
  DataAnonymizer anonymizer;
  json out = anonymizer.anonymize(
      {{"note", "call ada@example.org"}, {"by_contact", {{"ada@example.org", 3}, {"plain", 4}}}});
  EXPECT_EQ(out["note"], "call [email]");
  EXPECT_EQ(out["by_contact"], (json{{"plain", 4}}));
}

TEST(DataAnonymizer, ScansNumbersThatNobodyNamed) {
  json in = {{"n1", 4111111111111111}, {"imei_like", 490154203237518}, {"home_addr", "1 Main St"},
             {"fname", "Ada"},         {"file_name_password", "x"},    {"small", 42}};
  EXPECT_EQ(DataAnonymizer().anonymize(in)["small"], 42);
  for (const char* name : {"n1", "home_addr", "fname", "file_name_password"}) {
    EXPECT_FALSE(DataAnonymizer().anonymize(in).contains(name)) << name;
  }
  PrivateWorld world;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"] = {{"/names", {{"action", "keep"}}},
                                       {"/n1", {{"action", "keep"}}}};
  json named = DataAnonymizer(PrivacyPolicy::from_json(policy), "model_usage_stats")
                   .anonymize({{"names", {"a", "b"}}, {"n1", 4111111111111111}});
  EXPECT_EQ(named, (json{{"names", {"a", "b"}}, {"n1", 4111111111111111}}));  // the policy says so
}

TEST(DataAnonymizer, ShowsBeforeAndAfter) {
  PrivateWorld world;
  DataAnonymizer anonymizer(world.policy(), "model_usage_stats");
  AnonymizedDocument shown = anonymizer.preview(PrivateWorld::usage());
  std::map<std::string, FieldChange> by_path;
  for (const FieldChange& change : shown.changes) by_path[change.path] = change;
  EXPECT_EQ(by_path.at("/calls").before, 137);
  EXPECT_EQ(*by_path.at("/calls").after, 130);
  EXPECT_EQ(by_path.at("/calls").action, "generalise");
  EXPECT_FALSE(by_path.at("/user_email").after);
  EXPECT_EQ(by_path.at("/user_email").action, "drop");
  EXPECT_EQ(shown.changes.size(), 7u);
  EXPECT_THROW(DataAnonymizer(world.policy(), "nothing"), Error);
}

TEST(DataAnonymizer, CustomActionsAndTheirAbsence) {
  PrivateWorld world;
  json policy = world.policy_json();
  policy["data_types"][0]["fields"] = {{"/n", {{"action", "custom"}, {"function", "half"}}}};
  DataAnonymizer anonymizer(PrivacyPolicy::from_json(policy), "model_usage_stats");
  EXPECT_THROW(anonymizer.anonymize({{"n", 8}}), Error);
  anonymizer.set_custom("half", [](const json& n) -> json {
    return n.is_number() ? json(n.get<int>() / 2) : json();
  });
  EXPECT_EQ(anonymizer.anonymize({{"n", 8}}), (json{{"n", 4}}));
  EXPECT_EQ(anonymizer.anonymize({{"n", "x"}}), json::object());
}

TEST(DataAnonymizer, RefusesWhatIsTooLargeOrTooDeep) {
  json deep = 1;
  for (int i = 0; i < 200; ++i) deep = json::array({deep});
  EXPECT_THROW(DataAnonymizer().anonymize(deep), Error);
  EXPECT_THROW(DataAnonymizer().anonymize({{"t", std::string(600'000, 'x')}}), Error);
  EXPECT_EQ(DataAnonymizer().anonymize(7), 7);
  EXPECT_EQ(DataAnonymizer().anonymize(nullptr), nullptr);
}

FieldRule rule_for(const json& text) { return FieldRule::parse(text, "/x"); }

TEST(Generalise, Cells) {
  FieldRule rule = rule_for({{"action", "generalise"}, {"to", "cell"}});
  auto cell = [&](const json& place) { return generalise(rule, place); };
  json munich = *cell({{"lat", 48.1371}, {"lon", 11.5754}});
  EXPECT_EQ(munich, *cell({{"latitude", 48.14}, {"longitude", 11.57}, {"accuracy", 3}}));
  EXPECT_EQ(munich, *cell({{"type", "Point"}, {"coordinates", {11.5754, 48.1371}}}));
  EXPECT_EQ(munich, *cell("48.1371, 11.5754"));
  EXPECT_NEAR(munich["lat"].get<double>(), 48.1371, 0.06);
  EXPECT_NEAR(munich["lon"].get<double>(), 11.5754, 0.09);
  for (const json& wrong : {json(7), json("here"), json{{"lat", 91}, {"lon", 0}}, json{{"lat", 1}},
                            json::array({1, 2})}) {
    EXPECT_FALSE(cell(wrong)) << wrong;
  }
  // No cell is much smaller than it says, at the poles and at the date line either.
  for (double lat : {-90.0, -89.99, 0.0, 60.0, 90.0}) {
    for (double lon : {-180.0, 179.999, 180.0}) EXPECT_TRUE(cell({{"lat", lat}, {"lon", lon}}));
  }
  std::set<std::string> cells;
  for (int i = 0; i < 1000; ++i) {
    cells.insert(cell({{"lat", 48 + i * 0.0001}, {"lon", 11.0}})->dump());
  }
  EXPECT_LE(cells.size(), 3u);  // 11 km
}

TEST(Generalise, BandsTimesAndBuckets) {
  FieldRule band = rule_for({{"action", "generalise"}, {"to", "band"}});
  EXPECT_EQ(*generalise(band, 34), "30-39");
  EXPECT_EQ(*generalise(band, 0), "0-9");
  EXPECT_EQ(*generalise(band, 104), "90+");
  for (const json& wrong : {json(-1), json("34"), json(500), json(nullptr)}) {
    EXPECT_FALSE(generalise(band, wrong));
  }
  FieldRule hour = rule_for({{"action", "generalise"}, {"to", "hour"}});
  FieldRule day = rule_for({{"action", "generalise"}, {"to", "day"}});
  EXPECT_EQ(*generalise(hour, 1'700'000'123), 1'699'999'200);
  EXPECT_EQ(*generalise(hour, 1'700'000'123'456), 1'699'999'200'000);
  EXPECT_EQ(*generalise(day, 1'700'000'123), 1'699'920'000);
  EXPECT_EQ(*generalise(hour, "2026-11-23T14:25:10+01:00"), "2026-11-23T14:00");
  EXPECT_EQ(*generalise(day, "2026-11-23T14:25:10Z"), "2026-11-23");
  EXPECT_EQ(*generalise(day, "2026-11-23"), "2026-11-23");
  for (const json& wrong : {json("2026"), json("soon"), json("2026-13-01"), json(true)}) {
    EXPECT_FALSE(generalise(day, wrong)) << wrong;
  }
  FieldRule bucket = rule_for({{"action", "generalise"}, {"to", "bucket"}, {"size", 10}});
  EXPECT_EQ(*generalise(bucket, 137), 130);
  EXPECT_EQ(*generalise(bucket, -1), -10);
  EXPECT_EQ(*generalise(bucket, 12.9), 10);
  EXPECT_FALSE(generalise(bucket, 1e300));
  EXPECT_FALSE(generalise(bucket, std::numeric_limits<std::uint64_t>::max()));
  EXPECT_FALSE(generalise(bucket, INT64_MIN));
  EXPECT_FALSE(generalise(bucket, "137"));
}

TEST(Noise, ValuesAreClampedAndOfTheirKind) {
  base::SeededRandom random(1);
  FieldRule laplace = rule_for({{"action", "randomise"},
                                {"mechanism", "laplace"},
                                {"epsilon", 50},
                                {"min", 0},
                                {"max", 100}});
  for (const json& value :
       {json(1e300), json(1000), json(std::numeric_limits<std::uint64_t>::max())}) {
    EXPECT_NEAR(add_noise(laplace, value, random)->get<double>(), 100, 60);
  }
  EXPECT_NEAR(add_noise(laplace, -5e300, random)->get<double>(), 0, 60);
  EXPECT_FALSE(add_noise(laplace, "7", random));
  FieldRule response = rule_for({{"action", "randomise"},
                                 {"mechanism", "response"},
                                 {"epsilon", 100},
                                 {"values", {"a", "b"}}});
  EXPECT_EQ(*add_noise(response, "b", random), "b");
  EXPECT_EQ(*add_noise(response, "secret", random), "a");  // never what is not in the list
}

TEST(PrivacyPolicy, NamesThePlaceOfAFault) {
  PrivateWorld world;
  auto fault = [&](const std::function<void(json&)>& change) -> std::string {
    json policy = world.policy_json();
    change(policy);
    try {
      PrivacyPolicy::from_json(policy);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
      return error.what();
    }
    return "none";
  };
  auto at = [](const std::string& message, const std::string& place) {
    return message.find("at " + place + ":") != message.npos;
  };
  EXPECT_TRUE(at(fault([](json& p) { p["extra"] = 1; }), "/extra"));
  EXPECT_TRUE(at(fault([](json& p) { p.erase("uses"); }), "its top"));
  EXPECT_TRUE(at(fault([](json& p) { p["version"] = 0; }), "/version"));
  EXPECT_TRUE(at(fault([](json& p) { p["destinations"][0]["url"] = "http://far.example"; }),
                 "/destinations/0/url"));
  EXPECT_TRUE(
      at(fault([](json& p) { p["destinations"][0]["url"] = "http://127.0.0.1.evil.example"; }),
         "/destinations/0/url"));
  EXPECT_TRUE(at(fault([](json& p) { p["destinations"][0]["keys"][0]["public_key"] = "abc"; }),
                 "/destinations/0/keys/0/public_key"));
  EXPECT_TRUE(
      at(fault([](json& p) { p["destinations"][0]["keys"][0]["not_after"] = "2023-02-30"; }),
         "/destinations/0/keys/0/not_after"));
  EXPECT_TRUE(at(fault([](json& p) { p["uses"][0]["purpose"] = "other"; }), "/uses/0/purpose"));
  EXPECT_TRUE(at(fault([](json& p) { p["uses"][0].erase("budget"); }), "/uses/0"));
  EXPECT_TRUE(at(fault([](json& p) { p["uses"][0]["budget"]["epsilon_per_day"] = 0; }),
                 "/uses/0/budget/epsilon_per_day"));
  std::string fields = "/data_types/0/fields";
  EXPECT_TRUE(
      at(fault([](json& p) { p["data_types"][0]["fields"]["model"] = {{"action", "keep"}}; }),
         fields + "[\"model\"]"));
  EXPECT_TRUE(at(fault([](json& p) { p["data_types"][0]["fields"]["/model"]["action"] = "hide"; }),
                 fields + "[\"/model\"]/action"));
  EXPECT_TRUE(at(fault([](json& p) { p["data_types"][0]["fields"]["/liked"]["epsilon"] = "-1"; }),
                 fields + "[\"/liked\"]/epsilon"));
  EXPECT_TRUE(at(fault([](json& p) { p["data_types"][0]["fields"]["/liked"]["typo"] = 1; }),
                 fields + "[\"/liked\"]/typo"));
  EXPECT_EQ(fault([](json&) {}), "none");
  EXPECT_THROW(PrivacyPolicy::parse("{"), Error);
  EXPECT_THROW(PrivacyPolicy::parse("[]"), Error);
}

TEST(PrivacyPolicy, ReportsWhatAnAppStoreAsksFor) {
  PrivateWorld world;
  json report = world.policy().app_store_report();
  const json& type = report["data_types"][0];
  EXPECT_EQ(type["data_type"], "model_usage_stats");
  EXPECT_EQ(type["linked_to_user"], false);
  EXPECT_EQ(type["collected"], true);
  EXPECT_EQ(type["shared"][0]["purpose"], "improve_model_quality");
  EXPECT_EQ(type["fields"].size(), 5u);
}

TEST(FieldRules, PartsWithRulesOfTheirOwnDoNotLeaveWithTheWhole) {
  TextScanner scanner;
  AnonymizingMeans means;
  auto left = [&](const json& fields, const json& document) {
    return anonymize(document, FieldRules::parse(fields, ""), scanner, means).document;
  };
  json keep = {{"action", "keep"}}, drop = {{"action", "drop"}};
  json cell = {{"action", "generalise"}, {"to", "cell"}};
  json place = {{"lat", 48.137154}, {"lon", 11.57549}, {"acc", 3}};
  EXPECT_EQ(
      left({{"", keep}, {"/location/lat", drop}, {"/location/lon", drop}}, {{"location", place}}),
      json::object());
  EXPECT_EQ(left({{"/where", cell}, {"/where/lat", drop}}, {{"where", place}}), json::object());
  EXPECT_EQ(left({{"/where", cell}, {"/where/acc", keep}}, {{"where", place}}),
            (json{{"where", {{"acc", 3}}}}));
  // A rule elsewhere does not vouch for a member's name.
  EXPECT_EQ(left({{"/q/192.168.1.7", keep}, {"/r", keep}}, {{"r", {{"192.168.1.7", 3}}}}),
            (json{{"r", json::object()}}));
  EXPECT_EQ(left({{"", keep}}, {{"c", 4111111111111111.0}, {"d", 0.5}}), (json{{"d", 0.5}}));
}

TEST(FieldRules, MoreExactRulesWin) {
  FieldRules rules = FieldRules::parse({{"/a", {{"action", "keep"}}},
                                        {"/a/secret", {{"action", "drop"}}},
                                        {"/list/*/x", {{"action", "keep"}}},
                                        {"/list/0/x", {{"action", "drop"}}}},
                                       "");
  TextScanner scanner;
  AnonymizingMeans means;
  json out = anonymize({{"a", {{"b", 1}, {"secret", 2}, {"email", "q"}}},
                        {"list", {{{"x", 1}, {"y", 2}}, {{"x", 3}}}},
                        {"z", 4}},
                       rules, scanner, means)
                 .document;
  EXPECT_EQ(out, (json{{"a", {{"b", 1}}}, {"list", {{{"x", 3}}}}}));
}

}  // namespace
}  // namespace holdfast::privacy
