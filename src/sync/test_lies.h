#pragma once

// What a relay, or a device, that lies does to a vault's device list, for tests.

#include "src/sync/control_client.h"
#include "src/sync/outbox.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {

using wire::ControlRecord;
using wire::ControlType;

inline base::Id16 id_of(TestDevice& device) { return device.store->engine().identity().id; }

inline bool is_list(const base::HttpRequest& request) {
  return request.method == "GET" && request.url.find("/control?") != std::string::npos;
}

// Serves `records` as the whole list, whatever the relay holds.
inline void serve(FakeRelay& relay, std::vector<Bytes> records) {
  relay.after = [records = std::move(records)](const base::HttpRequest& request,
                                               base::HttpResponse& response) {
    if (!is_list(request)) return;
    std::size_t after = std::stoul(request.url.substr(request.url.find("after=") + 6));
    std::vector<Bytes> rest;
    for (std::size_t i = after; i < records.size(); ++i) rest.push_back(records[i]);
    response = {200, wire::encode_list(rest), 0, ""};
  };
}

inline std::vector<Bytes> list_of(TestVault& vault) {
  return vault.relay.storage.control(Membership(vault[0].store->engine()).vault(), 0);
}

// The next record, signed by a device as the code would; not posted.
inline Bytes next_record(TestDevice& device, const std::function<void(ControlRecord&)>& fill,
                         const crypto::SigningKey* key = nullptr) {
  Membership membership(device.store->engine());
  const crypto::SigningKey& signer = key ? *key : device.store->engine().identity().sign;
  ControlRecord record;
  record.previous = membership.control().head();
  record.signer = signer.public_key();
  fill(record);
  for (const base::Id16& out : record.revoked) {
    record.last_leaves.emplace_back(out, device_leaf(device.store->engine(), out));
  }
  record.signature = signer.sign(
      wire::signed_message(wire::kSignControl, membership.vault(), wire::encode_unsigned(record)));
  return wire::encode(record);
}

inline wire::EpochStart epoch_for(TestDevice& device, const std::set<base::Id16>& without = {}) {
  Membership membership(device.store->engine());
  const wire::ControlState& state = membership.control();
  return fresh_epoch(state, without, state.recovery().box, std::nullopt,
                     membership.keys_to_pass_on(), *device.world.random)
      .start;
}

// Puts a record behind the others as a relay in league with its author would, rules or not.
inline void force(TestVault& vault, const Bytes& record) {
  base::Hash32 id = Membership(vault[0].store->engine()).vault();
  relay::Vault row = vault.relay.storage.vault(id).value();
  vault.relay.storage.transaction([&] {
    vault.relay.storage.add_control(id, row.control_count, record, 0);
    ++row.control_count;
    row.control_head = base::sha256({record});
    vault.relay.storage.put_vault(id, row);
  });
}

}  // namespace holdfast::sync
