#pragma once

// What the ceremonies of a vault share: asking the relay, and reading and extending the device
// list.

#include <mutex>

#include "src/sync/membership.h"
#include "src/sync/relay_client.h"

namespace holdfast::sync {

// Performs one request. Throws what check_answer throws, and Error(unreachable) without a network.
Bytes ask(store::Engine& engine, const base::HttpRequest& request);
// Opens a session of `key` in the client's vault.
void sign_in(store::Engine& engine, RelayClient& client, const crypto::SigningKey& key);
// The vault's log at the relay, registering the vault where it is not known there.
// Does the work that the relay may ask for; throws Error(refused) where it asks for an invitation
// and there is none, or not this one.
base::Id16 register_vault(store::Engine& engine, const RelayClient& client, ByteView genesis,
                          const std::string& invitation = "");

// Fills in what the record says; previous, version and signer are set. False: nothing to be said.
using MakeRecord = std::function<bool(const wire::ControlState&, wire::ControlRecord&)>;
// Signs a record that says what `make` makes of the list, and posts it; false where `make` had
// nothing to say. Throws Error(exists) where the list or the log has changed in between.
bool post_record(store::Engine& engine, const RelayClient& client, const wire::ControlState& state,
                 const crypto::SigningKey& key, const MakeRecord& make);

// The device list as a device reads it that has none of it yet.
struct FetchedList {
  explicit FetchedList(const base::Hash32& its_vault) : vault(its_vault) {}
  base::Hash32 vault;
  wire::ControlState state;
  std::vector<Bytes> records;
  // Until the relay has no more. Throws Error(protocol) where it is of another vault.
  void fetch(store::Engine& engine, const RelayClient& client);
};

// What a relay's 410 means to who knows the device list: whose signed request it shows, if any.
Error erased(const Membership& membership, ByteView body);

// A device that is in the vault at work on its list, signed in. Nobody syncs meanwhile: keep it
// short.
class MemberClient {
 public:
  // Throws Error: no_vault, invalid_argument (no relay chosen), revoked, and what the relay says.
  explicit MemberClient(store::Engine& engine);

  Membership& membership() { return *membership_; }
  RelayClient& client() { return client_; }
  // What is new in the list.
  void fetch();
  // Throws Error(protocol) where this device was not given the vault's key of now.
  void require_current_key() const { membership_->require_current_key(); }
  // Takes in what the vault's log holds by now, and sends nothing.
  void receive();
  // Posts what `make` makes of the list, again where another device was quicker, and takes it in.
  // `with_log`: the record names the log's head, so that the log is taken in before.
  void extend(const MakeRecord& make, bool with_log = false);

 private:
  store::Engine& engine_;
  std::unique_lock<std::mutex> lock_;
  std::optional<Membership> membership_;
  RelayClient client_;
};

// A new epoch, for whoever is in `state` but `without`, and the holder of `recovery_box`; and for
// `newcomer`. The key is fresh and must be kept, or learnt from the list, by who starts it.
struct FreshEpoch {
  wire::EpochStart start;
  crypto::Secret key;
};
FreshEpoch fresh_epoch(const wire::ControlState& state, const std::set<base::Id16>& without,
                       const base::Hash32& recovery_box,
                       const std::optional<base::Hash32>& newcomer, const EpochKeys& previous,
                       base::Random& random);

// From the secret of a recovery code.
struct RecoveryKeys {
  crypto::SigningKey sign;
  crypto::BoxKey box;
};
RecoveryKeys recovery_keys(ByteView secret16);
// Puts the keys into a record whose previous, signer and epoch are set.
void set_recovery(wire::ControlRecord& record, const RecoveryKeys& keys, const base::Hash32& vault);

}  // namespace holdfast::sync
