#pragma once

// The relay as a function of request, storage, clock and randomness. The HTTP server around it
// (server.h) is one shell; a simulation calls handle() directly. docs/protocol.md is its
// specification.

#include "relay/bucket.h"
#include "relay/storage.h"
#include "src/base/environment.h"
#include "src/wire/admission.h"

namespace holdfast::relay {

struct Request {
  std::string method;
  std::string target;  // path and query
  std::string token;
  Bytes body;
  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  bool is_admitted = false;  // a new vault: its invitation was looked at
};

// Who asks, before the body is read: strangers may send little, and not often.
struct Caller {
  std::size_t body_limit = 0;
  bool is_stranger = true;
};

struct Response {
  int status = 200;
  Bytes body;
  std::string content_type = "application/octet-stream";
  int retry_after_s = 0;  // 0: not said
  // For whoever can wait: this is the answer if nothing changes in that vault for so long; if
  // something does, it is to be asked for again.
  struct Wait {
    Hash32 vault{};
    std::int64_t ms = 0;
    std::uint64_t changes = 0;  // Vault::changes as this answer has it
  };
  std::optional<Wait> wait = std::nullopt;
  std::optional<Hash32> changed = std::nullopt;  // a vault about which others may want to know
  std::string fault = {};  // why it could not be served: for the operator's log
};

struct ServiceOptions {
  std::vector<std::string> origins;  // URLs ("https://relay.example"): devices may sign in by them
  // How long batches are kept that a verified checkpoint stands for.
  std::int64_t retention_ms = 90 * 24 * 3'600'000LL;
  std::uint64_t vault_bytes = 4ULL << 30;  // quota of a vault that has none of its own
  std::uint64_t vault_batches = 10'000'000;
  double requests_per_s = 50;  // of one vault, and ten seconds' worth of them at once
  enum class Admission { open, invite, work } admission = Admission::open;
  unsigned work_bits = 22;                   // proof of work: hashes to try, as a power of two
  std::optional<std::uint32_t> backup_days;  // how long backups are kept: told to who erases
};

// One thread at a time.
class Service {
 public:
  static constexpr std::size_t kSecret = 32;
  // `secret` is the relay's, of kSecret bytes: all of its services have the same.
  Service(Storage& storage, base::Clock& clock, base::Random& random, ServiceOptions options,
          Bytes secret);
  // With the secret that the storage keeps, made where there is none yet.
  Service(Storage& storage, base::Clock& clock, base::Random& random, ServiceOptions options);
  static Bytes secret_of(Storage& storage, base::Random& random);  // throws Error(corrupt)

  // A stranger's token is none of this relay, or has run out. Thread-safe.
  Caller caller(const std::string& target, const std::string& token) const;

  // For data that was put back from a backup: every vault's log gets another id, so that its
  // devices bring back what the backup lacks. Returns how many there are.
  std::uint64_t begin_all_anew();

  // Lets go of what a vault's checkpoint stands for, as far as it may. Returns its bytes.
  std::uint64_t expire(const Hash32& vault);

  // Never throws for what a client sends; Error(io) of the storage becomes a 503.
  Response handle(const Request& request);

  // What handle() is going to ask the storage for.
  Storage::Expected expected(const Request& request) const;
  // After a group failed: what is remembered may not have been stored.
  void forget();

  // The vault that a call is about, by its path; of /v1/vaults, by the body.
  static std::optional<Hash32> vault_of(const Request& request);
  static bool writes(const Request& request);              // or may write
  static std::size_t answer_room(const Request& request);  // see Handler

 private:
  static constexpr std::size_t kCachedVaults = 1000;
  // What a signer may do in a vault, by its device list as it is now.
  enum class Role {
    nobody,
    former,    // a device that was taken out, an old recovery key: reads the list, to learn it
    ticket,    // reads the list and enrols a device
    recovery,  // the recovery key: reads the list and the log, and recovers the vault
    device,
  };
  struct Session {
    Hash32 vault{};
    Hash32 signer{};
    std::uint64_t expires_ms = 0;
  };

  Response route(const Request& request);
  Response vault_call(const Session& session, Role role, const std::string& call,
                      const Request& request, const std::string& query);
  Response create_vault(const Request& request);
  std::optional<Response> admit(const Request& request, const Hash32& vault);
  Response erase(const Hash32& vault, ByteView body);
  Response is_erased() const;
  Response absent(const Hash32& vault);
  bool is_too_fast(const Hash32& vault);
  double most_at_once() const;  // requests of a vault
  Response challenge();
  bool is_good_challenge(ByteView nonce) const;
  bool is_own(const std::string& origin) const;
  Response open_session(ByteView body);
  Response push(const Session& session, const std::string& query, ByteView body);
  Response log(const Session& session, const std::string& query);
  // checkpoint_calls.cc
  Response stubs(const Session& session, const std::string& query);
  Response restore_stubs(const Session& session, ByteView body);
  void charge(const Hash32& vault, std::uint64_t batches);
  Hash32 history_at(const Hash32& vault_id, const Vault& vault, std::uint64_t position);
  Response get_checkpoint(const Session& session, const std::string& query);
  Response propose(const Session& session, ByteView body);
  Response verify(const Session& session, ByteView body);
  Response blob(const Session& session, const Request& request, const std::string& hash);
  Response missing_blobs(const Session& session, ByteView body);
  void accept(const Hash32& vault_id, Vault& vault, const wire::Checkpoint& checkpoint);
  std::uint64_t quota_of(const Vault& vault) const;
  void retain(const Hash32& vault_id, Vault& vault);
  std::optional<wire::Checkpoint> counted(const Hash32& vault_id);
  struct Heads;
  const Heads& checkpoint_heads(const Hash32& vault_id, const Vault& vault);
  void put_checkpoint(const Hash32& vault_id, Vault& vault, Storage::Checkpoint which,
                      ByteView bytes);
  bool has_chunks(const Hash32& vault_id, const wire::Checkpoint& checkpoint);
  Response restart(const Session& session, ByteView body);
  Response control(const Session& session, const std::string& query);
  Response restore_control(const Hash32& vault_id, const std::string& query, ByteView body);
  Response post_control(const Session& session, Role role, ByteView body);
  bool is_last_record(const Hash32& vault, const wire::ControlState& state, ByteView record);
  Response mailbox(const Request& request, const std::string& slot, const std::string& query);
  Response find_vault(const std::string& recovery_sign);

  Role role_of(const Hash32& vault, const Hash32& signer);
  static bool has_room(std::uint64_t count, wire::ControlType type);
  void reserve(const Session& session, Vault& vault);
  bool is_reserved(const Session& session, const Vault& vault) const;
  bool ticket_is_good(const Hash32& vault, const wire::ControlState& state, const Hash32& signer);
  std::optional<Session> read_token(const std::string& token) const;
  std::optional<Session> session_of(const std::string& token) const;
  wire::ControlState& control_state(const Hash32& vault);
  wire::PushAnswer::Item push_one(const Hash32& vault_id, Vault& vault,
                                  const wire::ControlState& state, const Id16& device,
                                  bool restores, ByteView batch);
  void add_control(const Hash32& vault_id, wire::ControlState& state, ByteView record,
                   bool ends_reservation);
  bool is_healing(const Vault& vault) const;
  void begin_anew(const Hash32& id, Vault& vault);
  Bytes with_mac(Bytes message) const;
  std::optional<Bytes> check_mac(ByteView bytes) const;

  Storage& storage_;
  base::Clock& clock_;
  base::Random& random_;
  const ServiceOptions options_;
  const Bytes secret_;
  std::map<Hash32, Bucket> rates_;  // of each vault's requests
  // Caches: what other processes change shows in the vault's row.
  std::map<Hash32, std::int64_t> retained_;      // when each log was last looked through
  std::map<Hash32, wire::ControlState> states_;  // a cache of what the control logs say
  // What pages say of the checkpoints, with a device list of so many records.
  struct Heads {
    std::uint64_t records = 0;
    std::uint64_t checkpoints = 0;
    wire::CheckpointHead counted;
    wire::CheckpointHead proposed;
  };
  std::map<Hash32, Heads> heads_;
  // What the leaves of a log come to up to a place, so that the next page of stubs goes on there.
  struct History {
    Id16 log_id{};
    std::uint64_t position = 0;
    Hash32 hash{};
  };
  std::map<Hash32, History> histories_;
};

}  // namespace holdfast::relay
