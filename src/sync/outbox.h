#pragma once

#include "src/sync/sealing.h"

namespace holdfast::sync {

// This device's batches that the relay has not confirmed: sealed and durable before they are first
// sent, and sent again as the same bytes until they are.
struct OutboxBatch {
  base::Id16 batch{};
  std::uint64_t first = 0;
  std::uint64_t last = 0;          // before `first`: it only acknowledges
  std::uint64_t acknowledged = 0;  // see BatchContent
  Bytes body;
};

class Outbox {
 public:
  Outbox(store::Engine& engine, const Membership& membership)
      : engine_(engine), membership_(membership) {}

  // Seals all changes that are not in a batch yet, in one transaction a batch.
  void seal();
  // A batch without changes, which tells the others what this device has.
  void seal_acknowledgement();
  // What this store has written anew, or found that it need not, where no change tells of it. Other
  // copies of what this store was would bring it as well. Whether there was any.
  bool seal_claims();
  // Takes this batch and those after it, which the relay will never take, apart and seals their
  // changes again under the vault's key of now.
  void seal_again(const base::Id16& batch);
  // In order; at most about `bytes`, at least one where there is one.
  std::vector<OutboxBatch> list(std::size_t bytes, bool undelivered_only = false) const;
  std::uint64_t count_batches() const;
  std::uint64_t count_changes() const;  // sealed or not
  void mark_delivered(const base::Id16& batch);
  // The batch is in the log: takes it out. Nothing where it is not here.
  std::optional<OutboxBatch> confirm(const base::Id16& batch);
  std::optional<OutboxBatch> confirm_leaf(const base::Hash32& leaf);  // likewise, by its leaf

 private:
  bool seal_one();
  void seal_batch_of(const std::vector<model::ChangeSet>& changes);
  bool has_everything() const;
  base::Hash32 last_leaf() const;
  store::Engine& engine_;
  const Membership& membership_;
};

// The leaf of a device's last batch in the log, zero before the first.
base::Hash32 device_leaf(store::Engine& engine, const base::Id16& device);
void set_device_leaf(store::Engine& engine, const base::Id16& device, const base::Hash32& leaf);

}  // namespace holdfast::sync
