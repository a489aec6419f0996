#include "src/sync/ticket.h"

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kPrefix = "holdfast-ticket-1.";
constexpr std::string_view kParcelContext = "holdfast parcel v1";

crypto::Secret parcel_key(const Ticket& ticket) {
  return crypto::hkdf_sha256(ticket.secret, ticket.slot, base::view("holdfast ticket v1"), 32);
}

}  // namespace

std::string to_text(const Ticket& ticket) {
  base::Writer out;
  out.sized(ticket.relay);
  out.raw(ticket.slot);
  out.raw(ticket.secret);
  return std::string(kPrefix) + base::to_base64url(out.bytes());
}

Ticket parse_ticket(const std::string& text) {
  std::optional<Bytes> bytes;
  if (text.starts_with(kPrefix)) bytes = base::from_base64url(text.substr(kPrefix.size()));
  if (!bytes) {
    throw Error(ErrorCode::malformed,
                "that is no ticket: copy the whole line that 'device invite --ticket' printed");
  }
  base::Reader in(*bytes, "the ticket");
  Ticket ticket;
  ticket.relay = in.sized_text();
  ticket.slot = in.array<16>();
  ticket.secret = in.array<16>();
  in.expect_end();
  crypto::wipe(*bytes);
  return ticket;
}

Bytes seal_parcel(const Parcel& parcel, const Ticket& ticket, base::Random& random) {
  base::Writer out;
  out.raw(parcel.vault);
  out.u64(parcel.anchor_count);
  out.raw(parcel.anchor_head);
  out.sized(encode(parcel.log));
  out.raw(parcel.ticket_seed.view());
  out.raw(parcel.epoch_key.view());
  Bytes plain = out.take();
  Bytes sealed = crypto::seal_committing(parcel_key(ticket).view(), kParcelContext, plain, random);
  crypto::wipe(plain);
  return sealed;
}

Parcel open_parcel(ByteView sealed, const Ticket& ticket) {
  std::optional<crypto::Secret> plain =
      crypto::open_committing(parcel_key(ticket).view(), kParcelContext, sealed);
  if (!plain)
    throw Error(ErrorCode::malformed, "the ticket does not open what the relay holds for it");
  base::Reader in(plain->view(), "the ticket's parcel");
  Parcel parcel;
  parcel.vault = in.array<32>();
  parcel.anchor_count = in.u64();
  parcel.anchor_head = in.array<32>();
  parcel.log = decode_position(in.sized());
  parcel.ticket_seed = crypto::Secret(in.raw(32));
  parcel.epoch_key = crypto::Secret(in.raw(32));
  in.expect_end();
  return parcel;
}

RecoveryKeys recovery_keys(ByteView secret16) {
  return {
      crypto::SigningKey(
          crypto::hkdf_sha256(secret16, {}, base::view("holdfast recovery sign v1"), 32).view()),
      crypto::BoxKey(
          crypto::hkdf_sha256(secret16, {}, base::view("holdfast recovery box v1"), 32).view())};
}

}  // namespace holdfast::sync
