#pragma once

// A relay for tests, and a device that signs without any of the code that decrypts.

#include <mutex>

#include "relay/service.h"
#include "relay/sqlite/sqlite_storage.h"
#include "src/base/fakes.h"

namespace holdfast::relay {

// No limit on how fast a test may ask.
inline ServiceOptions test_options() {
  ServiceOptions out;
  out.origins = {"http://relay"};
  out.requests_per_s = 1e9;
  return out;
}

// For several threads.
class LockedRandom : public base::Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    std::lock_guard lock(mutex_);
    random_.fill(out);
  }

 private:
  std::mutex mutex_;
  base::SeededRandom random_{7};
};

struct Rig {
  explicit Rig(const ServiceOptions& options = test_options())
      : service(storage, clock, random, options) {}
  base::FakeClock clock;
  base::SeededRandom random{1};
  SqliteStorage storage{":memory:"};
  Service service;

  int status(const std::string& method, const std::string& target, Bytes body = {},
             const std::string& token = "") {
    return service.handle({method, target, token, std::move(body)}).status;
  }
};

// A device that signs, without any of the code that decrypts.
struct Signer {
  explicit Signer(std::uint8_t fill) {
    Bytes seed(32, fill);
    crypto_sign_seed_keypair(pk.data(), sk.data(), seed.data());
  }
  std::array<std::uint8_t, 64> sign(std::string_view purpose, const Hash32& vault,
                                    ByteView message) const {
    Bytes whole = wire::signed_message(purpose, vault, message);
    std::array<std::uint8_t, 64> out;
    crypto_sign_detached(out.data(), nullptr, whole.data(), whole.size(), sk.data());
    return out;
  }
  Bytes genesis() const {
    wire::ControlRecord record;
    record.device_sign = record.signer = record.recovery.sign = pk;
    record.device_box = record.recovery.box = {9};  // a point to which something can be boxed
    record.epoch.boxes.push_back({record.device_box, Bytes(wire::kKeyBox, 1)});
    record.recovery.proof = sign(wire::kSignRecovery, {}, wire::proof_message(record));
    record.signature = sign(wire::kSignControl, {}, wire::encode_unsigned(record));
    return wire::encode(record);
  }
  Hash32 vault() const { return wire::sha256({genesis()}); }
  Response sign_in(Rig& rig, const Hash32& vault,
                   const std::string& origin = "http://relay") const {
    Bytes nonce = rig.service.handle({"POST", "/v1/session/challenge", "", {}}).body;
    wire::SessionRequest request;
    request.vault = vault;
    request.signer = pk;
    request.nonce = nonce;
    request.origin = origin;
    request.signature = sign(wire::kSignSession, vault, wire::session_message(nonce, origin));
    return rig.service.handle({"POST", "/v1/session", "", wire::encode(request)});
  }
  Bytes batch(std::uint8_t id, const Hash32& previous) const {
    wire::BatchHeader header;
    header.vault = vault();
    header.batch[0] = id;
    header.device = wire::device_id_of(pk);
    header.previous = previous;
    Bytes out = wire::encode(header);
    out.resize(512 - wire::kSignatureSize, id);
    auto signature = sign(wire::kSignBatch, header.vault, out);
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  }
  Hash32 pk;
  std::array<std::uint8_t, 64> sk;
};

inline std::string path_of(const Hash32& vault, const std::string& call) {
  return "/v1/vaults/" + base::to_hex(vault) + "/" + call;
}

}  // namespace holdfast::relay
