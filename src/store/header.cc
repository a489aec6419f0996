#include "src/store/header.h"

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

constexpr std::string_view kMagic = "HOLDFAST";
constexpr std::size_t kMacBytes = 32;

crypto::Secret header_key(ByteView data_key, const base::Id16& database_id) {
  return crypto::hkdf_sha256(data_key, database_id, base::view("holdfast store header v2"), 32);
}

base::Hash32 header_mac(ByteView body, ByteView key) {
  base::Hash32 mac;
  crypto_generichash(mac.data(), mac.size(), body.data(), body.size(), key.data(), key.size());
  return mac;
}

Bytes encode(const Header& header, ByteView mac_key) {
  base::Writer out;
  out.raw(base::view(kMagic));
  out.u8(kFormatVersion);
  out.u8(kSuiteXaesGcm);
  out.u32(kPageSize);
  out.raw(header.database_id);
  out.u64(header.generation);
  out.u8(header.replaced_another ? 1 : 0);
  const Checkpoint& checkpoint = header.checkpoint;
  out.u64(checkpoint.number);
  out.u64(checkpoint.pages);
  out.raw(checkpoint.table);
  out.u64(checkpoint.log_generation);
  out.u64(checkpoint.log_frames);
  out.raw(checkpoint.log_mac);
  out.u64(checkpoint.position.commits);
  out.raw(checkpoint.position.root);
  out.sized(header.secrets_key);
  out.u8(static_cast<std::uint8_t>(header.slots.size()));
  for (const KeySlot& slot : header.slots) out.sized(encode(slot));
  Bytes page = out.take();
  if (page.size() > kHeaderPage - kMacBytes || header.slots.size() > kMaxSlots) {
    throw Error(ErrorCode::too_large, "the store has as many keys as it can have (" +
                                          std::to_string(kMaxSlots) + "): remove one first");
  }
  page.resize(kHeaderPage - kMacBytes);
  base::Hash32 mac = header_mac(page, mac_key);
  page.insert(page.end(), mac.begin(), mac.end());
  return page;
}

enum class Parsed { ok, foreign, newer, older, damaged };

// Nothing is trusted yet: the MAC can only be checked with the data key.
Parsed parse(ByteView page, Header& header) try {
  base::Reader in(page, "a store's header");
  if (base::text(in.raw(kMagic.size())) != kMagic) return Parsed::foreign;
  std::uint8_t version = in.u8();
  if (version > kFormatVersion) return Parsed::newer;
  if (version < kFormatVersion) return Parsed::older;
  if (in.u8() > kSuiteXaesGcm) return Parsed::newer;
  if (in.u32() != kPageSize) return Parsed::damaged;
  header.database_id = in.array<16>();
  header.generation = in.u64();
  header.replaced_another = in.u8() != 0;
  Checkpoint& checkpoint = header.checkpoint;
  checkpoint.number = in.u64();
  checkpoint.pages = in.u64();
  checkpoint.table = in.array<kMacSize>();
  checkpoint.log_generation = in.u64();
  checkpoint.log_frames = in.u64();
  checkpoint.log_mac = in.array<kMacSize>();
  checkpoint.position.commits = in.u64();
  checkpoint.position.root = in.array<kMacSize>();
  header.secrets_key = base::to_bytes(in.sized());
  std::size_t count = in.u8();
  if (count == 0 || count > kMaxSlots) return Parsed::damaged;
  for (std::size_t i = 0; i < count; ++i) header.slots.push_back(decode_slot(in.sized()));
  return Parsed::ok;
} catch (const Error&) {
  return Parsed::damaged;
}

// One of the two pages, as far as it can be read without a key.
struct Candidate {
  std::size_t place;
  Bytes page;
  Header header;
};

bool authentic(const Candidate& candidate, const crypto::Secret& data_key) {
  crypto::Secret key = header_key(data_key.view(), candidate.header.database_id);
  ByteView page = candidate.page;
  return crypto::equal(header_mac(page.first(kHeaderPage - kMacBytes), key.view()),
                       page.last(kMacBytes));
}

std::vector<Candidate> read_candidates(base::File& file, const std::string& path) {
  std::vector<Candidate> out;
  bool seen[5] = {};
  for (std::size_t place = 0; place < kHeaderPages; ++place) {
    Candidate one{place, Bytes(kHeaderPage), {}};
    if (file.read(place * kHeaderPage, one.page) != one.page.size()) continue;
    Parsed parsed = parse(one.page, one.header);
    seen[static_cast<int>(parsed)] = true;
    if (parsed == Parsed::ok) out.push_back(std::move(one));
  }
  auto any = [&](Parsed parsed) { return seen[static_cast<int>(parsed)]; };
  if (!out.empty()) return out;
  if (any(Parsed::newer)) {
    throw Error(ErrorCode::newer_version,
                path + " was written by a newer version of Holdfast: update this app");
  }
  if (any(Parsed::older)) {
    throw Error(ErrorCode::not_a_store,
                path +
                    " was written by a Holdfast from before its first release: sync its vault "
                    "to a new store");
  }
  if (any(Parsed::damaged)) {
    throw Error(ErrorCode::corrupt, path + ": both headers are damaged: restore a backup");
  }
  throw Error(ErrorCode::not_a_store, path + " is not a Holdfast store");
}

}  // namespace

namespace {

Unlocked choose(const std::vector<Candidate>& candidates, crypto::Secret data_key,
                const std::optional<base::Id16>& slot_id, const std::string& path) {
  const Candidate* best = nullptr;
  std::size_t whole = 0;
  for (const Candidate& candidate : candidates) {
    if (!authentic(candidate, data_key)) continue;
    ++whole;
    if (!best || best->header.generation < candidate.header.generation) best = &candidate;
  }
  std::optional<std::size_t> slot;
  for (std::size_t i = 0; best && slot_id && i < best->header.slots.size(); ++i) {
    if (best->header.slots[i].id == *slot_id) slot = i;
  }
  // A key that only the older copy still has is on its way out.
  if (!best || (slot_id && !slot)) {
    throw Error(ErrorCode::wrong_key,
                "that passphrase or key does not open " + path + " (or its key slots are damaged)");
  }
  bool uneven = whole < kHeaderPages || candidates[0].page != candidates[1].page;
  return {best->header, std::move(data_key), 1 - best->place, uneven, slot};
}

}  // namespace

Unlocked unlock(base::File& file, const UserKey& key, const std::string& path) {
  if (key.kind() == UserKey::Kind::exported) return unlock_with(file, key.secret().view(), path);
  std::vector<Candidate> candidates = read_candidates(file, path);
  std::optional<Error> refused;  // a slot whose cost is outside the safe range
  bool changed = false;          // a slot opened, but what is around it is not what it was
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (i > 0 && candidates[i].page == candidates[0].page) continue;
    for (const KeySlot& slot : candidates[i].header.slots) {
      std::optional<crypto::Secret> data_key;
      try {
        data_key = open_slot(slot, key, candidates[i].header.database_id);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::corrupt) throw;
        refused = error;
      }
      if (!data_key) continue;
      if (authentic(candidates[i], *data_key)) {
        return choose(candidates, std::move(*data_key), slot.id, path);
      }
      changed = true;
    }
  }
  if (changed) {
    throw Error(ErrorCode::corrupt, path + ": the header was changed: restore a backup");
  }
  if (refused) throw *refused;
  throw Error(ErrorCode::wrong_key,
              "that passphrase or key does not open " + path + " (or its key slots are damaged)");
}

bool is_store(base::File& file) {
  for (std::size_t place = 0; place < kHeaderPages; ++place) {
    std::array<std::uint8_t, kMagic.size()> start;
    if (file.read(place * kHeaderPage, start) == start.size() && base::text(start) == kMagic) {
      return true;
    }
  }
  return false;
}

Unlocked unlock_with(base::File& file, ByteView data_key, const std::string& path) {
  return choose(read_candidates(file, path), crypto::Secret(data_key), std::nullopt, path);
}

HeaderPages::HeaderPages(base::File& file, Header header, ByteView data_key, std::size_t stale)
    : file_(file),
      header_(std::move(header)),
      mac_key_(header_key(data_key, header_.database_id)),
      stale_(stale) {}

// The older place first, so that a torn write leaves the newer one whole. What the last update
// wrote second must be durable before the first is touched: the callers see to it.
void HeaderPages::write(const Header& next) {
  Bytes page = encode(next, mac_key_.view());
  file_.write(stale_ * kHeaderPage, page);
  file_.sync();
  file_.write((1 - stale_) * kHeaderPage, page);
  header_ = next;
}

void HeaderPages::set_slots(std::vector<KeySlot> slots) {
  Header next = header_;
  ++next.generation;
  next.slots = std::move(slots);
  write_twice(next);
}

void HeaderPages::set_replaced_another(bool value) {
  Header next = header_;
  ++next.generation;
  next.replaced_another = value;
  write_twice(next);
}

void HeaderPages::write_twice(const Header& next) {
  file_.sync();
  write(next);
  file_.sync();
}

void HeaderPages::set_checkpoint(const Checkpoint& checkpoint) {
  Header next = header_;
  ++next.generation;
  next.checkpoint = checkpoint;
  write(next);
}

}  // namespace holdfast::store
