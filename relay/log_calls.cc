// The service's calls on a vault's log: push and pull, and what brings a log back that was lost.

#include <algorithm>

#include "relay/answers.h"
#include "src/base/planted.h"

namespace holdfast::relay {
namespace {

constexpr std::uint64_t kMaxWaitMs = 55'000;
// A log begins anew this often at most: it takes as long as the log is, and others wait.
constexpr std::int64_t kRestartMs = 60'000;  // and as much again
constexpr std::int64_t kMostRestartMs = 3'600'000;
constexpr std::uint64_t kRestartBatches = 10'000;       // for each of so many batches
constexpr std::int64_t kHealMs = 7 * 24 * 3'600'000LL;  // how long its vault may be healed then

}  // namespace

Response Service::push(const Session& session, const std::string& query, ByteView body) {
  std::vector<Bytes> batches = wire::decode_list(body);
  if (is_reserved(session, storage_.vault(session.vault).value())) {
    return later(503, kReserved, 5);
  }
  const wire::ControlState& state = control_state(session.vault);
  bool restores = query_number(query, "restore", 0) != 0;
  Id16 device = wire::device_id_of(session.signer);
  wire::PushAnswer out;
  storage_.transaction([&] {
    Vault vault = storage_.vault(session.vault).value();
    for (const Bytes& batch : batches) {
      out.items.push_back(push_one(session.vault, vault, state, device, restores, batch));
    }
    retain(session.vault, vault);
    if (!base::planted(base::Plant::relay_answers_before_it_stores)) {
      storage_.put_vault(session.vault, vault);
    }
    out.log_id = vault.log_id;
    out.head = vault.head;
    out.chain = vault.chain;
  });
  return answer(wire::encode(out));
}

// Devices bring back what this relay has lost: whoever wrote it, and under whatever epoch's key.
wire::PushAnswer::Item Service::push_one(const Hash32& vault_id, Vault& vault,
                                         const wire::ControlState& state, const Id16& device,
                                         bool restores, ByteView batch) {
  using wire::PushStatus;
  wire::BatchHeader header;
  try {
    header = wire::decode_batch_header(batch);
  } catch (const Error&) {
    return {PushStatus::refused, 0};
  }
  const wire::EnrolledDevice* author = state.device(header.device);
  if (restores && header.epoch > state.epoch()) return {PushStatus::refused, 0};  // no key is that
  if (header.vault != vault_id || !author || (!restores && header.device != device)) {
    return {PushStatus::refused, 0};
  }
  Hash32 leaf = wire::leaf_of(batch);
  if (auto place = storage_.batch_place(vault_id, header.batch)) {
    if (place->second != leaf) return {PushStatus::refused, 0};  // another one under its name
    return {PushStatus::duplicate, place->first};
  }
  Hash32 last = storage_.device_leaf(vault_id, header.device);
  bool is_out =
      author->revoked && (!author->revoked->last_leaf || last == *author->revoked->last_leaf);
  if (is_out || !wire::is_signed(batch, vault_id, author->sign)) return {PushStatus::refused, 0};
  if (!restores && header.epoch != state.epoch()) return {PushStatus::epoch_stale, 0};
  bool follows =
      header.previous == last || base::planted(base::Plant::relay_takes_any_previous_leaf);
  if (!follows) return {PushStatus::device_fork, 0};
  std::uint64_t size = batch.size() + kPlaceBytes;
  bool is_full = vault.bytes + size > quota_of(vault) || vault.head >= options_.vault_batches;
  if (is_full) return {PushStatus::quota, 0};  // what was lost and comes back had room before, too
  ++vault.head;
  vault.bytes += size;
  vault.chain = wire::chain_next(vault.chain, vault.head, leaf);
  storage_.add_batch(vault_id, {vault.head, vault.chain, clock_.now_ms()},
                     {header.batch, header.device, leaf}, batch);
  if (!base::planted(base::Plant::relay_forgets_device_leaves)) {
    storage_.set_device_leaf(vault_id, header.device, leaf);
  }
  return {PushStatus::ok, vault.head};
}

Response Service::log(const Session& session, const std::string& query) {
  Vault vault = storage_.vault(session.vault).value();
  std::uint64_t after = query_number(query, "after", 0);
  std::uint64_t bytes = query_number(query, "bytes", 1 << 20);
  auto chain_at = [&](std::uint64_t position) {
    Hash32 start = wire::chain_start(vault.log_id);
    return position == 0 ? start : storage_.chain_at(session.vault, position).value_or(start);
  };
  wire::LogPage page;
  page.log_id = vault.log_id;
  page.head = vault.head;
  page.chain = vault.chain;
  if (base::planted(base::Plant::relay_withholds_the_newest) && page.head > 0) {
    page.chain = chain_at(--page.head);
  }
  page.control_head = vault.control_head;
  page.start_chain = chain_at(after);
  std::size_t room = page_room(bytes);
  page.floor = vault.floor;
  const Heads& heads = checkpoint_heads(session.vault, vault);
  page.checkpoint = heads.counted;
  page.proposed = heads.proposed;
  if (room > 0) page.batches = storage_.batches(session.vault, after, room);
  page.end_chain = chain_at(after + page.batches.size());
  Response out = answer(wire::encode(page));
  std::uint64_t wait = query_number(query, "wait", 0);
  if (wait > 0 && after == vault.head) {
    out.wait = {session.vault, static_cast<std::int64_t>(std::min(wait, kMaxWaitMs)),
                vault.changes};
  }
  return out;
}

// A device knows more of this log than is here, or a log that came after it. It begins anew, under
// another id, with what there is: views of the old log cannot be taken for a fork of the new one.
Response Service::restart(const Session& session, ByteView body) {
  base::Reader in(body, "a request to begin the log anew");
  wire::LogPosition known = wire::read_position(in);
  auto replaces = in.array<16>();
  std::uint64_t records = in.u64();
  in.expect_end();
  std::optional<Vault> vault = storage_.vault(session.vault);
  if (vault->log_id == replaces) {  // else it began anew already
    bool lost = known.log_id != replaces || known.position > vault->head ||
                records > control_state(session.vault).count();
    if (!lost && known.position > 0) {
      lost = storage_.chain_at(session.vault, known.position) != known.chain;
    }
    if (!lost) return say(409, "the log holds it");
    std::int64_t now = clock_.now_ms();
    auto pause = std::min(kRestartMs * static_cast<std::int64_t>(1 + vault->head / kRestartBatches),
                          kMostRestartMs);
    if (vault->anew_ms != 0 && now < vault->anew_ms + pause) {
      return later(503, "the log began anew just now: try again later", 5);
    }
    vault->anew_ms = now;
    storage_.transaction([&] { begin_anew(session.vault, *vault); });
  }
  return answer(base::to_bytes(vault->log_id));
}

// Records of the list can be brought back for a while, for the log began anew for all to see.
void Service::begin_anew(const Hash32& id, Vault& vault) {
  random_.fill(vault.log_id);
  vault.healing_ms = clock_.now_ms();
  vault.chain = storage_.rechain(id, wire::chain_start(vault.log_id));
  storage_.put_vault(id, vault);
}

std::uint64_t Service::begin_all_anew() {
  constexpr std::size_t kAtOnce = 1000;
  std::uint64_t count = 0;
  Hash32 last{};
  for (;;) {
    std::vector<Hash32> ids = storage_.vaults(last, kAtOnce);
    if (ids.empty()) return count;
    for (const Hash32& id : ids) {
      storage_.transaction([&] {
        Vault vault = storage_.vault(id).value();
        begin_anew(id, vault);
      });
      last = id;
      ++count;
    }
  }
}

bool Service::is_healing(const Vault& vault) const {
  return vault.healing_ms != 0 && vault.healing_ms >= clock_.now_ms() - kHealMs;
}

Response Service::control(const Session& session, const std::string& query) {
  constexpr std::size_t kMost = 500;
  constexpr std::size_t kAtOnce = 50;
  std::uint64_t from = query_number(query, "after", 0);
  std::vector<Bytes> records;
  for (std::size_t bytes = 0; bytes < kControlPage && records.size() < kMost;) {
    std::vector<Bytes> more = storage_.control(session.vault, from + records.size(), kAtOnce);
    for (Bytes& record : more) {
      bytes += record.size();
      records.push_back(std::move(record));
      if (bytes >= kControlPage) break;
    }
    if (more.size() < kAtOnce) break;
  }
  return answer(wire::encode_list(records));
}

// A record that this relay has lost. It speaks for itself: whoever brings it need not be known
// here, for those who are may have come later.
Response Service::restore_control(const Hash32& vault_id, const std::string& query, ByteView body) {
  std::optional<Vault> vault = storage_.vault(vault_id);
  if (!vault) return say(404, "this relay does not hold the vault");
  std::uint64_t at = query_number(query, "at", 0);
  wire::ControlState& state = control_state(vault_id);
  if (at < state.count()) {
    if (storage_.control(vault_id, at, 1).at(0) != base::to_bytes(body)) {
      return say(409, "another record is there");
    }
  } else if (at == state.count()) {
    if (!is_healing(*vault)) {
      return say(409,
                 "this relay has not lost anything that it knows of: let a device sync first "
                 "that it knows, or start it with --restored");
    }
    wire::ControlRecord record = wire::decode_control(body);
    // A place of this very log can be checked.
    const wire::LogPosition& through = record.through;
    bool removes =
        record.type == wire::ControlType::revoke || record.type == wire::ControlType::recover;
    if (removes && through.log_id == vault->log_id && through.position > 0 &&
        storage_.chain_at(vault_id, through.position) != through.chain) {
      return say(409, "it names a place that is not of this log");
    }
    if (!has_room(state.count(), record.type)) return say(403, "the device list is full");
    add_control(vault_id, state, body, false);
  }
  base::Writer out;
  out.u64(state.count());
  return answer(out.take());
}

void Service::add_control(const Hash32& vault_id, wire::ControlState& state, ByteView record,
                          bool ends_reservation) {
  std::uint64_t position = state.count();
  state.append(record);
  try {
    storage_.transaction([&] {
      Vault vault = storage_.vault(vault_id).value();
      storage_.add_control(vault_id, position, record, clock_.now_ms());
      vault.control_head = state.head();
      vault.control_count = state.count();
      vault.bytes += record.size();
      if (ends_reservation) vault.reserved_ms = 0;
      storage_.put_vault(vault_id, vault);
      if (state.recovery_is_proved(state.recovery().sign)) {
        storage_.set_vault_of_recovery(state.recovery().sign, vault_id);
      }
    });
  } catch (...) {
    states_.erase(vault_id);  // it says more than is stored
    throw;
  }
}

// Sent again, since the answer was lost.
bool Service::is_last_record(const Hash32& vault, const wire::ControlState& state,
                             ByteView record) {
  return storage_.control(vault, state.count() - 1, 1).at(0) == base::to_bytes(record);
}

Response Service::post_control(const Session& session, Role role, ByteView body) {
  wire::ControlPost post = wire::decode_control_post(body);
  wire::ControlRecord record = wire::decode_control(post.record);
  wire::ControlState& state = control_state(session.vault);
  if (record.signer != session.signer) return say(403, "a record is posted by its signer");
  if (!has_room(state.count(), record.type)) return say(403, "the device list is full");
  bool fresh = state.head() == post.expected_head;
  using wire::ControlType;
  bool revokes = record.type == ControlType::revoke || record.type == ControlType::recover;
  Vault vault = storage_.vault(session.vault).value();
  if (!revokes && is_reserved(session, vault)) return later(503, kReserved, 5);
  if (revokes) {
    // Set against the log's head, so that nothing before it is in doubt. Whom it takes out, and
    // their friends, cannot race it for ever: everybody else waits until it has come through.
    fresh = fresh && record.through == wire::LogPosition{vault.log_id, vault.head, vault.chain};
    for (const auto& [device, leaf] : record.last_leaves) {
      fresh = fresh && leaf == storage_.device_leaf(session.vault, device);
    }
    bool is_again = !fresh && is_last_record(session.vault, state, post.record);
    if (!fresh && !is_again && role != Role::ticket) reserve(session, vault);
  }
  if (!fresh && is_last_record(session.vault, state, post.record)) return answer({});
  if (!fresh) return say(409, "the device list or the log has changed meanwhile");
  if (!revokes && vault.bytes + post.record.size() > quota_of(vault)) return say(507, kFull);
  add_control(session.vault, state, post.record, revokes);
  return answer({});
}

}  // namespace holdfast::relay
