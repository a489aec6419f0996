#include "src/sync/pairing_messages.h"

namespace holdfast::sync {
namespace {

using crypto::Cpace;

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
    base::Reader in = read_message(outcome);
    if (in.u8() == 0) {
      throw Error(ErrorCode::refused, "the other device did not let this device in");
    }
    Welcome welcome = open_welcome(in.rest(), agreed.keys);
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
      base::Reader in = read_message(offer);
      auto session = in.array<16>();
      auto share = in.array<32>();
      auto promise = in.array<32>();
      in.expect_end();
      Cpace run(Cpace::Role::responder, code_.secret.view(), base::view(kPairingChannel), session,
                *engine_.environment().random);
      auto keys = run.finish(share, base::view(kSaidByJoiner), said_by_inviter(promise));
      if (!keys) throw Error(ErrorCode::protocol, "the offer that the relay holds is no offer");
      base::Writer answer = new_message();
      answer.raw(run.share());
      answer.raw(keys->own_tag.view());
      answer.raw(seal_hello(hello_, *keys, engine_.identity().sign, *engine_.environment().random));
      // Whoever holds an answer can check one guess by it: there is one for each time it is asked.
      if (!box_.put(Message::answer, round, answer.bytes())) {
        throw Error(
            ErrorCode::refused,
            "somebody else answers in this device's place: start again on the other device");
      }
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
      box_.pause();
    }
    throw Error(ErrorCode::not_found,
                "no device waits with this code at this relay: check the code's first letters and "
                "the relay, and that 'device invite' still runs there");
  }

  // Returns the inviter's nonce.
  static base::Hash32 check_verdict(ByteView verdict, const crypto::CpaceKeys& keys,
                                    const base::Hash32& promise, int round) {
    base::Reader in = read_message(verdict);
    std::uint8_t said = in.u8();
    if (said == static_cast<std::uint8_t>(Verdict::withdrawn)) {
      throw Error(ErrorCode::not_found,
                  "the other device no longer waits: start 'device invite' again there");
    }
    if (said == static_cast<std::uint8_t>(Verdict::wrong)) {
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
    FetchedList list(welcome.vault);
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

void pair_as_joiner(store::Engine& engine, const PairingCode& code, const std::string& relay,
                    const DeviceLabel& name, const JoinOptions& options) {
  Joiner(engine, code, relay, name, options).run();
}

}  // namespace holdfast::sync
