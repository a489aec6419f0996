#pragma once

// The bodies of the relay protocol, both ways. docs/protocol.md describes them with an example.
// Decoders take hostile input and throw Error(malformed).

#include "src/wire/checkpoint.h"

namespace holdfast::wire {

constexpr std::size_t kMaxRequest = 4 << 20;   // bytes of one request's body
constexpr std::size_t kMaxResponse = 8 << 20;  // bytes of one answer's body
constexpr std::size_t kMaxListItems = 65536;
constexpr std::size_t kMaxMailbox = 4 * 1024;

struct SessionRequest {
  Hash32 vault{};
  Hash32 signer{};  // a device's or an unspent ticket's signing key
  Bytes nonce;      // the relay's challenge
  std::string origin;
  std::array<std::uint8_t, 64> signature{};
};
// What the signature covers (under kSignSession).
Bytes session_message(ByteView nonce, std::string_view origin);
Bytes encode(const SessionRequest& request);
SessionRequest decode_session_request(ByteView bytes);

struct SessionAnswer {
  std::string token;
  std::uint64_t lifetime_ms = 0;
  std::uint64_t now_ms = 0;  // UTC by the relay's clock
};
Bytes encode(const SessionAnswer& answer);
SessionAnswer decode_session_answer(ByteView bytes);

// A list of sized byte strings: batches of a push, records of the control log.
Bytes encode_list(const std::vector<Bytes>& items);
std::vector<Bytes> decode_list(ByteView bytes);

enum class PushStatus : std::uint8_t {
  ok = 0,
  duplicate = 1,    // was stored before, at the position given
  epoch_stale = 2,  // sealed under a key that the vault no longer uses
  device_fork = 3,  // does not follow this device's last batch: the store is a copy
  refused = 4,      // not a batch of this device and vault
  quota = 5,        // the vault has as much on this relay as it may
};
struct PushAnswer {
  struct Item {
    PushStatus status = PushStatus::refused;
    std::uint64_t position = 0;  // of ok and duplicate
  };
  Id16 log_id{};
  std::uint64_t head = 0;
  Hash32 chain{};
  std::vector<Item> items;
};
Bytes encode(const PushAnswer& answer);
PushAnswer decode_push_answer(ByteView bytes);

// A page of the log: the batches at positions after+1, after+2, …
struct LogPage {
  Id16 log_id{};
  std::uint64_t head = 0;   // position of the newest batch
  Hash32 chain{};           // at the head
  Hash32 start_chain{};     // behind the place that was asked for: an answer to "is this your log?"
  std::uint64_t floor = 0;  // up to here there may be stubs only: the checkpoint has it
  CheckpointHead checkpoint;  // that counts; position 0: none does
  CheckpointHead proposed;    // that another device has yet to verify, likewise
  Hash32 control_head{};
  std::vector<Bytes> batches;
  Hash32 end_chain{};  // behind the last of these batches
};
Bytes encode(const LogPage& page);
LogPage decode_log_page(ByteView bytes);

struct ControlPost {
  Hash32 expected_head{};
  Bytes record;
};
Bytes encode(const ControlPost& post);
ControlPost decode_control_post(ByteView bytes);

}  // namespace holdfast::wire
