#include "src/sync/control_client.h"

#include "src/crypto/kdf.h"
#include "src/sync/session.h"
#include "src/wire/admission.h"

namespace holdfast::sync {
namespace {

constexpr int kAttempts = 10;
constexpr unsigned kMostWork = 26;            // half a minute
constexpr std::size_t kMostRecords = 20'000;  // twice what a relay takes

}  // namespace

Bytes ask(store::Engine& engine, const base::HttpRequest& request) {
  if (!engine.environment().network) {
    throw Error(ErrorCode::unreachable, "this store was opened without a network");
  }
  base::HttpResponse response = engine.environment().network->perform(request);
  check_answer(response);
  return std::move(response.body);
}

void sign_in(store::Engine& engine, RelayClient& client, const crypto::SigningKey& key) {
  Bytes nonce = ask(engine, client.challenge());
  client.accept_session(ask(engine, client.session(key, nonce)));
}

Error erased(const Membership& membership, ByteView body) {
  std::string by;
  std::string origin;
  try {
    wire::Erasure erasure = wire::decode_erasure(body);
    origin = erasure.origin;
    const wire::ControlState& list = membership.control();
    base::Id16 id = wire::device_id_of(erasure.signer);
    const wire::EnrolledDevice* device = list.device(id);
    bool is_device = device && device->sign == erasure.signer && !device->revoked;
    bool is_recovery = erasure.signer == list.recovery().sign;
    bool is_signed = wire::verify(erasure.signer, wire::kSignErasure, membership.vault(),
                                  wire::erasure_message(erasure), erasure.signature);
    if (is_signed && is_device) by = "'" + membership.device_name(id).name + "'";
    if (is_signed && is_recovery) by = "whoever has the recovery code";
  } catch (const Error&) {
    // Nobody's.
  }
  std::string message =
      "the relay says that the vault was erased from it, and shows no request of a device that is "
      "known here: whoever runs it did so, or a newer device, or it does not tell the truth";
  if (!by.empty()) message = by + " has erased the vault from " + origin;
  if (!by.empty() && membership.relay() != origin) {
    message = "the relay says that the vault was erased from it, and shows that " + by +
              " has erased it from " + origin + ", which is not how this device calls it";
  }
  message +=
      ": what this device has stays here; choose another relay, or make a new vault from a backup";
  return Error(ErrorCode::refused, message);
}

namespace {

// A counter that does the work: 2^bits tries on average, half a microsecond each.
std::string proof_of_work(const wire::AdmissionNeeded& needed, const base::Hash32& vault) {
  if (needed.bits > kMostWork) {
    throw Error(ErrorCode::refused,
                "the relay asks for more work than any honest one: choose another relay");
  }
  for (std::uint64_t counter = 0;; ++counter) {
    if (wire::work_bits(needed.nonce, vault, counter) < needed.bits) continue;
    return "work." + base::to_base64url(needed.nonce) + "." + std::to_string(counter);
  }
}

// What the relay answers to a vault's creation.
Bytes create_vault(store::Engine& engine, const RelayClient& client, ByteView genesis,
                   const std::string& invitation) {
  constexpr int kNeedsAdmission = 428;
  if (!engine.environment().network) return ask(engine, client.create_vault(genesis));
  base::Network& network = *engine.environment().network;
  std::string given = invitation.empty() ? "" : "invite." + invitation;
  base::HttpResponse response = network.perform(client.create_vault(genesis, given));
  if (response.status == kNeedsAdmission) {
    auto needed = wire::decode_admission_needed(response.body);
    if (needed.kind == wire::AdmissionNeeded::Kind::invite) {
      throw Error(ErrorCode::refused,
                  invitation.empty()
                      ? "this relay takes new vaults by invitation: ask whoever runs it for a code"
                      : "the invitation is not good (any more): ask whoever runs the relay for "
                        "another code");
    }
    given = proof_of_work(needed, wire::sha256({genesis}));
    response = network.perform(client.create_vault(genesis, given));
  }
  check_answer(response);
  return std::move(response.body);
}

}  // namespace

base::Id16 register_vault(store::Engine& engine, const RelayClient& client, ByteView genesis,
                          const std::string& invitation) {
  Bytes answer = create_vault(engine, client, genesis, invitation);
  base::Reader in(answer, "the relay's answer");
  base::Id16 log_id = in.array<16>();
  in.expect_end();
  return log_id;
}

bool post_record(store::Engine& engine, const RelayClient& client, const wire::ControlState& state,
                 const crypto::SigningKey& key, const MakeRecord& make) {
  wire::ControlRecord record;
  record.previous = state.head();
  record.signer = key.public_key();
  if (!make(state, record)) return false;
  record.signature = key.sign(
      wire::signed_message(wire::kSignControl, state.vault(), wire::encode_unsigned(record)));
  ask(engine, client.post_control(record.previous, wire::encode(record)));
  return true;
}

void FetchedList::fetch(store::Engine& engine, const RelayClient& client) {
  for (;;) {
    std::vector<Bytes> more = wire::decode_list(ask(engine, client.get_control(state.count())));
    if (more.empty()) return;
    for (Bytes& record : more) {
      state.append(record);
      if (state.vault() != vault || records.size() >= kMostRecords) {
        throw Error(ErrorCode::protocol, "the relay's list of devices is not this vault's");
      }
      records.push_back(std::move(record));
    }
  }
}

MemberClient::MemberClient(store::Engine& engine) : engine_(engine), client_("") {
  engine.require_no_transaction();
  lock_ = std::unique_lock(engine.sync_mutex());
  membership_.emplace(engine);
  membership_->require();
  membership_->require_not_revoked();
  std::optional<std::string> relay = membership_->relay();
  if (!relay || !membership_->log()) {
    throw Error(ErrorCode::invalid_argument,
                "choose a relay first ('holdfast relay URL'): the vault's devices meet there");
  }
  client_ = RelayClient(*relay);
  client_.set_vault(membership_->vault());
  sign_in(engine, client_, engine.identity().sign);
  fetch();
}

void MemberClient::fetch() {
  for (;;) {
    std::vector<Bytes> records =
        wire::decode_list(ask(engine_, client_.get_control(membership_->control().count())));
    if (records.empty()) break;
    store::Engine::Transaction transaction(engine_);
    try {
      for (const Bytes& record : records) membership_->append_control(record);
    } catch (const MustBeginAgain& found) {
      throw Error(ErrorCode::fork, found.why + ": sync first, then try again");
    }
    transaction.commit();
  }
  membership_->require_not_revoked();
}

void MemberClient::receive() {
  Session session(engine_, client_.url(), *engine_.environment().random, Session::Scope::receive);
  drive(session, engine_.environment(), nullptr, nullptr);
  if (session.failure()) throw Error(*session.failure());
  membership_.emplace(engine_);  // the session has changed it
}

void MemberClient::extend(const MakeRecord& make, bool with_log) {
  for (int attempt = 1;; ++attempt) {
    if (with_log) receive();
    fetch();
    try {
      if (!post_record(engine_, client_, membership_->control(), engine_.identity().sign, make)) {
        return;
      }
      return fetch();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::refused) fetch();  // this device may have been taken out
      // Another device changed the list in between: look again, and try again.
      if (error.code() != ErrorCode::exists || attempt == kAttempts) throw;
    }
  }
}

FreshEpoch fresh_epoch(const wire::ControlState& state, const std::set<base::Id16>& without,
                       const base::Hash32& recovery_box,
                       const std::optional<base::Hash32>& newcomer, const EpochKeys& previous,
                       base::Random& random) {
  FreshEpoch out;
  out.key = crypto::Secret(32);
  random.fill(out.key.span());
  out.start.number = static_cast<std::uint32_t>(state.epochs().size());
  out.start.hash = epoch_hash(out.key.view());
  if (!previous.empty()) {
    out.start.previous_keys = seal_previous(out.key.view(), previous, random);
  }
  std::set<base::Hash32> receivers = state.receivers(without, recovery_box);
  if (newcomer) receivers.insert(*newcomer);
  for (const base::Hash32& receiver : receivers) {
    out.start.boxes.push_back({receiver, crypto::box_to(receiver, out.key.view(), random)});
  }
  return out;
}

RecoveryKeys recovery_keys(ByteView secret16) {
  return {
      crypto::SigningKey(
          crypto::hkdf_sha256(secret16, {}, base::view("holdfast recovery sign v1"), 32).view()),
      crypto::BoxKey(
          crypto::hkdf_sha256(secret16, {}, base::view("holdfast recovery box v1"), 32).view())};
}

void set_recovery(wire::ControlRecord& record, const RecoveryKeys& keys,
                  const base::Hash32& vault) {
  record.recovery.sign = keys.sign.public_key();
  record.recovery.box = keys.box.public_key();
  record.recovery.proof =
      keys.sign.sign(wire::signed_message(wire::kSignRecovery, vault, wire::proof_message(record)));
}

}  // namespace holdfast::sync
