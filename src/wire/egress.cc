#include "src/wire/egress.h"

#include <algorithm>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSmallest = 256;
constexpr std::size_t kLargest = 1 << 20;
constexpr std::size_t kMaxName = 128;

std::string name_of(base::Reader& in) {
  std::string name = in.sized_text();
  bool plain = !name.empty() && name.size() <= kMaxName &&
               std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!plain) in.fail("a name breaks its rules");
  return name;
}

}  // namespace

Bytes encode(const EgressHeader& header) {
  base::Writer out;
  out.raw(base::view("HFEG"));
  out.u8(kVersion);
  out.raw(header.id);
  out.varint(header.aead);
  out.raw(header.policy);
  out.sized(header.key_id);
  out.sized(header.destination);
  out.sized(header.purpose);
  out.sized(header.data_type);
  out.raw(header.encapsulated);
  return out.take();
}

Egress decode_egress(ByteView bytes) {
  base::Reader in(bytes, "an egress");
  if (base::text(in.raw(4)) != "HFEG") in.fail("it does not start as one");
  if (std::uint8_t version = in.u8(); version != kVersion) {
    if (version == 0) in.fail("its version is 0");
    throw Error(ErrorCode::newer_version, "an egress of a later version: update this program");
  }
  Egress out;
  EgressHeader& header = out.header;
  header.id = in.array<16>();
  std::uint64_t aead = in.varint();
  if (aead != 2 && aead != 3) in.fail("its cipher is unknown");
  header.aead = static_cast<std::uint16_t>(aead);
  header.policy = in.array<32>();
  header.key_id = name_of(in);
  header.destination = name_of(in);
  header.purpose = name_of(in);
  header.data_type = name_of(in);
  header.encapsulated = in.array<32>();
  out.sealed = base::to_bytes(in.rest());
  out.head = base::to_bytes(bytes.first(bytes.size() - out.sealed.size()));
  return out;
}

Bytes egress_info(const EgressHeader& header) {
  base::Writer out;
  out.raw(base::view("holdfast egress v1"));
  out.sized(header.destination);
  out.sized(header.purpose);
  out.sized(header.data_type);
  out.raw(header.policy);
  out.sized(header.key_id);
  return out.take();
}

Bytes pad_payload(std::string_view text) {
  base::Writer out;
  out.sized(text);
  if (out.size() > kLargest) {
    throw Error(ErrorCode::too_large, "the data is larger than 1 MiB: send it in parts");
  }
  std::size_t bucket = kSmallest;
  while (bucket < out.size()) bucket *= 2;
  Bytes bytes = out.take();
  bytes.resize(bucket);
  return bytes;
}

std::string unpad_payload(ByteView padded) {
  base::Reader in(padded, "a payload");
  std::string text = in.sized_text();
  ByteView rest = in.rest();
  if (std::any_of(rest.begin(), rest.end(), [](std::uint8_t byte) { return byte != 0; })) {
    in.fail("its padding is not empty");
  }
  return text;
}

}  // namespace holdfast::wire
