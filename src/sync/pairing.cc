#include "src/sync/pairing.h"

#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::sync {
namespace {

using crypto::Cpace;

constexpr std::string_view kChannel = "holdfast pairing v1";
constexpr std::string_view kInviter = "inviter";
constexpr std::string_view kJoiner = "joiner";
constexpr std::string_view kHelloContext = "holdfast pairing hello v1";
constexpr std::string_view kWelcomeContext = "holdfast pairing welcome v1";
constexpr std::uint8_t kVersion = 1;
constexpr std::int64_t kFirstPollMs = 500;
constexpr std::int64_t kLaterPollMs = 2000;
constexpr std::int64_t kEagerMs = 60'000;
constexpr int kPlaces = 20;  // tried until one is free

// The messages, each in a slot of its own, one of each kind a try.
enum class Message : std::uint8_t {
  offer = 1,    // of the inviter: the run's id, its share, and a promise what its nonce will be
  answer = 2,   // of the joiner: its share, proof that it knows the code, and who it is
  verdict = 3,  // of the inviter: whether it does, and then proof that it knows it, too; its nonce
  outcome = 4,  // of the inviter: the vault, where its user agreed
};

// Where the two leave word for each other, until ten minutes are over.
class Mailbox {
 public:
  Mailbox(store::Engine& engine, RelayClient client, const std::atomic<bool>* cancelled)
      : engine_(engine),
        client_(std::move(client)),
        cancelled_(cancelled),
        start_(engine.environment().clock->monotonic_ms()) {}

  void set_place(const Bytes& place) { place_ = place; }
  RelayClient& client() { return client_; }

  // False where something else is there already.
  bool put(Message kind, int round, ByteView body) {
    for (;;) {
      try {
        ask(engine_, client_.put_mail(slot(kind, round), body, kPairingMs));
        return true;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::exists) return false;
        if (!worth_retrying(error)) throw;
      }
      pause();
    }
  }
  std::optional<Bytes> look(Message kind, int round) {
    for (;;) {
      try {
        return ask(engine_, client_.get_mail(slot(kind, round)));
      } catch (const Error& error) {
        if (error.code() == ErrorCode::not_found) return std::nullopt;
        if (!worth_retrying(error)) throw;
      }
      pause();
    }
  }
  Bytes wait(Message kind, int round) {
    for (;;) {
      if (std::optional<Bytes> found = look(kind, round)) return *found;
      pause();
    }
  }
  void check_time() const {
    if (cancelled_ && *cancelled_) throw Error(ErrorCode::cancelled, "pairing was cancelled");
    if (elapsed() > kPairingMs) {
      throw Error(ErrorCode::expired, "nobody finished pairing within ten minutes: start again");
    }
  }

 private:
  std::int64_t elapsed() const { return engine_.environment().clock->monotonic_ms() - start_; }
  base::Id16 slot(Message kind, int round) const {
    Bytes which = {static_cast<std::uint8_t>(kind), static_cast<std::uint8_t>(round)};
    base::Hash32 hash = base::sha256({base::view("holdfast pairing slot v1"), place_, which});
    return base::Reader(hash, "a hash").array<16>();
  }
  void pause() {
    check_time();
    engine_.environment().clock->sleep_ms(elapsed() < kEagerMs ? kFirstPollMs : kLaterPollMs);
    check_time();
  }

  store::Engine& engine_;
  RelayClient client_;
  const std::atomic<bool>* cancelled_;
  std::int64_t start_;
  Bytes place_;
};

// A try that both sides know to be right.
struct Agreed {
  int round = 0;
  crypto::CpaceKeys keys;
  base::Hash32 nonce{};  // of the inviter
  PairingHello hello;
};

crypto::Secret key_for(const crypto::CpaceKeys& keys, std::string_view context) {
  return crypto::hkdf_sha256(keys.session_key.view(), {}, base::view(context), 32);
}

base::Hash32 promise_of(const base::Hash32& nonce) {
  return base::sha256({base::view("holdfast pairing promise v1"), nonce});
}

// What the inviter says in the open beside its share.
Bytes said_by_inviter(const base::Hash32& promise) {
  base::Writer out;
  out.raw(base::view(kInviter));
  out.raw(promise);
  return out.take();
}

// Eight digits that follow from the agreed key, from whom it lets in, and from a nonce that the
// inviter promised before it saw the answer and shows after it: so that somebody in between, who
// knows the code, cannot choose keys until both sides' digits are the same.
std::string fingerprint(const Agreed& agreed) {
  base::Writer info;
  info.raw(base::view("holdfast pairing fingerprint v1"));
  info.raw(agreed.nonce);
  info.raw(agreed.hello.sign);
  info.raw(agreed.hello.box);
  crypto::Secret bits =
      crypto::hkdf_sha256(agreed.keys.session_key.view(), {}, info.bytes(), sizeof(std::uint64_t));
  std::string digits = std::to_string(base::Reader(bits.view(), "digits").u64() % 100'000'000);
  digits.insert(0, 8 - digits.size(), '0');
  return digits.insert(4, " ");
}

Bytes seal_hello(const PairingHello& hello, const crypto::CpaceKeys& keys, base::Random& random) {
  base::Writer out;
  out.raw(hello.sign);
  out.raw(hello.box);
  out.sized(hello.name.name);
  out.sized(hello.name.kind);
  return crypto::seal_committing(key_for(keys, kHelloContext).view(), kHelloContext, out.bytes(),
                                 random);
}

PairingHello open_hello(ByteView sealed, const crypto::CpaceKeys& keys) {
  std::optional<crypto::Secret> plain =
      crypto::open_committing(key_for(keys, kHelloContext).view(), kHelloContext, sealed);
  base::Reader in(plain ? plain->view() : ByteView(), "the other device's answer");
  PairingHello hello;
  hello.sign = in.array<32>();
  hello.box = in.array<32>();
  hello.name.name = in.sized_text();
  hello.name.kind = in.sized_text();
  in.expect_end();
  check_label(hello.name);
  return hello;
}

base::Reader message(ByteView bytes) {
  base::Reader in(bytes, "the other device's message");
  if (in.u8() != kVersion) {
    throw Error(ErrorCode::newer_version, "the other device runs a newer version: update the app");
  }
  return in;
}

base::Writer new_message() {
  base::Writer out;
  out.u8(kVersion);
  return out;
}

// ---- The device that is in the vault

class Inviter {
 public:
  Inviter(store::Engine& engine, const InviteOptions& options)
      : engine_(engine), options_(options), box_(engine, connect(), options.cancelled) {}

  Device run() {
    offer_at_free_place();
    options_.show(to_text(code_));
    Agreed agreed = agree();
    bool wanted =
        options_.confirm({agreed.hello.name.name, agreed.hello.name.kind, fingerprint(agreed)});
    box_.check_time();
    base::Writer outcome = new_message();
    outcome.u8(wanted);
    if (wanted) {
      enrol(agreed.hello);
      base::Writer plain;
      write(plain, welcome_);
      Bytes bytes = plain.take();
      outcome.raw(crypto::seal_committing(key_for(agreed.keys, kWelcomeContext).view(),
                                          kWelcomeContext, bytes, random()));
      crypto::wipe(bytes);
    }
    box_.put(Message::outcome, agreed.round, outcome.bytes());
    if (!wanted) throw Error(ErrorCode::refused, "the device was not let in, as you said");
    Device device;
    device.id = base::device_id_of(agreed.hello.sign);
    device.name = agreed.hello.name.name;
    device.kind = agreed.hello.name.kind;
    return device;
  }

 private:
  base::Random& random() { return *engine_.environment().random; }

  RelayClient connect() {
    MemberClient member(engine_);
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
    auto session = random().array<16>();
    run_.emplace(Cpace::Role::initiator, code_.secret.view(), base::view(kChannel), session,
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
      verdict.u8(agreed.has_value());
      if (agreed) {
        verdict.raw(agreed->keys.own_tag.view());
        verdict.raw(nonce_);
      }
      box_.put(Message::verdict, round, verdict.bytes());
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
      base::Reader in = message(answer);
      auto share = in.array<32>();
      ByteView tag = in.raw(64);
      auto keys = run_->finish(share, said_by_inviter(promise_of(nonce_)), base::view(kJoiner));
      if (!keys || !crypto::equal(keys->peer_tag.view(), tag)) return std::nullopt;
      Agreed agreed;
      agreed.hello = open_hello(in.rest(), *keys);
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
  std::optional<Cpace> run_;  // of the try in hand
  base::Hash32 nonce_{};      // likewise
};

// ---- The device that wants in

class Joiner {
 public:
  Joiner(store::Engine& engine, const PairingCode& code, const std::string& relay,
         const DeviceLabel& name, const JoinOptions& options)
      : engine_(engine),
        code_(code),
        options_(options),
        box_(engine, RelayClient(relay), options.cancelled) {
    box_.set_place(code.place);
    hello_.sign = engine.identity().sign.public_key();
    hello_.box = engine.identity().box.public_key();
    hello_.name = name;
  }

  void run() {
    Agreed agreed = agree();
    if (options_.show_fingerprint) options_.show_fingerprint(fingerprint(agreed));
    Bytes outcome = box_.wait(Message::outcome, agreed.round);
    base::Reader in = message(outcome);
    if (in.u8() == 0) {
      throw Error(ErrorCode::refused, "the other device's user did not let this device in");
    }
    std::optional<crypto::Secret> plain = crypto::open_committing(
        key_for(agreed.keys, kWelcomeContext).view(), kWelcomeContext, in.rest());
    if (!plain) throw Error(ErrorCode::protocol, "the relay altered the other device's message");
    base::Reader inside(plain->view(), "the other device's message");
    Welcome welcome = read_welcome(inside);
    inside.expect_end();
    if (code_.anchor && anchor_of(welcome) != *code_.anchor) {
      throw Error(ErrorCode::protocol,
                  "the vault that was offered is not the one that the scanned code names: "
                  "somebody stands in between. Nothing was taken");
    }
    enter_as_device(welcome);
  }

 private:
  Agreed agree() {
    for (int round = 1; round <= kPairingTries; ++round) {
      if (box_.look(Message::answer, round)) continue;  // that try is used up
      Bytes offer = wait_for_offer(round);
      base::Reader in = message(offer);
      auto session = in.array<16>();
      auto share = in.array<32>();
      auto promise = in.array<32>();
      in.expect_end();
      Cpace run(Cpace::Role::responder, code_.secret.view(), base::view(kChannel), session,
                *engine_.environment().random);
      auto keys = run.finish(share, base::view(kJoiner), said_by_inviter(promise));
      if (!keys) throw Error(ErrorCode::protocol, "the offer that the relay holds is no offer");
      base::Writer answer = new_message();
      answer.raw(run.share());
      answer.raw(keys->own_tag.view());
      answer.raw(seal_hello(hello_, *keys, *engine_.environment().random));
      if (!box_.put(Message::answer, round, answer.bytes())) continue;
      Agreed agreed;
      agreed.nonce = check_verdict(box_.wait(Message::verdict, round), *keys, promise, round);
      agreed.round = round;
      agreed.keys = std::move(*keys);
      agreed.hello = hello_;
      return agreed;
    }
    throw Error(
        ErrorCode::not_found,
        "the three tries that the code allows are used up: start again on the other device");
  }

  // The first lies there before the code is shown; the next follow a wrong try.
  Bytes wait_for_offer(int round) {
    constexpr int kPolls = 20;
    for (int poll = 0;; ++poll) {
      if (std::optional<Bytes> found = box_.look(Message::offer, round)) return *found;
      if (round == 1 || poll == kPolls) break;
      engine_.environment().clock->sleep_ms(kFirstPollMs);
      box_.check_time();
    }
    throw Error(ErrorCode::not_found,
                "no device waits with this code at this relay: check the code's first letters and "
                "the relay, and that 'device invite' still runs there");
  }

  // Returns the inviter's nonce.
  static base::Hash32 check_verdict(ByteView verdict, const crypto::CpaceKeys& keys,
                                    const base::Hash32& promise, int round) {
    base::Reader in = message(verdict);
    if (in.u8() == 0) {
      int left = kPairingTries - round;
      throw Error(ErrorCode::refused,
                  "the other device did not take the code: " +
                      (left > 0 ? "check it; tries left: " + std::to_string(left)
                                : std::string("it is void now. Start again there")));
    }
    ByteView tag = in.raw(64);
    auto nonce = in.array<32>();
    in.expect_end();
    if (!crypto::equal(keys.peer_tag.view(), tag) || promise_of(nonce) != promise) {
      throw Error(ErrorCode::protocol,
                  "somebody answered who does not know the code: nothing was taken. Do not trust "
                  "this relay");
    }
    return nonce;
  }

  void enter_as_device(const Welcome& welcome) {
    RelayClient& client = box_.client();
    client.set_vault(welcome.vault);
    sign_in(engine_, client, engine_.identity().sign);
    FetchedList list;
    fetch_checked(engine_, client, welcome, list);
    const wire::EnrolledDevice* self = list.state.member(engine_.identity().id);
    if (!self || self->box != hello_.box) {
      throw Error(ErrorCode::protocol, "the relay's list of devices does not hold this device");
    }
    enter(engine_, client, welcome, list);
  }

  store::Engine& engine_;
  const PairingCode& code_;
  const JoinOptions& options_;
  Mailbox box_;
  PairingHello hello_;
};

}  // namespace

Device pair_as_inviter(store::Engine& engine, const InviteOptions& options) {
  return Inviter(engine, options).run();
}

void pair_as_joiner(store::Engine& engine, const PairingCode& code, const std::string& relay,
                    const DeviceLabel& name, const JoinOptions& options) {
  Joiner(engine, code, relay, name, options).run();
}

}  // namespace holdfast::sync
