#pragma once

#include <set>

#include "src/sync/sealing.h"

namespace holdfast::sync {

// Change sets that a device wrote anew when it began again, in the place of ones that were never
// sent. Another copy of its store may have the same ones: whoever comes second leaves them out, so
// that each edit happens once. What the log says of them is the same for all.
class Claims {
 public:
  explicit Claims(store::Engine& engine) : engine_(engine) {}

  static Claim of(const model::ChangeSet& change);
  // As a batch of the log says. Throws MustBeginAgain where it claims what this store has not sent.
  void note(const OpenedBatch& batch, const Membership& membership);
  // This device's own, for its next batch; and once one of its batches is in the log.
  std::vector<Claim> to_send() const;
  void mark_sent(const std::vector<Claim>& claims);
  // In the caller's transaction. `upto`: this device's last change set that was written anew.
  void add(const std::vector<model::ChangeSet>& changes, std::uint64_t upto);
  // What this store has written anew and not sent: the change sets as they were, and up to which of
  // this device's they are written anew.
  std::vector<model::ChangeSet> written_anew() const;
  std::uint64_t written_upto() const;
  bool is_claimed(const model::ChangeSet& change, const std::set<Claim>& in_log) const;
  // Which of these change sets of this device others have claimed: how many from the first on.
  std::size_t count_claimed(const std::vector<model::ChangeSet>& changes,
                            const std::set<Claim>& in_log) const;

 private:
  bool is_own_unsent(const Claim& claim, const Membership& membership) const;
  store::Engine& engine_;
};

}  // namespace holdfast::sync
