#include "src/sync/membership.h"

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"
#include "src/model/json.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kEpochName = "epoch key";
constexpr std::string_view kNameContext = "holdfast device name v1";

crypto::Secret name_key(ByteView epoch_key) {
  return crypto::hkdf_sha256(epoch_key, {}, base::view("holdfast names v1"), 32);
}

}  // namespace

Bytes encode(const LogPosition& log) {
  base::Writer out;
  wire::write(out, log);
  return out.take();
}

LogPosition decode_position(ByteView bytes) {
  base::Reader in(bytes, "a place in the log");
  LogPosition log = wire::read_position(in);
  in.expect_end();
  return log;
}

bool is_beginning_again(store::Engine& engine) {
  std::lock_guard lock(engine.mutex());
  std::optional<Bytes> at = engine.database().meta("begin_again");
  return at && !at->empty();
}

Membership::Membership(store::Engine& engine) : engine_(engine) { reload(); }

void Membership::reload() {
  std::lock_guard lock(engine_.mutex());
  control_ = {};
  log_.reset();
  anchor_.reset();
  {
    store::Statement query(
        engine_.database().connection().prepare("SELECT body FROM control ORDER BY position"));
    while (query.step()) control_.append(query.blob(0), wire::ControlState::Origin::stored);
  }
  if (std::optional<Bytes> bytes = engine_.database().meta("log")) {
    log_ = decode_position(*bytes);
  }
  if (std::optional<Bytes> bytes = engine_.database().meta("log_anchor")) {
    anchor_ = decode_position(*bytes);
  }
}

void Membership::require() const {
  if (!in_vault()) {
    throw Error(
        ErrorCode::no_vault,
        "this store is in no vault yet: make one ('holdfast init'), or join one ('holdfast device "
        "join')");
  }
}

bool Membership::is_revoked() const {
  const wire::EnrolledDevice* self = control_.device(engine_.identity().id);
  return self && self->revoked;
}

void Membership::require_not_revoked() const {
  if (!is_revoked()) return;
  const wire::EnrolledDevice& self = *control_.device(engine_.identity().id);
  const auto& by = self.revoked->by;
  std::string who = by == control_.recovery().sign || control_.was_recovery_key(by)
                        ? "the recovery code"
                        : "'" + device_name(wire::device_id_of(by)).name + "'";
  throw Error(ErrorCode::revoked,
              "this device was taken out of the vault by " + who +
                  ": it gets and sends nothing more. All that is here stays readable with this "
                  "store's own key. To come back, make a backup, restore it as a new store, and "
                  "join with that");
}

void Membership::append_control(ByteView record) {
  std::uint64_t position = control_.count();
  wire::ControlRecord said = control_.append(record);
  store::Statement(engine_.database().connection().prepare("INSERT INTO control VALUES(?, ?)"))
      .bind(position)
      .bind(record)
      .run();
  check_against_log(said);
  learn_key(said);
}

// The boxed key, where the record has one for this device. A box that does not open, or opens to
// another key than the list names, leaves the device without: it says so when it comes to sync.
void Membership::learn_key(const wire::ControlRecord& record) {
  if (base::planted(base::Plant::keys_are_not_learnt)) return;
  auto learn = [&](const crypto::BoxKey& own) {
    for (const wire::KeyBox& box : record.epoch.boxes) {
      if (box.receiver != own.public_key()) continue;
      std::optional<crypto::Secret> key = own.open(box.box);
      if (key) keep_key(control_.epoch(), key->view());
    }
  };
  if (!record.epoch.boxes.empty()) learn(engine_.identity().box);
  // The device that this store is about to be may be in already, and the one it was not any more.
  std::optional<store::Identity> next = engine_.next_identity();
  if (next && !record.epoch.boxes.empty()) learn(next->box);
}

Bytes Membership::record_at(std::uint64_t position) const {
  std::lock_guard lock(engine_.mutex());
  store::Statement query(
      engine_.database().connection().prepare("SELECT body FROM control WHERE position = ?"));
  query.bind(position);
  query.step();
  return base::to_bytes(query.blob(0));
}

// The key, and those that it leads to and that are not here. False where it is not the one that the
// list names.
bool Membership::keep_key(std::uint32_t epoch, ByteView key) {
  KeyRing ring(
      control_, [this](std::uint64_t position) { return record_at(position); },
      [this](std::uint32_t earlier) { return has_epoch_key(earlier); });
  if (!ring.add(epoch, key)) return false;
  for (const auto& [number, secret] : ring.keys()) {
    Bytes sealed = engine_.database().seal_secret(kEpochName, secret.view());
    store::Statement(
        engine_.database().connection().prepare("INSERT OR REPLACE INTO epoch VALUES(?, ?)"))
        .bind(std::uint64_t{number})
        .bind(sealed)
        .run();
  }
  return true;
}

EpochKeys Membership::keys_to_pass_on() const {
  std::lock_guard lock(engine_.mutex());
  std::set<std::uint32_t> held;
  {
    store::Statement query(engine_.database().connection().prepare("SELECT num FROM epoch"));
    while (query.step()) held.insert(static_cast<std::uint32_t>(query.integer(0)));
  }
  return KeyRing::to_pass_on(
      control_, [this](std::uint64_t position) { return record_at(position); }, held,
      [this](std::uint32_t epoch) { return epoch_key(epoch); });
}

void Membership::set_epoch_key(std::uint32_t epoch, ByteView key) {
  if (!keep_key(epoch, key)) {
    throw Error(ErrorCode::protocol, "the vault's key is not the one that its device list names");
  }
}

bool Membership::has_epoch_key(std::uint32_t epoch) const {
  std::lock_guard lock(engine_.mutex());
  store::Statement query(
      engine_.database().connection().prepare("SELECT 1 FROM epoch WHERE num = ?"));
  query.bind(std::uint64_t{epoch});
  return query.step();
}

void Membership::require_current_key() const {
  if (has_epoch_key(control_.epoch())) return;
  base::Id16 by = wire::device_id_of(control_.epochs().back().by);
  throw Error(
      ErrorCode::protocol,
      "'" + device_name(by).name +
          "' changed the vault's key and gave this device another one than it says: nothing "
          "is taken or sent. Change the key on another device ('holdfast vault rotate' "
          "there), or revoke that one");
}

crypto::Secret Membership::epoch_key(std::uint32_t epoch) const {
  std::lock_guard lock(engine_.mutex());
  store::Statement query(
      engine_.database().connection().prepare("SELECT key FROM epoch WHERE num = ?"));
  query.bind(std::uint64_t{epoch});
  if (!query.step()) {
    throw Error(ErrorCode::protocol,
                "it is sealed under a key that this device does not have: change the vault's key "
                "on a device that reads it ('holdfast vault rotate')");
  }
  return engine_.database().open_secret(kEpochName, query.blob(0));
}

std::optional<base::Hash32> Membership::chain_at(std::uint64_t position) const {
  std::lock_guard lock(engine_.mutex());
  if (position == 0) return wire::chain_start(log_->log_id);
  store::Statement query(
      engine_.database().connection().prepare("SELECT chain FROM log WHERE position = ?"));
  query.bind(position);
  if (!query.step()) return std::nullopt;
  return base::Reader(query.blob(0), "a chain").array<32>();
}

void Membership::kept_revocation(const base::Id16& device) const {
  if (is_beginning_again(engine_)) return;
  throw MustBeginAgain{"the relay kept from this device that '" + device_name(device).name +
                       "' was taken out of the vault, and gave it later changes of that device, "
                       "which are ignored now. Do not trust this relay, unless it lost data. This "
                       "store had to begin again"};
}

// Whoever takes a device out says which of its batches is the last that counts. Nothing of it from
// behind that one may be here.
void Membership::check_against_log(const wire::ControlRecord& record) const {
  std::lock_guard lock(engine_.mutex());
  for (const auto& [device, leaf] : record.last_leaves) {
    store::Statement later(engine_.database().connection().prepare(
        "SELECT 1 FROM log WHERE device = ?1 AND held = 0 AND position > "
        "coalesce((SELECT position FROM log WHERE device = ?1 AND leaf = ?2), ?3)"));
    later.bind(ByteView(device)).bind(ByteView(leaf));
    later.bind(leaf == base::Hash32{} ? std::uint64_t{0} : std::uint64_t{INT64_MAX});
    if (later.step()) kept_revocation(device);
  }
}

// The history that led whoever took a device out to that place must have led this device there, in
// the log that both know by this name.
void Membership::check_revocations(std::uint64_t from) const {
  for (const auto& [id, device] : control_.devices()) {
    if (!device.revoked || !log_) continue;
    const LogPosition& through = device.revoked->through;
    bool passed = through.log_id == log_->log_id && through.position >= from &&
                  through.position <= log_->position;
    if (!passed || chain_at(through.position) == through.chain) continue;
    throw Error(ErrorCode::fork,
                "the relay shows another history than to the device that took '" +
                    device_name(id).name +
                    "' out of the vault: syncing has stopped. Do not trust this relay");
  }
}

void Membership::set_log(const LogPosition& log) {
  engine_.database().set_meta("log", encode(log));
  log_ = log;
}

void Membership::set_anchor(const LogPosition& anchor) {
  engine_.database().set_meta("log_anchor", encode(anchor));
  anchor_ = anchor;
}

std::optional<std::string> Membership::relay() const {
  std::lock_guard lock(engine_.mutex());
  std::optional<Bytes> url = engine_.database().meta("relay");
  if (!url) return std::nullopt;
  return std::string(base::text(*url));
}

void Membership::set_relay(const std::string& url) {
  engine_.database().set_meta("relay", base::view(url));
}

// The plain text is the name and, where there is a kind, a zero byte and the kind.
DeviceLabel Membership::device_name(const base::Id16& device) const {
  const wire::EnrolledDevice* found = control_.device(device);
  DeviceLabel fallback{"device " + base::to_hex(ByteView(device).first(4)), ""};
  if (!found || !has_epoch_key(found->name.epoch)) return fallback;
  std::optional<crypto::Secret> plain = crypto::open_committing(
      name_key(epoch_key(found->name.epoch).view()).view(), kNameContext, found->name.sealed);
  if (!plain || !model::valid_utf8(base::text(plain->view()))) return fallback;
  std::string text(base::text(plain->view()));
  std::size_t end = text.find('\0');
  DeviceLabel label{text.substr(0, end), end == std::string::npos ? "" : text.substr(end + 1)};
  return label.is_valid() ? label : fallback;
}

wire::SealedName Membership::seal_name(const DeviceLabel& name, std::uint32_t epoch,
                                       ByteView key) const {
  std::string text = name.name;
  if (!name.kind.empty()) text += '\0' + name.kind;
  return {epoch, crypto::seal_committing(name_key(key).view(), kNameContext, base::view(text),
                                         *engine_.environment().random)};
}

}  // namespace holdfast::sync
