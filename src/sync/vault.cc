#include "holdfast/vault.h"

#include <algorithm>

#include "src/crypto/recovery_code.h"
#include "src/model/json.h"
#include "src/privacy/grants.h"
#include "src/sync/pairing.h"
#include "src/sync/rotation.h"
#include "src/sync/ticket.h"

namespace holdfast {

using sync::Membership;

namespace {

constexpr const char* kByRecovery = "the recovery code";

bool is_printable(const std::string& text) {
  return model::valid_utf8(text) && std::none_of(text.begin(), text.end(), [](unsigned char c) {
           return c < ' ' || c == 0x7f;
         });
}

Membership membership_of(const EncryptedLocalStore& store) {
  Membership membership(store.engine());
  membership.require();
  return membership;
}

void check_newcomer(const EncryptedLocalStore& store, const DeviceLabel& device) {
  sync::check_label(device);
  sync::require_no_vault(Membership(store.engine()));
}

std::string author(const Membership& membership, const base::Hash32& sign) {
  bool by_code = membership.control().was_recovery_key(sign);
  return by_code ? kByRecovery : membership.device_name(base::device_id_of(sign)).name;
}

// What the store holds of each device: when it was last heard of, and whether it sent anything.
struct Heard {
  std::int64_t last_ms = 0;
  bool has_sent = false;
};
Heard heard_of(store::Engine& engine, const base::Id16& device) {
  std::lock_guard lock(engine.mutex());
  store::Statement query(engine.database().connection().prepare(
      "SELECT (SELECT last_seen_ms FROM device WHERE id = ?1), "
      "EXISTS(SELECT 1 FROM batch WHERE device = ?1)"));
  query.bind(ByteView(device));
  query.step();
  return {query.is_null(0) ? 0 : query.integer(0), query.integer(1) != 0};
}

}  // namespace

const char* device_state_name(Device::State state) noexcept {
  switch (state) {
    case Device::State::active: return "active";
    case Device::State::unconfirmed: return "unconfirmed";
    case Device::State::revoked: return "revoked";
  }
  return "unknown";
}

bool DeviceLabel::is_valid() const {
  return name.find_first_not_of(' ') != std::string::npos && name.size() <= 64 &&
         is_printable(name) && kind.size() <= 32 && is_printable(kind);
}

bool Vault::exists() const { return Membership(store_->engine()).in_vault(); }

std::string Vault::id() const { return base::to_hex(membership_of(*store_).vault()); }

std::uint32_t Vault::epoch() const { return membership_of(*store_).control().epoch(); }

void Vault::create(const DeviceLabel& device,
                   const std::function<void(const std::string&)>& keep_recovery_code) {
  check_newcomer(*store_, device);
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  Membership membership(engine);
  sync::require_no_vault(membership);
  base::Random& random = *engine.environment().random;
  const store::Identity& identity = engine.identity();

  crypto::Secret recovery(crypto::kRecoverySecretSize);
  random.fill(recovery.span());
  sync::RecoveryKeys keys = sync::recovery_keys(recovery.view());
  wire::ControlRecord genesis;
  genesis.type = wire::ControlType::genesis;
  random.fill(genesis.nonce);
  genesis.signer = genesis.device_sign = identity.sign.public_key();
  genesis.device_box = identity.box.public_key();
  sync::FreshEpoch epoch =
      sync::fresh_epoch({}, {}, keys.box.public_key(), genesis.device_box, {}, random);
  genesis.epoch = epoch.start;
  genesis.name = membership.seal_name(device, 0, epoch.key.view());
  sync::set_recovery(genesis, keys, {});
  genesis.signature = identity.sign.sign(
      wire::signed_message(wire::kSignControl, {}, wire::encode_unsigned(genesis)));
  membership.append_control(wire::encode(genesis));
  if (auto restored = engine.database().meta(store::kRestored); restored && !restored->empty()) {
    // Its records are by devices of the vault it came from: this one would not have them otherwise.
    privacy::revoke_restored(engine);
    engine.write_all_again();
    engine.database().set_meta(store::kRestored, {});
  }
  sync::hand_over(recovery, keep_recovery_code);
  transaction.commit();
}

void Vault::use_relay(const std::string& given, const std::string& invitation) {
  std::string url = sync::check_relay_url(given);
  store::Engine& engine = store_->engine();
  Membership membership = membership_of(*store_);
  membership.require_not_revoked();
  Bytes genesis;
  {
    std::lock_guard lock(engine.mutex());
    store::Statement query(
        engine.database().connection().prepare("SELECT body FROM control WHERE position = 0"));
    query.step();
    genesis = base::to_bytes(query.blob(0));
  }
  base::Id16 log_id = sync::register_vault(engine, sync::RelayClient(url), genesis, invitation);
  store::Engine::Transaction transaction(engine);
  // Where that relay's history is another, or has lost something, the next sync gives it all that
  // is here.
  if (!membership.log()) membership.set_log({log_id, 0, wire::chain_start(log_id)});
  membership.set_relay(url);
  transaction.commit();
}

std::optional<std::uint32_t> Vault::erase_from_relay() {
  store::Engine& engine = store_->engine();
  sync::MemberClient member(engine);
  Bytes nonce = sync::ask(engine, member.client().challenge());
  base::Id16 log_id = member.membership().log()->log_id;
  Bytes answer =
      sync::ask(engine, member.client().erase_vault(engine.identity().sign, log_id, nonce));
  if (answer.empty()) return std::nullopt;
  base::Reader in(answer, "the relay's answer");
  std::uint32_t days = in.u32();
  in.expect_end();
  return days;
}

std::optional<std::string> Vault::relay() const { return Membership(store_->engine()).relay(); }

Device Vault::invite(const InviteOptions& options) {
  if (!options.show || !options.confirm) {
    throw Error(ErrorCode::invalid_argument, "pairing needs somebody to show the code to, and ask");
  }
  Device joined = sync::pair_as_inviter(store_->engine(), options);
  for (Device& device : devices()) {
    if (device.id == joined.id) return std::move(device);
  }
  return joined;
}

std::string Vault::invite_ticket(std::int64_t lifetime_ms) {
  return sync::invite_by_ticket(store_->engine(), lifetime_ms);
}

void Vault::check_join(const std::string& text, const DeviceLabel& device,
                       const JoinOptions& options) {
  sync::check_label(device);
  std::string relay;
  if (sync::is_ticket(text)) {
    relay = sync::parse_ticket(text).relay;
  } else {
    relay = sync::parse_pairing_code(text).relay;  // empty: a typed code
  }
  if (relay.empty() && options.relay.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "a typed code is good with the relay's URL: give the one that the other device "
                "uses");
  }
  if (!options.relay.empty()) {
    std::string given = sync::check_relay_url(options.relay);
    if (!relay.empty() && given != sync::check_relay_url(relay)) {
      throw Error(ErrorCode::invalid_argument,
                  "the code is for the relay " + relay + ", and not for the one that was given");
    }
  }
}

void Vault::join(const std::string& text, const DeviceLabel& device, const JoinOptions& options) {
  check_join(text, device, options);
  check_newcomer(*store_, device);
  store_->engine().require_no_transaction();
  std::lock_guard running(store_->engine().sync_mutex());
  if (sync::is_ticket(text)) return sync::join_by_ticket(store_->engine(), text, device);
  sync::PairingCode code = sync::parse_pairing_code(text);
  std::string relay = sync::is_scanned_code(text) ? code.relay : options.relay;
  sync::pair_as_joiner(store_->engine(), code, sync::check_relay_url(relay), device, options);
}

void Vault::refresh() { sync::MemberClient(store_->engine()).membership().require(); }

std::vector<Device> Vault::devices() const {
  store::Engine& engine = store_->engine();
  std::lock_guard lock(engine.mutex());
  Membership membership = membership_of(*store_);
  const wire::ControlState& control = membership.control();
  bool others_sent = false;  // any other than one that came by the recovery code
  for (const auto& [id, device] : control.members()) {
    bool recovered = device->way == wire::EnrolledDevice::Way::recovery;
    others_sent = others_sent || (!recovered && heard_of(engine, id).has_sent);
  }
  std::vector<std::pair<std::uint64_t, Device>> found;
  for (const auto& [id, enrolled] : control.devices()) {
    using Way = wire::EnrolledDevice::Way;
    Device device;
    DeviceLabel label = membership.device_name(id);
    device.id = id;
    device.name = std::move(label.name);
    device.kind = std::move(label.kind);
    device.by_recovery = enrolled.way == Way::recovery;
    if (enrolled.way == Way::device || enrolled.way == Way::ticket) {
      device.added_by = author(membership, enrolled.added_by);
    }
    device.this_device = id == engine.identity().id;
    device.last_seen_ms =
        device.this_device ? engine.environment().clock->now_ms() : heard_of(engine, id).last_ms;
    if (enrolled.revoked) {
      device.state = Device::State::revoked;
      device.revoked_by = author(membership, enrolled.revoked->by);
    } else if (device.by_recovery && !others_sent) {
      device.state = Device::State::unconfirmed;
    }
    found.emplace_back(enrolled.position, std::move(device));
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Device> out;
  out.reserve(found.size());
  for (auto& [position, device] : found) out.push_back(std::move(device));
  return out;
}

Device Vault::find_device(const std::string& name) const {
  constexpr std::size_t kLeastDigits = 8;
  std::optional<Device> found;
  bool is_out = false;
  for (Device& device : devices()) {
    bool by_id = name.size() >= kLeastDigits && base::to_hex(device.id).starts_with(name);
    if (device.name != name && !by_id) continue;
    if (device.state == Device::State::revoked) {
      is_out = true;
      continue;
    }
    if (found) {
      throw Error(ErrorCode::invalid_argument,
                  "several devices go by that name: give the first 8 digits of its id, from "
                  "'holdfast device ls'");
    }
    found = std::move(device);
  }
  if (!found) {
    throw Error(ErrorCode::not_found,
                is_out ? "the device of that name was taken out of the vault already"
                       : "no device in the vault goes by that name: see 'holdfast device ls'");
  }
  return *found;
}

void Vault::rename(const std::array<std::uint8_t, 16>& device, const DeviceLabel& label) {
  sync::check_label(label);
  sync::MemberClient member(store_->engine());
  member.require_current_key();
  member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
    if (!state.member(device)) {
      throw Error(ErrorCode::not_found, "that device is not in the vault (any more)");
    }
    record.type = wire::ControlType::rename;
    record.device = device;
    record.name = member.membership().seal_name(
        label, state.epoch(), member.membership().epoch_key(state.epoch()).view());
    return true;
  });
}

void Vault::revoke(const std::array<std::uint8_t, 16>& device,
                   const std::function<void(const std::string& code)>& keep) {
  sync::revoke_device(store_->engine(), device, keep);
}

std::string Vault::recovery_set_by() const {
  Membership membership = membership_of(*store_);
  const wire::ControlState& control = membership.control();
  base::Id16 by = base::device_id_of(control.recovery_set_by());
  return control.knows_recovery(by) ? membership.device_name(by).name : "";
}

void Vault::rotate_key() { sync::start_epoch(store_->engine()); }

void Vault::replace_recovery_code(const std::function<void(const std::string& code)>& keep) {
  sync::replace_recovery(store_->engine(), keep);
}

void Vault::check_recover(const std::string& code, const std::string& relay,
                          const DeviceLabel& device) {
  sync::check_label(device);
  sync::check_relay_url(relay);
  if (!crypto::parse_recovery_code(code)) {
    throw Error(ErrorCode::invalid_argument,
                "that is no recovery code: look for a mistyped or missing letter");
  }
}

void Vault::recover(const std::string& code, const std::string& relay, const DeviceLabel& device,
                    const std::function<void(const std::string& code)>& keep) {
  check_recover(code, relay, device);
  check_newcomer(*store_, device);
  store_->engine().require_no_transaction();
  std::lock_guard running(store_->engine().sync_mutex());
  sync::recover(store_->engine(), code, relay, device, keep);
}

}  // namespace holdfast
