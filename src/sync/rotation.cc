#include "src/sync/rotation.h"

#include "src/crypto/recovery_code.h"

namespace holdfast::sync {
namespace {

constexpr int kAttempts = 10;

crypto::Secret new_code(store::Engine& engine) {
  crypto::Secret secret(crypto::kRecoverySecretSize);
  engine.environment().random->fill(secret.span());
  return secret;
}

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

// What the holder of the recovery key finds in the list: the vault's keys.
crypto::Secret open_current_key(const FetchedList& list, const crypto::BoxKey& box) {
  for (auto record = list.records.rbegin(); record != list.records.rend(); ++record) {
    for (const wire::KeyBox& boxed : wire::decode_control(*record).epoch.boxes) {
      if (boxed.receiver != box.public_key()) continue;
      std::optional<crypto::Secret> key = box.open(boxed.box);
      if (key && epoch_hash(key->view()) == list.state.epochs().back().hash) return std::move(*key);
    }
  }
  throw Error(ErrorCode::protocol,
              "the device that changed the vault's key last gave the recovery code another one "
              "than it says: recover with a device that is still in the vault");
}

LogPosition log_head(store::Engine& engine, const RelayClient& client) {
  // Behind the end of any log: the answer holds the head, and no batches.
  Bytes answer = ask(engine, client.get_log(static_cast<std::uint64_t>(INT64_MAX)));
  wire::LogPage page = wire::decode_log_page(answer);
  return {page.log_id, page.head, page.chain};
}

}  // namespace

void start_epoch(store::Engine& engine) {
  MemberClient member(engine);
  member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
    record.type = wire::ControlType::epoch;
    record.epoch = fresh_epoch(state, {}, state.recovery().box, std::nullopt,
                               member.membership().epoch_key(state.epoch()).view(),
                               *engine.environment().random)
                       .start;
    return true;
  });
}

void revoke_device(store::Engine& engine, const base::Id16& device) {
  if (device == engine.identity().id) {
    throw Error(ErrorCode::invalid_argument, "a device is taken out by another one: do it there");
  }
  MemberClient member(engine);
  auto make = [&](const wire::ControlState& state, wire::ControlRecord& record) {
    if (!state.member(device)) {
      throw Error(ErrorCode::not_found, "that device is not in the vault (any more)");
    }
    Membership& membership = member.membership();
    record.type = wire::ControlType::revoke;
    record.revoked = {device};
    record.through = membership.log().value();
    record.epoch =
        fresh_epoch(state, {device}, state.recovery().box, std::nullopt,
                    membership.epoch_key(state.epoch()).view(), *engine.environment().random)
            .start;
    return true;
  };
  member.extend(make, true);
}

void replace_recovery(store::Engine& engine, const KeepCode& keep) {
  crypto::Secret secret = new_code(engine);
  RecoveryKeys keys = recovery_keys(secret.view());
  MemberClient member(engine);
  hand_over(secret, keep);
  keeping_both_codes([&] {
    member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
      record.type = wire::ControlType::recovery_key;
      record.epoch = fresh_epoch(state, {}, keys.box.public_key(), std::nullopt,
                                 member.membership().epoch_key(state.epoch()).view(),
                                 *engine.environment().random)
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
      : engine_(engine), keys_(recovery_keys(secret)), client_(relay) {}

  void run(const DeviceLabel& name, const KeepCode& keep) {
    find();
    if (!resume()) {
      sign_in(engine_, client_, keys_.sign);
      list_.fetch(engine_, client_);
      require_current();
      open_current_key(list_, keys_.box);
      crypto::Secret fresh = new_code(engine_);
      hand_over(fresh, keep);
      keeping_both_codes([&] { take_over(name, recovery_keys(fresh.view())); });
    }
    // The key of the list's last epoch comes boxed in it.
    Welcome welcome;
    welcome.vault = list_.state.vault();
    welcome.log = through_;
    welcome.epoch = list_.state.epoch();
    welcome.key = open_current_key(list_, engine_.identity().box);
    enter(engine_, client_, welcome, list_);
  }

 private:
  void find() {
    base::Reader in(found_ = lookup(), "the relay's answer");
    client_.set_vault(in.array<32>());
    in.expect_end();
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

  // An attempt that was cut off after the relay had taken it.
  bool resume() {
    try {
      sign_in(engine_, client_, engine_.identity().sign);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::refused) throw;
      return false;
    }
    list_.fetch(engine_, client_);
    const wire::EnrolledDevice* self = list_.state.member(engine_.identity().id);
    if (!self) return false;
    wire::ControlRecord entry = wire::decode_control(list_.records[self->position]);
    bool recovered = entry.type == wire::ControlType::recover;
    through_ = recovered ? entry.through : log_head(engine_, client_);
    return true;
  }

  void take_over(const DeviceLabel& name, const RecoveryKeys& next) {
    const store::Identity& identity = engine_.identity();
    for (int attempt = 1;; ++attempt) {
      list_.fetch(engine_, client_);
      require_current();
      crypto::Secret key = open_current_key(list_, keys_.box);
      through_ = log_head(engine_, client_);
      try {
        post_record(engine_, client_, list_.state, keys_.sign,
                    [&](const wire::ControlState& state, wire::ControlRecord& record) {
                      record.type = wire::ControlType::recover;
                      record.device_sign = identity.sign.public_key();
                      record.device_box = identity.box.public_key();
                      record.through = through_;
                      std::set<base::Id16> everybody;
                      for (const auto& [id, device] : state.members()) everybody.insert(id);
                      FreshEpoch fresh =
                          fresh_epoch(state, everybody, next.box.public_key(), record.device_box,
                                      key.view(), *engine_.environment().random);
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
    if (!list_.state.recovery_is_proved()) {
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
  Bytes found_;
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
