#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/encrypted_local_store.h"

namespace holdfast {

struct Device {
  std::array<std::uint8_t, 16> id{};
  std::string name;
  bool this_device = false;
};

// The vault: one user's devices, and the keys they share. A store is in at most one. The list of
// devices is a signed log that every device verifies whole; the relay can add nobody to it. One
// thread at a time. The store must outlive it.
class Vault {
 public:
  explicit Vault(EncryptedLocalStore& store) : store_(&store) {}

  bool exists() const;
  std::string id() const;  // hex; Error(no_vault) where there is none

  // Makes a vault with this store's device as its first. `keep_recovery_code` is called once with a
  // code that is kept nowhere else: show it, to be written down. The vault comes to be when the
  // callback has returned; where it throws, there is none. Throws Error(exists) where the store is
  // in a vault.
  void create(const std::string& device_name,
              const std::function<void(const std::string& code)>& keep_recovery_code);

  // Uses the relay at `url` and registers the vault there. HTTPS, or plain HTTP to loopback only.
  // Throws Error: invalid_argument, unreachable, busy, refused, protocol, exists (the vault's log
  // is at another relay).
  void use_relay(const std::string& url);
  std::optional<std::string> relay() const;

  // A code by which one other device may join, within `lifetime_ms` (at most an hour, in which the
  // relay keeps it). Whoever has the code can read the vault: hand it over as you would the data.
  std::string invite_ticket(std::int64_t lifetime_ms = 60 * 60 * 1000);
  // Enters the vault of a ticket; safe to repeat after a failure. Throws Error as use_relay,
  // malformed (no ticket), not_found (spent, expired or unknown), exists (this store is in a vault
  // already).
  void join(const std::string& ticket, const std::string& device_name);

  std::vector<Device> devices() const;  // in the order they entered

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
