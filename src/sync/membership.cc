#include "src/sync/membership.h"

#include "holdfast/error.h"
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
  out.raw(log.log_id);
  out.u64(log.position);
  out.raw(log.chain);
  return out.take();
}

LogPosition decode_position(ByteView bytes) {
  base::Reader in(bytes, "a place in the log");
  LogPosition log;
  log.log_id = in.array<16>();
  log.position = in.u64();
  log.chain = in.array<32>();
  in.expect_end();
  return log;
}

base::Hash32 epoch_hash(ByteView key) {
  return base::sha256({base::view("holdfast epoch key v1"), key});
}

Membership::Membership(store::Engine& engine) : engine_(engine) {
  std::lock_guard lock(engine_.mutex());
  {
    store::Statement query(
        engine_.database().connection().prepare("SELECT body FROM control ORDER BY position"));
    while (query.step()) control_.append(query.blob(0));
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
        "this store is in no vault yet: make one ('holdfast init'), or join one with a ticket "
        "('holdfast device join')");
  }
}

void Membership::append_control(ByteView record) {
  std::uint64_t position = control_.count();
  control_.append(record);
  store::Statement(engine_.database().connection().prepare("INSERT INTO control VALUES(?, ?)"))
      .bind(position)
      .bind(record)
      .run();
}

crypto::Secret Membership::epoch_key(std::uint32_t epoch) const {
  std::lock_guard lock(engine_.mutex());
  store::Statement query(
      engine_.database().connection().prepare("SELECT key FROM epoch WHERE num = ?"));
  query.bind(std::uint64_t{epoch});
  if (!query.step()) {
    throw Error(ErrorCode::protocol,
                "a batch is sealed under a key that this device does not have");
  }
  return engine_.database().open_secret(kEpochName, query.blob(0));
}

void Membership::set_epoch_key(std::uint32_t epoch, ByteView key) {
  if (epoch_hash(key) != control_.epoch_hash()) {
    throw Error(ErrorCode::protocol, "the vault's key is not the one that its device list names");
  }
  Bytes sealed = engine_.database().seal_secret(kEpochName, key);
  store::Statement(
      engine_.database().connection().prepare("INSERT OR REPLACE INTO epoch VALUES(?, ?)"))
      .bind(std::uint64_t{epoch})
      .bind(sealed)
      .run();
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

std::string Membership::device_name(const base::Id16& device) const {
  const wire::EnrolledDevice* found = control_.device(device);
  std::string fallback = "device " + base::to_hex(ByteView(device).first(4));
  if (!found) return fallback;
  std::optional<crypto::Secret> name = crypto::open_committing(name_key(epoch_key(0).view()).view(),
                                                               kNameContext, found->sealed_name);
  return name && model::valid_utf8(base::text(name->view())) ? std::string(base::text(name->view()))
                                                             : fallback;
}

Bytes Membership::seal_name(const std::string& name, ByteView epoch_key) {
  return crypto::seal_committing(name_key(epoch_key).view(), kNameContext, base::view(name),
                                 *engine_.environment().random);
}

}  // namespace holdfast::sync
