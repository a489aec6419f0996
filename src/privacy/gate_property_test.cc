// Random policies, documents and histories: whatever reaches the network was permitted at that very
// moment, and nothing that was dropped is in it, in any of the usual encodings.

#include <gtest/gtest.h>
#include <sodium.h>

#include <random>

#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

constexpr std::int64_t kDay = 24 * 3'600'000;

std::vector<std::string> encodings(const std::string& secret) {
  std::vector<std::string> out = {secret};
  ByteView bytes = base::view(secret);
  out.push_back(base::to_hex(bytes));
  // Base64 at each of the three ways to lie in a longer text.
  for (std::size_t skip : {0u, 1u, 2u}) {
    std::string text = base::to_base64url(bytes.subspan(skip, (bytes.size() - skip) / 3 * 3));
    out.push_back(text);
  }
  std::vector<char> plain(bytes.size() * 2 + 8);
  sodium_bin2base64(plain.data(), plain.size(), bytes.data(), bytes.size() / 3 * 3,
                    sodium_base64_VARIANT_ORIGINAL);
  out.emplace_back(plain.data());
  std::string wide;
  for (char c : secret) wide += {c, '\0'};
  out.push_back(wide);
  for (base::Hash32 digest : {base::sha256({bytes})}) {
    out.push_back(base::to_hex(digest));
    out.push_back(base::to_hex(ByteView(digest).first(8)));
    out.push_back(base::to_base64url(digest));
    out.push_back(std::string(base::text(digest)));
  }
  std::array<std::uint8_t, 64> longer;
  crypto_hash_sha512(longer.data(), bytes.data(), bytes.size());
  out.push_back(base::to_hex(longer));
  out.push_back(std::string(secret.rbegin(), secret.rend()));
  return out;
}

// One run: two uses, a policy with random rules, and random steps.
class History {
 public:
  explicit History(std::uint64_t seed) : world_(seed), rng_(seed) {
    policy_ = world_.policy_json();
    policy_["data_types"].push_back(
        {{"id", "notes"}, {"text", "Notes"}, {"fields", json::object()}});
    policy_["purposes"].push_back({{"id", "debug"}, {"text", "Find faults"}});
    policy_["uses"].push_back({{"data_type", "notes"},
                               {"purpose", "debug"},
                               {"destination", "model_improvement_server"},
                               {"budget", {{"epsilon_per_day", 100}, {"epsilon_lifetime", 100}}}});
    for (auto& type : policy_["data_types"]) type["fields"] = random_fields();
    app_ = std::make_unique<PrivateApp>(world_, PrivacyPolicy::from_json(policy_));
    world_.on_request = [this] { on_request(); };
  }

  void step() {
    std::uint64_t what = rng_() % 12;
    // A time counts once Holdfast has seen it: not where the clock goes back right away.
    if (what < 3 || what > 6) latest_ = std::max(latest_, now());
    switch (what) {
      case 0:
      case 1: permit(); break;
      case 2: revoke(); break;
      case 3: world_.clock->advance_ms(static_cast<std::int64_t>(rng_() % 20) * kDay); break;
      case 4: world_.clock->set_skew_ms(-static_cast<std::int64_t>(rng_() % 40) * kDay); break;
      case 5: world_.status = std::array<int, 4>{200, 200, 500, 0}[rng_() % 4]; break;
      case 6: change_policy(); break;
      case 7: app_->sync.send_queued(rng_() % 2 == 0); break;
      default: send();
    }
  }
  int sent() const { return sent_; }

 private:
  static constexpr std::array<const char*, 2> kTypes = {"model_usage_stats", "notes"};
  static constexpr std::array<const char*, 2> kPurposes = {"improve_model_quality", "debug"};

  json random_fields() {
    json out = json::object();
    for (const char* pointer :
         {"/a", "/b", "/c", "/c/d", "/c/*", "/*/d", "/e/*/f", "/*/*/f", "/user_email", "/*"}) {
      switch (rng_() % 9) {
        case 0: out[pointer] = {{"action", "drop"}}; break;
        case 1: out[pointer] = {{"action", "keep"}}; break;
        case 2: out[pointer] = {{"action", "pseudonym"}}; break;
        case 3:
          out[pointer] = {{"action", "randomise"},
                          {"mechanism", "response"},
                          {"epsilon", 1},
                          {"values", {"x", "y"}}};
          break;
        case 4: out[pointer] = {{"action", "generalise"}, {"to", "bucket"}, {"size", 10}}; break;
        default: break;
      }
    }
    out["/always"] = {{"action", "keep"}};
    return out;
  }

  std::string secret() {
    static constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz";
    std::string out = "s";
    for (int i = 0; i < 17; ++i) out += kLetters[rng_() % 26];
    return out;
  }

  json random_document() {
    return {{"a", secret()},
            {"b", secret()},
            {"c", {{"d", secret()}, {"g", secret()}, {"email", secret()}}},
            {"e", {{{"f", secret()}}, {{"f", secret()}, {"h", secret()}}}},
            {"user_email", secret()},
            {"unknown", secret()},
            {"n", 137},
            {"m", {{"d", 250}, {"k", secret()}}},
            {"always", 1}};
  }

  void permit() {
    std::size_t i = rng_() % 2;
    PermissionOptions options;
    options.renew = rng_() % 3 == 0;
    options.lifetime_days = 1 + static_cast<int>(rng_() % 30);
    app_->answer = rng_() % 4 != 0;
    int asked = app_->asked;
    bool yes = app_->sync.request_sync_permission(kTypes[i], kPurposes[i], options);
    if (app_->asked == asked) return;
    // The model: until when the user said yes, by the latest clock that was seen when asked.
    for (auto& permissions : permitted_) {
      std::erase_if(permissions, [&](const Permission& one) { return one.until <= latest_; });
    }
    if (yes) {
      permitted_[i].push_back({now() + options.lifetime_days * kDay, policy_});
    } else {
      permitted_[i].clear();
    }
    latest_ = now();
  }
  void revoke() {
    std::size_t i = rng_() % 2;
    app_->sync.revoke(kTypes[i]);
    permitted_[i].clear();
  }
  void change_policy() {
    json next = policy_;
    json& fields = next["data_types"][rng_() % 2]["fields"];
    if (rng_() % 2 == 0) {
      fields = random_fields();
    } else {
      fields[rng_() % 2 == 0 ? "/c/*" : "/a"] = {{"action", "drop"}};
    }
    policy_ = next;
    app_.reset();
    app_ = std::make_unique<PrivateApp>(world_, PrivacyPolicy::from_json(policy_));
  }
  // Whether one permission covers what the policy as it is lets out: of a document that has all of
  // the fields, no more than the policy did under which it was given, and in no other way.
  struct Permission {
    std::int64_t until;
    json policy;
  };
  bool covers(const Permission& one, std::size_t i) {
    if (one.until <= std::max(latest_, now())) return false;
    json document = random_document();
    json was = outline(one.policy, i, document);
    json is = outline(policy_, i, document);
    return std::all_of(is.items().begin(), is.items().end(), [&](const auto& item) {
      return was.contains(item.key()) && was[item.key()] == item.value();
    });
  }
  // What leaves of a document, and how.
  static json outline(const json& policy, std::size_t i, const json& document) {
    DataAnonymizer anonymizer(PrivacyPolicy::from_json(policy), kTypes[i]);
    json out = json::object();
    for (const FieldChange& change : anonymizer.preview(document).changes) {
      if (change.after) out[change.path] = change.action;
    }
    return out;
  }
  void send() {
    std::size_t i = rng_() % 2;
    json document = random_document();
    AnonymizedDocument shown =
        app_->sync.preview(document, "model_improvement_server", {kTypes[i], kPurposes[i]});
    for (const FieldChange& change : shown.changes) {
      if (change.after && *change.after == change.before) continue;
      if (change.before.is_string()) dropped_.push_back(change.before.get<std::string>());
    }
    app_->sync.sync_with_privacy(document, "model_improvement_server", {kTypes[i], kPurposes[i]});
  }

  std::int64_t now() const { return world_.clock->now_ms(); }

  void on_request() {
    ++sent_;
    Arrived one = world_.open_egress(world_.wire_bytes);
    std::string plain = one.payload;
    std::string sealed(base::text(world_.wire_bytes));
    world_.wire_bytes.clear();
    std::size_t i = one.header.data_type == kTypes[0] ? 0 : 1;
    EXPECT_TRUE(std::any_of(permitted_[i].begin(), permitted_[i].end(), [&](const Permission& p) {
      return covers(p, i);
    })) << one.header.data_type;
    EXPECT_EQ(base::to_hex(one.header.policy), PrivacyPolicy::from_json(policy_).hash());
    for (const std::string& value : dropped_) {
      for (const std::string& form : encodings(value)) {
        EXPECT_EQ(plain.find(form), plain.npos) << value << " as " << form;
        EXPECT_EQ(sealed.find(form), sealed.npos);
      }
    }
    if (dropped_.size() > 200) dropped_.erase(dropped_.begin(), dropped_.begin() + 100);
  }

  PrivateWorld world_;
  std::mt19937_64 rng_;
  json policy_;
  std::unique_ptr<PrivateApp> app_;
  std::array<std::vector<Permission>, 2> permitted_;
  std::int64_t latest_ = 0;
  std::vector<std::string> dropped_;
  int sent_ = 0;
};

TEST(GateProperty, NothingLeavesThatIsNotPermittedAtThatMoment) {
  int sent = 0;
  std::uint64_t seeds = std::max<std::uint64_t>(150 / store::test_stride(), 20);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    History run(seed);
    for (int i = 0; i < 40; ++i) run.step();
    sent += run.sent();
    if (::testing::Test::HasFailure()) {
      FAIL() << "seed " << seed;
    }
  }
  EXPECT_GT(sent, 10);
  std::printf("%d payloads seen on the network\n", sent);
}

// The search finds what it looks for.
TEST(GateProperty, TheSearchCanFail) {
  std::string secret = "sabcdefghijklmnopq";
  for (const std::string& form : encodings(secret)) {
    EXPECT_NE(("{\"x\":\"" + form + "\"}").find(form), std::string::npos);
  }
  std::string sha = base::to_hex(base::sha256({base::view(secret)}));
  std::vector<std::string> all = encodings(secret);
  EXPECT_NE(std::find(all.begin(), all.end(), sha), all.end());
}

}  // namespace
}  // namespace holdfast::privacy
