#include "src/sync/key_ring.h"

#include <set>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kPreviousContext = "holdfast previous epoch v1";
constexpr std::size_t kEntry = 4 + 32;
// Each but the first stands for an epoch whose author lied.
constexpr std::size_t kMostPassedOn =
    (wire::kMaxPreviousKeys - crypto::kCommittingOverhead) / kEntry;

crypto::Secret chain_key(ByteView epoch_key) {
  return crypto::hkdf_sha256(epoch_key, {}, base::view("holdfast epoch chain v1"), 32);
}

}  // namespace

base::Hash32 epoch_hash(ByteView key) {
  return base::sha256({base::view("holdfast epoch key v1"), key});
}

Bytes seal_previous(ByteView key, const EpochKeys& previous, base::Random& random) {
  crypto::Secret plain(previous.size() * kEntry);
  std::size_t at = 0;
  for (const auto& [epoch, secret] : previous) {
    base::Writer number;
    number.u32(epoch);
    std::memcpy(plain.data() + at, number.bytes().data(), 4);
    std::memcpy(plain.data() + at + 4, secret.view().data(), 32);
    at += kEntry;
  }
  return crypto::seal_committing(chain_key(key).view(), kPreviousContext, plain.view(), random);
}

bool KeyRing::is_right(std::uint32_t epoch, ByteView key) const {
  return epoch < list_.epochs().size() &&
         crypto::equal(epoch_hash(key), list_.epochs()[epoch].hash);
}

EpochKeys KeyRing::previous_of(std::uint32_t epoch, ByteView key) const {
  EpochKeys out;
  if (epoch == 0) return out;
  Bytes sealed = wire::decode_control(record_(list_.epochs()[epoch].position)).epoch.previous_keys;
  std::optional<crypto::Secret> plain =
      crypto::open_committing(chain_key(key).view(), kPreviousContext, sealed);
  if (!plain || plain->size() % kEntry != 0) return out;
  base::Reader in(plain->view(), "the keys before");
  while (!in.empty()) {
    std::uint32_t earlier = in.u32();
    ByteView secret = in.raw(32);
    if (earlier < epoch && is_right(earlier, secret)) {
      out.insert_or_assign(earlier, crypto::Secret(secret));
    }
  }
  return out;
}

bool KeyRing::add(std::uint32_t epoch, ByteView key) {
  if (!is_right(epoch, key)) return false;
  std::set<std::uint32_t> open = {epoch};
  keys_.insert_or_assign(epoch, crypto::Secret(key));
  while (!open.empty()) {
    std::uint32_t next = *open.rbegin();
    open.erase(next);
    for (auto& [earlier, secret] : previous_of(next, keys_.at(next).view())) {
      if (keys_.count(earlier) || (known_ && known_(earlier))) continue;
      keys_.emplace(earlier, std::move(secret));
      open.insert(earlier);
    }
  }
  return true;
}

EpochKeys KeyRing::to_pass_on(const wire::ControlState& list, const RecordAt& record,
                              const std::set<std::uint32_t>& held, const KeyOf& key_of) {
  EpochKeys out;
  std::set<std::uint32_t> reached;
  for (auto epoch = held.rbegin(); epoch != held.rend(); ++epoch) {
    if (reached.count(*epoch)) continue;
    KeyRing from_here(list, record, [&](std::uint32_t e) { return reached.count(e) != 0; });
    crypto::Secret key = key_of(*epoch);
    from_here.add(*epoch, key.view());
    for (const auto& [number, opened] : from_here.keys()) reached.insert(number);
    out.emplace(*epoch, std::move(key));
    // The oldest lead to what lies under honest keys; the newest is the one in use.
    if (out.size() > kMostPassedOn) out.erase(std::prev(out.end(), 2));
  }
  return out;
}

}  // namespace holdfast::sync
