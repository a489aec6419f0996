#pragma once

// Replays a part of a sequence's log over what was there before, as a list of spans that each know
// whether they exist in the version being looked at, and whether they are shown in the end.

#include <functional>
#include <memory>

#include "src/model/sequence.h"

namespace holdfast::model {

class SequenceWalk {
 public:
  // From event `start` on, where everything before is known to all that follows.
  SequenceWalk(const Sequence& sequence, std::uint32_t start);
  // The content with all events, of the content with those before `applied` and what the events
  // from there on insert, one unit each.
  Units merge(std::uint32_t applied, const Units& content, const Units& inserted);
  void replay_all() { replay(start_, sequence_.events_); }
  // Calls `visit(event, place)` for each inserted unit that is shown.
  void for_each_shown(const std::function<void(std::uint32_t, std::size_t)>& visit) const;

 private:
  // Units that were there before the start have numbers from kBefore on.
  static constexpr std::uint32_t kBefore = 1u << 31;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Span {
    std::uint32_t id = 0;
    std::uint32_t count = 0;
    std::uint32_t left = kNone;   // what the first unit was inserted behind; none: the beginning
    std::uint32_t right = kNone;  // and what before; none: the end
    std::uint32_t level = 1;      // 0: not there yet; 1: there; more: erased, so often less one
    bool erased = false;          // in the end
    std::uint32_t there() const { return level == 1 ? count : 0; }
  };
  struct Block {
    std::vector<Span> spans;
    std::size_t index = 0;
    std::uint64_t there = 0;
  };
  struct Place {  // before the unit at `offset` of a span
    Block* block = nullptr;
    std::size_t span = 0;
    std::uint32_t offset = 0;
  };
  struct Chunk {  // a run, or a part of it
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    const SequenceRun* run = nullptr;
  };
  struct Range {
    std::uint32_t from = 0;
    std::uint32_t to = 0;  // not included
  };

  void replay(std::uint32_t from, std::uint32_t to);
  void replay(const Chunk& chunk);
  void insert(const Chunk& chunk, std::uint64_t at);
  void erase(const Chunk& chunk, std::uint64_t at, bool backwards);
  std::vector<std::uint32_t> parents_of(const Chunk& chunk) const;
  void move_to(const std::vector<std::uint32_t>& version);
  void difference(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                  std::vector<Range>& only_a, std::vector<Range>& only_b) const;
  void shift(Range events, bool forward);
  void change_level(std::uint32_t id, std::uint32_t count, int by);

  Place place_of(std::uint32_t id) const;
  // Where the unit `at` of those that are there begins.
  Place find(std::uint64_t at) const;
  Place integrate(Place from, Span& fresh) const;
  static std::int64_t compare(const Place& a, const Place& b);
  bool comes_first(std::uint32_t a, std::uint32_t b) const;
  void split(Place& place);
  void add_span(Place place, const Span& span);
  void balance(Block& block);

  const Sequence& sequence_;
  std::uint32_t start_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::map<std::uint32_t, Block*> block_of_;  // by the first unit of a span
  std::vector<std::uint32_t> erases_;         // by event from the start: the unit it erases
  std::vector<std::uint32_t> version_;        // that levels are of, ascending
};

}  // namespace holdfast::model
