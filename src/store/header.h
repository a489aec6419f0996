#pragma once

// The two header pages of a store: who may open it. docs/formats.md has the grammar.

#include "holdfast/user_key.h"
#include "src/base/environment.h"
#include "src/crypto/kdf.h"

namespace holdfast::store {

constexpr std::size_t kHeaderPage = 4096;
constexpr std::size_t kHeaderPages = 2;

// One way to open the store: the data key, wrapped under a key from the user's secret.
struct KeySlot {
  UserKey::Kind kind = UserKey::Kind::raw;
  base::Hash32 public_key{};  // from the same secret, so that a new data key can be boxed to it
  base::Id16 salt{};          // of a passphrase
  crypto::Argon2Cost cost;    // of a passphrase
  Bytes wrapped;
};

struct Header {
  base::Id16 database_id{};
  std::uint64_t generation = 0;
  std::vector<KeySlot> slots;
};

KeySlot make_slot(const UserKey& key, const base::Id16& database_id, ByteView data_key,
                  crypto::Argon2Cost cost, base::Random& random);

// Writes both pages, one after the other, each synced. Throws Error(io).
void write_header(base::File& file, const Header& header, ByteView data_key);

struct Unlocked {
  Header header;
  crypto::Secret data_key;
};
// Reads the pages and opens a slot. A damaged copy is passed over where the other is whole. Throws
// Error(not_a_store, newer_version, wrong_key, corrupt); writes nothing.
Unlocked unlock(base::File& file, const UserKey& key, const std::string& path);

}  // namespace holdfast::store
