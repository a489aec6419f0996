#pragma once

#include <initializer_list>

#include "src/base/bytes.h"

namespace holdfast::base {

// SHA-256 over the parts, one after the other (FIPS 180-4).
Hash32 sha256(std::initializer_list<ByteView> parts);

// The id of the device that signs with this key: the key's hash, cut to 16 bytes.
Id16 device_id_of(const Hash32& signing_key);

}  // namespace holdfast::base
