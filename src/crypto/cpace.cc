#include "src/crypto/cpace.h"

#include <sodium.h>

#include <algorithm>

namespace holdfast::crypto {
namespace {

constexpr std::string_view kDsi = "CPaceRistretto255";
constexpr std::string_view kDsiIsk = "CPaceRistretto255_ISK";
constexpr std::string_view kMacLabel = "CPaceMac";
constexpr std::size_t kHashBlock = 128;  // of SHA-512

// In memory of the right size from the start, so that no copy is left behind as it grows.
Bytes joined(std::initializer_list<ByteView> parts) {
  std::size_t size = 0;
  for (ByteView part : parts) size += part.size();
  Bytes out;
  out.reserve(size);
  for (ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// prepend_len and lv_cat of the draft: the length, as a varint, before each.
Bytes length_of(ByteView part) {
  base::Writer out;
  out.varint(part.size());
  return out.take();
}
Bytes lv_cat(std::initializer_list<ByteView> parts) {
  std::vector<Bytes> lengths;
  lengths.reserve(parts.size());
  std::size_t size = 0;
  for (ByteView part : parts) size += lengths.emplace_back(length_of(part)).size() + part.size();
  Bytes out;
  out.reserve(size);
  auto length = lengths.begin();
  for (ByteView part : parts) {
    out.insert(out.end(), length->begin(), length->end());
    out.insert(out.end(), part.begin(), part.end());
    ++length;
  }
  return out;
}

Secret sha512(ByteView bytes) {
  Secret out(crypto_hash_sha512_BYTES);
  crypto_hash_sha512(out.data(), bytes.data(), bytes.size());
  return out;
}

// calculate_generator of section 8.3; the code is padded, so that hashing it takes a block alone.
Secret generator(ByteView code, ByteView channel, ByteView session) {
  std::size_t used = lv_cat({code}).size() + lv_cat({base::view(kDsi)}).size() + 1;
  Bytes padding(used < kHashBlock ? kHashBlock - used : 0);
  Bytes text = lv_cat({base::view(kDsi), code, padding, channel, session});
  Secret hash = sha512(text);
  wipe(text);
  Secret out(crypto_core_ristretto255_BYTES);
  crypto_core_ristretto255_from_hash(out.data(), hash.view().data());
  return out;
}

Secret tag(ByteView mac_key, ByteView share, ByteView said) {
  Secret out(crypto_auth_hmacsha512_BYTES);
  Bytes message = lv_cat({share, said});
  crypto_auth_hmacsha512_state state;
  crypto_auth_hmacsha512_init(&state, mac_key.data(), mac_key.size());
  crypto_auth_hmacsha512_update(&state, message.data(), message.size());
  crypto_auth_hmacsha512_final(&state, out.data());
  sodium_memzero(&state, sizeof state);
  return out;
}

}  // namespace

Cpace::Cpace(Role role, ByteView code, ByteView channel, ByteView session, base::Random& random)
    : role_(role),
      session_(base::to_bytes(session)),
      scalar_(crypto_core_ristretto255_SCALARBYTES) {
  Secret wide(crypto_core_ristretto255_NONREDUCEDSCALARBYTES);
  Secret base_point = generator(code, channel, session);
  // Refused with a chance of 2^-252, for a scalar of zero.
  do {
    random.fill(wide.span());
    crypto_core_ristretto255_scalar_reduce(scalar_.data(), wide.view().data());
  } while (crypto_scalarmult_ristretto255(share_.data(), scalar_.view().data(),
                                          base_point.view().data()) != 0);
}

std::optional<CpaceKeys> Cpace::finish(ByteView peer_share, ByteView own, ByteView peer) const {
  if (peer_share.size() != share_.size()) return std::nullopt;
  Secret point(crypto_core_ristretto255_BYTES);
  // Fails for what encodes no point, and for the neutral element.
  if (crypto_scalarmult_ristretto255(point.data(), scalar_.view().data(), peer_share.data()) != 0) {
    return std::nullopt;
  }
  bool first = role_ == Role::initiator;
  ByteView a = first ? ByteView(share_) : peer_share, said_a = first ? own : peer;
  ByteView b = first ? peer_share : ByteView(share_), said_b = first ? peer : own;
  Bytes input = lv_cat({base::view(kDsiIsk), session_, point.view(), a, said_a, b, said_b});
  CpaceKeys out;
  out.session_key = sha512(input);
  wipe(input);

  input = joined({base::view(kMacLabel), session_, out.session_key.view()});
  Secret mac_key = sha512(input);
  wipe(input);
  out.own_tag = tag(mac_key.view(), share_, own);
  out.peer_tag = tag(mac_key.view(), peer_share, peer);
  return out;
}

}  // namespace holdfast::crypto
