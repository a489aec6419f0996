#include "src/sync/ticket.h"

#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kPrefix = "holdfast-ticket-1.";
constexpr std::string_view kParcelContext = "holdfast parcel v1";
constexpr int kAttempts = 10;

crypto::Secret parcel_key(const Ticket& ticket) {
  return crypto::hkdf_sha256(ticket.secret, ticket.slot, base::view("holdfast ticket v1"), 32);
}

[[noreturn]] void spent() {
  throw Error(ErrorCode::not_found,
              "the ticket is spent, void since the vault's key was changed, or has expired: ask "
              "for a new one");
}

Parcel fetch_parcel(store::Engine& engine, const RelayClient& client, const Ticket& ticket) {
  try {
    return open_parcel(ask(engine, client.get_mail(ticket.slot)), ticket);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::not_found,
                "the relay does not know this ticket, or it has expired: ask for a new one");
  }
}

void sign_in_by_ticket(store::Engine& engine, RelayClient& client,
                       const crypto::SigningKey& ticket) {
  try {
    return sign_in(engine, client, ticket);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::refused) throw;
  }
  // Spent: by this device, perhaps, in an attempt that was cut off after the relay had taken it.
  try {
    sign_in(engine, client, engine.identity().sign);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::refused) throw;
    spent();
  }
}

void enrol_by_ticket(store::Engine& engine, RelayClient& client,
                     const crypto::SigningKey& ticket_key, const Welcome& welcome,
                     const DeviceLabel& name, FetchedList& list) {
  const store::Identity& identity = engine.identity();
  for (int attempt = 1;; ++attempt) {
    fetch_checked(engine, client, welcome, list);
    if (list.state.device(identity.id)) return;
    if (attempt > kAttempts) {
      throw Error(ErrorCode::busy, "the vault's device list keeps changing: try again later");
    }
    if (!list.state.open_ticket(ticket_key.public_key())) spent();
    try {
      post_record(engine, client, list.state, ticket_key,
                  [&](const wire::ControlState&, wire::ControlRecord& record) {
                    record.type = wire::ControlType::enrol;
                    record.device_sign = identity.sign.public_key();
                    record.device_box = identity.box.public_key();
                    record.name =
                        Membership(engine).seal_name(name, welcome.epoch, welcome.key.view());
                    return true;
                  });
      sign_in(engine, client, identity.sign);  // the ticket is spent
    } catch (const Error& error) {
      if (error.code() != ErrorCode::exists) throw;
    }
  }
}

}  // namespace

std::string to_text(const Ticket& ticket) {
  base::Writer out;
  out.sized(ticket.relay);
  out.raw(ticket.slot);
  out.raw(ticket.secret);
  return std::string(kPrefix) + base::to_base64url(out.bytes());
}

bool is_ticket(const std::string& text) { return text.starts_with(kPrefix); }

Ticket parse_ticket(const std::string& text) {
  std::optional<Bytes> bytes;
  if (is_ticket(text)) bytes = base::from_base64url(text.substr(kPrefix.size()));
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
  write(out, parcel.welcome);
  out.raw(parcel.ticket_seed.view());
  Bytes plain = out.take();
  Bytes sealed = crypto::seal_committing(parcel_key(ticket).view(), kParcelContext, plain, random);
  crypto::wipe(plain);
  return sealed;
}

Parcel open_parcel(ByteView sealed, const Ticket& ticket) {
  std::optional<crypto::Secret> plain =
      crypto::open_committing(parcel_key(ticket).view(), kParcelContext, sealed);
  if (!plain)
    throw Error(ErrorCode::malformed,
                "the ticket does not open what the relay holds for it: copy the whole line again, "
                "or ask for a "
                "new one");
  base::Reader in(plain->view(), "the ticket's parcel");
  Parcel parcel;
  parcel.welcome = read_welcome(in);
  parcel.ticket_seed = crypto::Secret(in.raw(32));
  in.expect_end();
  return parcel;
}

std::string invite_by_ticket(store::Engine& engine, std::int64_t lifetime_ms) {
  if (lifetime_ms <= 0 || lifetime_ms > static_cast<std::int64_t>(wire::kMaxTicketMs)) {
    throw Error(ErrorCode::invalid_argument, "a ticket lives for at most an hour");
  }
  base::Random& random = *engine.environment().random;
  MemberClient member(engine);
  member.require_current_key();
  Ticket ticket{member.client().url(), random.array<16>(), random.array<16>()};
  Parcel parcel;
  parcel.ticket_seed = crypto::Secret(32);
  random.fill(parcel.ticket_seed.span());
  base::Hash32 ticket_sign = crypto::SigningKey(parcel.ticket_seed.view()).public_key();
  member.extend([&](const wire::ControlState&, wire::ControlRecord& record) {
    record.type = wire::ControlType::ticket;
    record.ticket_sign = ticket_sign;
    record.lifetime_ms = static_cast<std::uint64_t>(lifetime_ms);
    return true;
  });
  parcel.welcome = welcome_of(member.membership());
  ask(engine,
      member.client().put_mail(ticket.slot, seal_parcel(parcel, ticket, random), lifetime_ms));
  return to_text(ticket);
}

void join_by_ticket(store::Engine& engine, const std::string& text, const DeviceLabel& name) {
  Ticket ticket = parse_ticket(text);
  RelayClient client(check_relay_url(ticket.relay));
  Parcel parcel = fetch_parcel(engine, client, ticket);
  const Welcome& welcome = parcel.welcome;
  client.set_vault(welcome.vault);
  crypto::SigningKey ticket_key(parcel.ticket_seed.view());
  sign_in_by_ticket(engine, client, ticket_key);
  FetchedList list(welcome.vault);
  try {
    enrol_by_ticket(engine, client, ticket_key, welcome, name, list);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::refused) spent();
    throw;
  }
  enter(engine, client, welcome, list);
}

}  // namespace holdfast::sync
