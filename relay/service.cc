#include "relay/service.h"

#include <sodium.h>

#include <algorithm>

#include "holdfast/error.h"
#include "relay/answers.h"

namespace holdfast::relay {
namespace {

constexpr std::int64_t kChallengeMs = 2 * 60 * 1000;
constexpr std::int64_t kSessionMs = 15 * 60 * 1000;
constexpr std::int64_t kMailMs = 60 * 60 * 1000;
constexpr std::size_t kMaxControlRecords = 10'000;
constexpr std::size_t kKeptForRevoking = 500;
constexpr std::int64_t kReserveMs = 30'000;
constexpr std::int64_t kReserveAgainMs = 10 * 60 * 1000;
constexpr std::uint8_t kChallengeLabel = 1;
constexpr std::uint8_t kSessionLabel = 2;

template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> from_path(std::string_view hex) {
  std::optional<Bytes> bytes = base::from_hex(hex);
  if (!bytes || bytes->size() != N) return std::nullopt;
  std::array<std::uint8_t, N> out;
  std::copy(bytes->begin(), bytes->end(), out.begin());
  return out;
}

}  // namespace

Service::Service(Storage& storage, base::Clock& clock, base::Random& random,
                 std::vector<std::string> origins)
    : storage_(storage), clock_(clock), random_(random), origins_(std::move(origins)) {
  secret_ = storage_.secret([&] {
    auto made = random_.array<crypto_auth_KEYBYTES>();
    return base::to_bytes(made);
  });
  if (secret_.size() != crypto_auth_KEYBYTES) {
    throw Error(ErrorCode::corrupt, "the relay's stored secret is damaged");
  }
}

Response Service::handle(const Request& request) try {
  return route(request);
} catch (const Error& error) {
  switch (error.code()) {
    case ErrorCode::malformed:
    case ErrorCode::protocol:
    case ErrorCode::newer_version: return say(400, error.what());
    default: return say(503, "the relay cannot store anything now: try again later");
  }
}

Response Service::route(const Request& request) {
  std::string path = request.target.substr(0, request.target.find('?'));
  std::string query =
      path.size() == request.target.size() ? "" : request.target.substr(path.size() + 1);
  bool post = request.method == "POST";
  bool get = request.method == "GET";
  if (path == "/healthz" && get) return say(200, "ok\n");
  if (path == "/v1/vaults" && post) return create_vault(request.body);
  if (path == "/v1/session/challenge" && post) return challenge();
  if (path == "/v1/session" && post) return open_session(request.body);
  constexpr std::string_view mail = "/v1/mailbox/";
  if (path.starts_with(mail)) return mailbox(request, path.substr(mail.size()), query);
  constexpr std::string_view recovery = "/v1/recovery/";
  if (path.starts_with(recovery) && get) return find_vault(path.substr(recovery.size()));

  constexpr std::string_view vaults = "/v1/vaults/";
  if (!path.starts_with(vaults)) return say(404, "no such path");
  std::string rest = path.substr(vaults.size());
  std::size_t slash = rest.find('/');
  auto vault = from_path<32>(rest.substr(0, slash));
  if (!vault || slash == std::string::npos) return say(404, "no such path");
  std::string call = rest.substr(slash + 1);
  if (call == "control/restore" && post) return restore_control(*vault, query, request.body);
  std::optional<Session> session = session_of(request.token);
  if (!session || session->vault != *vault) return say(401, "sign in first");
  Role role = role_of(*vault, session->signer);
  if (role == Role::nobody) return say(403, "this device is not in the vault");
  Response response = vault_call(*session, role, call, request, query);
  if (post && response.status == 200) response.changed = *vault;
  return response;
}

Response Service::vault_call(const Session& session, Role role, const std::string& call,
                             const Request& request, const std::string& query) {
  bool post = request.method == "POST";
  bool get = request.method == "GET";
  if (call == "control" && get) return control(session, query);
  if (role == Role::former) return say(403, "this device was taken out of the vault");
  if (call == "control" && post) return post_control(session, role, request.body);
  if (role == Role::ticket) return say(403, "a ticket enrols a device and nothing else");
  if (call == "log" && get) return log(session, query);
  if (call == "stubs" && get) return stubs(session, query);
  if (call == "checkpoint" && get) return get_checkpoint(session, query);
  if (role == Role::recovery) return say(403, "a recovery key recovers the vault and nothing else");
  if (call == "batches" && post) return push(session, query, request.body);
  if (call == "restart" && post) return restart(session, request.body);
  if (call == "stubs" && post) return restore_stubs(session, request.body);
  if (call == "checkpoint" && post) return propose(session, request.body);
  if (call == "checkpoint/verify" && post) return verify(session, request.body);
  if (call == "blobs/missing" && post) return missing_blobs(session, request.body);
  if (call.starts_with("blobs/")) return blob(session, request, std::string(call.substr(6)));
  return say(404, "no such path");
}

Service::Role Service::role_of(const Hash32& vault, const Hash32& signer) {
  const wire::ControlState& state = control_state(vault);
  const wire::EnrolledDevice* device = state.device(wire::device_id_of(signer));
  if (device && device->sign == signer) return device->revoked ? Role::former : Role::device;
  if (signer == state.recovery().sign) return Role::recovery;
  if (state.was_recovery_key(signer)) return Role::former;
  return ticket_is_good(vault, state, signer) ? Role::ticket : Role::nobody;
}

Response Service::find_vault(const std::string& recovery_sign) {
  auto sign = from_path<32>(recovery_sign);
  std::optional<Hash32> vault;
  if (sign) vault = storage_.vault_of_recovery(*sign);
  return vault ? answer(base::to_bytes(*vault)) : say(404, "no vault has this recovery key");
}

Response Service::create_vault(ByteView body) {
  wire::ControlState state;
  state.append(body);
  Vault vault;
  storage_.transaction([&] {
    // Whoever holds the key has signed for this vault: nobody else's can be found by it.
    if (state.recovery_is_proved(state.recovery().sign)) {
      storage_.set_vault_of_recovery(state.recovery().sign, state.vault());
    }
    if (auto known = storage_.vault(state.vault())) {
      vault = *known;  // a repeated request
      return;
    }
    random_.fill(vault.log_id);
    vault.chain = wire::chain_start(vault.log_id);
    vault.control_head = state.head();
    vault.control_count = 1;
    storage_.put_vault(state.vault(), vault);
    storage_.add_control(state.vault(), 0, body, clock_.now_ms());
    start_healing(state.vault());  // it may have been here before, and lost
  });
  return answer(base::to_bytes(vault.log_id));
}

// Challenges and sessions are not stored: a MAC under the relay's secret makes them its own.
Bytes Service::with_mac(Bytes message) const {
  std::array<std::uint8_t, crypto_auth_BYTES> mac;
  crypto_auth(mac.data(), message.data(), message.size(), secret_.data());
  message.insert(message.end(), mac.begin(), mac.end());
  return message;
}

std::optional<Bytes> Service::check_mac(ByteView bytes) const {
  if (bytes.size() < crypto_auth_BYTES) return std::nullopt;
  ByteView message = bytes.first(bytes.size() - crypto_auth_BYTES);
  if (crypto_auth_verify(bytes.data() + message.size(), message.data(), message.size(),
                         secret_.data()) != 0) {
    return std::nullopt;
  }
  return base::to_bytes(message);
}

Response Service::challenge() {
  base::Writer out;
  out.u8(kChallengeLabel);
  out.u64(static_cast<std::uint64_t>(clock_.now_ms() + kChallengeMs));
  out.raw(random_.array<16>());
  return answer(with_mac(out.take()));
}

Response Service::open_session(ByteView body) {
  wire::SessionRequest request = wire::decode_session_request(body);
  std::optional<Bytes> nonce = check_mac(request.nonce);
  if (!nonce || nonce->size() != 25 || (*nonce)[0] != kChallengeLabel) {
    return say(400, "the challenge is not of this relay");
  }
  auto now = static_cast<std::uint64_t>(clock_.now_ms());
  if (base::Reader(ByteView(*nonce).subspan(1), "a challenge").u64() < now) {
    return say(400, "the challenge has expired");
  }
  if (std::find(origins_.begin(), origins_.end(), request.origin) == origins_.end()) {
    return say(403, "this relay does not go by the address that was signed for");
  }
  if (!storage_.vault(request.vault)) return say(404, "this relay does not hold the vault");
  if (role_of(request.vault, request.signer) == Role::nobody) {
    return say(403, "this device is not in the vault, or its ticket is spent, void or expired");
  }
  if (!wire::verify(request.signer, wire::kSignSession, request.vault,
                    wire::session_message(request.nonce, request.origin), request.signature)) {
    return say(403, "the signature is not valid");
  }
  base::Writer token;
  token.u8(kSessionLabel);
  token.u64(now + kSessionMs);
  token.raw(request.vault);
  token.raw(request.signer);
  wire::SessionAnswer out;
  out.token = base::to_base64url(with_mac(token.take()));
  out.lifetime_ms = kSessionMs;
  out.now_ms = now;
  return answer(wire::encode(out));
}

// By this relay's clock alone: the inviter's may be wrong.
bool Service::ticket_is_good(const Hash32& vault, const wire::ControlState& state,
                             const Hash32& signer) {
  auto ticket = state.open_ticket(signer);
  if (!ticket) return false;
  std::optional<std::int64_t> received = storage_.control_time(vault, ticket->position);
  return received && clock_.now_ms() <= *received + static_cast<std::int64_t>(ticket->lifetime_ms);
}

std::size_t Service::body_limit(const std::string& target, const std::string& token) const {
  bool member = target.starts_with("/v1/vaults/") && read_token(token);
  return member ? wire::kMaxRequest + wire::kMaxBatch : wire::kMaxControlRecord + 1024;
}

// What the token says, where it is of this relay; whether it has run out is the caller's to see.
std::optional<Service::Session> Service::read_token(const std::string& token) const {
  std::optional<Bytes> bytes = base::from_base64url(token);
  if (!bytes) return std::nullopt;
  std::optional<Bytes> message = check_mac(*bytes);
  if (!message || message->size() != 1 + 8 + 32 + 32 || (*message)[0] != kSessionLabel) {
    return std::nullopt;
  }
  base::Reader in(ByteView(*message).subspan(1), "a token");
  Session session;
  session.expires_ms = in.u64();
  session.vault = in.array<32>();
  session.signer = in.array<32>();
  return session;
}

std::optional<Service::Session> Service::session_of(const std::string& token) const {
  std::optional<Session> session = read_token(token);
  if (!session || session->expires_ms < static_cast<std::uint64_t>(clock_.now_ms())) {
    return std::nullopt;
  }
  return session;
}

wire::ControlState& Service::control_state(const Hash32& vault) {
  if (states_.size() > kCachedVaults) states_.clear();
  wire::ControlState& state = states_[vault];
  for (;;) {
    std::vector<Bytes> records = storage_.control(vault, state.count());
    for (const Bytes& record : records) state.append(record);
    if (records.empty()) return state;
  }
}

// The end of the list is for getting rid of whoever filled it.
bool Service::has_room(std::uint64_t count, wire::ControlType type) {
  using wire::ControlType;
  bool revokes = type == ControlType::revoke || type == ControlType::recover;
  bool starts_epoch = type == ControlType::epoch || type == ControlType::recovery_key;
  if (count >= kMaxControlRecords) return false;
  if (count >= kMaxControlRecords - kKeptForRevoking) return revokes;
  return count < kMaxControlRecords - 2 * kKeptForRevoking || revokes || starts_epoch;
}

// Once in ten minutes for each signer: nobody can hold the others up with it for long.
void Service::reserve(const Session& session) {
  std::int64_t now = clock_.now_ms();
  if (reserved_.size() >= kCachedVaults) {
    std::erase_if(reserved_,
                  [&](const auto& entry) { return entry.second.until_ms + kReserveAgainMs < now; });
  }
  if (reserved_.size() >= kCachedVaults && !reserved_.count(session.vault)) return;
  Reserved& reserved = reserved_[session.vault];
  std::int64_t& again = reserved.again_ms[session.signer];
  if (now < again || now < reserved.until_ms) return;
  again = now + kReserveAgainMs;
  reserved.until_ms = now + kReserveMs;
  reserved.by = session.signer;
}

bool Service::is_reserved(const Session& session) const {
  auto found = reserved_.find(session.vault);
  return found != reserved_.end() && found->second.until_ms > clock_.now_ms() &&
         found->second.by != session.signer;
}

Response Service::mailbox(const Request& request, const std::string& slot_hex,
                          const std::string& query) {
  auto slot = from_path<16>(slot_hex);
  if (!slot) return say(404, "no such path");
  std::int64_t now = clock_.now_ms();
  if (request.method == "GET") {
    std::optional<Bytes> mail = storage_.mail(*slot, now);
    return mail ? answer(std::move(*mail)) : say(404, "nothing is there, or no longer");
  }
  if (request.method != "PUT") return say(404, "no such path");
  if (request.body.size() > wire::kMaxMailbox) return say(413, "too large for a mailbox");
  auto lifetime = static_cast<std::int64_t>(std::min<std::uint64_t>(
      query_number(query, "lifetime_ms", kMailMs), static_cast<std::uint64_t>(kMailMs)));
  auto result = Storage::Mail::stored;
  storage_.transaction(
      [&] { result = storage_.put_mail(*slot, request.body, now, now + lifetime); });
  switch (result) {
    case Storage::Mail::stored: return answer({});
    case Storage::Mail::taken: return say(409, "something else lies in the slot");
    case Storage::Mail::full: break;
  }
  return say(503, "the mailbox is full: try again later");
}

}  // namespace holdfast::relay
