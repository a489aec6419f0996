#pragma once

// The relay as a function of request, storage, clock and randomness. The HTTP server around it
// (server.h) is one shell; a simulation calls handle() directly. docs/protocol.md is its
// specification.

#include "relay/storage.h"
#include "src/base/environment.h"

namespace holdfast::relay {

struct Request {
  std::string method;
  std::string target;  // path and query
  std::string token;
  Bytes body;
};

struct Response {
  int status = 200;
  Bytes body;
  std::string content_type = "application/octet-stream";
  // For whoever can wait: this is the answer if nothing changes in that vault for so long; if
  // something does, it is to be asked for again.
  struct Wait {
    Hash32 vault{};
    std::int64_t ms = 0;
  };
  std::optional<Wait> wait = std::nullopt;
  std::optional<Hash32> changed = std::nullopt;  // a vault about which others may want to know
};

// What a server serves. One thread at a time.
class Handler {
 public:
  virtual ~Handler() = default;
  // How large a request's body may be, by what its header says: strangers get little.
  virtual std::size_t body_limit(const std::string& target, const std::string& token) const = 0;
  // Never throws for what a client sends.
  virtual Response handle(const Request& request) = 0;
};

// One thread at a time.
class Service : public Handler {
 public:
  // `origins` are the URLs ("https://relay.example") under which devices may sign in.
  Service(Storage& storage, base::Clock& clock, base::Random& random,
          std::vector<std::string> origins);

  // How long batches are kept that a verified checkpoint stands for; 90 days unless it is set.
  void set_retention(std::int64_t ms) { retention_ms_ = ms; }

  std::size_t body_limit(const std::string& target, const std::string& token) const override;

  // For data that was put back from a backup: every vault's log gets another id, so that its
  // devices bring back what the backup lacks. Before the first request.
  void begin_all_anew();

  // Error(io) of the storage becomes a 503.
  Response handle(const Request& request) override;

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
  Response create_vault(ByteView body);
  Response challenge();
  Response open_session(ByteView body);
  Response push(const Session& session, const std::string& query, ByteView body);
  Response log(const Session& session, const std::string& query);
  // checkpoint_calls.cc
  Response stubs(const Session& session, const std::string& query);
  Response restore_stubs(const Session& session, ByteView body);
  Response get_checkpoint(const Session& session, const std::string& query);
  Response propose(const Session& session, ByteView body);
  Response verify(const Session& session, ByteView body);
  Response blob(const Session& session, const Request& request, const std::string& hash);
  Response missing_blobs(const Session& session, ByteView body);
  void accept(const Hash32& vault_id, Vault& vault, const wire::Checkpoint& checkpoint);
  void retain(const Hash32& vault_id, Vault& vault);
  std::optional<wire::Checkpoint> counted(const Hash32& vault_id);
  struct Heads;
  const Heads& checkpoint_heads(const Hash32& vault_id);
  void put_checkpoint(const Hash32& vault_id, Storage::Checkpoint which, ByteView bytes);
  bool has_chunks(const Hash32& vault_id, const wire::Checkpoint& checkpoint);
  Response restart(const Session& session, ByteView body);
  Response control(const Session& session, const std::string& query);
  Response restore_control(const Hash32& vault_id, const std::string& query, ByteView body);
  Response post_control(const Session& session, Role role, ByteView body);
  Response mailbox(const Request& request, const std::string& slot, const std::string& query);
  Response find_vault(const std::string& recovery_sign);

  Role role_of(const Hash32& vault, const Hash32& signer);
  static bool has_room(std::uint64_t count, wire::ControlType type);
  void reserve(const Session& session);
  bool is_reserved(const Session& session) const;
  bool ticket_is_good(const Hash32& vault, const wire::ControlState& state, const Hash32& signer);
  std::optional<Session> read_token(const std::string& token) const;
  std::optional<Session> session_of(const std::string& token) const;
  wire::ControlState& control_state(const Hash32& vault);
  wire::PushAnswer::Item push_one(const Hash32& vault_id, Vault& vault,
                                  const wire::ControlState& state, const Id16& device,
                                  bool restores, ByteView batch);
  void add_control(const Hash32& vault_id, wire::ControlState& state, ByteView record);
  void start_healing(const Hash32& id);
  bool is_healing(const Hash32& id) const;
  void begin_anew(const Hash32& id, Vault& vault);
  Bytes with_mac(Bytes message) const;
  std::optional<Bytes> check_mac(ByteView bytes) const;

  Storage& storage_;
  base::Clock& clock_;
  base::Random& random_;
  std::vector<std::string> origins_;
  Bytes secret_;
  // A vault that only this signer, who is about to revoke somebody, may write to.
  struct Reserved {
    Hash32 by{};
    std::int64_t until_ms = 0;
    std::map<Hash32, std::int64_t> again_ms;  // when each signer may have it again
  };
  std::map<Hash32, Reserved> reserved_;
  std::map<Hash32, std::int64_t> restarts_;  // when each log began anew last
  std::map<Hash32, std::int64_t> healing_;   // since when each vault is given back what was lost
  std::optional<std::int64_t> all_anew_ms_;  // when all of them did
  std::int64_t retention_ms_ = 90 * 24 * 3'600'000LL;
  std::map<Hash32, std::int64_t> retained_;      // when each log was last looked through
  std::map<Hash32, wire::ControlState> states_;  // a cache of what the control logs say
  // What pages say of the checkpoints, with a device list of so many records.
  struct Heads {
    std::uint64_t records = 0;
    wire::CheckpointHead counted;
    wire::CheckpointHead proposed;
  };
  std::map<Hash32, Heads> heads_;
};

}  // namespace holdfast::relay
