#include "src/sync/joining.h"

namespace holdfast::sync {
namespace {

[[noreturn]] void other_list() {
  throw Error(ErrorCode::protocol,
              "the relay's list of devices is not the one that the invitation vouches for");
}

}  // namespace

Welcome welcome_of(const Membership& membership) {
  Welcome welcome;
  welcome.vault = membership.vault();
  welcome.count = membership.control().count();
  welcome.head = membership.control().head();
  welcome.log = membership.log().value();
  welcome.epoch = membership.control().epoch();
  welcome.key = membership.epoch_key(welcome.epoch);
  return welcome;
}

void write(base::Writer& out, const Welcome& welcome) {
  out.raw(welcome.vault);
  out.u64(welcome.count);
  out.raw(welcome.head);
  wire::write(out, welcome.log);
  out.u32(welcome.epoch);
  out.raw(welcome.key.view());
}

Welcome read_welcome(base::Reader& in) {
  Welcome welcome;
  welcome.vault = in.array<32>();
  welcome.count = in.u64();
  welcome.head = in.array<32>();
  welcome.log = wire::read_position(in);
  welcome.epoch = in.u32();
  welcome.key = crypto::Secret(in.raw(32));
  return welcome;
}

base::Hash32 anchor_of(const Welcome& welcome) {
  base::Writer out;
  out.raw(welcome.vault);
  out.u64(welcome.count);
  out.raw(welcome.head);
  wire::write(out, welcome.log);
  return base::sha256({base::view("holdfast anchor v1"), out.bytes()});
}

void check_label(const DeviceLabel& label) {
  if (label.is_valid()) return;
  throw Error(
      ErrorCode::invalid_argument,
      "a device's name is 1 to 64 bytes of printable UTF-8 and not blank, its kind at most 32");
}

void require_no_vault(const Membership& membership) {
  if (membership.in_vault()) {
    throw Error(ErrorCode::exists,
                "this store is in a vault already, and in one at most: give another --db for a new "
                "store");
  }
}

void fetch_checked(store::Engine& engine, const RelayClient& client, const Welcome& welcome,
                   FetchedList& list) {
  list.fetch(engine, client);
  if (list.state.empty() || list.state.vault() != welcome.vault ||
      list.records.size() < welcome.count || welcome.count == 0) {
    other_list();
  }
  if (base::sha256({list.records[welcome.count - 1]}) != welcome.head) other_list();
}

void enter(store::Engine& engine, const RelayClient& client, const Welcome& welcome,
           const FetchedList& list, const EpochKeys& more) {
  base::Id16 log_id = register_vault(engine, client, list.records.front());
  if (log_id != welcome.log.log_id) {
    throw Error(ErrorCode::protocol,
                "the relay shows another history of the vault than the invitation vouches for");
  }
  store::Engine::Transaction transaction(engine);
  Membership membership(engine);
  require_no_vault(membership);
  for (const Bytes& record : list.records) membership.append_control(record);
  membership.require_not_revoked();
  // What was told, where nothing newer came boxed in the list.
  if (!membership.has_epoch_key(welcome.epoch)) {
    membership.set_epoch_key(welcome.epoch, welcome.key.view());
  }
  for (const auto& [epoch, key] : more) {
    if (!membership.has_epoch_key(epoch)) membership.set_epoch_key(epoch, key.view());
  }
  membership.set_log({log_id, 0, wire::chain_start(log_id)});
  if (welcome.log.position > 0) membership.set_anchor(welcome.log);
  membership.set_relay(client.url());
  engine.database().set_meta("joining", Bytes{1});
  transaction.commit();
}

}  // namespace holdfast::sync
