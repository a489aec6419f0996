#include "src/base/hash.h"

#include <sodium.h>

#include <algorithm>

namespace holdfast::base {

Hash32 sha256(std::initializer_list<ByteView> parts) {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  for (ByteView part : parts) crypto_hash_sha256_update(&state, part.data(), part.size());
  Hash32 out;
  crypto_hash_sha256_final(&state, out.data());
  return out;
}

Id16 device_id_of(const Hash32& signing_key) {
  Hash32 hash = sha256({view("holdfast device id v1"), signing_key});
  Id16 id;
  std::copy_n(hash.begin(), id.size(), id.begin());
  return id;
}

}  // namespace holdfast::base
