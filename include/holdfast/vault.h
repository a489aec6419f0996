#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/encrypted_local_store.h"

namespace holdfast {

// What people read of a device: a name of 1 to 64 bytes and a kind ("phone", "laptop", … or
// nothing) of up to 32, both printable UTF-8. Other devices see it, the relay does not.
struct DeviceLabel {
  std::string name;
  std::string kind;
  DeviceLabel() = default;
  DeviceLabel(const char* its_name) : name(its_name) {}             // NOLINT: meant to convert
  DeviceLabel(std::string its_name) : name(std::move(its_name)) {}  // NOLINT: meant to convert
  DeviceLabel(std::string its_name, std::string its_kind)
      : name(std::move(its_name)), kind(std::move(its_kind)) {}
  bool is_valid() const;
};

struct Device {
  enum class State {
    active,
    unconfirmed,  // came in by the recovery code, and no other device has synced with it yet: a
                  // relay that showed it an older vault would not have been noticed
    revoked,      // was taken out
  };
  std::array<std::uint8_t, 16> id{};
  std::string name;
  std::string kind;
  std::string added_by;  // the name of the device that let it in; empty: see `by_recovery`
  bool by_recovery = false;
  bool this_device = false;
  State state = State::active;
  // When it sealed what this device last received of it, by its clock: UTC milliseconds. 0: never.
  // Of this device itself, now.
  std::int64_t last_seen_ms = 0;
  std::string revoked_by;  // a device's name, or "the recovery code"
};
// "active", "unconfirmed" or "revoked". Never fails.
const char* device_state_name(Device::State state) noexcept;

// Who wants in, as the device that let it choose a code sees it.
struct PairingPeer {
  std::string name;
  std::string kind;
  std::string fingerprint;  // "1234 5678": the other device must show the same
};

struct InviteOptions {
  enum class Code {
    typed,    // twelve characters, good with the relay's URL
    scanned,  // a line for a QR code, with the relay's URL and the vault's history to expect
  };
  Code code = Code::typed;
  std::function<void(const std::string& code)> show;     // required
  std::function<bool(const PairingPeer& peer)> confirm;  // required; false: it stays out
  const std::atomic<bool>* cancelled = nullptr;          // set from another thread, it ends soon
};

struct JoinOptions {
  std::string relay;  // for a typed code; the others carry it
  // What the other device shows, too, if nobody stands in between. Called once the code is right.
  std::function<void(const std::string& fingerprint)> show_fingerprint;
  const std::atomic<bool>* cancelled = nullptr;
};

// The vault: one user's devices, and the keys they share. A store is in at most one; an app that
// wants several vaults opens several stores, and a vault is shared with another person by letting a
// device of theirs in. The list of devices is a signed log that every device verifies whole; the
// relay can add nobody to it, and an older list than one that was seen is refused for ever. One
// thread at a time; not inside a transaction, and neither from within a callback of a sync, nor may
// the callbacks given here sync or use a Vault of the same store. The store must outlive it.
//
// Methods that ask the relay throw Error: no_vault, invalid_argument (no relay chosen, or wrong
// input), unreachable, busy, refused, exists (others changed the list faster, ten times), revoked
// (this device was taken out), protocol and fork (the relay lies), io.
class Vault {
 public:
  explicit Vault(EncryptedLocalStore& store) : store_(&store) {}

  bool exists() const;
  std::string id() const;  // hex; Error(no_vault) where there is none

  // Makes a vault with this store's device as its first. `keep_recovery_code` is called once with a
  // code that is kept nowhere else: show it, to be written down. The vault comes to be when the
  // callback has returned; where it throws, there is none. Throws Error(exists) where the store is
  // in a vault.
  void create(const DeviceLabel& device,
              const std::function<void(const std::string& code)>& keep_recovery_code);

  // Uses the relay at `url` and registers the vault there. HTTPS, or plain HTTP to loopback only.
  // Throws Error: invalid_argument, unreachable, busy, refused, protocol, exists (the vault's log
  // is at another relay). `invitation`: a code that the relay's operator gave, where the relay asks
  // for one (else refused); a relay may ask for some seconds of work instead, which is done here.
  void use_relay(const std::string& url, const std::string& invitation = "");
  std::optional<std::string> relay() const;

  // Has the relay forget the vault, for all of its devices and for good: it keeps this device's
  // signed request and says from then on that the vault was erased. What is in this store stays,
  // and so does what is in the others'. Returns in how many days the operator's backups forget it
  // as well, as the relay says; nothing where it does not say. Throws Error: invalid_argument (no
  // relay chosen), unreachable, busy, refused, revoked, protocol, exists (the relay's log has begun
  // anew: sync, then try again).
  std::optional<std::uint32_t> erase_from_relay();

  // Lets one other device in while both are there: shows a code, waits for the other device to
  // join with it, and asks `confirm`. Returns the device that joined. The code is good for ten
  // minutes and three tries; a wrong one tells neither side, nor the relay, anything. Throws
  // Error(expired) after ten minutes, refused (three wrong codes, or not confirmed), cancelled.
  Device invite(const InviteOptions& options);
  // A code by which one other device may join later, within `lifetime_ms` (at most an hour, in
  // which the relay keeps it): for scripts. Whoever has the code can read the vault: hand it over
  // as you would the data. A change of the vault's key voids it.
  std::string invite_ticket(std::int64_t lifetime_ms = 60 * 60 * 1000);
  // Enters a vault by what invite or invite_ticket gave there; safe to repeat after a failure.
  // Throws also Error: malformed (no such code), not_found (spent, void, expired or unknown),
  // refused (the other device did not take the code, or its user said no), exists (this store is in
  // a vault already), expired, cancelled.
  void join(const std::string& code, const DeviceLabel& device, const JoinOptions& options = {});

  // Throws what join throws for its arguments alone, before a store is made for them.
  static void check_join(const std::string& code, const DeviceLabel& device,
                         const JoinOptions& options = {});

  // In the order they entered; those that were taken out, too. As of the last sync, or refresh.
  std::vector<Device> devices() const;
  void refresh();  // asks the relay who is in
  // The device in the vault with this name, or whose id starts with these (at least 8) hex digits.
  // Throws Error(not_found), invalid_argument (several have it).
  Device find_device(const std::string& name) const;
  void rename(const std::array<std::uint8_t, 16>& device, const DeviceLabel& label);

  // Takes a device out, for good: what it sent so far stays, what it sends from now on counts for
  // nobody, and the vault gets a new key that it is not given. What it already has it keeps. Takes
  // in what the vault's log holds first, and sends nothing. A device that has replaced the recovery
  // code may know it: then `keep` gets a new one first, as with replace_recovery_code. Throws
  // Error(invalid_argument) for this very device, and where `keep` is needed and missing; not_found
  // where it is not in the vault.
  void revoke(const std::array<std::uint8_t, 16>& device,
              const std::function<void(const std::string& code)>& keep = nullptr);
  // Starts an epoch: from now on everything is sealed under a new key, of which each device gets a
  // copy. Tickets that are still unspent become void.
  void rotate_key();
  std::uint32_t epoch() const;  // how often the key was changed
  // The device that replaced the recovery code last; "" for the one from the vault's beginning or
  // from a recovery.
  std::string recovery_set_by() const;

  // Replaces the recovery code, and the vault's key with it: the old code opens what it could open,
  // and nothing new. As with create, the callback comes first; where it throws, nothing changed.
  void replace_recovery_code(const std::function<void(const std::string& code)>& keep);
  // Enters the vault with its recovery code, when every device is lost: this device becomes its
  // only one, all others are taken out, and a new code takes the old one's place (`keep` gets it
  // before anything happens). Safe to repeat with the same store after a failure. `relay` is where
  // the vault is registered. Throws also Error: invalid_argument (no such code), not_found (no
  // vault there has it), refused (the code was replaced by a newer one), exists.
  void recover(const std::string& code, const std::string& relay, const DeviceLabel& device,
               const std::function<void(const std::string& code)>& keep);
  static void check_recover(const std::string& code, const std::string& relay,
                            const DeviceLabel& device);

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
