#pragma once

// What two devices that pair say to each other, and where. docs/formats.md has the grammar.

#include "src/sync/pairing.h"

namespace holdfast::sync {

constexpr std::string_view kPairingChannel = "holdfast pairing v1";
constexpr std::string_view kSaidByJoiner = "joiner";  // in the open, beside its share

// The messages, each in a slot of its own, one of each kind a try.
enum class Message : std::uint8_t {
  offer = 1,    // of the inviter: the run's id, its share, and a promise what its nonce will be
  answer = 2,   // of the joiner: its share, proof that it knows the code, and who it is
  verdict = 3,  // of the inviter: whether it does, and then proof that it knows it, too; its nonce
  outcome = 4,  // of the inviter: the vault, where its user agreed
};

// What a verdict says.
enum class Verdict : std::uint8_t { wrong = 0, right = 1, withdrawn = 2 };

// Where the two leave word for each other, until ten minutes are over. Once the relay was reached,
// what is worth retrying is retried until then. Throws Error(expired, cancelled), and what the
// relay says.
class Mailbox {
 public:
  Mailbox(store::Engine& engine, RelayClient client, const std::atomic<bool>* cancelled);

  void set_place(const Bytes& place) { place_ = place; }
  RelayClient& client() { return client_; }

  // False where something else is there already.
  bool put(Message kind, int round, ByteView body);
  // Once, whatever comes of it, and however late.
  void try_put(Message kind, int round, ByteView body) noexcept;
  std::optional<Bytes> look(Message kind, int round);
  Bytes wait(Message kind, int round);
  void pause();  // until it is worth looking again
  void check_time() const;

 private:
  std::int64_t elapsed() const;
  base::Id16 slot(Message kind, int round) const;

  store::Engine& engine_;
  RelayClient client_;
  const std::atomic<bool>* cancelled_;
  std::int64_t start_;
  bool reached_ = false;  // a relay that never answered is a wrong address
  Bytes place_;
};

base::Writer new_message();
// Past the version. Throws Error(malformed, newer_version).
base::Reader read_message(ByteView bytes);

// Who wants in.
struct PairingHello {
  base::Hash32 sign{};
  base::Hash32 box{};
  DeviceLabel name;
};

// A try that both sides know to be right.
struct Agreed {
  int round = 0;
  crypto::CpaceKeys keys;
  base::Hash32 nonce{};  // of the inviter
  PairingHello hello;
};

// Eight digits that follow from the agreed key, from whom it lets in, and from a nonce that the
// inviter promised before it saw the answer and shows after it: so that somebody in between, who
// knows the code, cannot choose keys until both sides' digits are the same.
std::string fingerprint(const Agreed& agreed);
base::Hash32 promise_of(const base::Hash32& nonce);
Bytes said_by_inviter(const base::Hash32& promise);  // in the open, beside its share

// Sealed under keys that follow from the agreed one. Opening throws Error(malformed,
// invalid_argument) for what is not of the other side. A hello is signed by the device it is of,
// for this run: `tag` is the joiner's.
Bytes seal_hello(const PairingHello& hello, const crypto::CpaceKeys& keys,
                 const crypto::SigningKey& key, base::Random& random);
PairingHello open_hello(ByteView sealed, const crypto::CpaceKeys& keys, ByteView tag);
Bytes seal_welcome(const Welcome& welcome, const crypto::CpaceKeys& keys, base::Random& random);
Welcome open_welcome(ByteView sealed, const crypto::CpaceKeys& keys);

}  // namespace holdfast::sync
