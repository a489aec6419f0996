// The gate's part that makes of data what may leave: check, anonymise, charge, seal, enter, queue.

#include <algorithm>
#include <array>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"
#include "src/privacy/gate.h"
#include "src/privacy/ledger.h"
#include "src/wire/egress.h"

namespace holdfast {

const char* send_status_name(SendResult::Status status) {
  static constexpr std::array<const char*, 3> kNames = {"sent", "queued", "refused"};
  return kNames[static_cast<std::size_t>(status)];
}

namespace privacy {
namespace {

using store::Engine;
using store::Statement;

constexpr std::int64_t kMaxWaiting = 10'000;
constexpr const char* kRoot = "pseudonym_root";

std::string queue_context(const std::string& grant) { return "holdfast egress queue v1 " + grant; }

bool holds_nothing(const Json& document) {
  return document.is_null() || (document.is_structured() && document.empty());
}

std::string text_of(const Json& document) {
  try {
    return document.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::invalid_argument, "the data holds text that is not UTF-8");
  }
}

base::Hash32 hash_of_hex(const std::string& hex) {
  base::Hash32 out{};
  Bytes bytes = base::from_hex(hex).value_or(Bytes(out.size()));
  std::copy_n(bytes.begin(), out.size(), out.begin());
  return out;
}

SendResult refusal(const std::string& reason, const std::string& message) {
  return {SendResult::Status::refused, reason, message, ""};
}

}  // namespace

Gate::Verdict Gate::tx_check(const Use& use, const std::optional<HeldGrant>& held) {
  auto restored = engine_.database().meta(store::kRestored);
  if (restored && !restored->empty()) {
    return {"restored",
            "this store was restored from a backup, and what was taken back since is not known "
            "here: put it into a vault and ask again"};
  }
  if (engine_.is_partly_received()) {
    return {"partly_received",
            "this device has a part of its vault and may lack what was taken back: sync first"};
  }
  if (is_removed(engine_)) {
    return {"revoked", "this device was taken out of its vault: nothing leaves from it"};
  }
  std::string what = use.data_type + " to " + use.destination + " for " + use.purpose;
  if (!held) {
    return {"no_permission", "there is no permission to send " + what + ": ask the user for it"};
  }
  switch (held->grant.state) {
    case Grant::State::in_force: return {};
    case Grant::State::denied: return {"no_permission", "the user does not permit to send " + what};
    case Grant::State::expired:
      return {"expired", "the permission to send " + what + " has expired: ask the user again"};
    case Grant::State::revoked:
      return {"revoked", "the user has taken back the permission to send " + what};
    case Grant::State::void_:
      return {"policy_changed",
              "the privacy policy lets out more now, or elsewhere or in other "
              "words, than was permitted of " +
                  what + ": ask the user again"};
  }
  return {"no_permission", "there is no permission"};
}

const Use& Gate::use_for_sending(const std::string& destination, const SendOptions& options) {
  const Use* permitted = nullptr;
  const Use* provided = nullptr;
  for (const Use& use : rules_.uses) {
    bool fits = use.destination == destination &&
                (options.data_type.empty() || use.data_type == options.data_type) &&
                (options.purpose.empty() || use.purpose == options.purpose);
    if (!fits) continue;
    if (!provided) provided = &use;
    if (!grants_.in_force(use)) continue;
    if (permitted) {
      throw Error(ErrorCode::invalid_argument,
                  "several permissions are for this destination: name data type and purpose");
    }
    permitted = &use;
  }
  if (permitted) return *permitted;
  if (provided) return *provided;
  throw Error(ErrorCode::not_found, "the privacy policy provides for nothing of this kind to '" +
                                        destination + "': add it to its \"uses\"");
}

crypto::Secret Gate::tx_pseudonym_root() {
  std::optional<Bytes> kept = engine_.database().meta(kRoot);
  if (kept && !kept->empty()) return engine_.database().open_secret(kRoot, *kept);
  crypto::Secret root(32);
  engine_.environment().random->fill(root.span());
  engine_.database().set_meta(kRoot, engine_.database().seal_secret(kRoot, root.view()));
  return root;
}

std::optional<crypto::Secret> Gate::tx_queue_key(const std::string& grant) {
  Statement query(
      engine_.database().connection().prepare("SELECT key FROM egress_key WHERE grant_id = ?"));
  query.bind(grant);
  if (!query.step()) return std::nullopt;
  return engine_.database().open_secret("egress_key " + grant, query.blob(0));
}

crypto::Secret Gate::tx_make_queue_key(const std::string& grant) {
  if (std::optional<crypto::Secret> there = tx_queue_key(grant)) return std::move(*there);
  crypto::Secret key(32);
  engine_.environment().random->fill(key.span());
  Bytes sealed = engine_.database().seal_secret("egress_key " + grant, key.view());
  Statement insert(engine_.database().connection().prepare("INSERT INTO egress_key VALUES(?, ?)"));
  insert.bind(grant).bind(ByteView(sealed)).run();
  return key;
}

AnonymizedDocument Gate::anonymize_for(const Use& use, const Json& data, NoiseBook& noise) {
  AnonymizingMeans means;
  {
    std::lock_guard lock(custom_mutex_);
    means.custom = custom_;
  }
  crypto::Secret root;
  std::int64_t now = 0;
  {
    Engine::Transaction transaction(engine_);
    root = tx_pseudonym_root();
    now = grants_.now_ms();
    transaction.commit();
  }
  means.pseudonym = [&](const FieldRule& rule, const std::string& value) {
    std::string info = "holdfast pseudonym v1 " + use.destination + " " + use.purpose + " " +
                       std::to_string(rule.epoch_days) + " " +
                       std::to_string(now / (rule.epoch_days * kDayMs));
    crypto::Secret key = crypto::hkdf_sha256(root.view(), {}, base::view(info), 32);
    return base::to_base64url(
        ByteView(crypto::hmac_sha256(key.view(), base::view(value))).first(16));
  };
  means.randomise = [&](const std::string& path, const FieldRule& rule, const Json& truth) {
    return noise.noisy(path, rule, truth);
  };
  AnonymizedDocument made =
      anonymize(data, rules_.data_types.at(use.data_type).fields, scanner_, means);
  Engine::Transaction transaction(engine_);
  noise.save();
  transaction.commit();
  return made;
}

AnonymizedDocument Gate::preview(const Json& data, const std::string& destination,
                                 const SendOptions& options) {
  engine_.require_no_transaction();
  const Use& use = use_of(options.data_type, options.purpose, destination);
  NoiseBook noise(engine_, use);
  return anonymize_for(use, data, noise);
}

// What stands against queueing one more payload now, and its price.
Gate::Verdict Gate::tx_charge(const Use& use, const std::optional<HeldGrant>& held,
                              std::int64_t cost, std::int64_t now) {
  Verdict verdict = tx_check(use, held);
  if (!verdict.ok()) return verdict;
  if (!rules_.destinations.at(use.destination).key_at(now)) {
    return {"no_valid_key", "no key of " + use.destination +
                                " is valid today: update the app, which brings its policy"};
  }
  Statement count(engine_.database().connection().prepare("SELECT count(*) FROM egress_queue"));
  count.step();
  if (count.integer(0) >= kMaxWaiting) {
    return {"queue_full", "10000 payloads wait to be sent: send them first"};
  }
  if (!BudgetBook(engine_, use, now / kDayMs).charge(cost)) {
    return {"budget_spent", "what noise may cost for " + use.destination + " and " + use.purpose +
                                " is spent on this device, for today or for good"};
  }
  return {};
}

Gate::Sealed Gate::seal_for(const Use& use, const DestinationKey& key, std::string_view payload) {
  const Destination& to = rules_.destinations.at(use.destination);
  base::Random& random = *engine_.environment().random;
  wire::EgressHeader header;
  header.id = random.array<16>();
  header.aead = static_cast<std::uint16_t>(to.aead);
  header.policy = hash_of_hex(rules_.hash);
  header.key_id = key.id;
  header.destination = use.destination;
  header.purpose = use.purpose;
  header.data_type = use.data_type;
  auto context =
      crypto::HpkeContext::sender(to.aead, key.public_key, wire::egress_info(header), random);
  header.encapsulated = context.encapsulated();
  Bytes body = wire::encode(header);
  Bytes padded = wire::pad_payload(payload);
  Bytes sealed = context.seal(body, padded);
  crypto::wipe(padded);
  body.insert(body.end(), sealed.begin(), sealed.end());
  return {header.id, key.id, std::move(body)};
}

// Enters it in the ledger and the queue; returns its number there.
std::int64_t Gate::tx_queue(const Use& use, const std::string& grant, const Sealed& sealed,
                            const std::string& payload, std::int64_t cost) {
  Json entry = tx_about(use, grant);
  entry["egress"] = base::to_hex(sealed.id);
  entry["key"] = sealed.key_id;
  entry["bytes"] = sealed.body.size();
  entry["sha256"] = base::to_hex(base::sha256({sealed.body}));
  entry["epsilon"] = micros_text(cost);
  append_to_ledger(engine_, "preparation", std::move(entry), payload);
  Bytes waiting = crypto::seal_committing(tx_make_queue_key(grant).view(), queue_context(grant),
                                          sealed.body, *engine_.environment().random);
  base::Connection& connection = engine_.database().connection();
  Statement insert(connection.prepare(
      "INSERT INTO egress_queue(egress, grant_id, key_id, policy, next_ms, attempts, body) "
      "VALUES(?, ?, ?, ?, ?, 0, ?)"));
  insert.bind(ByteView(sealed.id)).bind(grant).bind(sealed.key_id).bind(rules_.hash);
  insert.bind(engine_.now_ms()).bind(ByteView(waiting)).run();
  return connection.last_row();
}

SendResult Gate::prepare(const Use& use, const Json& data, std::int64_t* num,
                         std::unique_lock<std::mutex>& turn) {
  {
    Engine::Transaction transaction(engine_);
    tx_settle();
    std::optional<HeldGrant> held = grants_.in_force(use);
    Verdict verdict = tx_check(use, held ? held : grants_.latest(use));
    transaction.commit();
    if (!verdict.ok()) return refusal(verdict.reason, verdict.message);
  }
  NoiseBook noise(engine_, use);
  AnonymizedDocument made = anonymize_for(use, data, noise);
  if (holds_nothing(made.document)) {
    return refusal("nothing_left",
                   "nothing is left of this data: the privacy policy names none of its fields");
  }
  std::string payload = text_of(made.document);

  turn.lock();
  Engine::Transaction transaction(engine_);
  tx_settle();
  std::optional<HeldGrant> held = grants_.in_force(use);
  std::int64_t cost = noise.cost();
  std::int64_t now = grants_.now_ms();
  Verdict verdict = tx_charge(use, held ? held : grants_.latest(use), cost, now);
  if (!verdict.ok()) {
    transaction.commit();
    return refusal(verdict.reason, verdict.message);
  }
  noise.mark_charged();
  const DestinationKey* key = rules_.destinations.at(use.destination).key_at(now);
  Sealed sealed = seal_for(use, *key, payload);
  *num = tx_queue(use, held->grant.id, sealed, payload, cost);
  transaction.commit();
  return {SendResult::Status::queued, "", "", base::to_hex(sealed.id)};
}

SendResult Gate::send(const Json& data, const std::string& destination,
                      const SendOptions& options) {
  engine_.require_no_transaction();
  const Use* use = nullptr;
  {
    Engine::Transaction transaction(engine_);
    tx_settle();
    use = &use_for_sending(destination, options);
    transaction.commit();
  }
  std::int64_t num = 0;
  std::unique_lock<std::mutex> turn(engine_.egress_turn().mutex, std::defer_lock);
  SendResult result = prepare(*use, data, &num, turn);
  if (result.status != SendResult::Status::queued) return result;
  Verdict why;
  Sent sent = Sent::waits;
  try {
    sent = attempt(num, false, nullptr, &why);
  } catch (const Error& error) {  // it is queued, whatever happened since
    why.message = error.what();
  }
  switch (sent) {
    case Sent::yes: result.status = SendResult::Status::sent; break;
    case Sent::gone:
      why.reason = "revoked";
      why.message = "the permission ended before this was sent";
      [[fallthrough]];
    case Sent::dropped:
      result.status = SendResult::Status::refused;
      result.reason = why.reason;
      result.message = why.message;
      break;
    case Sent::waits:
    case Sent::stopped: result.message = why.message; break;
  }
  return result;
}

}  // namespace privacy
}  // namespace holdfast
