#pragma once

#include <set>

#include "src/sync/inbox.h"

namespace holdfast::sync {

// A store that cannot go on as the device it was: it was copied, or put back from a copy, while its
// device went on elsewhere, so that both wrote change sets under the same numbers; or it was given
// what does not count. It takes in what the vault holds without applying it, gets keys of its own
// and is enrolled with the old ones, and then begins again as another device: from the vault's log,
// with the edits that it alone has written anew on top. Every step can be repeated.
class NewBeginning {
 public:
  NewBeginning(store::Engine& engine, Membership& membership)
      : engine_(engine), membership_(membership) {}

  bool is_under_way() const { return is_beginning_again(engine_); }
  // In a transaction of its own.
  void begin(const std::string& why);
  // Whether the device list has the new device.
  bool is_enrolled() const;
  // The record that enrols it, to be posted by the device that it was.
  void fill_enrolment(wire::ControlRecord& record) const;
  // All that the vault holds is here: begins again. In one transaction.
  void finish(Inbox& inbox, InboxCounts& counts, const WorkStep& step);

 private:
  struct Unsent;
  Unsent take_unsent(std::uint64_t at, const Inbox& inbox) const;
  std::vector<Bytes> lost_for_good(const Inbox& inbox) const;
  std::set<Claim> claims_in_log(std::uint64_t at) const;
  void replay(std::uint64_t after, std::uint64_t to, Inbox& inbox, InboxCounts& counts,
              const WorkStep& step);
  std::optional<wire::Checkpoint> base_between(std::uint64_t after, std::uint64_t to) const;
  std::uint64_t load(const wire::Checkpoint& checkpoint, const WorkStep& step);
  void replay_others(const std::vector<Bytes>& unsent, Inbox& inbox, InboxCounts& counts);
  std::size_t count_held(const std::vector<model::ChangeSet>& changes, std::uint64_t at) const;

  store::Engine& engine_;
  Membership& membership_;
};

}  // namespace holdfast::sync
