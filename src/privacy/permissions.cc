// The gate's part that asks the user, and takes back.

#include <algorithm>

#include "holdfast/error.h"
#include "src/privacy/gate.h"
#include "src/privacy/ledger.h"

namespace holdfast::privacy {
namespace {

using store::Engine;
using store::Statement;

}  // namespace

Gate::Gate(EncryptedLocalStore& store, PrivacyPolicy policy, PermissionPrompt prompt)
    : engine_(store.engine()),
      policy_(std::move(policy)),
      rules_(policy_.rules()),
      prompt_(std::move(prompt)),
      scanner_(rules_.phone_regions),
      grants_(engine_, rules_) {}

void Gate::set_custom(const std::string& name, CustomAction action) {
  std::lock_guard lock(custom_mutex_);
  custom_[name] = std::move(action);
}

const Use& Gate::use_of(const std::string& data_type, const std::string& purpose,
                        const std::string& destination) const {
  const Use* found = nullptr;
  for (const Use& use : rules_.uses) {
    bool fits = (data_type.empty() || use.data_type == data_type) &&
                (purpose.empty() || use.purpose == purpose) &&
                (destination.empty() || use.destination == destination);
    if (!fits) continue;
    if (found) {
      throw Error(ErrorCode::invalid_argument,
                  "the privacy policy provides for this more than once: name the data type, the "
                  "purpose and the destination");
    }
    found = &use;
  }
  if (!found) {
    throw Error(ErrorCode::not_found,
                "the privacy policy provides for no such use: add data type, purpose and "
                "destination to its \"uses\"");
  }
  return *found;
}

Json Gate::tx_about(const Use& use, const std::string& grant) const {
  return {{"grant", grant},
          {"data_type", use.data_type},
          {"purpose", use.purpose},
          {"destination", use.destination},
          {"policy", rules_.hash}};
}

std::size_t Gate::tx_purge(const std::string& grant) {
  base::Connection& connection = engine_.database().connection();
  Statement(connection.prepare("DELETE FROM egress_key WHERE grant_id = ?")).bind(grant).run();
  Statement(connection.prepare("DELETE FROM egress_queue WHERE grant_id = ?")).bind(grant).run();
  return static_cast<std::size_t>(connection.changes());
}

std::size_t Gate::tx_settle() {
  std::size_t purged = 0;
  // A copy that became a device of its own has the original's queue: not its own to send.
  constexpr const char* kOwner = "egress_device";
  base::Connection& connection = engine_.database().connection();
  const auto& own = engine_.identity().id;
  std::optional<Bytes> owner = engine_.database().meta(kOwner);
  if (!owner || ByteView(*owner).size() != own.size() ||
      !std::equal(own.begin(), own.end(), owner->begin())) {
    connection.execute("DELETE FROM egress_key; DELETE FROM egress_queue");
    int dropped = connection.changes();
    purged += static_cast<std::size_t>(dropped);
    if (owner && !owner->empty() && dropped > 0) {
      append_to_ledger(engine_, "drop", {{"reason", "another_device"}, {"dropped", dropped}});
    }
    engine_.database().set_meta(kOwner, own);
  }
  revoke_restored(engine_);
  for (const HeldGrant& held : grants_.take_ended()) {
    Use use{held.grant.data_type, held.grant.purpose, held.grant.destination, std::nullopt};
    Json entry = tx_about(use, held.grant.id);
    std::size_t dropped = tx_purge(held.grant.id);
    purged += dropped;
    entry["dropped"] = dropped;
    entry["reason"] = grant_state_name(held.grant.state);
    bool revoked = held.grant.state == Grant::State::revoked;
    append_to_ledger(engine_, revoked ? "revocation" : "expiry", std::move(entry));
  }
  return purged;
}

bool Gate::request(const std::string& data_type, const std::string& purpose,
                   const PermissionOptions& options) {
  engine_.require_no_transaction();
  const Use& use = use_of(data_type, purpose, options.destination);
  if (options.lifetime_days < 1 || options.lifetime_days > 366) {
    throw Error(ErrorCode::invalid_argument, "a permission lasts 1 to 366 days");
  }
  std::vector<std::string> known;
  {
    Engine::Transaction transaction(engine_);
    tx_settle();
    bool has_one = grants_.in_force(use).has_value();
    if (!has_one || options.renew) append_to_ledger(engine_, "request", tx_about(use, ""));
    known = grants_.revocations(use);
    transaction.commit();
    if (has_one && !options.renew) return true;
  }
  const Destination& to = rules_.destinations.at(use.destination);
  const DataType& type = rules_.data_types.at(use.data_type);
  const Purpose& why = rules_.purposes.at(use.purpose);
  std::int64_t lifetime_ms = options.lifetime_days * kDayMs;
  PermissionRequest asked{
      use.data_type, type.text,  use.purpose,     why.text,    use.destination,
      to.controller, to.contact, to.jurisdiction, type.linked, engine_.now_ms() + lifetime_ms,
      nullptr,       {}};
  if (!options.sample.is_null()) {
    NoiseBook noise(engine_, use);
    AnonymizedDocument shown = anonymize_for(use, options.sample, noise);
    asked.preview = std::move(shown.document);
    asked.fields = std::move(shown.changes);
  }
  bool granted = false;
  std::exception_ptr thrown;
  try {
    granted = prompt_ && prompt_(asked);
  } catch (...) {
    thrown = std::current_exception();
  }
  {
    Engine::Transaction transaction(engine_);
    tx_settle();
    // A no to a longer permission ends the one that there is.
    bool ends = !granted && grants_.in_force(use).has_value();
    std::string id = grants_.add(use, granted, lifetime_ms, known);
    Json entry = tx_about(use, id);
    if (granted) entry["until_ms"] = engine_.now_ms() + lifetime_ms;
    append_to_ledger(engine_, granted ? "grant" : "denial", std::move(entry));
    if (ends) {
      grants_.revoke(use, "denied");
      tx_settle();
    }
    granted = granted && grants_.in_force(use).has_value();  // unless it was revoked meanwhile
    transaction.commit();
  }
  if (thrown) std::rethrow_exception(thrown);
  return granted;
}

std::vector<Grant> Gate::grants() {
  Engine::Transaction transaction(engine_);
  tx_settle();
  std::vector<Grant> out;
  for (HeldGrant& held : grants_.all()) out.push_back(std::move(held.grant));
  transaction.commit();
  return out;
}

std::size_t Gate::revoke(const std::string& data_type, const std::string& purpose,
                         const std::string& destination) {
  engine_.require_no_transaction();
  // What is being sent ends first: nothing leaves once this has returned.
  Engine::EgressTurn& turn = engine_.egress_turn();
  auto count = [&turn](int change) {
    std::lock_guard guard(turn.counting);
    turn.revoking += change;
    turn.stopped = turn.revoking > 0;
  };
  count(1);
  std::unique_lock lock(turn.mutex);
  count(-1);
  Engine::Transaction transaction(engine_);
  tx_settle();
  std::set<std::array<std::string, 3>> kinds;
  std::size_t ended = 0;
  for (const HeldGrant& held : grants_.all()) {
    const Grant& grant = held.grant;
    bool fits = (data_type.empty() || grant.data_type == data_type) &&
                (purpose.empty() || grant.purpose == purpose) &&
                (destination.empty() || grant.destination == destination);
    if (!fits || grant.state == Grant::State::denied) continue;
    ended += grant.state == Grant::State::in_force;
    kinds.insert({grant.data_type, grant.purpose, grant.destination});
  }
  // What was granted on another device and is not known here yet ends, too.
  for (const Use& use : rules_.uses) {
    bool fits = (data_type.empty() || use.data_type == data_type) &&
                (purpose.empty() || use.purpose == purpose) &&
                (destination.empty() || use.destination == destination);
    if (fits) kinds.insert({use.data_type, use.purpose, use.destination});
  }
  if (kinds.empty()) {
    throw Error(ErrorCode::not_found,
                "neither a permission nor the policy has this: 'consent ls' lists what there is");
  }
  for (const auto& [type, why, to] : kinds) {
    Use use{type, why, to, std::nullopt};
    // Where nothing here ends by it, settling has nothing to say of it.
    if (!grants_.in_force(use)) {
      append_to_ledger(engine_, "revocation", tx_about(use, ""));
    }
    grants_.revoke(use, "user");
  }
  tx_settle();
  lock.unlock();  // who sends next waits for the store, and then sees it; observers may send
  transaction.commit();
  return ended;
}

Json Gate::export_grant(const std::string& id) {
  Engine::Transaction transaction(engine_);
  tx_settle();
  std::optional<HeldGrant> held = grants_.by_id(id);
  transaction.commit();
  if (!held) {
    throw Error(ErrorCode::not_found, "no decision has this id: 'consent ls' lists them");
  }
  return consent_record(*held, rules_);
}

BudgetState Gate::budget(const std::string& data_type, const std::string& purpose,
                         const std::string& destination) {
  const Use& use = use_of(data_type, purpose, destination);
  Engine::Transaction transaction(engine_);
  BudgetBook book(engine_, use, grants_.now_ms() / kDayMs);
  BudgetState out{micros_text(book.left_today()), micros_text(book.left_ever()),
                  micros_text(book.spent_today()), micros_text(book.spent_ever())};
  transaction.commit();
  return out;
}

}  // namespace holdfast::privacy
