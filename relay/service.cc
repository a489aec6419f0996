#include "relay/service.h"

#include <sodium.h>

#include <algorithm>

#include "holdfast/error.h"
#include "relay/answers.h"

namespace holdfast::relay {
namespace {

constexpr std::int64_t kChallengeMs = 2 * 60 * 1000;
constexpr std::int64_t kSessionMs = 15 * 60 * 1000;
constexpr std::size_t kMaxControlRecords = 10'000;
constexpr std::size_t kKeptForRevoking = 500;
constexpr std::size_t kRecordsAtOnce = 500;
constexpr std::int64_t kReserveMs = 30'000;
constexpr std::int64_t kReserveAgainMs = 10 * 60 * 1000;
constexpr std::size_t kVaultPath = 11 + 64 + 1;  // "/v1/vaults/", its id and a slash
constexpr std::uint8_t kChallengeLabel = 1;
constexpr std::uint8_t kSessionLabel = 2;

}  // namespace

Service::Service(Storage& storage, base::Clock& clock, base::Random& random, ServiceOptions options,
                 Bytes secret)
    : storage_(storage),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      secret_(std::move(secret)) {}

Service::Service(Storage& storage, base::Clock& clock, base::Random& random, ServiceOptions options)
    : Service(storage, clock, random, std::move(options), secret_of(storage, random)) {}

Bytes Service::secret_of(Storage& storage, base::Random& random) {
  static_assert(kSecret == crypto_auth_KEYBYTES);
  Bytes secret;
  storage.transaction(
      [&] { secret = storage.secret([&] { return base::to_bytes(random.array<kSecret>()); }); });
  if (secret.size() != kSecret) {
    throw Error(ErrorCode::corrupt, "the relay's stored secret is damaged");
  }
  return secret;
}

void Service::forget() {
  states_.clear();
  heads_.clear();
  retained_.clear();
  histories_.clear();
}

bool Service::writes(const Request& request) {
  return request.method != "GET" && !request.target.starts_with("/v1/session");
}

std::size_t Service::answer_room(const Request& request) {
  constexpr std::size_t kStub = 16 + 16 + 32;
  if (request.method != "GET") return 0;
  std::string_view path = request.path();
  if (path.ends_with("/log")) {
    try {
      std::string query = request.target.substr(std::min(request.target.size(), path.size() + 1));
      return page_room(query_number(query, "bytes", 1 << 20));
    } catch (const Error&) {
      return 0;  // it is refused
    }
  }
  if (path.ends_with("/stubs")) return wire::kMaxStubs * kStub;
  if (path.ends_with("/control")) return kControlPage + wire::kMaxControlRecord;
  if (path.ends_with("/checkpoint")) return 3 << 20;
  return path.find("/blobs/") != std::string_view::npos ? wire::kMaxChunk : 0;
}

Storage::Expected Service::expected(const Request& request) const {
  Storage::Expected out;
  std::optional<Session> session = session_of(request.token);
  std::optional<Hash32> vault = vault_of(request);
  // What needs no token takes its vault in turn, too.
  bool is_open =
      (request.method == "DELETE" && request.path().size() + 1 == kVaultPath) ||
      (request.method == "POST" &&
       (request.path() == "/v1/vaults" ||
        request.path().substr(std::min(request.path().size(), kVaultPath)) == "control/restore"));
  if (vault && is_open) out.vault = *vault;
  if (!session || session->vault != vault) return out;  // a stranger: nothing is fetched for it
  out.vault = *vault;
  auto rate = rates_.find(*vault);
  if (rate != rates_.end() &&
      rate->second.is_full(options_.requests_per_s, most_at_once(), clock_.now_ms())) {
    return out;  // it will be refused
  }
  try {
    if (request.method == "POST" && request.target.find("/batches") != std::string::npos) {
      bool restores = request.target.find("restore=") != std::string::npos;
      Id16 device = wire::device_id_of(session->signer);
      for (const Bytes& batch : wire::decode_list(request.body)) {
        wire::BatchHeader header = wire::decode_batch_header(batch);
        bool may_be = restores || header.device == device;
        if (may_be) out.batches.emplace_back(header.batch, header.device);
      }
    } else if (request.method == "GET" && request.target.find("/log?") != std::string::npos) {
      std::string query = request.target.substr(request.target.find('?') + 1);
      out.log_after = query_number(query, "after", 0);
      out.log_bytes = page_room(query_number(query, "bytes", 1 << 20));
    }
  } catch (const Error&) {
    // handle() says what is wrong with it.
  }
  return out;
}

std::optional<Hash32> Service::vault_of(const Request& request) {
  constexpr std::string_view vaults = "/v1/vaults";
  if (request.path() == "/v1/session") {
    return request.body.size() < 32
               ? std::nullopt
               : std::optional(base::Reader(request.body, "a session").array<32>());
  }
  std::string_view target = request.path();
  if (target == vaults) return wire::sha256({request.body});
  if (!target.starts_with(vaults)) return std::nullopt;
  target.remove_prefix(vaults.size());
  return target.starts_with('/') ? from_path<32>(target.substr(1, 64)) : std::nullopt;
}

Response Service::handle(const Request& request) try {
  return route(request);
} catch (const Error& error) {
  switch (error.code()) {
    case ErrorCode::malformed:
    case ErrorCode::protocol:
    case ErrorCode::newer_version: return say(400, error.what());
    default: {
      Response out = later(503, "the relay cannot store anything now: try again later", 5);
      out.fault = error.what();
      return out;
    }
  }
}

Response Service::route(const Request& request) {
  std::string path = request.target.substr(0, request.target.find('?'));
  std::string query =
      path.size() == request.target.size() ? "" : request.target.substr(path.size() + 1);
  bool post = request.method == "POST";
  bool get = request.method == "GET";
  if (path == "/v1/vaults" && post) return create_vault(request);
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
  if (!vault) return say(404, "no such path");
  if (slash == std::string::npos) {
    return request.method == "DELETE" ? erase(*vault, request.body) : say(404, "no such path");
  }
  std::string call = rest.substr(slash + 1);
  if (call == "control/restore" && post) return restore_control(*vault, query, request.body);
  std::optional<Session> session = session_of(request.token);
  if (!session || session->vault != *vault) return say(401, "sign in first");
  if (!storage_.vault(*vault)) return absent(*vault);
  if (is_too_fast(*vault)) return later(429, "this vault asks for too much at once", 1);
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

Response Service::create_vault(const Request& request) {
  ByteView body = request.body;
  wire::ControlState state;
  state.append(body);
  Vault vault;
  std::optional<Response> refused;
  storage_.transaction([&] {
    if (!storage_.vault(state.vault())) {
      Response gone = absent(state.vault());
      refused = gone.status == 410 ? gone : admit(request, state.vault());
    }
    if (refused) return;
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
    vault.bytes = body.size();
    vault.healing_ms = clock_.now_ms();  // it may have been here before, and lost
    storage_.put_vault(state.vault(), vault);
    storage_.add_control(state.vault(), 0, body, clock_.now_ms());
  });
  if (refused) return *refused;
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

bool Service::is_good_challenge(ByteView nonce) const {
  std::optional<Bytes> message = check_mac(nonce);
  if (!message || message->size() != 25 || (*message)[0] != kChallengeLabel) return false;
  auto now = static_cast<std::uint64_t>(clock_.now_ms());
  return base::Reader(ByteView(*message).subspan(1), "a challenge").u64() >= now;
}

bool Service::is_own(const std::string& origin) const {
  const std::vector<std::string>& origins = options_.origins;
  return std::find(origins.begin(), origins.end(), origin) != origins.end();
}

Response Service::open_session(ByteView body) {
  wire::SessionRequest request = wire::decode_session_request(body);
  if (!is_good_challenge(request.nonce)) {
    return say(400, "the challenge is not of this relay, or has expired");
  }
  auto now = static_cast<std::uint64_t>(clock_.now_ms());
  if (!is_own(request.origin)) return say(403, kNotOwn);
  if (!storage_.vault(request.vault)) return absent(request.vault);
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

Caller Service::caller(const std::string& target, const std::string& token) const {
  std::optional<Session> session = read_token(token);
  std::optional<Hash32> vault = vault_of({"", target, "", {}});
  // What is asked of the vault with a token of it is counted by the vault's own rate: but what
  // asks for no token is not.
  std::string_view path = std::string_view(target).substr(0, target.find('?'));
  bool needs_token = path.size() > kVaultPath && !path.ends_with("/control/restore");
  bool is_member = session && vault && session->vault == *vault && needs_token;
  return {is_member ? wire::kMaxRequest + wire::kMaxBatch : wire::kMaxControlRecord + 1024,
          !is_member || !session_of(token)};
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

// As of the vault's row: another process may have added to it.
wire::ControlState& Service::control_state(const Hash32& id) {
  if (states_.size() > kCachedVaults) states_.clear();
  wire::ControlState& state = states_[id];
  std::optional<Vault> vault = storage_.vault(id);
  std::uint64_t count = vault ? vault->control_count : 0;
  if (state.count() > count ||
      (count > 0 && state.count() == count && state.head() != vault->control_head)) {
    state = {};
  }
  while (state.count() < count) {
    std::vector<Bytes> records = storage_.control(id, state.count(), kRecordsAtOnce);
    if (records.empty()) throw Error(ErrorCode::corrupt, "a device list has a gap");
    for (const Bytes& record : records) state.append(record);
  }
  return state;
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
void Service::reserve(const Session& session, Vault& vault) {
  std::int64_t now = clock_.now_ms();
  std::int64_t again = storage_.reserve_again(session.vault, session.signer);
  if (now < again || now < vault.reserved_ms) return;
  vault.reserved_ms = now + kReserveMs;
  vault.reserved_by = session.signer;
  storage_.transaction([&] {
    storage_.set_reserve_again(session.vault, session.signer, now + kReserveAgainMs);
    storage_.put_vault(session.vault, vault);
  });
}

bool Service::is_reserved(const Session& session, const Vault& vault) const {
  return vault.reserved_ms > clock_.now_ms() && vault.reserved_by != session.signer;
}

}  // namespace holdfast::relay
