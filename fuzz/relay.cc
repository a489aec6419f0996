// Whole requests: by an outsider, by a member with its token, and by a member that signs what it
// pushes. Method, target, token and body are split from the input.
#include "fuzz/fuzz.h"
#include "relay/test_relay.h"

namespace {

using namespace holdfast;
using relay::Request;

relay::ServiceOptions small() {
  relay::ServiceOptions out = relay::test_options();
  out.vault_bytes = 1 << 20;
  return out;
}

struct Rig {
  relay::SqliteStorage storage{":memory:"};
  base::FakeClock clock;
  base::SeededRandom random{1};
  relay::Service service{storage, clock, random, small()};
  relay::Signer device{1};
  base::Hash32 vault = device.vault();
  std::string token;

  Rig() {
    require(service.handle({"POST", "/v1/vaults", "", device.genesis()}).status == 200);
    Bytes nonce = service.handle({"POST", "/v1/session/challenge", "", {}}).body;
    wire::SessionRequest request;
    request.vault = vault;
    request.signer = device.pk;
    request.nonce = nonce;
    request.origin = small().origins[0];
    request.signature =
        device.sign(wire::kSignSession, vault, wire::session_message(nonce, request.origin));
    auto answer = service.handle({"POST", "/v1/session", "", wire::encode(request)});
    token = wire::decode_session_answer(answer.body).token;
  }

  bool is_full() { return storage.vault(vault)->bytes > small().vault_bytes * 3 / 4; }

  // The input's fields in a header that can be right, signed.
  Bytes signed_batch(base::Reader& in) {
    wire::BatchHeader header;
    header.vault = vault;
    header.batch = in.array<16>();
    header.device = wire::device_id_of(device.pk);
    if (in.u8() != 0) header.previous = storage.device_leaf(vault, header.device);
    header.epoch = in.u8() == 0 ? in.u32() : 0;
    Bytes out = wire::encode(header);
    ByteView rest = in.rest();
    out.insert(out.end(), rest.begin(), rest.end());
    out.resize(std::max<std::size_t>(out.size(), 512 - wire::kSignatureSize));
    auto signature = device.sign(wire::kSignBatch, vault, out);
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  }
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::unique_ptr<Rig> current;
  if (!current || current->is_full()) current = std::make_unique<Rig>();
  Rig& rig = *current;
  base::Reader in({data, size}, "an input");
  refuses_only_by_error([&] {
    Request request;
    constexpr const char* kMethods[] = {"GET", "POST", "PUT", "DELETE"};
    std::uint8_t how = in.u8();
    request.method = kMethods[how % 4];
    bool is_member = how & 4;
    request.token = is_member ? rig.token : in.sized_text();
    request.target = (is_member ? relay::path_of(rig.vault, "") : "") + in.sized_text();
    bool pushes = is_member && (how & 8);
    std::uint64_t before = rig.storage.vault(rig.vault)->head;
    if (pushes) {
      request.method = "POST";
      request.target = relay::path_of(rig.vault, how & 16 ? "batches?restore=1" : "batches");
      request.body = wire::encode_list({rig.signed_batch(in)});
    } else {
      request.body = base::to_bytes(in.rest());
    }
    relay::Response response = rig.service.handle(request);
    require(response.status >= 200 && response.status < 504);
    // A vault goes nowhere, and its log grows by what was said to be stored.
    std::uint64_t stored = 0;
    if (pushes && response.status == 200) {
      for (const auto& item : wire::decode_push_answer(response.body).items) {
        stored += item.status == wire::PushStatus::ok;
      }
    }
    require(!pushes || rig.storage.vault(rig.vault)->head == before + stored);
    require(rig.storage.vault(rig.vault)->head >= before);
  });
  return 0;
}
