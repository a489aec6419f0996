#include "src/model/sequence_walk.h"

#include <algorithm>

namespace holdfast::model {
namespace {

constexpr std::size_t kSpansPerBlock = 48;
constexpr std::uint32_t kUnknownLength = 1u << 30;  // of what was there before: more than there is

}  // namespace

SequenceWalk::SequenceWalk(const Sequence& sequence, std::uint32_t start)
    : sequence_(sequence), start_(start), erases_(sequence.events_ - start, kNone) {
  Span before;
  before.id = kBefore;
  before.count = kUnknownLength;
  blocks_.push_back(std::make_unique<Block>());
  Block& block = *blocks_.front();
  block.spans.push_back(before);
  block.there = kUnknownLength;
  block_of_[before.id] = &block;
}

Units SequenceWalk::merge(std::uint32_t applied, const Units& content, const Units& inserted) {
  replay(start_, applied);
  // Where each span that is shown now lies in the content.
  std::map<std::uint32_t, std::size_t> place_of_id;
  std::size_t place = 0;
  for (const auto& block : blocks_) {
    for (const Span& span : block->spans) {
      if (span.erased) continue;
      place_of_id[span.id] = place;
      place += span.count;
    }
  }
  replay(std::max(start_, applied), sequence_.events_);
  Units out;
  out.reserve(content.size() + inserted.size());
  for (const auto& block : blocks_) {
    for (const Span& span : block->spans) {
      if (span.erased) continue;
      if (span.id < kBefore && span.id >= applied) {
        out.append(inserted, span.id - applied, span.count);
        continue;
      }
      auto known = std::prev(place_of_id.upper_bound(span.id));
      std::size_t from = known->second + (span.id - known->first);
      if (from < content.size()) out.append(content, from, span.count);
    }
  }
  return out;
}

// In an order that stays on one branch as long as it can: changing over costs as much as the
// branches are long.
void SequenceWalk::replay(std::uint32_t from, std::uint32_t to) {
  if (from >= to) return;
  const std::vector<SequenceRun>& runs = sequence_.runs_;
  std::vector<Chunk> chunks;
  for (std::size_t i = sequence_.run_index(from); i < runs.size() && runs[i].first < to; ++i) {
    std::uint32_t first = std::max(from, runs[i].first);
    chunks.push_back({first, std::min(to, runs[i].first + runs[i].count) - first, &runs[i]});
  }
  auto chunk_of = [&](std::uint32_t event) {
    auto after = std::upper_bound(
        chunks.begin(), chunks.end(), event,
        [](std::uint32_t number, const Chunk& chunk) { return number < chunk.first; });
    return static_cast<std::size_t>(after - chunks.begin()) - 1;
  };
  std::vector<std::size_t> missing(chunks.size(), 0);
  std::vector<std::vector<std::size_t>> next(chunks.size());
  std::vector<std::size_t> ready;
  for (std::size_t i = chunks.size(); i-- > 0;) {
    for (std::uint32_t parent : parents_of(chunks[i])) {
      if (parent < from) continue;
      ++missing[i];
      next[chunk_of(parent)].push_back(i);
    }
    if (missing[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    std::size_t i = ready.back();
    ready.pop_back();
    replay(chunks[i]);
    for (std::size_t follower : next[i]) {
      if (--missing[follower] == 0) ready.push_back(follower);
    }
  }
}

std::vector<std::uint32_t> SequenceWalk::parents_of(const Chunk& chunk) const {
  std::vector<std::uint32_t> parents = chunk.first > chunk.run->first
                                           ? std::vector<std::uint32_t>{chunk.first - 1}
                                           : sequence_.parents_of(*chunk.run);
  std::erase_if(parents, [this](std::uint32_t parent) { return parent < start_; });
  return parents;
}

void SequenceWalk::replay(const Chunk& chunk) {
  move_to(parents_of(chunk));
  const SequenceRun& run = *chunk.run;
  std::uint64_t skipped = chunk.first - run.first;
  if (!run.erases) {
    insert(chunk, run.at + skipped);
  } else {
    erase(chunk, run.backwards ? run.at - std::min(run.at, skipped) : run.at, run.backwards);
  }
  version_ = {chunk.first + chunk.count - 1};
}

void SequenceWalk::move_to(const std::vector<std::uint32_t>& version) {
  if (version == version_) return;
  std::vector<Range> leave, enter;
  difference(version_, version, leave, enter);
  for (const Range& range : leave) shift(range, false);  // the last ones first
  for (std::size_t i = enter.size(); i-- > 0;) shift(enter[i], true);
  version_ = version;
}

// The events that only one of two versions has, in runs, the last ones first.
void SequenceWalk::difference(const std::vector<std::uint32_t>& a,
                              const std::vector<std::uint32_t>& b, std::vector<Range>& only_a,
                              std::vector<Range>& only_b) const {
  enum Side { kA = 1, kB = 2, kBoth = 3 };
  std::vector<std::pair<std::uint32_t, int>> heap;
  std::size_t apart = 0;  // entries that are not of both
  auto push = [&](std::uint32_t event, int side) {
    if (event < start_) return;
    heap.emplace_back(event, side);
    std::push_heap(heap.begin(), heap.end());
    apart += side != kBoth;
  };
  auto pop = [&] {
    std::pop_heap(heap.begin(), heap.end());
    auto top = heap.back();
    heap.pop_back();
    apart -= top.second != kBoth;
    return top;
  };
  for (std::uint32_t event : a) push(event, kA);
  for (std::uint32_t event : b) push(event, kB);
  auto note = [&](std::uint32_t from, std::uint32_t to, int side) {
    if (from >= to) return;
    if (side == kA) only_a.push_back({from, to});
    if (side == kB) only_b.push_back({from, to});
  };
  while (apart > 0) {
    auto [event, side] = pop();
    const SequenceRun& run = sequence_.runs_[sequence_.run_index(event)];
    std::uint32_t bottom = std::max(run.first, start_);
    std::uint32_t end = event + 1;
    while (!heap.empty() && heap.front().first >= bottom) {
      auto [other, its_side] = pop();
      if ((side | its_side) == side) continue;
      note(other + 1, end, side);
      end = other + 1;
      side |= its_side;
    }
    note(bottom, end, side);
    if (bottom == run.first) {
      for (std::uint32_t parent : sequence_.parents_of(run)) push(parent, side);
    }
  }
}

void SequenceWalk::shift(Range events, bool forward) {
  std::uint32_t event = events.from;
  while (event < events.to) {
    const SequenceRun& run = sequence_.runs_[sequence_.run_index(event)];
    std::uint32_t end = std::min(events.to, run.first + run.count);
    if (!run.erases) {
      change_level(event, end - event, forward ? 1 : -1);
      event = end;
      continue;
    }
    while (event < end) {  // units in a row at once, either way
      std::uint32_t unit = erases_[event - start_];
      std::uint32_t count = 1;
      auto next = [&](std::uint32_t by) { return erases_[event + count - start_] == unit + by; };
      if (unit == kNone) {
        ++event;
        continue;
      }
      if (event + 1 < end && next(1)) {
        while (event + count < end && next(count)) ++count;
      } else {
        while (event + count < end && next(0 - count)) ++count;
        unit -= count - 1;
      }
      change_level(unit, count, forward ? 1 : -1);
      event += count;
    }
  }
}

void SequenceWalk::change_level(std::uint32_t id, std::uint32_t count, int by) {
  while (count > 0) {
    Place place = place_of(id);
    split(place);
    Span* span = &place.block->spans[place.span];
    if (span->count > count) {
      Place end{place.block, place.span, count};
      split(end);
      place = place_of(id);
      span = &place.block->spans[place.span];
    }
    place.block->there -= span->there();
    span->level += static_cast<std::uint32_t>(by);
    place.block->there += span->there();
    id += span->count;
    count -= span->count;
  }
}

SequenceWalk::Place SequenceWalk::place_of(std::uint32_t id) const {
  auto found = std::prev(block_of_.upper_bound(id));
  Block* block = found->second;
  std::size_t i = 0;
  while (block->spans[i].id != found->first) ++i;
  return {block, i, id - found->first};
}

SequenceWalk::Place SequenceWalk::find(std::uint64_t at) const {
  for (const auto& block : blocks_) {
    if (at >= block->there) {
      at -= block->there;
      continue;
    }
    for (std::size_t i = 0; i < block->spans.size(); ++i) {
      std::uint32_t there = block->spans[i].there();
      if (at < there) return {block.get(), i, static_cast<std::uint32_t>(at)};
      at -= there;
    }
  }
  Block* last = blocks_.back().get();
  return {last, last->spans.size(), 0};
}

std::int64_t SequenceWalk::compare(const Place& a, const Place& b) {
  if (a.block != b.block) return a.block->index < b.block->index ? -1 : 1;
  if (a.span != b.span) return a.span < b.span ? -1 : 1;
  return static_cast<std::int64_t>(a.offset) - static_cast<std::int64_t>(b.offset);
}

bool SequenceWalk::comes_first(std::uint32_t a, std::uint32_t b) const {
  return sequence_.dot_of(a).device < sequence_.dot_of(b).device;
}

// Where `fresh`, made behind `fresh.left`, belongs among what was inserted there at the same time;
// finds out what it was made before. `from` is right behind the left one.
SequenceWalk::Place SequenceWalk::integrate(Place from, Span& fresh) const {
  if (from.offset > 0) {  // within what its author saw in one piece
    fresh.right = from.block->spans[from.span].id + from.offset;
    return from;
  }
  auto settled = [this](Place place) {
    while (place.span >= place.block->spans.size() && place.block->index + 1 < blocks_.size()) {
      place = {blocks_[place.block->index + 1].get(), 0, 0};
    }
    return place;
  };
  auto at_end = [](const Place& place) { return place.span >= place.block->spans.size(); };
  auto next = [&](Place place) {
    ++place.span;
    return settled(place);
  };
  from = settled(from);
  Place right = from;
  while (!at_end(right) && right.block->spans[right.span].level == 0) right = next(right);
  if (!at_end(right)) fresh.right = right.block->spans[right.span].id;

  // none of the left comes before all, none of the right behind all
  auto order = [this](std::uint32_t a, std::uint32_t b, int of_none) {
    if (a == b) return 0;
    if (a == kNone) return of_none;
    if (b == kNone) return -of_none;
    return compare(place_of(a), place_of(b)) < 0 ? -1 : 1;
  };
  Place found = from;
  bool undecided = false;  // whether it belongs before or behind what was just passed
  for (Place at = from;; at = next(at)) {
    if (!undecided) found = at;
    if (at_end(at) || compare(at, right) == 0) break;
    const Span& other = at.block->spans[at.span];
    int left = order(other.left, fresh.left, -1);
    if (left < 0) break;
    if (left > 0) continue;
    int its_right = order(other.right, fresh.right, 1);
    if (its_right == 0 && comes_first(fresh.id, other.id)) break;
    undecided = its_right < 0;
  }
  return found;
}

void SequenceWalk::insert(const Chunk& chunk, std::uint64_t at) {
  Span fresh;
  fresh.id = chunk.first;
  fresh.count = chunk.count;
  Place place{blocks_.front().get(), 0, 0};
  if (at > 0) {
    place = find(at - 1);
    if (place.span < place.block->spans.size()) {
      fresh.left = place.block->spans[place.span].id + place.offset;
      ++place.offset;
      if (place.offset == place.block->spans[place.span].count)
        place = {place.block, place.span + 1, 0};
    }
  }
  place = integrate(place, fresh);
  split(place);
  add_span(place, fresh);
}

void SequenceWalk::erase(const Chunk& chunk, std::uint64_t at, bool backwards) {
  std::uint32_t left = chunk.count;
  std::uint64_t from = at;
  if (backwards) from = at + 1 - std::min<std::uint64_t>(at + 1, chunk.count);
  std::uint32_t done = 0;
  while (left > 0) {
    Place place = find(from);
    if (place.span >= place.block->spans.size()) break;
    split(place);
    std::uint32_t count = std::min(left, place.block->spans[place.span].count);
    if (count < place.block->spans[place.span].count) {
      std::uint32_t id = place.block->spans[place.span].id;
      Place end{place.block, place.span, count};
      split(end);
      place = place_of(id);
    }
    Span& span = place.block->spans[place.span];
    for (std::uint32_t i = 0; i < count; ++i) {
      std::uint32_t event =
          backwards ? chunk.first + chunk.count - 1 - done - i : chunk.first + done + i;
      erases_[event - start_] = span.id + i;
    }
    place.block->there -= span.there();
    span.erased = true;
    ++span.level;
    done += count;
    left -= count;
  }
}

void SequenceWalk::split(Place& place) {
  if (place.offset == 0) return;
  Span& span = place.block->spans[place.span];
  Span rest = span;
  rest.id += place.offset;
  rest.count -= place.offset;
  rest.left = rest.id - 1;
  span.count = place.offset;
  place.block->spans.insert(
      place.block->spans.begin() + static_cast<std::ptrdiff_t>(place.span) + 1, rest);
  block_of_[rest.id] = place.block;
  place = {place.block, place.span + 1, 0};
  if (place.block->spans.size() > kSpansPerBlock) {
    balance(*place.block);
    place = place_of(rest.id);
  }
}

void SequenceWalk::add_span(Place place, const Span& span) {
  Block& block = *place.block;
  block.spans.insert(block.spans.begin() + static_cast<std::ptrdiff_t>(place.span), span);
  block.there += span.there();
  block_of_[span.id] = &block;
  if (block.spans.size() > kSpansPerBlock) balance(block);
}

// Moves the second half of a block into a new one behind it.
void SequenceWalk::balance(Block& block) {
  auto fresh = std::make_unique<Block>();
  auto half = block.spans.begin() + static_cast<std::ptrdiff_t>(block.spans.size() / 2);
  fresh->spans.assign(half, block.spans.end());
  block.spans.erase(half, block.spans.end());
  for (const Span& span : fresh->spans) {
    fresh->there += span.there();
    block_of_[span.id] = fresh.get();
  }
  block.there -= fresh->there;
  std::size_t at = block.index + 1;
  blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(at), std::move(fresh));
  for (; at < blocks_.size(); ++at) blocks_[at]->index = at;
}

void SequenceWalk::for_each_shown(
    const std::function<void(std::uint32_t, std::size_t)>& visit) const {
  std::size_t place = 0;
  for (const auto& block : blocks_) {
    for (const Span& span : block->spans) {
      if (span.erased) continue;
      if (span.id < kBefore) {
        for (std::uint32_t i = 0; i < span.count; ++i) visit(span.id + i, place + i);
      }
      place += span.count;
    }
  }
}

}  // namespace holdfast::model
