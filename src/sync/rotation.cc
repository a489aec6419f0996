#include "src/sync/rotation.h"

#include <map>

#include "src/crypto/recovery_code.h"
#include "src/sync/outbox.h"

namespace holdfast::sync {
namespace {

constexpr int kAttempts = 10;

crypto::Secret new_code(store::Engine& engine) {
  crypto::Secret secret(crypto::kRecoverySecretSize);
  engine.environment().random->fill(secret.span());
  return secret;
}

// Once a new code is shown, a failure leaves open which of the two counts.
void keeping_both_codes(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) +
                                  " (Keep the old recovery code and the new one until this has "
                                  "worked: it may or may not have been replaced)");
  }
}

// What the holder of the recovery key finds in the list: the vault's keys, from all boxes that were
// ever made for it, for the last one may hold another key than it says.
KeyRing open_boxes(const FetchedList& list, const crypto::BoxKey& box) {
  KeyRing ring(list.state, [&](std::uint64_t position) { return list.records[position]; });
  for (std::size_t epoch = list.state.epochs().size(); epoch-- > 0;) {
    wire::EpochStart start =
        wire::decode_control(list.records[list.state.epochs()[epoch].position]).epoch;
    for (const wire::KeyBox& boxed : start.boxes) {
      if (boxed.receiver != box.public_key()) continue;
      std::optional<crypto::Secret> key = box.open(boxed.box);
      if (key) ring.add(static_cast<std::uint32_t>(epoch), key->view());
    }
  }
  if (ring.keys().empty()) {
    throw Error(ErrorCode::protocol, "no key of the vault was ever sealed to this recovery code");
  }
  return ring;
}

EpochKeys passed_on(const FetchedList& list, const KeyRing& ring) {
  std::set<std::uint32_t> held;
  for (const auto& [epoch, key] : ring.keys()) held.insert(epoch);
  return KeyRing::to_pass_on(
      list.state, [&](std::uint64_t position) { return list.records[position]; }, held,
      [&](std::uint32_t epoch) { return ring.keys().at(epoch).copy(); });
}

// Where the log ends, and each device's last leaf there: read from the whole log, for what a relay
// says of them alone would be signed for ever.
struct WholeLog {
  LogPosition head;
  std::map<base::Id16, base::Hash32> leaves;
};
// The beginning of a log that the relay has let go of: the checkpoint of it says the same, signed.
WholeLog read_checkpoint(store::Engine& engine, const RelayClient& client,
                         const wire::ControlState& list, const base::Id16& log_id) {
  wire::Checkpoint checkpoint = wire::decode_checkpoint(ask(engine, client.get_checkpoint(false)));
  WholeLog out;
  out.head = {log_id, 0, wire::chain_start(log_id)};
  base::Hash32 history = wire::history_start();
  while (out.head.position < checkpoint.position) {
    wire::StubPage page = wire::decode_stub_page(ask(engine, client.get_stubs(out.head.position)));
    if (page.log_id != log_id || page.after != out.head.position || page.stubs.empty()) break;
    for (const wire::Stub& stub : page.stubs) {
      if (out.head.position == checkpoint.position) break;
      ++out.head.position;
      out.head.chain = wire::chain_next(out.head.chain, out.head.position, stub.leaf);
      history = wire::history_next(history, out.head.position, stub.leaf);
    }
  }
  bool proved = wire::counts(checkpoint, list) && out.head.position == checkpoint.position &&
                history == checkpoint.history;
  if (!proved) {
    throw Error(ErrorCode::protocol,
                "the relay's history does not lead to the checkpoint that the vault's devices "
                "signed");
  }
  out.leaves.insert(checkpoint.leaves.begin(), checkpoint.leaves.end());
  return out;
}

WholeLog read_log(store::Engine& engine, const RelayClient& client,
                  const wire::ControlState& list) {
  constexpr std::size_t kPageBytes = 2 << 20;
  WholeLog out;
  for (bool first = true;;) {
    wire::LogPage page =
        wire::decode_log_page(ask(engine, client.get_log(out.head.position, kPageBytes)));
    if (first && page.floor > 0 && out.head.position == 0) {
      out = read_checkpoint(engine, client, list, page.log_id);
      first = false;
      continue;
    }
    if (first) out.head = {page.log_id, 0, wire::chain_start(page.log_id)};
    first = false;
    bool fits = page.log_id == out.head.log_id && page.start_chain == out.head.chain &&
                page.head - out.head.position >= page.batches.size();
    for (const Bytes& batch : page.batches) {
      base::Hash32 leaf = wire::leaf_of(batch);
      ++out.head.position;
      out.head.chain = wire::chain_next(out.head.chain, out.head.position, leaf);
      out.leaves[wire::decode_batch_header(batch).device] = leaf;
    }
    bool ends = out.head.position >= page.head;
    if (!fits || (ends && out.head.chain != page.chain) || (!ends && page.batches.empty())) {
      throw Error(ErrorCode::protocol, "the relay's history does not hold together");
    }
    if (ends) return out;
  }
}

}  // namespace

void hand_over(const crypto::Secret& secret, const KeepCode& keep) {
  std::string text = crypto::recovery_text(secret.view());
  try {
    keep(text);
  } catch (...) {
    crypto::wipe(text);
    throw;
  }
  crypto::wipe(text);
}

void start_epoch(store::Engine& engine) {
  MemberClient member(engine);
  member.require_current_key();  // or what lies under it would be out of reach of the next
  member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
    record.type = wire::ControlType::epoch;
    record.epoch = fresh_epoch(state, {}, state.recovery().box, std::nullopt,
                               member.membership().keys_to_pass_on(), *engine.environment().random)
                       .start;
    return true;
  });
}

void revoke_device(store::Engine& engine, const base::Id16& device, const KeepCode& keep) {
  if (device == engine.identity().id) {
    throw Error(ErrorCode::invalid_argument, "a device is taken out by another one: do it there");
  }
  // Whoever replaced the code may have kept it: then it goes with the device.
  std::optional<RecoveryKeys> next;
  auto needs_code = [&](const wire::ControlState& state) {
    return state.knows_recovery(device) && !next;
  };
  if (needs_code(MemberClient(engine).membership().control())) {
    if (!keep) {
      throw Error(
          ErrorCode::invalid_argument,
          "that device replaced the vault's recovery code, and may know it: say where a new "
          "code goes");
    }
    crypto::Secret secret = new_code(engine);
    hand_over(secret, keep);
    next = recovery_keys(secret.view());
  }
  MemberClient member(engine);
  auto make = [&](const wire::ControlState& state, wire::ControlRecord& record) {
    if (!state.member(device)) {
      throw Error(ErrorCode::not_found, "that device is not in the vault (any more)");
    }
    if (needs_code(state)) {
      throw Error(ErrorCode::invalid_argument,
                  "that device has replaced the recovery code meanwhile: revoke it again");
    }
    record.type = wire::ControlType::revoke;
    record.revoked = {device};
    record.through = member.membership().log().value();
    record.last_leaves = {{device, device_leaf(engine, device)}};
    record.replaces_recovery = next.has_value();
    record.epoch = fresh_epoch(state, {device},
                               next ? next->box.public_key() : state.recovery().box, std::nullopt,
                               member.membership().keys_to_pass_on(), *engine.environment().random)
                       .start;
    if (next) set_recovery(record, *next, state.vault());
    return true;
  };
  if (next) {
    keeping_both_codes([&] { member.extend(make, true); });
  } else {
    member.extend(make, true);
  }
}

void replace_recovery(store::Engine& engine, const KeepCode& keep) {
  MemberClient(engine).require_current_key();  // before a code is shown that may not come to count
  crypto::Secret secret = new_code(engine);
  RecoveryKeys keys = recovery_keys(secret.view());
  hand_over(secret, keep);
  keeping_both_codes([&] {
    MemberClient member(engine);
    member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
      record.type = wire::ControlType::recovery_key;
      record.epoch =
          fresh_epoch(state, {}, keys.box.public_key(), std::nullopt,
                      member.membership().keys_to_pass_on(), *engine.environment().random)
              .start;
      set_recovery(record, keys, state.vault());
      return true;
    });
  });
}

namespace {

// One recovery: the code's keys sign a record that lets this device in and everybody else out.
class Recovery {
 public:
  Recovery(store::Engine& engine, const std::string& relay, ByteView secret)
      : engine_(engine), keys_(recovery_keys(secret)), client_(relay), list_(find()) {}

  void run(const DeviceLabel& name, const KeepCode& keep) {
    if (!resume()) {
      sign_in(engine_, client_, keys_.sign);
      list_.fetch(engine_, client_);
      require_current();
      open_boxes(list_, keys_.box);
      crypto::Secret fresh = new_code(engine_);
      hand_over(fresh, keep);
      keeping_both_codes([&] { take_over(name, recovery_keys(fresh.view())); });
    }
    Welcome welcome;  // the key comes boxed in the list
    welcome.vault = list_.vault;
    welcome.log = through_;
    welcome.epoch = list_.state.epoch();
    enter(engine_, client_, welcome, list_, open_boxes(list_, keys_.box).keys());
  }

 private:
  base::Hash32 find() {
    Bytes found = lookup();
    base::Reader in(found, "the relay's answer");
    auto vault = in.array<32>();
    in.expect_end();
    client_.set_vault(vault);
    return vault;
  }
  Bytes lookup() {
    try {
      return ask(engine_, client_.find_vault(keys_.sign.public_key()));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      throw Error(ErrorCode::not_found,
                  "no vault at this relay has this recovery code: check the relay's address, and "
                  "that it is the vault's code, from 'init' or 'vault recovery-code'");
    }
  }

  // An attempt that was cut off after the relay had taken it. Only what this very code has signed
  // counts, or what made it the vault's: a relay can put anybody's device into a vault of its own.
  bool resume() {
    try {
      sign_in(engine_, client_, engine_.identity().sign);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::refused) throw;
      return false;
    }
    list_.fetch(engine_, client_);
    const base::Hash32& code = keys_.sign.public_key();
    if (!list_.state.recovery_is_proved(code)) {
      throw Error(
          ErrorCode::protocol,
          "the relay shows a vault that this recovery code is not of: nothing was taken. Do "
          "not trust this relay");
    }
    const wire::EnrolledDevice* self = list_.state.member(engine_.identity().id);
    wire::ControlRecord entry;
    if (self) entry = wire::decode_control(list_.records[self->position]);
    bool by_code = entry.type == wire::ControlType::recover &&
                   (entry.signer == code || entry.recovery.sign == code);
    if (!by_code) {
      throw Error(ErrorCode::exists,
                  "this store's device is in the vault another way, or was taken out: give another "
                  "--db for a new store");
    }
    through_ = entry.through;
    return true;
  }

  void take_over(const DeviceLabel& name, const RecoveryKeys& next) {
    const store::Identity& identity = engine_.identity();
    for (int attempt = 1;; ++attempt) {
      list_.fetch(engine_, client_);
      require_current();
      EpochKeys previous = passed_on(list_, open_boxes(list_, keys_.box));
      WholeLog log = read_log(engine_, client_, list_.state);
      through_ = log.head;
      try {
        post_record(engine_, client_, list_.state, keys_.sign,
                    [&](const wire::ControlState& state, wire::ControlRecord& record) {
                      record.type = wire::ControlType::recover;
                      record.device_sign = identity.sign.public_key();
                      record.device_box = identity.box.public_key();
                      record.through = through_;
                      std::set<base::Id16> everybody;
                      for (const auto& [id, device] : state.members()) everybody.insert(id);
                      for (const base::Id16& id : everybody) {
                        record.last_leaves.emplace_back(id, log.leaves[id]);
                      }
                      FreshEpoch fresh =
                          fresh_epoch(state, everybody, next.box.public_key(), record.device_box,
                                      previous, *engine_.environment().random);
                      record.epoch = std::move(fresh.start);
                      record.name = Membership(engine_).seal_name(name, record.epoch.number,
                                                                  fresh.key.view());
                      set_recovery(record, next, state.vault());
                      return true;
                    });
        break;
      } catch (const Error& error) {
        if (error.code() != ErrorCode::exists || attempt == kAttempts) throw;
      }
    }
    sign_in(engine_, client_, identity.sign);
    list_.fetch(engine_, client_);
    if (!list_.state.member(identity.id)) {
      throw Error(ErrorCode::protocol, "the relay does not hold what it said that it had stored");
    }
  }

  void require_current() const {
    if (list_.state.empty()) {
      throw Error(ErrorCode::protocol, "the relay shows no list of the vault's devices");
    }
    if (list_.state.recovery().sign != keys_.sign.public_key()) {
      throw Error(ErrorCode::refused,
                  "this recovery code was replaced by a newer one, and opens nothing any more: use "
                  "the newest");
    }
    if (!list_.state.recovery_is_proved(keys_.sign.public_key())) {
      throw Error(ErrorCode::protocol,
                  "nothing shows that the recovery code is this vault's: it was made by an early "
                  "version. Replace the code on a device of the vault ('holdfast vault "
                  "recovery-code')");
    }
  }

  store::Engine& engine_;
  RecoveryKeys keys_;
  RelayClient client_;
  FetchedList list_;
  LogPosition through_;
};

}  // namespace

void recover(store::Engine& engine, const std::string& code, const std::string& relay,
             const DeviceLabel& name, const KeepCode& keep) {
  std::optional<crypto::Secret> secret = crypto::parse_recovery_code(code);
  if (!secret) {
    throw Error(ErrorCode::invalid_argument,
                "that is no recovery code: look for a mistyped or missing letter");
  }
  Recovery(engine, check_relay_url(relay), secret->view()).run(name, keep);
}

}  // namespace holdfast::sync
