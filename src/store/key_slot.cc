#include "src/store/key_slot.h"

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/keys.h"

namespace holdfast::store {
namespace {

constexpr std::string_view kOwnContext = "holdfast key slot v2";
constexpr std::string_view kTokenContext = "holdfast slot token v2";
constexpr std::size_t kKey = 32;
constexpr std::size_t kBoxMac = 32;

struct KindByte {
  UserKey::Kind kind;
  std::uint8_t byte;
};
constexpr KindByte kKinds[] = {{UserKey::Kind::passphrase, 1},
                               {UserKey::Kind::raw, 2},
                               {UserKey::Kind::fernet, 3},
                               {UserKey::Kind::recovery_code, 4},
                               {UserKey::Kind::callback, 5}};

crypto::Secret derive(ByteView secret, const base::Id16& database_id, std::string_view purpose) {
  return crypto::hkdf_sha256(secret, database_id, base::view(purpose), kKey);
}

// The user's secret for this slot. Slow for a passphrase; nothing where a platform has none.
std::optional<crypto::Secret> secret_for(const KeySlot& slot, const UserKey& key) {
  switch (slot.kind) {
    case UserKey::Kind::passphrase:
      return crypto::argon2id(key.secret().view(), slot.id, slot.cost);
    case UserKey::Kind::callback: {
      crypto::Secret secret(kKey);
      if (!key.lookup()(slot.id, secret.span().first<kKey>())) return std::nullopt;
      return secret;
    }
    default: return key.secret().copy();
  }
}

base::Hash32 box_mac(ByteView token, const base::Id16& database_id, const KeySlot& slot,
                     ByteView box) {
  base::Writer message;
  message.raw(base::view("holdfast slot box v2"));
  message.raw(database_id);
  message.u8(slot.number);
  message.raw(slot.public_key);
  message.raw(box);
  base::Hash32 mac;
  crypto_generichash(mac.data(), mac.size(), message.bytes().data(), message.size(), token.data(),
                     token.size());
  return mac;
}

Bytes seal_own(ByteView secret, const base::Id16& database_id, ByteView data_key, ByteView token,
               base::Random& random) {
  crypto::Secret both(2 * kKey);
  std::copy(data_key.begin(), data_key.end(), both.data());
  std::copy(token.begin(), token.end(), both.data() + kKey);
  crypto::Secret wrap = derive(secret, database_id, "holdfast slot wrap v2");
  return crypto::seal_committing(wrap.view(), kOwnContext, both.view(), random);
}

Bytes seal_token(ByteView data_key, const base::Id16& database_id, ByteView token,
                 base::Random& random) {
  crypto::Secret key = derive(data_key, database_id, "holdfast slot token v2");
  return crypto::seal_committing(key.view(), kTokenContext, token, random);
}

struct Opened {
  crypto::Secret data_key;
  crypto::Secret token;
};

std::optional<Opened> open_with(ByteView secret, const KeySlot& slot,
                                const base::Id16& database_id) {
  crypto::Secret wrap = derive(secret, database_id, "holdfast slot wrap v2");
  std::optional<crypto::Secret> both = crypto::open_committing(wrap.view(), kOwnContext, slot.own);
  if (!both || both->size() != 2 * kKey) return std::nullopt;
  Opened out{crypto::Secret(both->view().first(kKey)), crypto::Secret(both->view().last(kKey))};
  if (slot.boxed.empty()) return out;
  // A new data key counts only from somebody who knew the old one: whoever has the file alone could
  // box any key to the slot's public key.
  ByteView boxed = slot.boxed;
  if (boxed.size() <= kBoxMac) return std::nullopt;
  ByteView box = boxed.first(boxed.size() - kBoxMac);
  if (!crypto::equal(box_mac(out.token.view(), database_id, slot, box), boxed.last(kBoxMac))) {
    return std::nullopt;
  }
  crypto::BoxKey opener(derive(secret, database_id, "holdfast slot box v2").view());
  std::optional<crypto::Secret> fresh = opener.open(box);
  if (!fresh || fresh->size() != kKey) return std::nullopt;
  out.data_key = std::move(*fresh);
  return out;
}

}  // namespace

Bytes encode(const KeySlot& slot) {
  if (!slot.unknown.empty()) return slot.unknown;
  base::Writer out;
  for (const KindByte& one : kKinds) {
    if (one.kind == slot.kind) out.u8(one.byte);
  }
  out.u8(slot.number);
  out.u64(static_cast<std::uint64_t>(slot.created_ms));
  out.raw(slot.public_key);
  out.raw(slot.id);
  if (slot.kind == UserKey::Kind::passphrase) {
    out.u32(slot.cost.passes);
    out.u32(slot.cost.memory_kib);
  }
  out.sized(slot.own);
  out.sized(slot.token);
  out.sized(slot.boxed);
  return out.take();
}

KeySlot decode_slot(ByteView body) {
  base::Reader in(body, "a key slot");
  KeySlot slot;
  std::uint8_t kind = in.u8();
  slot.number = in.u8();
  bool known = false;
  for (const KindByte& one : kKinds) {
    if (one.byte != kind) continue;
    slot.kind = one.kind;
    known = true;
  }
  if (!known) {
    slot.unknown = base::to_bytes(body);
    return slot;
  }
  slot.created_ms = static_cast<std::int64_t>(in.u64());
  slot.public_key = in.array<32>();
  slot.id = in.array<16>();
  if (slot.kind == UserKey::Kind::passphrase) {
    slot.cost.passes = in.u32();
    slot.cost.memory_kib = in.u32();
  }
  slot.own = base::to_bytes(in.sized());
  slot.token = base::to_bytes(in.sized());
  slot.boxed = base::to_bytes(in.sized());
  in.expect_end();
  return slot;
}

KeySlot make_slot(std::uint8_t number, const UserKey& key, const base::Id16& database_id,
                  ByteView data_key, crypto::Argon2Cost cost, std::int64_t now_ms,
                  base::Random& random) {
  if (key.kind() == UserKey::Kind::exported) {
    throw Error(ErrorCode::invalid_argument,
                "an exported key opens a store, but cannot be a slot of one: add a passphrase");
  }
  KeySlot slot;
  slot.number = number;
  slot.kind = key.kind();
  slot.created_ms = now_ms;
  slot.cost = cost;
  random.fill(slot.id);
  std::optional<crypto::Secret> secret = secret_for(slot, key);
  if (!secret) {
    throw Error(ErrorCode::wrong_key, "the platform's key store gave no secret for a new slot");
  }
  crypto::Secret token(kKey);
  random.fill(token.span());
  slot.public_key =
      crypto::BoxKey(derive(secret->view(), database_id, "holdfast slot box v2").view())
          .public_key();
  slot.own = seal_own(secret->view(), database_id, data_key, token.view(), random);
  slot.token = seal_token(data_key, database_id, token.view(), random);
  return slot;
}

std::optional<crypto::Secret> open_slot(const KeySlot& slot, const UserKey& key,
                                        const base::Id16& database_id) {
  if (!slot.unknown.empty() || slot.kind != key.kind()) return std::nullopt;
  std::optional<crypto::Secret> secret = secret_for(slot, key);
  if (!secret) return std::nullopt;
  std::optional<Opened> opened = open_with(secret->view(), slot, database_id);
  if (!opened) return std::nullopt;
  return std::move(opened->data_key);
}

KeySlot box_slot(const KeySlot& slot, const base::Id16& database_id, ByteView old_data_key,
                 ByteView new_data_key, base::Random& random) {
  crypto::Secret key = derive(old_data_key, database_id, "holdfast slot token v2");
  std::optional<crypto::Secret> token =
      crypto::open_committing(key.view(), kTokenContext, slot.token);
  if (!token || token->size() != kKey) {
    throw Error(ErrorCode::corrupt,
                "key slot " + std::to_string(slot.number) + " is damaged: remove it first");
  }
  KeySlot out = slot;
  out.boxed = crypto::box_to(slot.public_key, new_data_key, random);
  base::Hash32 mac = box_mac(token->view(), database_id, slot, out.boxed);
  out.boxed.insert(out.boxed.end(), mac.begin(), mac.end());
  out.token = seal_token(new_data_key, database_id, token->view(), random);
  return out;
}

KeySlot settle_slot(const KeySlot& slot, const UserKey& key, const base::Id16& database_id,
                    ByteView data_key, base::Random& random) {
  std::optional<crypto::Secret> secret = secret_for(slot, key);
  std::optional<Opened> opened;
  if (secret) opened = open_with(secret->view(), slot, database_id);
  if (!opened) throw Error(ErrorCode::wrong_key, "the key no longer opens its slot");
  // With a new token: who knew the old data key knows the old one.
  crypto::Secret token(kKey);
  random.fill(token.span());
  KeySlot out = slot;
  out.own = seal_own(secret->view(), database_id, data_key, token.view(), random);
  out.token = seal_token(data_key, database_id, token.view(), random);
  out.boxed.clear();
  return out;
}

}  // namespace holdfast::store
