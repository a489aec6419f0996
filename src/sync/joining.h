#pragma once

// How a device enters a vault, whatever let it in: what it is told, and what it keeps.

#include "src/sync/control_client.h"

namespace holdfast::sync {

// What somebody in the vault tells a newcomer, over a channel that the relay has no part in.
struct Welcome {
  base::Hash32 vault{};
  std::uint64_t count = 0;  // of records in the device list: the newcomer's must come through this
  base::Hash32 head{};      // place
  LogPosition log;          // and its log through this one
  std::uint32_t epoch = 0;
  crypto::Secret key;  // of that epoch
};
Welcome welcome_of(const Membership& membership);
void write(base::Writer& out, const Welcome& welcome);
Welcome read_welcome(base::Reader& in);
// Names the vault, its list and its log as they are: for a channel that has no room for them.
base::Hash32 anchor_of(const Welcome& welcome);

// Throws Error(invalid_argument).
void check_label(const DeviceLabel& label);
void require_no_vault(const Membership& membership);

// Reads the device list, and checks that it comes through what the newcomer was told. Throws
// Error(protocol).
void fetch_checked(store::Engine& engine, const RelayClient& client, const Welcome& welcome,
                   FetchedList& list);
// Keeps it all: from here on the store is in the vault. Its device must be in the list. `more`:
// other keys that the newcomer has.
void enter(store::Engine& engine, const RelayClient& client, const Welcome& welcome,
           const FetchedList& list, const EpochKeys& more = {});

}  // namespace holdfast::sync
