#include "holdfast/vault.h"

#include <algorithm>

#include "src/crypto/recovery_code.h"
#include "src/model/json.h"
#include "src/sync/membership.h"
#include "src/sync/relay_client.h"
#include "src/sync/ticket.h"

namespace holdfast {

using sync::Membership;
using sync::RelayClient;

namespace {

constexpr int kControlAttempts = 5;

Bytes send(store::Engine& engine, const base::HttpRequest& request) {
  if (!engine.environment().network) {
    throw Error(ErrorCode::unreachable, "this store was opened without a network");
  }
  base::HttpResponse response = engine.environment().network->perform(request);
  sync::check_answer(response);
  return std::move(response.body);
}

void sign_in(store::Engine& engine, RelayClient& client, const crypto::SigningKey& key) {
  Bytes nonce = send(engine, client.challenge());
  client.accept_session(send(engine, client.session(key, nonce)));
}

void fetch_control(store::Engine& engine, RelayClient& client, Membership& membership) {
  for (;;) {
    std::vector<Bytes> records =
        wire::decode_list(send(engine, client.get_control(membership.control().count())));
    if (records.empty()) return;
    store::Engine::Transaction transaction(engine);
    for (const Bytes& record : records) membership.append_control(record);
    transaction.commit();
  }
}

void sign(wire::ControlRecord& record, const base::Hash32& vault, const crypto::SigningKey& key) {
  record.signer = key.public_key();
  record.signature =
      key.sign(wire::signed_message(wire::kSignControl, vault, wire::encode_unsigned(record)));
}

void check_device_name(const std::string& name) {
  if (name.empty() || name.size() > 64 || !model::valid_utf8(name) ||
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    throw Error(ErrorCode::invalid_argument, "a device's name is 1 to 64 bytes of printable UTF-8");
  }
}

void require_no_vault(const Membership& membership) {
  if (membership.in_vault()) throw Error(ErrorCode::exists, "this store is in a vault already");
}

}  // namespace

bool Vault::exists() const { return Membership(store_->engine()).in_vault(); }

std::string Vault::id() const {
  Membership membership(store_->engine());
  membership.require();
  return base::to_hex(membership.vault());
}

void Vault::create(const std::string& device_name,
                   const std::function<void(const std::string&)>& keep_recovery_code) {
  check_device_name(device_name);
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  Membership membership(engine);
  require_no_vault(membership);
  base::Random& random = *engine.environment().random;
  const store::Identity& identity = engine.identity();

  crypto::Secret recovery(16);
  random.fill(recovery.span());
  sync::RecoveryKeys keys = sync::recovery_keys(recovery.view());
  crypto::Secret epoch(32);
  random.fill(epoch.span());

  wire::ControlRecord genesis;
  genesis.type = wire::ControlType::genesis;
  random.fill(genesis.nonce);
  genesis.device_sign = identity.sign.public_key();
  genesis.device_box = identity.box.public_key();
  genesis.recovery_sign = keys.sign.public_key();
  genesis.recovery_box = keys.box.public_key();
  genesis.epoch_hash = sync::epoch_hash(epoch.view());
  for (const base::Hash32& receiver : {genesis.device_box, genesis.recovery_box}) {
    genesis.boxes.push_back({receiver, crypto::box_to(receiver, epoch.view(), random)});
  }
  genesis.sealed_name = membership.seal_name(device_name, epoch.view());
  sign(genesis, {}, identity.sign);
  membership.append_control(wire::encode(genesis));
  membership.set_epoch_key(0, epoch.view());
  if (auto restored = engine.database().meta("restored"); restored && !restored->empty()) {
    // Its records are by devices of the vault it came from: this one would not have them otherwise.
    engine.write_all_again();
    engine.database().set_meta("restored", {});
  }
  keep_recovery_code(crypto::recovery_text(recovery.view()));
  transaction.commit();
}

void Vault::use_relay(const std::string& given) {
  std::string url = sync::check_relay_url(given);
  store::Engine& engine = store_->engine();
  Membership membership(engine);
  membership.require();
  Bytes genesis;
  {
    std::lock_guard lock(engine.mutex());
    store::Statement query(
        engine.database().connection().prepare("SELECT body FROM control WHERE position = 0"));
    query.step();
    genesis = base::to_bytes(query.blob(0));
  }
  Bytes answer = send(engine, RelayClient(url).create_vault(genesis));
  base::Reader in(answer, "the relay's answer");
  base::Id16 log_id = in.array<16>();
  in.expect_end();
  store::Engine::Transaction transaction(engine);
  if (membership.log() && membership.log()->log_id != log_id) {
    throw Error(ErrorCode::exists,
                "the vault's history is at the relay used so far (" +
                    membership.relay().value_or("") +
                    "), and not at that one: moving to another is not possible yet");
  }
  if (!membership.log()) membership.set_log({log_id, 0, wire::chain_start(log_id)});
  membership.set_relay(url);
  transaction.commit();
}

std::optional<std::string> Vault::relay() const { return Membership(store_->engine()).relay(); }

std::string Vault::invite_ticket(std::int64_t lifetime_ms) {
  store::Engine& engine = store_->engine();
  Membership membership(engine);
  membership.require();
  std::optional<std::string> relay = membership.relay();
  if (!relay) {
    throw Error(ErrorCode::invalid_argument,
                "choose a relay first ('holdfast relay URL'): the new device is met there");
  }
  if (lifetime_ms <= 0 || lifetime_ms > static_cast<std::int64_t>(wire::kMaxTicketMs)) {
    throw Error(ErrorCode::invalid_argument, "a ticket lives for at most an hour");
  }
  base::Random& random = *engine.environment().random;
  sync::Ticket ticket{*relay, random.array<16>(), random.array<16>()};
  sync::Parcel parcel;
  parcel.vault = membership.vault();
  parcel.ticket_seed = crypto::Secret(32);
  random.fill(parcel.ticket_seed.span());
  parcel.epoch_key = membership.epoch_key(membership.control().epoch());
  crypto::SigningKey ticket_key(parcel.ticket_seed.view());

  RelayClient client(*relay);
  client.set_vault(membership.vault());
  sign_in(engine, client, engine.identity().sign);
  for (int attempt = 1;; ++attempt) {
    fetch_control(engine, client, membership);
    wire::ControlRecord record;
    record.type = wire::ControlType::ticket;
    record.previous = membership.control().head();
    record.ticket_sign = ticket_key.public_key();
    record.lifetime_ms = static_cast<std::uint64_t>(lifetime_ms);
    sign(record, membership.vault(), engine.identity().sign);
    try {
      send(engine, client.post_control(record.previous, wire::encode(record)));
      break;
    } catch (const Error& error) {
      // Another device changed the list in between: look again, and try again.
      if (error.code() != ErrorCode::exists || attempt == kControlAttempts) throw;
    }
  }
  fetch_control(engine, client, membership);
  parcel.anchor_count = membership.control().count();
  parcel.anchor_head = membership.control().head();
  parcel.log = membership.log().value();
  send(engine, client.put_mail(ticket.slot, sync::seal_parcel(parcel, ticket, random)));
  return sync::to_text(ticket);
}

void Vault::join(const std::string& text, const std::string& device_name) {
  check_device_name(device_name);
  sync::Ticket ticket = sync::parse_ticket(text);
  std::string url = sync::check_relay_url(ticket.relay);
  store::Engine& engine = store_->engine();
  {
    Membership membership(engine);
    require_no_vault(membership);
  }
  RelayClient client(url);
  sync::Parcel parcel;
  try {
    parcel = sync::open_parcel(send(engine, client.get_mail(ticket.slot)), ticket);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::not_found,
                "the relay does not know this ticket, or it has expired: ask for a new one");
  }
  client.set_vault(parcel.vault);
  crypto::SigningKey ticket_key(parcel.ticket_seed.view());
  const store::Identity& identity = engine.identity();
  try {
    sign_in(engine, client, ticket_key);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::refused) throw;
    // Spent: by this device, perhaps, in an attempt that was cut off after the relay had taken it.
    try {
      sign_in(engine, client, identity.sign);
    } catch (const Error& second) {
      if (second.code() != ErrorCode::refused) throw;
      throw Error(ErrorCode::not_found, "the ticket is spent or has expired: ask for a new one");
    }
  }

  wire::ControlState state;
  std::vector<Bytes> records;
  auto fetch = [&] {
    for (;;) {
      std::vector<Bytes> more = wire::decode_list(send(engine, client.get_control(state.count())));
      if (more.empty()) break;
      for (Bytes& record : more) {
        state.append(record);
        if (state.count() == parcel.anchor_count && state.head() != parcel.anchor_head) {
          throw Error(ErrorCode::protocol,
                      "the relay's list of devices is not the one that the ticket vouches for");
        }
        records.push_back(std::move(record));
      }
    }
    if (state.empty() || state.vault() != parcel.vault || state.count() < parcel.anchor_count) {
      throw Error(ErrorCode::protocol,
                  "the relay's list of devices is not the one that the ticket vouches for");
    }
  };
  for (int attempt = 1;; ++attempt) {
    fetch();
    if (state.device(identity.id)) break;
    wire::ControlRecord record;
    record.type = wire::ControlType::enrol;
    record.previous = state.head();
    record.device_sign = identity.sign.public_key();
    record.device_box = identity.box.public_key();
    record.sealed_name = Membership(engine).seal_name(device_name, parcel.epoch_key.view());
    sign(record, parcel.vault, ticket_key);
    try {
      send(engine, client.post_control(record.previous, wire::encode(record)));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::exists || attempt == kControlAttempts) throw;
    }
  }

  Bytes genesis = records.front();
  Bytes answer = send(engine, client.create_vault(genesis));
  base::Reader in(answer, "the relay's answer");
  base::Id16 log_id = in.array<16>();
  if (log_id != parcel.log.log_id) {
    throw Error(ErrorCode::protocol,
                "the relay shows another history of the vault than the ticket vouches for");
  }
  store::Engine::Transaction transaction(engine);
  Membership membership(engine);
  require_no_vault(membership);
  for (const Bytes& record : records) membership.append_control(record);
  membership.set_epoch_key(0, parcel.epoch_key.view());
  membership.set_log({log_id, 0, wire::chain_start(log_id)});
  if (parcel.log.position > 0) membership.set_anchor(parcel.log);
  membership.set_relay(url);
  engine.database().set_meta("joining", Bytes{1});
  transaction.commit();
}

std::vector<Device> Vault::devices() const {
  store::Engine& engine = store_->engine();
  Membership membership(engine);
  membership.require();
  std::vector<std::pair<std::uint64_t, Device>> found;
  for (const auto& [id, device] : membership.control().devices()) {
    found.push_back(
        {device.position, {id, membership.device_name(id), id == engine.identity().id}});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Device> out;
  out.reserve(found.size());
  for (auto& [position, device] : found) out.push_back(std::move(device));
  return out;
}

}  // namespace holdfast
