#pragma once

// A device of a vault at a relay for tests.

#include <gtest/gtest.h>

#include "relay/test_relay.h"

namespace holdfast::relay {

struct Member {
  explicit Member(Rig& in, std::uint8_t seed = 1) : rig(in), device(seed) {
    EXPECT_EQ(rig.status("POST", "/v1/vaults", device.genesis()), 200);
    sign_in();
  }
  void sign_in() {
    token = wire::decode_session_answer(device.sign_in(rig, device.vault()).body).token;
  }
  Response call(const std::string& method, const std::string& what, Bytes body = {}) {
    return rig.service.handle({method, path_of(device.vault(), what), token, std::move(body)});
  }
  wire::PushStatus push(std::uint8_t id) {
    Bytes batch = device.batch(id, last);
    Response response = call("POST", "batches", wire::encode_list({batch}));
    EXPECT_EQ(response.status, 200);
    auto status = wire::decode_push_answer(response.body).items.at(0).status;
    if (status == wire::PushStatus::ok) last = wire::leaf_of(batch);
    return status;
  }
  Response erase(const Id16& log_id, const std::string& origin = "http://relay") {
    wire::Erasure erasure;
    erasure.signer = device.pk;
    erasure.log_id = log_id;
    erasure.origin = origin;
    erasure.nonce = rig.service.handle({"POST", "/v1/session/challenge", "", {}}).body;
    erasure.signature =
        device.sign(wire::kSignErasure, device.vault(), wire::erasure_message(erasure));
    return rig.service.handle(
        {"DELETE", "/v1/vaults/" + base::to_hex(device.vault()), "", wire::encode(erasure)});
  }
  Id16 log_id() { return wire::decode_log_page(call("GET", "log?after=0").body).log_id; }

  Rig& rig;
  Signer device;
  std::string token;
  Hash32 last{};
};

}  // namespace holdfast::relay
