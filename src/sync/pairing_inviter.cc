#include "src/sync/pairing_messages.h"

namespace holdfast::sync {
namespace {

using crypto::Cpace;

constexpr int kPlaces = 20;  // tried until one is free

class Inviter {
 public:
  Inviter(store::Engine& engine, const InviteOptions& options)
      : engine_(engine), options_(options), box_(engine, connect(), options.cancelled) {}

  Device run() {
    offer_at_free_place();
    try {
      options_.show(to_text(code_));
      Agreed agreed = agree();
      bool wanted =
          options_.confirm({agreed.hello.name.name, agreed.hello.name.kind, fingerprint(agreed)});
      box_.check_time();
      answer(agreed, wanted);
      Device device;
      device.id = base::device_id_of(agreed.hello.sign);
      device.name = agreed.hello.name.name;
      device.kind = agreed.hello.name.kind;
      return device;
    } catch (...) {
      withdraw();
      throw;
    }
  }

 private:
  void answer(const Agreed& agreed, bool wanted) {
    base::Writer outcome = new_message();
    outcome.u8(wanted);
    if (wanted) {
      enrol(agreed.hello);
      outcome.raw(seal_welcome(welcome_, agreed.keys, random()));
    }
    bool told = box_.put(Message::outcome, agreed.round, outcome.bytes());
    if (!wanted) throw Error(ErrorCode::refused, "the device was not let in, as you said");
    if (told) return;
    throw Error(ErrorCode::protocol,
                "the device is in the list now, but somebody kept the news from it: let it join "
                "once more, or revoke it");
  }

  // Whoever waits, or comes yet, need not wait for the ten minutes to pass. What was said before
  // stays said.
  void withdraw() noexcept {
    base::Writer verdict = new_message();
    verdict.u8(static_cast<std::uint8_t>(Verdict::withdrawn));
    box_.try_put(Message::verdict, round_, verdict.bytes());
    base::Writer outcome = new_message();
    outcome.u8(0);
    box_.try_put(Message::outcome, round_, outcome.bytes());
  }

  base::Random& random() { return *engine_.environment().random; }

  RelayClient connect() {
    MemberClient member(engine_);
    member.require_current_key();
    welcome_ = welcome_of(member.membership());
    return RelayClient(member.client().url());
  }

  void make_code() {
    if (options_.code == InviteOptions::Code::typed) {
      code_ = make_typed_code(random());
    } else {
      code_.relay = box_.client().url();
      code_.place = base::to_bytes(random().array<16>());
      code_.secret = crypto::Secret(16);
      random().fill(code_.secret.span());
      code_.anchor = anchor_of(welcome_);
    }
    box_.set_place(code_.place);
  }

  void offer_at_free_place() {
    for (int i = 0; i < kPlaces; ++i) {
      make_code();
      if (offer(1)) return;
    }
    throw Error(ErrorCode::busy, "the relay has no free place for pairing: try again later");
  }

  // A run of its own for each try: what somebody learns from one is of no use for another.
  bool offer(int round) {
    round_ = round;
    auto session = random().array<16>();
    run_.emplace(Cpace::Role::initiator, code_.secret.view(), base::view(kPairingChannel), session,
                 random());
    random().fill(nonce_);
    base::Writer out = new_message();
    out.raw(session);
    out.raw(run_->share());
    out.raw(promise_of(nonce_));
    return box_.put(Message::offer, round, out.bytes());
  }

  Agreed agree() {
    for (int round = 1; round <= kPairingTries; ++round) {
      if (round > 1 && !offer(round)) break;
      std::optional<Agreed> agreed = judge(box_.wait(Message::answer, round));
      base::Writer verdict = new_message();
      verdict.u8(static_cast<std::uint8_t>(agreed ? Verdict::right : Verdict::wrong));
      if (agreed) {
        verdict.raw(agreed->keys.own_tag.view());
        verdict.raw(nonce_);
      }
      if (!box_.put(Message::verdict, round, verdict.bytes())) {
        throw Error(ErrorCode::protocol,
                    "somebody else writes to this pairing's place at the relay: start again");
      }
      if (!agreed) continue;
      agreed->round = round;
      agreed->nonce = nonce_;
      return std::move(*agreed);
    }
    throw Error(ErrorCode::refused,
                "three wrong codes were tried: this one is void now. If it was not you, somebody "
                "else is trying to get in: start again when they are gone");
  }

  // Nothing where the answer is not of somebody who knows the code.
  std::optional<Agreed> judge(ByteView answer) {
    try {
      base::Reader in = read_message(answer);
      auto share = in.array<32>();
      ByteView tag = in.raw(64);
      auto keys =
          run_->finish(share, said_by_inviter(promise_of(nonce_)), base::view(kSaidByJoiner));
      if (!keys || !crypto::equal(keys->peer_tag.view(), tag)) return std::nullopt;
      Agreed agreed;
      agreed.hello = open_hello(in.rest(), *keys, tag);
      agreed.keys = std::move(*keys);
      return agreed;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::malformed && error.code() != ErrorCode::newer_version &&
          error.code() != ErrorCode::invalid_argument) {
        throw;
      }
      return std::nullopt;
    }
  }

  void enrol(const PairingHello& hello) {
    MemberClient member(engine_);
    base::Id16 id = base::device_id_of(hello.sign);
    member.extend([&](const wire::ControlState& state, wire::ControlRecord& record) {
      const wire::EnrolledDevice* known = state.device(id);
      if (known && known->revoked) {
        throw Error(ErrorCode::refused,
                    "that device was taken out of the vault: it needs a new store to come back");
      }
      if (known && known->box != hello.box) {
        throw Error(ErrorCode::refused, "that device is in the vault with another key");
      }
      if (known) return false;  // its last attempt was cut off
      record.type = wire::ControlType::enrol;
      record.device_sign = hello.sign;
      record.device_box = hello.box;
      record.name = member.membership().seal_name(
          hello.name, state.epoch(), member.membership().epoch_key(state.epoch()).view());
      return true;
    });
    // The place in the history stays the one that the code names; the key is today's.
    welcome_.epoch = member.membership().control().epoch();
    welcome_.key = member.membership().epoch_key(welcome_.epoch);
  }

  store::Engine& engine_;
  const InviteOptions& options_;
  Welcome welcome_;
  Mailbox box_;
  PairingCode code_;
  int round_ = 1;             // the try in hand
  std::optional<Cpace> run_;  // of it
  base::Hash32 nonce_{};      // likewise
};

}  // namespace

Device pair_as_inviter(store::Engine& engine, const InviteOptions& options) {
  return Inviter(engine, options).run();
}

}  // namespace holdfast::sync
