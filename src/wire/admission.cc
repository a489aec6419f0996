#include "src/wire/admission.h"

#include <bit>

#include "holdfast/error.h"

namespace holdfast::wire {

Bytes encode(const AdmissionNeeded& needed) {
  base::Writer out;
  out.u8(static_cast<std::uint8_t>(needed.kind));
  out.u8(needed.bits);
  out.sized(needed.nonce);
  return out.take();
}

AdmissionNeeded decode_admission_needed(ByteView bytes) {
  base::Reader in(bytes, "what the relay asks for");
  AdmissionNeeded out;
  std::uint8_t kind = in.u8();
  if (kind < 1 || kind > 2) in.fail("it is of an unknown kind");
  out.kind = static_cast<AdmissionNeeded::Kind>(kind);
  out.bits = in.u8();
  out.nonce = base::to_bytes(in.sized());
  in.expect_end();
  return out;
}

unsigned work_bits(ByteView nonce, const Hash32& vault, std::uint64_t counter) {
  base::Writer number;
  number.u64(counter);
  Hash32 hash = sha256({base::view("holdfast admission v1"), nonce, vault, number.take()});
  unsigned bits = 0;
  for (std::uint8_t byte : hash) {
    bits += static_cast<unsigned>(std::countl_zero(byte));
    if (byte != 0) break;
  }
  return bits;
}

Hash32 invite_hash(std::string_view code) {
  return sha256({base::view("holdfast invite v1"), base::view(code)});
}

Bytes erasure_message(const Erasure& erasure) {
  base::Writer out;
  out.raw(erasure.log_id);
  out.sized(erasure.nonce);
  out.sized(base::view(erasure.origin));
  return out.take();
}

Bytes encode(const Erasure& erasure) {
  base::Writer out;
  out.raw(erasure.signer);
  out.raw(erasure_message(erasure));
  out.raw(erasure.signature);
  return out.take();
}

Erasure decode_erasure(ByteView bytes) {
  base::Reader in(bytes, "a request to erase a vault");
  Erasure out;
  out.signer = in.array<32>();
  out.log_id = in.array<16>();
  out.nonce = base::to_bytes(in.sized());
  out.origin = in.sized_text();
  out.signature = in.array<kSignatureSize>();
  in.expect_end();
  return out;
}

}  // namespace holdfast::wire
