#pragma once

// The order of a text's characters, or of a list's elements, that several devices edit at once.
// Kept as the content as it reads now and a run-length log of the edits that are not folded away;
// concurrent edits are merged by replaying only the part of the log that they overlap with, in the
// way of eg-walker (Gentle and Kleppmann, 2024). Their order is FugueMax (Weidner and Kleppmann,
// 2023), in the integration known as YjsMod.

#include "src/model/types.h"

namespace holdfast::model {

// Units are Unicode scalars of a text, or elements of a list.
using Units = std::u32string;

// One replacement: at `at`, `erase` units go and `insert` comes. The next patch of an edit sees the
// content after this one.
struct Patch {
  std::uint64_t at = 0;
  std::uint64_t erase = 0;
  Units insert;
  bool operator==(const Patch&) const = default;
};
using Patches = std::vector<Patch>;

// The units with one gap where the last edit was.
class GapBuffer {
 public:
  explicit GapBuffer(Units units = {})
      : units_(std::move(units)), gap_(units_.size()), after_(units_.size()) {}
  std::size_t size() const { return units_.size() - (after_ - gap_); }
  void insert(std::size_t at, const char32_t* units, std::size_t count);
  void erase(std::size_t at, std::size_t count);
  Units units() const;

 private:
  void move_gap(std::size_t at);
  Units units_;
  std::size_t gap_;    // where the gap begins
  std::size_t after_;  // and what is behind it
};

// One unit inserted or erased is an event; events are numbered in the order of arrival, which is
// causal. A run is consecutive events of one device that each follow the one before.
struct SequenceRun {
  std::uint32_t device = 0;  // in the sequence's own table
  std::uint64_t change = 0;  // sequence of the change set of the first event
  bool each = false;         // every event is of a change set of its own, else all of one
  bool erases = false;
  bool backwards = false;   // erases with the position falling by one, as by the backspace key
  std::uint64_t at = 0;     // position of the first event
  std::uint32_t first = 0;  // number of the first event
  std::uint32_t count = 0;
  std::vector<std::uint32_t> parents;  // of the first event, ascending; none: the folded content
  bool linear = false;                 // its only parent is the event before it in arrival
};

class Sequence {
 public:
  static constexpr std::uint64_t kMaxEvents = 1 << 24;  // that are not folded away

  Sequence() = default;
  explicit Sequence(Units folded) : content_(std::move(folded)) {}

  // Edits of one change set, made on what `context` covers; what the same change set edited before
  // comes first. Positions beyond the end count as the end.
  void apply(const Dot& dot, const VersionVector& context, const Patches& patches);
  // As of all edits applied.
  Units content() const;
  std::size_t size() const;
  // Other names for the units, in the same order.
  void renumber(Units units) {
    settle();
    content_ = GapBuffer(std::move(units));
  }

  // Forgets the log up to `upto`, which covers every edit that any edit still to come builds on.
  // False, and nothing happens, where an edit here that is not covered does not build on all that
  // is.
  bool fold(const VersionVector& upto);
  bool has_log() const { return !runs_.empty(); }
  // The edits that are not folded away, each with what it was made on: what apply() takes, in a
  // causal order. Of what was erased since, the units themselves are unknown (U+FFFD).
  struct Change {
    Dot dot;
    std::vector<Dot> parents;
    Patches patches;
  };
  std::vector<Change> changes() const;
  void apply(const Change& change);
  bool holds(const Dot& dot) const;
  // The last change set of each device that is folded away.
  const VersionVector& folded() const { return folded_; }

  // The log without the content. Throws Error(malformed).
  void encode_log(base::Writer& out, class DeviceTable& devices) const;
  static Sequence decode(base::Reader& in, Units content, class DeviceTable& devices);

 private:
  friend class SequenceWalk;
  std::uint32_t device_index(const DeviceId& device);
  std::vector<std::uint32_t> frontier_of(const VersionVector& context) const;
  std::vector<std::uint32_t> latest(std::vector<std::uint32_t> events) const;
  std::vector<std::uint32_t> parents_of(const SequenceRun& run) const;
  std::optional<std::uint32_t> last_event(std::uint32_t device, std::uint64_t change) const;
  Dot dot_of(std::uint32_t event) const;
  void add(const Dot& dot, std::vector<std::uint32_t> parents, const Patches& patches);
  void add_run(SequenceRun run);
  std::size_t run_index(std::uint32_t event) const;
  std::uint32_t window_start() const;
  void settle() const;

  std::vector<DeviceId> devices_;
  std::vector<std::uint64_t> seen_;  // of each device, its last change set here
  std::vector<SequenceRun> runs_;
  std::vector<std::vector<std::uint32_t>> runs_of_;  // by device, indexes into runs_
  std::vector<std::uint32_t> tips_;                  // events that no other follows, ascending
  std::uint32_t events_ = 0;
  VersionVector folded_;

  // What each device knew of the others at its last edit: its next one mostly knows no more.
  std::vector<std::vector<std::uint64_t>> known_;

  // Events from `applied_` on are in the log, but not in the content yet; `waiting_` has one unit
  // for each of them.
  mutable GapBuffer content_;
  mutable std::uint32_t applied_ = 0;
  mutable Units waiting_;
};

// The edits that turn `before` into `after`, few where the two are alike (Myers, 1986, with a bound
// on the work; what goes beyond it is replaced as a whole).
Patches diff_units(const Units& before, const Units& after);
// The edits `mine`, made on `base`, as edits of `theirs`, which came of the same base.
Patches rebase(const Units& base, const Patches& mine, const Units& theirs);
Units patched(Units units, const Patches& patches);

Units to_units(std::string_view utf8);  // not UTF-8: U+FFFD for what is wrong
std::string to_utf8(const Units& units);

}  // namespace holdfast::model
