#include "src/privacy/grants.h"

#include <algorithm>
#include <array>

#include "holdfast/error.h"

namespace holdfast {

const char* grant_state_name(Grant::State state) {
  static constexpr std::array<const char*, 5> kNames = {"in_force", "denied", "expired", "revoked",
                                                        "void"};
  return kNames[static_cast<std::size_t>(state)];
}

namespace privacy {
namespace {

using store::Statement;

constexpr const char* kClock = "privacy_clock";
constexpr std::int64_t kLongest = 366 * kDayMs;          // that a permission can last
constexpr std::int64_t kLatest = std::int64_t{1} << 50;  // far beyond any clock
constexpr std::int64_t kAhead = 2 * kDayMs;  // of this device's clock, that another's may be

std::string text_of(const Json& document, const char* name) {
  auto found = document.find(name);
  return found != document.end() && found->is_string() ? found->get<std::string>() : "";
}

std::int64_t number_of(const Json& document, const char* name) {
  auto found = document.find(name);
  return found != document.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

bool concerns(const Json& document, const Use& use) {
  return text_of(document, "data_type") == use.data_type &&
         text_of(document, "purpose") == use.purpose &&
         text_of(document, "destination") == use.destination;
}

// A revocation whose words are not known here, of a later version say, is taken for one of
// everything.
bool revokes(const Json& revocation, const Use& use) {
  for (const char* name : {"data_type", "purpose", "destination"}) {
    if (text_of(revocation, name).empty()) return true;
  }
  return concerns(revocation, use);
}

Use use_of(const Json& document) {
  return {text_of(document, "data_type"), text_of(document, "purpose"),
          text_of(document, "destination"), std::nullopt};
}

std::string new_id(store::Engine& engine) {
  return base::to_hex(engine.environment().random->array<16>());
}

void put_revocation(store::Engine& engine, const Use& use, const char* reason) {
  engine.put_own({kRevocationCollection, new_id(engine)},
                 {{"data_type", use.data_type},
                  {"purpose", use.purpose},
                  {"destination", use.destination},
                  {"reason", reason},
                  {"time_ms", engine.now_ms()},
                  {"device", base::to_hex(engine.identity().id)}});
}

}  // namespace

std::int64_t Grants::now_ms() {
  std::int64_t now = engine_.now_ms();
  std::int64_t latest = 0;
  if (std::optional<Bytes> kept = engine_.database().meta(kClock); kept && kept->size() == 8) {
    latest = static_cast<std::int64_t>(base::Reader(*kept, "the latest time").u64());
  }
  constexpr std::int64_t kStep = 60'000;  // not a write for every look
  if (now > latest + kStep || latest == 0) {
    base::Writer out;
    out.u64(static_cast<std::uint64_t>(std::max<std::int64_t>(now, 1)));
    engine_.database().set_meta(kClock, out.bytes());
  }
  return std::max(now, latest);
}

Grant::State Grants::state_of(const Json& document, const Grant& grant,
                              const std::vector<std::string>& revocations, std::int64_t now) {
  if (text_of(document, "decision") != "granted") return Grant::State::denied;
  Use use = use_of(document);
  auto after = document.find("after");
  for (const std::string& id : revocations) {
    bool known = after != document.end() && after->is_array() &&
                 std::find(after->begin(), after->end(), id) != after->end();
    if (!known) return Grant::State::revoked;
  }
  {
    Statement query(
        engine_.database().connection().prepare("SELECT reason FROM grant_end WHERE grant_id = ?"));
    query.bind(grant.id);
    if (query.step()) {
      return query.text(0) == "void" ? Grant::State::void_ : Grant::State::expired;
    }
  }
  if (grant.until_ms <= now) return Grant::State::expired;
  if (grant.given_ms > now + kAhead) return Grant::State::void_;  // by a clock that is far ahead
  const Use* current = policy_.use(use.data_type, use.purpose, use.destination);
  auto terms = document.find("terms");
  bool covered = current && terms != document.end() && within(policy_.terms(*current), *terms);
  return covered ? Grant::State::in_force : Grant::State::void_;
}

std::vector<HeldGrant> Grants::all() {
  std::int64_t now = now_ms();
  std::vector<HeldGrant> out;
  engine_.for_each(kGrantCollection, [&](const std::string& id, const Json& document) {
    HeldGrant held;
    held.document = document;
    held.grant.id = id;
    held.grant.data_type = text_of(document, "data_type");
    held.grant.purpose = text_of(document, "purpose");
    held.grant.destination = text_of(document, "destination");
    held.grant.policy_hash = text_of(document, "policy");
    held.grant.given_ms = std::clamp(number_of(document, "given_ms"), std::int64_t{0}, kLatest);
    held.grant.until_ms = std::min(number_of(document, "until_ms"), held.grant.given_ms + kLongest);
    held.grant.device = text_of(document, "device");
    out.push_back(std::move(held));
    return true;
  });
  std::vector<std::pair<Json, std::string>> revocations;
  engine_.for_each(kRevocationCollection, [&](const std::string& id, const Json& document) {
    revocations.emplace_back(document, id);
    return true;
  });
  for (HeldGrant& held : out) {
    std::vector<std::string> of_this;
    for (const auto& [document, id] : revocations) {
      if (revokes(document, use_of(held.document))) of_this.push_back(id);
    }
    held.grant.state = state_of(held.document, held.grant, of_this, now);
    if (held.grant.state == Grant::State::expired) held.ended_ms = held.grant.until_ms;
    if (held.grant.state != Grant::State::revoked) continue;
    for (const auto& [document, id] : revocations) {
      std::int64_t time = number_of(document, "time_ms");
      bool counts = revokes(document, use_of(held.document)) && time >= held.grant.given_ms;
      if (counts && (held.ended_ms == 0 || time < held.ended_ms)) held.ended_ms = time;
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const HeldGrant& a, const HeldGrant& b) {
    return a.grant.given_ms > b.grant.given_ms;
  });
  return out;
}

std::vector<HeldGrant> Grants::take_ended() {
  std::vector<HeldGrant> out;
  for (HeldGrant& held : all()) {
    Grant::State state = held.grant.state;
    if (state == Grant::State::in_force || state == Grant::State::denied) continue;
    // What this policy does not know at all, another may; and a time to come may come.
    const Grant& grant = held.grant;
    bool known = policy_.use(grant.data_type, grant.purpose, grant.destination) != nullptr;
    bool to_come = grant.given_ms > now_ms() + kAhead;
    if (state == Grant::State::void_ && (!known || to_come)) continue;
    Statement insert(
        engine_.database().connection().prepare("INSERT OR IGNORE INTO grant_end VALUES(?, ?)"));
    insert.bind(held.grant.id).bind(grant_state_name(state)).run();
    if (engine_.database().connection().changes() == 1) out.push_back(std::move(held));
  }
  return out;
}

std::optional<HeldGrant> Grants::in_force(const Use& use) {
  for (HeldGrant& held : all()) {
    if (held.grant.state == Grant::State::in_force && concerns(held.document, use)) {
      return std::move(held);
    }
  }
  return std::nullopt;
}

std::optional<HeldGrant> Grants::latest(const Use& use) {
  for (HeldGrant& held : all()) {
    if (concerns(held.document, use)) return std::move(held);
  }
  return std::nullopt;
}

std::optional<HeldGrant> Grants::by_id(const std::string& id) {
  for (HeldGrant& held : all()) {
    if (held.grant.id == id) return std::move(held);
  }
  return std::nullopt;
}

std::vector<std::string> Grants::revocations(const Use& use) {
  std::vector<std::string> out;
  engine_.for_each(kRevocationCollection, [&](const std::string& id, const Json& document) {
    if (revokes(document, use)) out.push_back(id);
    return true;
  });
  return out;
}

// The user is here, and says yes: from here on this time counts, even where the latest was a
// mistake. What was granted before is not to be had for longer by that, so it ends.
void Grants::begin_time_again(std::int64_t now) {
  for (const HeldGrant& held : all()) {
    if (held.grant.state != Grant::State::in_force) continue;
    Statement insert(engine_.database().connection().prepare(
        "INSERT OR IGNORE INTO grant_end VALUES(?, 'clock')"));
    insert.bind(held.grant.id).run();
  }
  base::Writer clock;
  clock.u64(static_cast<std::uint64_t>(std::max<std::int64_t>(now, 1)));
  engine_.database().set_meta(kClock, clock.bytes());
}

std::string Grants::add(const Use& use, bool granted, std::int64_t lifetime_ms,
                        const std::vector<std::string>& after) {
  std::int64_t now = engine_.now_ms();
  if (granted && now < now_ms() - kDayMs) begin_time_again(now);
  std::string id = new_id(engine_);
  engine_.put_own({kGrantCollection, id},
                  {{"decision", granted ? "granted" : "denied"},
                   {"data_type", use.data_type},
                   {"purpose", use.purpose},
                   {"destination", use.destination},
                   {"policy", policy_.hash},
                   {"policy_version", policy_.version},
                   {"terms", policy_.terms(use)},
                   {"contact", policy_.destinations.at(use.destination).contact},
                   {"given_ms", now},
                   {"until_ms", now + lifetime_ms},
                   {"device", base::to_hex(engine_.identity().id)},
                   {"after", after}});
  return id;
}

void Grants::revoke(const Use& use, const char* reason) { put_revocation(engine_, use, reason); }

void revoke_restored(store::Engine& engine) {
  constexpr const char* kDone = "restored_grants_revoked";
  std::optional<Bytes> restored = engine.database().meta(store::kRestored);
  std::optional<Bytes> done = engine.database().meta(kDone);
  if (!restored || restored->empty() || (done && !done->empty())) return;
  std::set<std::array<std::string, 3>> kinds;
  engine.for_each(kGrantCollection, [&](const std::string&, const Json& document) {
    kinds.insert({text_of(document, "data_type"), text_of(document, "purpose"),
                  text_of(document, "destination")});
    return true;
  });
  for (const auto& [data_type, purpose, destination] : kinds) {
    put_revocation(engine, {data_type, purpose, destination, std::nullopt}, "restored");
  }
  // Whoever joins the vault that this store founds shares no budget: that of the backup's own
  // vault may be spent twice otherwise.
  engine.put_own({kPrivacyCollection, kNoBudget}, {{"reason", "restored"}});
  engine.database().set_meta(kDone, Bytes{1});
}

}  // namespace privacy
}  // namespace holdfast
