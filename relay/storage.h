#pragma once

// What the relay keeps. Every key starts with the vault; no transaction spans vaults.

#include <functional>
#include <map>
#include <set>

#include "src/wire/checkpoint.h"
#include "src/wire/control.h"
#include "src/wire/messages.h"

namespace holdfast::relay {

using base::Hash32;
using base::Id16;

struct Vault {
  Id16 log_id{};
  std::uint64_t head = 0;
  Hash32 chain{};
  Hash32 control_head{};
  std::uint64_t control_count = 0;
  std::uint64_t floor = 0;        // up to here batches may be without their bytes
  std::uint64_t bytes = 0;        // of batches and their places, chunks and records
  std::uint64_t quota = 0;        // of bytes, where it is not the relay's: else 0
  std::uint64_t changes = 0;      // how often it was put
  std::uint64_t checkpoints = 0;  // how often one of its checkpoints was put
  std::int64_t healing_ms = 0;    // since when it is given back what was lost; 0: it is not
  std::int64_t anew_ms = 0;       // when its log began anew last, for a device
  std::int64_t reserved_ms = 0;   // until when only one signer may write
  Hash32 reserved_by{};           // that one
  bool operator==(const Vault&) const = default;
};

// One thread at a time. Throws Error(io) where something cannot be made durable: then nothing of
// the transaction happened.
class Storage {
 public:
  virtual ~Storage() = default;

  // All of `work`, durably, or nothing. Within a group: as a part of it, and what throws out of
  // `work` makes the whole group fail.
  virtual void transaction(const std::function<void()>& work) = 0;
  // All that `work` does for several requests, as one transaction: durable once this returns,
  // nothing of it where this throws. To read: as of one moment. To write: each vault that vault()
  // returns is this group's alone until its end, over all processes; groups take vaults in the
  // order of their ids, so that none waits for another in a circle.
  enum class Access { read, write };
  virtual void group(Access access, const std::function<void()>& work) = 0;
  // What the group's requests are going to ask for, so that it can be fetched at once.
  struct Expected {
    Hash32 vault{};
    std::vector<std::pair<Id16, Id16>> batches;  // ids, and the devices whose they are
    std::optional<std::uint64_t> log_after;
    std::size_t log_bytes = 0;
  };
  virtual bool wants_expected() const { return false; }
  virtual void expect(const std::vector<Expected>&) {}

  virtual std::optional<Vault> vault(const Hash32& id) = 0;
  // Behind `after`, in the order of their ids, `limit` at most.
  virtual std::vector<Hash32> vaults(const Hash32& after, std::size_t limit) = 0;
  // Counts `changes` up.
  virtual void put_vault(const Hash32& id, const Vault& vault) = 0;
  // Vault::changes of each that is here.
  virtual std::map<Hash32, std::uint64_t> changes(const std::vector<Hash32>& vaults) = 0;
  // Deletes all that is kept of a vault but the request for it, which says that it was here.
  virtual void erase(const Hash32& vault, ByteView request, std::int64_t now_ms) = 0;
  virtual std::optional<Bytes> erased(const Hash32& vault) = 0;  // that request
  // Behind `after`, in the order of their ids, `limit` at most.
  virtual std::vector<Hash32> erased_vaults(const Hash32& after, std::size_t limit) = 0;
  // What is damaged of what lies under all this, as far as the engine can tell by itself.
  virtual std::vector<std::string> damage() { return {}; }

  // Position and leaf.
  using Stored = std::pair<std::uint64_t, Hash32>;
  virtual std::optional<Stored> batch_place(const Hash32& vault, const Id16& batch) = 0;
  // Of those that are here.
  virtual std::map<Id16, Stored> batch_places(const Hash32& vault,
                                              const std::vector<Id16>& batches) = 0;
  struct Place {
    std::uint64_t position = 0;
    Hash32 chain{};
    std::int64_t now_ms = 0;
  };
  // Without its bytes where `body` is empty.
  virtual void add_batch(const Hash32& vault, const Place& place, const wire::Stub& stub,
                         ByteView body) = 0;
  // Lets go of the bytes of batches up to `upto`, as far as they came before `before_ms`.
  struct Dropped {
    std::uint64_t upto = 0;  // up to where none are left
    std::uint64_t bytes = 0;
  };
  virtual Dropped drop_bodies(const Hash32& vault, std::uint64_t upto, std::int64_t before_ms) = 0;
  // From `after` + 1 on, wire::kMaxStubs at most.
  virtual std::vector<wire::Stub> stubs(const Hash32& vault, std::uint64_t after) = 0;
  // The chain over all batches again, from another start; returns it behind the last.
  virtual Hash32 rechain(const Hash32& vault, const Hash32& start) = 0;
  // Batches from `after` + 1 on, until their sizes pass `bytes`, or one is without its bytes; at
  // least one where there is one.
  virtual std::vector<Bytes> batches(const Hash32& vault, std::uint64_t after,
                                     std::size_t bytes) = 0;
  // The chain behind a batch; nothing where there is none.
  virtual std::optional<Hash32> chain_at(const Hash32& vault, std::uint64_t position) = 0;
  virtual Hash32 device_leaf(const Hash32& vault, const Id16& device) = 0;  // zero: none yet
  virtual void set_device_leaf(const Hash32& vault, const Id16& device, const Hash32& leaf) = 0;

  virtual void add_control(const Hash32& vault, std::uint64_t position, ByteView record,
                           std::int64_t now_ms) = 0;
  // When a record was added; nothing where there is none.
  virtual std::optional<std::int64_t> control_time(const Hash32& vault, std::uint64_t position) = 0;
  // From position `from` on.
  virtual std::vector<Bytes> control(const Hash32& vault, std::uint64_t from,
                                     std::size_t limit = 500) = 0;

  // A vault has one checkpoint that counts, and one that is proposed. Empty bytes: none.
  enum class Checkpoint { counts, proposed };
  virtual Bytes checkpoint(const Hash32& vault, Checkpoint which) = 0;
  virtual void put_checkpoint(const Hash32& vault, Checkpoint which, ByteView bytes) = 0;
  virtual std::optional<Bytes> blob(const Hash32& vault, const Hash32& hash) = 0;
  // Those of `hashes` that are here.
  virtual std::set<Hash32> blobs_of(const Hash32& vault, const std::vector<Hash32>& hashes) = 0;
  // False where it is there already.
  virtual bool put_blob(const Hash32& vault, const Hash32& hash, ByteView body,
                        std::int64_t now_ms) = 0;
  // All but these, as far as they came before `before_ms`. Returns their bytes.
  virtual std::uint64_t drop_blobs(const Hash32& vault, const std::set<Hash32>& kept,
                                   std::int64_t before_ms) = 0;

  virtual std::optional<Bytes> mail(const Id16& slot, std::int64_t now_ms) = 0;
  enum class Mail { stored, taken, full };  // stored: also where the same lies there already
  virtual Mail put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                        std::int64_t expires_ms) = 0;

  // When a signer may reserve the vault again; 0: now.
  virtual std::int64_t reserve_again(const Hash32& vault, const Hash32& signer) = 0;
  virtual void set_reserve_again(const Hash32& vault, const Hash32& signer, std::int64_t ms) = 0;

  // Codes by which vaults may be created, each one vault: their hashes. Spent again by the same
  // vault, one is good again.
  virtual void add_invite(const Hash32& code, std::int64_t expires_ms) = 0;
  virtual bool spend_invite(const Hash32& code, const Hash32& vault, std::int64_t now_ms) = 0;

  // The vault that a recovery key is of, or was: the first that was given stays.
  virtual std::optional<Hash32> vault_of_recovery(const Hash32& sign) = 0;
  virtual void set_vault_of_recovery(const Hash32& sign, const Hash32& vault) = 0;

  // Lets go of mail, invitations and reservations whose time is over.
  virtual void expire(std::int64_t now_ms) = 0;

  // A secret of this relay, made by `make` the first time.
  virtual Bytes secret(const std::function<Bytes()>& make) = 0;
};

}  // namespace holdfast::relay
