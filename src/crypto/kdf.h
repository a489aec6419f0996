#pragma once

#include "src/base/environment.h"
#include "src/crypto/secret.h"

namespace holdfast::crypto {

// HKDF-SHA-256 (RFC 5869). `size` is at most 255 * 32; a purpose goes first into `info`.
Secret hkdf_sha256(ByteView key, ByteView salt, ByteView info, std::size_t size);
// Its two halves.
Secret hkdf_extract_sha256(ByteView salt, ByteView key);  // 32 bytes
Secret hkdf_expand_sha256(ByteView key32, ByteView info, std::size_t size);

// HMAC-SHA-256 (RFC 2104).
base::Hash32 hmac_sha256(ByteView key, ByteView message);

struct Argon2Cost {
  std::uint32_t passes = 3;
  std::uint32_t memory_kib = 256 * 1024;
};
// What a slot's parameters may be: below the floor a stolen store is too cheap to attack, above the
// ceiling a hostile one would exhaust the machine.
constexpr Argon2Cost kArgon2Floor{3, 64 * 1024};
constexpr Argon2Cost kArgon2Ceiling{16, 1024 * 1024};

// A cost that takes about half a second where one derivation at the floor took `floor_ms`, within
// floor and ceiling and a quarter of the machine's memory: memory first, then passes.
Argon2Cost choose_argon2_cost(std::int64_t floor_ms, std::uint64_t machine_memory_kib);
// Measures one derivation at the floor and chooses by it.
Argon2Cost calibrate_argon2(base::Clock& clock);

// Argon2id (RFC 9106, one lane, by libsodium): 32 bytes. Throws Error(corrupt) for a cost outside
// floor and ceiling, Error(io) where the memory is not to be had.
Secret argon2id(ByteView passphrase, ByteView salt16, Argon2Cost cost);

// A Fernet key (github.com/fernet/spec): 32 bytes in url-safe base64. Nothing for any other text.
std::optional<Secret> parse_fernet_key(std::string_view text);

}  // namespace holdfast::crypto
