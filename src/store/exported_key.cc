#include "src/store/exported_key.h"

#include "holdfast/error.h"
#include "src/crypto/aead.h"

namespace holdfast::store {
namespace {

constexpr std::string_view kPrefix = "holdfast-key-1.";
constexpr std::string_view kContext = "holdfast exported key v1";

}  // namespace

std::string export_key(ByteView data_key, std::string_view password, crypto::Argon2Cost cost,
                       base::Random& random) {
  if (password.empty()) {
    throw Error(ErrorCode::invalid_argument, "the password is empty: give one");
  }
  base::Id16 salt = random.array<16>();
  crypto::Secret key = crypto::argon2id(base::view(password), salt, cost);
  base::Writer out;
  out.raw(salt);
  out.u32(cost.passes);
  out.u32(cost.memory_kib);
  out.raw(crypto::seal_committing(key.view(), kContext, data_key, random));
  return std::string(kPrefix) + base::to_base64url(out.bytes());
}

crypto::Secret open_exported_key(std::string_view text, std::string_view password) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  std::optional<Bytes> bytes;
  if (text.starts_with(kPrefix)) bytes = base::from_base64url(text.substr(kPrefix.size()));
  constexpr std::size_t kSize = 16 + 4 + 4 + 32 + crypto::kCommittingOverhead;
  if (!bytes || bytes->size() != kSize) {
    throw Error(ErrorCode::invalid_argument,
                "that is no exported key: copy the whole line that starts with holdfast-key-1");
  }
  base::Reader in(*bytes, "the exported key");
  base::Id16 salt = in.array<16>();
  crypto::Argon2Cost cost;
  cost.passes = in.u32();
  cost.memory_kib = in.u32();
  crypto::Secret key = crypto::argon2id(base::view(password), salt, cost);
  std::optional<crypto::Secret> data_key = crypto::open_committing(key.view(), kContext, in.rest());
  if (!data_key || data_key->size() != 32) {
    throw Error(ErrorCode::wrong_key, "that password does not open the exported key");
  }
  return std::move(*data_key);
}

}  // namespace holdfast::store
