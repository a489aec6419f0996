// What the service does against too much: admission of vaults, quotas, rates; and erasure; and the
// mailbox.

#include <sodium.h>

#include "relay/answers.h"

namespace holdfast::relay {
namespace {

constexpr std::uint8_t kWorkLabel = 3;
constexpr std::int64_t kWorkMs = 10 * 60 * 1000;
constexpr std::int64_t kMailMs = 60 * 60 * 1000;
constexpr double kBurstSeconds = 10;
constexpr std::size_t kRates = 100'000;

}  // namespace

double Service::most_at_once() const { return options_.requests_per_s * kBurstSeconds; }

bool Service::is_too_fast(const Hash32& vault) {
  std::int64_t now = clock_.now_ms();
  if (rates_.size() >= kRates) {
    std::erase_if(rates_, [&](const auto& entry) {
      return entry.second.at_ms() + static_cast<std::int64_t>(kBurstSeconds * 1000) < now;
    });
    if (rates_.size() >= kRates) rates_.clear();
  }
  return !rates_[vault].take(options_.requests_per_s, most_at_once(), now);
}

std::uint64_t Service::quota_of(const Vault& vault) const {
  return vault.quota != 0 ? vault.quota : options_.vault_bytes;
}

// Nothing: welcome. Else 428 says what is asked for: an invitation, or work on a puzzle that is for
// this vault alone.
std::optional<Response> Service::admit(const Request& request, const Hash32& vault) {
  using Admission = ServiceOptions::Admission;
  std::string_view given = request.token;
  auto has = [&](std::string_view scheme) {
    if (!given.starts_with(scheme)) return false;
    given.remove_prefix(scheme.size());
    return true;
  };
  wire::AdmissionNeeded needed;
  if (options_.admission == Admission::open) return std::nullopt;
  if (options_.admission == Admission::invite) {
    bool is_invited =
        request.is_admitted ||
        (has("invite.") && storage_.spend_invite(wire::invite_hash(given), vault, clock_.now_ms()));
    if (is_invited) return std::nullopt;
    needed.kind = wire::AdmissionNeeded::Kind::invite;
  } else {
    if (has("work.")) {
      std::string_view nonce = given.substr(0, given.find('.'));
      std::string_view number = given.substr(std::min(given.size(), nonce.size() + 1));
      std::uint64_t counter = 0;
      auto parsed = std::from_chars(number.data(), number.data() + number.size(), counter);
      bool is_number = !number.empty() && parsed.ec == std::errc() &&
                       parsed.ptr == number.data() + number.size();
      std::optional<Bytes> sealed = base::from_base64url(nonce);
      std::optional<Bytes> message = sealed ? check_mac(*sealed) : std::nullopt;
      if (is_number && message && message->size() == 25 && (*message)[0] == kWorkLabel) {
        auto expires = base::Reader(ByteView(*message).subspan(1), "a puzzle").u64();
        bool done = wire::work_bits(*sealed, vault, counter) >= options_.work_bits;
        if (done && expires >= static_cast<std::uint64_t>(clock_.now_ms())) return std::nullopt;
      }
    }
    base::Writer out;
    out.u8(kWorkLabel);
    out.u64(static_cast<std::uint64_t>(clock_.now_ms() + kWorkMs));
    out.raw(random_.array<16>());
    needed.kind = wire::AdmissionNeeded::Kind::work;
    needed.bits = static_cast<std::uint8_t>(options_.work_bits);
    needed.nonce = with_mac(out.take());
  }
  Response response = answer(wire::encode(needed));
  response.status = 428;
  return response;
}

// Signed by a device that is in, or by the recovery key, for this log and this request alone.
Response Service::erase(const Hash32& vault_id, ByteView body) {
  wire::Erasure erasure = wire::decode_erasure(body);
  std::optional<Vault> vault = storage_.vault(vault_id);
  if (!vault) {
    std::optional<Bytes> request = storage_.erased(vault_id);
    if (!request) return say(404, kNoVault);
    // Asked again: written again, so that this answer, too, waits for what makes it durable.
    storage_.transaction([&] { storage_.erase(vault_id, *request, clock_.now_ms()); });
    return is_erased();
  }
  if (!is_good_challenge(erasure.nonce)) return say(400, "the challenge is not good any more");
  if (!is_own(erasure.origin)) return say(403, kNotOwn);
  Role role = role_of(vault_id, erasure.signer);
  if (role != Role::device && role != Role::recovery) {
    return say(403, "a vault is erased by one of its devices, or with its recovery code");
  }
  if (erasure.log_id != vault->log_id) return say(409, "the log has begun anew meanwhile");
  if (!wire::verify(erasure.signer, wire::kSignErasure, vault_id, wire::erasure_message(erasure),
                    erasure.signature)) {
    return say(403, "the signature is not valid");
  }
  storage_.transaction([&] { storage_.erase(vault_id, body, clock_.now_ms()); });
  states_.erase(vault_id);
  heads_.erase(vault_id);
  histories_.erase(vault_id);
  retained_.erase(vault_id);
  Response response = is_erased();
  response.changed = vault_id;
  return response;
}

// And when backups forget it, too, where the operator says so.
Response Service::is_erased() const {
  base::Writer out;
  if (options_.backup_days) out.u32(*options_.backup_days);
  return answer(out.take());
}

// Of an erased vault what proves that a device wanted it so; empty where the operator did.
Response Service::absent(const Hash32& vault) {
  std::optional<Bytes> request = storage_.erased(vault);
  if (!request) return say(404, kNoVault);
  Response response = answer(std::move(*request));
  response.status = 410;
  return response;
}

Response Service::mailbox(const Request& request, const std::string& slot_hex,
                          const std::string& query) {
  auto slot = from_path<16>(slot_hex);
  if (!slot) return say(404, "no such path");
  std::int64_t now = clock_.now_ms();
  if (request.method == "GET") {
    std::optional<Bytes> mail = storage_.mail(*slot, now);
    return mail ? answer(std::move(*mail)) : say(404, "nothing is there, or no longer");
  }
  if (request.method != "PUT") return say(404, "no such path");
  if (request.body.size() > wire::kMaxMailbox) return say(413, "too large for a mailbox");
  auto lifetime = static_cast<std::int64_t>(std::min<std::uint64_t>(
      query_number(query, "lifetime_ms", kMailMs), static_cast<std::uint64_t>(kMailMs)));
  auto result = Storage::Mail::stored;
  storage_.transaction(
      [&] { result = storage_.put_mail(*slot, request.body, now, now + lifetime); });
  switch (result) {
    case Storage::Mail::stored: return answer({});
    case Storage::Mail::taken: return say(409, "something else lies in the slot");
    case Storage::Mail::full: break;
  }
  return later(503, "the mailbox is full: try again later", 5);
}

}  // namespace holdfast::relay
