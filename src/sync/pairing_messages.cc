#include "src/sync/pairing_messages.h"

#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kInviter = "inviter";
constexpr std::string_view kHelloContext = "holdfast pairing hello v1";
constexpr std::string_view kWelcomeContext = "holdfast pairing welcome v1";
constexpr std::string_view kSignHello = "holdfast pairing v1";
constexpr std::uint8_t kVersion = 1;
constexpr std::int64_t kFirstPollMs = 500;
constexpr std::int64_t kLaterPollMs = 2000;
constexpr std::int64_t kEagerMs = 60'000;

crypto::Secret key_for(const crypto::CpaceKeys& keys, std::string_view context) {
  return crypto::hkdf_sha256(keys.session_key.view(), {}, base::view(context), 32);
}

// What a hello's signature covers.
Bytes said_in_hello(const PairingHello& hello, ByteView tag) {
  base::Writer out;
  out.raw(tag);
  out.raw(hello.box);
  return out.take();
}

}  // namespace

Mailbox::Mailbox(store::Engine& engine, RelayClient client, const std::atomic<bool>* cancelled)
    : engine_(engine),
      client_(std::move(client)),
      cancelled_(cancelled),
      start_(engine.environment().clock->monotonic_ms()) {}

bool Mailbox::put(Message kind, int round, ByteView body) {
  for (;;) {
    try {
      ask(engine_, client_.put_mail(slot(kind, round), body, kPairingMs));
      reached_ = true;
      return true;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::exists) return false;
      if (!reached_ || !worth_retrying(error)) throw;
    }
    pause();
  }
}

void Mailbox::try_put(Message kind, int round, ByteView body) noexcept {
  try {
    ask(engine_, client_.put_mail(slot(kind, round), body, kPairingMs));
  } catch (const std::exception&) {
    // Nobody is there to be told.
  }
}

std::optional<Bytes> Mailbox::look(Message kind, int round) {
  for (;;) {
    try {
      Bytes found = ask(engine_, client_.get_mail(slot(kind, round)));
      reached_ = true;
      return found;
    } catch (const Error& error) {
      reached_ = reached_ || error.code() == ErrorCode::not_found;
      if (error.code() == ErrorCode::not_found) return std::nullopt;
      if (!reached_ || !worth_retrying(error)) throw;
    }
    pause();
  }
}

Bytes Mailbox::wait(Message kind, int round) {
  for (;;) {
    if (std::optional<Bytes> found = look(kind, round)) return *found;
    pause();
  }
}

void Mailbox::check_time() const {
  if (cancelled_ && *cancelled_) throw Error(ErrorCode::cancelled, "pairing was cancelled");
  if (elapsed() > kPairingMs) {
    throw Error(ErrorCode::expired, "nobody finished pairing within ten minutes: start again");
  }
}

std::int64_t Mailbox::elapsed() const {
  return engine_.environment().clock->monotonic_ms() - start_;
}
base::Id16 Mailbox::slot(Message kind, int round) const {
  Bytes which = {static_cast<std::uint8_t>(kind), static_cast<std::uint8_t>(round)};
  base::Hash32 hash = base::sha256({base::view("holdfast pairing slot v1"), place_, which});
  return base::Reader(hash, "a hash").array<16>();
}

void Mailbox::pause() {
  check_time();
  engine_.environment().clock->sleep_ms(elapsed() < kEagerMs ? kFirstPollMs : kLaterPollMs);
  check_time();
}

base::Hash32 promise_of(const base::Hash32& nonce) {
  return base::sha256({base::view("holdfast pairing promise v1"), nonce});
}

Bytes said_by_inviter(const base::Hash32& promise) {
  base::Writer out;
  out.raw(base::view(kInviter));
  out.raw(promise);
  return out.take();
}

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

Bytes seal_hello(const PairingHello& hello, const crypto::CpaceKeys& keys,
                 const crypto::SigningKey& key, base::Random& random) {
  base::Writer out;
  out.raw(hello.sign);
  out.raw(hello.box);
  out.sized(hello.name.name);
  out.sized(hello.name.kind);
  out.raw(
      key.sign(wire::signed_message(kSignHello, {}, said_in_hello(hello, keys.own_tag.view()))));
  return crypto::seal_committing(key_for(keys, kHelloContext).view(), kHelloContext, out.bytes(),
                                 random);
}

PairingHello open_hello(ByteView sealed, const crypto::CpaceKeys& keys, ByteView tag) {
  std::optional<crypto::Secret> plain =
      crypto::open_committing(key_for(keys, kHelloContext).view(), kHelloContext, sealed);
  base::Reader in(plain ? plain->view() : ByteView(), "the other device's answer");
  PairingHello hello;
  hello.sign = in.array<32>();
  hello.box = in.array<32>();
  hello.name.name = in.sized_text();
  hello.name.kind = in.sized_text();
  ByteView signature = in.raw(64);
  in.expect_end();
  if (!wire::verify(hello.sign, kSignHello, {}, said_in_hello(hello, tag), signature)) {
    in.fail("it is not signed by the device that it names");
  }
  check_label(hello.name);
  return hello;
}

Bytes seal_welcome(const Welcome& welcome, const crypto::CpaceKeys& keys, base::Random& random) {
  base::Writer plain;
  write(plain, welcome);
  Bytes bytes = plain.take();
  Bytes sealed = crypto::seal_committing(key_for(keys, kWelcomeContext).view(), kWelcomeContext,
                                         bytes, random);
  crypto::wipe(bytes);
  return sealed;
}

Welcome open_welcome(ByteView sealed, const crypto::CpaceKeys& keys) {
  std::optional<crypto::Secret> plain =
      crypto::open_committing(key_for(keys, kWelcomeContext).view(), kWelcomeContext, sealed);
  if (!plain) throw Error(ErrorCode::protocol, "the relay altered the other device's message");
  base::Reader in(plain->view(), "the other device's message");
  Welcome welcome = read_welcome(in);
  in.expect_end();
  return welcome;
}

base::Reader read_message(ByteView bytes) {
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

}  // namespace holdfast::sync
