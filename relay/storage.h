#pragma once

// What the relay keeps. Every key starts with the vault; no transaction spans vaults.

#include <functional>

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
  std::uint64_t floor = 0;  // up to here batches may be without their bytes
};

// One thread at a time. Throws Error(io) where something cannot be made durable: then nothing of
// the transaction happened.
class Storage {
 public:
  virtual ~Storage() = default;

  // All of `work`, durably, or nothing.
  virtual void transaction(const std::function<void()>& work) = 0;

  virtual std::optional<Vault> vault(const Hash32& id) = 0;
  virtual std::vector<Hash32> vaults() = 0;
  virtual void put_vault(const Hash32& id, const Vault& vault) = 0;

  // Position and leaf.
  virtual std::optional<std::pair<std::uint64_t, Hash32>> batch_place(const Hash32& vault,
                                                                      const Id16& batch) = 0;
  struct Place {
    std::uint64_t position = 0;
    Hash32 chain{};
    std::int64_t now_ms = 0;
  };
  // Without its bytes where `body` is empty.
  virtual void add_batch(const Hash32& vault, const Place& place, const wire::Stub& stub,
                         ByteView body) = 0;
  // Lets go of the bytes of batches up to `upto`, as far as they came before `before_ms`. Returns
  // up to where none are left; 0 where that is nowhere.
  virtual std::uint64_t drop_bodies(const Hash32& vault, std::uint64_t upto,
                                    std::int64_t before_ms) = 0;
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
  virtual std::vector<Bytes> control(const Hash32& vault, std::uint64_t after) = 0;

  // A vault has one checkpoint that counts, and one that is proposed. Empty bytes: none.
  enum class Checkpoint { counts, proposed };
  virtual Bytes checkpoint(const Hash32& vault, Checkpoint which) = 0;
  virtual void put_checkpoint(const Hash32& vault, Checkpoint which, ByteView bytes) = 0;
  virtual std::optional<Bytes> blob(const Hash32& vault, const Hash32& hash) = 0;
  virtual bool has_blob(const Hash32& vault, const Hash32& hash) = 0;
  virtual void put_blob(const Hash32& vault, const Hash32& hash, ByteView body,
                        std::int64_t now_ms) = 0;
  // All but these, as far as they came before `before_ms`.
  virtual void drop_blobs(const Hash32& vault, const std::set<Hash32>& kept,
                          std::int64_t before_ms) = 0;

  virtual std::optional<Bytes> mail(const Id16& slot, std::int64_t now_ms) = 0;
  enum class Mail { stored, taken, full };  // stored: also where the same lies there already
  virtual Mail put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                        std::int64_t expires_ms) = 0;

  // The vault that a recovery key is of, or was: the first that was given stays.
  virtual std::optional<Hash32> vault_of_recovery(const Hash32& sign) = 0;
  virtual void set_vault_of_recovery(const Hash32& sign, const Hash32& vault) = 0;

  // A secret of this relay, made by `make` the first time.
  virtual Bytes secret(const std::function<Bytes()>& make) = 0;
};

}  // namespace holdfast::relay
