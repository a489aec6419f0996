#include "src/store/header.h"

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/keys.h"
#include "src/store/page_codec.h"

namespace holdfast::store {
namespace {

constexpr std::string_view kMagic = "HOLDFAST";
constexpr std::string_view kWrapContext = "holdfast key slot v1";
constexpr std::size_t kMacBytes = 32;
constexpr std::size_t kMaxSlots = 16;

std::uint8_t kind_byte(UserKey::Kind kind) {
  switch (kind) {
    case UserKey::Kind::passphrase: return 1;
    case UserKey::Kind::raw: return 2;
    case UserKey::Kind::fernet: return 3;
  }
  return 0;
}

crypto::Secret slot_key(ByteView secret, const base::Id16& database_id, std::string_view purpose) {
  return crypto::hkdf_sha256(secret, database_id, base::view(purpose), 32);
}

base::Hash32 header_mac(ByteView page, ByteView data_key, const base::Id16& database_id) {
  crypto::Secret key = slot_key(data_key, database_id, "holdfast store header v1");
  base::Hash32 mac;
  crypto_generichash(mac.data(), mac.size(), page.data(), page.size(), key.view().data(),
                     key.size());
  return mac;
}

Bytes encode(const Header& header, ByteView data_key) {
  base::Writer out;
  out.raw(base::view(kMagic));
  out.u8(kFormatVersion);
  out.u8(kSuiteXaesGcm);
  out.u32(kPageSize);
  out.raw(header.database_id);
  out.u64(header.generation);
  out.u8(static_cast<std::uint8_t>(header.slots.size()));
  for (const KeySlot& slot : header.slots) {
    base::Writer body;
    body.u8(kind_byte(slot.kind));
    body.raw(slot.public_key);
    if (slot.kind == UserKey::Kind::passphrase) {
      body.raw(slot.salt);
      body.u32(slot.cost.passes);
      body.u32(slot.cost.memory_kib);
    }
    body.sized(slot.wrapped);
    out.sized(body.bytes());
  }
  Bytes page = out.take();
  page.resize(kHeaderPage - kMacBytes);
  base::Hash32 mac = header_mac(page, data_key, header.database_id);
  page.insert(page.end(), mac.begin(), mac.end());
  return page;
}

enum class Parsed { ok, foreign, newer, damaged };

// Nothing is trusted yet: the MAC can only be checked with the data key.
Parsed parse(ByteView page, Header& header) try {
  base::Reader in(page, "a store's header");
  if (base::text(in.raw(kMagic.size())) != kMagic) return Parsed::foreign;
  if (in.u8() > kFormatVersion) return Parsed::newer;
  if (in.u8() > kSuiteXaesGcm) return Parsed::newer;
  if (in.u32() != kPageSize) return Parsed::damaged;
  header.database_id = in.array<16>();
  header.generation = in.u64();
  std::size_t count = in.u8();
  if (count == 0 || count > kMaxSlots) return Parsed::damaged;
  for (std::size_t i = 0; i < count; ++i) {
    base::Reader body(in.sized(), "a key slot");
    std::uint8_t kind = body.u8();
    if (kind < 1 || kind > 3) continue;  // of a later version: no key of ours opens it
    KeySlot slot;
    slot.kind = kind == 1   ? UserKey::Kind::passphrase
                : kind == 2 ? UserKey::Kind::raw
                            : UserKey::Kind::fernet;
    slot.public_key = body.array<32>();
    if (slot.kind == UserKey::Kind::passphrase) {
      slot.salt = body.array<16>();
      slot.cost.passes = body.u32();
      slot.cost.memory_kib = body.u32();
    }
    slot.wrapped = base::to_bytes(body.sized());
    header.slots.push_back(std::move(slot));
  }
  return Parsed::ok;
} catch (const Error&) {
  return Parsed::damaged;
}

std::optional<crypto::Secret> open_slot(const KeySlot& slot, const UserKey& key,
                                        const base::Id16& database_id) {
  if (slot.kind != key.kind()) return std::nullopt;
  crypto::Secret secret = slot.kind == UserKey::Kind::passphrase
                              ? crypto::argon2id(key.secret().view(), slot.salt, slot.cost)
                              : key.secret().copy();
  crypto::Secret wrap = slot_key(secret.view(), database_id, "holdfast slot wrap v1");
  return crypto::open_committing(wrap.view(), kWrapContext, slot.wrapped);
}

}  // namespace

KeySlot make_slot(const UserKey& key, const base::Id16& database_id, ByteView data_key,
                  crypto::Argon2Cost cost, base::Random& random) {
  KeySlot slot;
  slot.kind = key.kind();
  crypto::Secret secret = key.secret().copy();
  if (slot.kind == UserKey::Kind::passphrase) {
    random.fill(slot.salt);
    slot.cost = cost;
    secret = crypto::argon2id(key.secret().view(), slot.salt, cost);
  }
  crypto::Secret box = slot_key(secret.view(), database_id, "holdfast slot box v1");
  slot.public_key = crypto::BoxKey(box.view()).public_key();
  crypto::Secret wrap = slot_key(secret.view(), database_id, "holdfast slot wrap v1");
  slot.wrapped = crypto::seal_committing(wrap.view(), kWrapContext, data_key, random);
  return slot;
}

void write_header(base::File& file, const Header& header, ByteView data_key) {
  Bytes page = encode(header, data_key);
  for (std::size_t place = 0; place < kHeaderPages; ++place) {
    file.write(place * kHeaderPage, page);
    file.sync();
  }
}

Unlocked unlock(base::File& file, const UserKey& key, const std::string& path) {
  std::vector<Header> headers;
  std::vector<Bytes> pages;
  bool foreign = true;
  bool newer = false;
  for (std::size_t place = 0; place < kHeaderPages; ++place) {
    Bytes page(kHeaderPage);
    Header header;
    if (file.read(place * kHeaderPage, page) != page.size()) continue;
    Parsed parsed = parse(page, header);
    if (parsed != Parsed::foreign) foreign = false;
    if (parsed == Parsed::newer) newer = true;
    if (parsed != Parsed::ok) continue;
    headers.push_back(std::move(header));
    pages.push_back(std::move(page));
  }
  if (headers.empty()) {
    if (foreign) throw Error(ErrorCode::not_a_store, path + " is not a Holdfast store");
    if (newer) {
      throw Error(ErrorCode::newer_version,
                  path + " was written by a newer version of Holdfast: update this app");
    }
    throw Error(ErrorCode::corrupt, path + ": both headers are damaged: restore a backup");
  }
  std::optional<Unlocked> best;
  bool opened = false;
  std::optional<Error> refused;  // a slot whose cost is outside the safe range
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (i > 0 && pages[i] == pages[0]) continue;  // the two copies usually agree
    for (const KeySlot& slot : headers[i].slots) {
      std::optional<crypto::Secret> data_key;
      try {
        data_key = open_slot(slot, key, headers[i].database_id);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::corrupt) throw;
        refused = error;
      }
      if (!data_key || data_key->size() != 32) continue;
      opened = true;
      ByteView page = pages[i];
      base::Hash32 mac =
          header_mac(page.first(kHeaderPage - kMacBytes), data_key->view(), headers[i].database_id);
      if (!crypto::equal(mac, page.last(kMacBytes))) continue;
      if (best && best->header.generation >= headers[i].generation) continue;
      best.emplace(Unlocked{headers[i], std::move(*data_key)});
      break;
    }
  }
  if (best) return std::move(*best);
  if (opened) {
    throw Error(ErrorCode::corrupt, path + ": the header was changed: restore a backup");
  }
  if (refused) throw *refused;
  throw Error(ErrorCode::wrong_key, "that passphrase or key does not open " + path);
}

}  // namespace holdfast::store
