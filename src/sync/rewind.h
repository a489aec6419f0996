#pragma once

#include "src/sync/sealing.h"
#include "src/wire/checkpoint.h"

namespace holdfast::sync {

// How far a relay's log and this device's are the same, found by asking for a few places of it: a
// log with another id has another chain over the same batches.
class CommonPrefix {
 public:
  // The relay's log goes by `log_id` and ends at `head`.
  CommonPrefix(store::Engine& engine, const base::Id16& log_id, std::uint64_t head);

  const base::Id16& log_id() const { return log_id_; }
  // The place to ask about next; nothing once it is known.
  std::optional<std::uint64_t> next() const;
  // What the relay says that the chain is there.
  void answer(std::uint64_t position, const base::Hash32& chain);
  // The last place that both have, and whether the relay's answers made sense.
  LogPosition found() const;
  bool is_sane() const { return sane_; }

 private:
  base::Id16 log_id_;
  std::vector<base::Hash32> chains_;  // of what is here, under the relay's log id; [0] is the start
  std::uint64_t same_ = 0;
  std::uint64_t other_;  // the first place that is known to differ, or one behind the end
  bool asked_ = false;
  bool sane_ = true;
};

// A batch that this device had from the relay's log, and that the relay has lost.
struct LostBatch {
  base::Id16 batch{};
  base::Id16 device{};
  std::uint64_t last = 0;  // of its change sets; 0: it has none
  std::string held_for;    // why it is not applied; empty: it is
  base::Hash32 leaf{};
  Bytes body;  // empty: a checkpoint stands for it
};

// What this device holds of the log that the relay has lost. It stays applied, and goes back to the
// relay as it was; nothing is known to be acknowledged by it.
class LostBatches {
 public:
  explicit LostBatches(store::Engine& engine) : engine_(engine) {}

  std::uint64_t count() const;
  // In their order, at most about `bytes`; at least one where there is one.
  std::vector<LostBatch> list(std::size_t bytes) const;
  std::optional<LostBatch> find(const base::Hash32& leaf) const;
  void forget(const base::Hash32& leaf);  // it is in the log again
  // Of a batch that the relay does not take: whether the log holds what it says in other batches of
  // its author, sealed again, or it was never applied here; then it is forgotten.
  bool drop_repeated(const Membership& membership, const LostBatch& batch);
  // Leaf of the last one of a device; nothing where there is none.
  std::optional<base::Hash32> last_leaf(const base::Id16& device) const;

 private:
  store::Engine& engine_;
};

// What tells change sets of a device apart, by their sequence: see Claim.
using ChangeHashes = std::map<std::uint64_t, base::Id16>;
base::Id16 hash_of(const model::ChangeSet& change);
// Those of a device in the log behind a place; where a checkpoint stands for it, the last of them.
ChangeHashes changes_in_log(store::Engine& engine, const Membership& membership,
                            const base::Id16& device, std::uint64_t after);

// Batches of a device that came past the log, and have not come in it.
std::vector<Bytes> loose_of(store::Engine& engine, const base::Id16& device);
// Those that hold other changes under the numbers of some in `held`: they
// are by a copy of their author's store.
std::vector<Bytes> loose_beside(store::Engine& engine, const Membership& membership,
                                const base::Id16& device, const ChangeHashes& held);
// Throws MustBeginAgain where this batch of the log shows that there are such.
void check_loose(store::Engine& engine, const Membership& membership, const OpenedBatch& batch);

// Takes this device's place in the log back to `common`, under its log id; what lies behind it are
// lost batches from then on. Returns how many. In one transaction.
std::uint64_t rewind(store::Engine& engine, Membership& membership, const LogPosition& common);

// Each device's last leaf as the log says, in the caller's transaction.
void set_leaves_again(store::Engine& engine);

// Batches that a checkpoint stands for and that the relay has lost, with the place behind which
// they were.
wire::StubPage lost_places(store::Engine& engine);

// Whether a log of this id was the vault's before it began anew.
bool is_former_log(store::Engine& engine, const base::Id16& log_id);

}  // namespace holdfast::sync
