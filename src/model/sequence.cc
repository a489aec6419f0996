#include "src/model/sequence.h"

#include <algorithm>

#include "src/model/record.h"
#include "src/model/sequence_walk.h"

namespace holdfast::model {

void GapBuffer::move_gap(std::size_t at) {
  if (at < gap_) {
    std::size_t count = gap_ - at;
    std::copy_backward(units_.begin() + static_cast<std::ptrdiff_t>(at),
                       units_.begin() + static_cast<std::ptrdiff_t>(gap_),
                       units_.begin() + static_cast<std::ptrdiff_t>(after_));
    after_ -= count;
  } else {
    auto from = units_.begin() + static_cast<std::ptrdiff_t>(after_);
    std::copy(from, from + static_cast<std::ptrdiff_t>(at - gap_),
              units_.begin() + static_cast<std::ptrdiff_t>(gap_));
    after_ += at - gap_;
  }
  gap_ = at;
}

void GapBuffer::insert(std::size_t at, const char32_t* units, std::size_t count) {
  move_gap(std::min(at, size()));
  if (after_ - gap_ < count) {
    std::size_t more = count + units_.size() / 2 + 64;
    units_.insert(gap_, more, U'\0');
    after_ += more;
  }
  std::copy(units, units + count, units_.begin() + static_cast<std::ptrdiff_t>(gap_));
  gap_ += count;
}

void GapBuffer::erase(std::size_t at, std::size_t count) {
  at = std::min(at, size());
  count = std::min(count, size() - at);
  move_gap(at);
  after_ += count;
}

Units GapBuffer::units() const { return units_.substr(0, gap_) + units_.substr(after_); }

std::uint32_t Sequence::device_index(const DeviceId& device) {
  auto found = std::find(devices_.begin(), devices_.end(), device);
  if (found == devices_.end()) {
    devices_.push_back(device);
    seen_.push_back(0);
    runs_of_.emplace_back();
    known_.emplace_back();
    return static_cast<std::uint32_t>(devices_.size() - 1);
  }
  return static_cast<std::uint32_t>(found - devices_.begin());
}

std::size_t Sequence::run_index(std::uint32_t event) const {
  auto after = std::upper_bound(
      runs_.begin(), runs_.end(), event,
      [](std::uint32_t number, const SequenceRun& run) { return number < run.first; });
  return static_cast<std::size_t>(after - runs_.begin()) - 1;
}

std::vector<std::uint32_t> Sequence::parents_of(const SequenceRun& run) const {
  return run.linear ? std::vector<std::uint32_t>{run.first - 1} : run.parents;
}

Dot Sequence::dot_of(std::uint32_t event) const {
  const SequenceRun& run = runs_[run_index(event)];
  return {devices_[run.device], run.change + (run.each ? event - run.first : 0)};
}

std::optional<std::uint32_t> Sequence::last_event(std::uint32_t device,
                                                  std::uint64_t change) const {
  const std::vector<std::uint32_t>& own = runs_of_[device];
  auto after = std::upper_bound(
      own.begin(), own.end(), change,
      [this](std::uint64_t number, std::uint32_t run) { return number < runs_[run].change; });
  if (after == own.begin()) return std::nullopt;
  const SequenceRun& run = runs_[*std::prev(after)];
  std::uint64_t last = run.count - 1;
  if (run.each) last = std::min<std::uint64_t>(last, change - run.change);
  return run.first + static_cast<std::uint32_t>(last);
}

bool Sequence::holds(const Dot& dot) const {
  if (folded_.covers(dot)) return true;
  auto found = std::find(devices_.begin(), devices_.end(), dot.device);
  if (found == devices_.end()) return false;
  auto last = last_event(static_cast<std::uint32_t>(found - devices_.begin()), dot.sequence);
  return last && dot_of(*last) == dot;
}

// Those that no other of them follows. Walks down from the last one only as far as needed.
std::vector<std::uint32_t> Sequence::latest(std::vector<std::uint32_t> events) const {
  std::sort(events.begin(), events.end());
  events.erase(std::unique(events.begin(), events.end()), events.end());
  if (events.size() < 2) return events;
  std::vector<std::uint32_t> out;
  std::vector<std::pair<std::uint32_t, bool>> heap;  // event, and whether it is still a candidate
  heap.reserve(events.size());
  for (std::uint32_t event : events) heap.emplace_back(event, true);
  std::size_t candidates = events.size();
  std::make_heap(heap.begin(), heap.end());
  auto pop = [&] {
    std::pop_heap(heap.begin(), heap.end());
    auto top = heap.back();
    heap.pop_back();
    candidates -= top.second;
    return top;
  };
  while (candidates > 0) {
    auto [event, candidate] = pop();
    bool followed = !candidate;
    while (!heap.empty() && heap.front().first == event) followed |= !pop().second;
    if (!followed) out.push_back(event);
    const SequenceRun& run = runs_[run_index(event)];
    while (!heap.empty() && heap.front().first >= run.first) pop();
    for (std::uint32_t parent : parents_of(run)) {
      heap.emplace_back(parent, false);
      std::push_heap(heap.begin(), heap.end());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::uint32_t> Sequence::frontier_of(const VersionVector& context) const {
  bool all = true;
  for (std::size_t i = 0; i < devices_.size() && all; ++i) {
    all = context.at(devices_[i]) >= seen_[i];
  }
  if (all) return tips_;
  std::vector<std::uint32_t> events;
  for (std::uint32_t i = 0; i < devices_.size(); ++i) {
    if (auto last = last_event(i, context.at(devices_[i]))) events.push_back(*last);
  }
  return latest(std::move(events));
}

void Sequence::apply(const Dot& dot, const VersionVector& context, const Patches& patches) {
  std::uint32_t device = device_index(dot.device);
  if (holds(dot)) {
    if (auto last = last_event(device, dot.sequence)) add(dot, {*last}, patches);
    return;
  }
  std::vector<std::uint64_t>& known = known_[device];
  bool knows_no_more = !runs_of_[device].empty() && known.size() == devices_.size() &&
                       context.at(dot.device) >= seen_[device];
  known.resize(devices_.size());
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    if (i == device) continue;
    std::uint64_t now = std::min(context.at(devices_[i]), seen_[i]);
    knows_no_more &= known[i] == now;
    known[i] = now;
  }
  std::vector<std::uint32_t> parents =
      knows_no_more ? std::vector<std::uint32_t>{*last_event(device, seen_[device])}
                    : frontier_of(context);
  add(dot, std::move(parents), patches);
}

void Sequence::apply(const Change& change) {
  if (holds(change.dot)) return;
  std::vector<std::uint32_t> parents;
  for (const Dot& dot : change.parents) {
    if (folded_.covers(dot)) continue;
    if (auto last = last_event(device_index(dot.device), dot.sequence)) parents.push_back(*last);
  }
  known_[device_index(change.dot.device)].clear();
  add(change.dot, latest(std::move(parents)), change.patches);
}

void Sequence::add(const Dot& dot, std::vector<std::uint32_t> parents, const Patches& patches) {
  std::uint32_t device = device_index(dot.device);
  seen_[device] = dot.sequence;
  bool direct = applied_ == events_ && parents == tips_;
  auto chain = [&](SequenceRun run) {
    run.device = device;
    run.change = dot.sequence;
    run.first = events_;
    run.linear = parents.size() == 1 && run.first > 0 && parents[0] == run.first - 1;
    if (!run.linear) run.parents = parents;
    std::erase_if(tips_, [&](std::uint32_t tip) {
      return std::binary_search(parents.begin(), parents.end(), tip);
    });
    events_ += run.count;
    tips_.push_back(events_ - 1);
    parents = {events_ - 1};
    add_run(std::move(run));
  };
  for (const Patch& patch : patches) {
    std::uint64_t at = patch.at;
    if (events_ + patch.erase + patch.insert.size() > kMaxEvents) break;  // nobody writes so much
    if (patch.erase > 0) {
      SequenceRun run;
      run.erases = true;
      run.at = at;
      run.count = static_cast<std::uint32_t>(patch.erase);
      chain(std::move(run));
      if (direct) {
        content_.erase(at, patch.erase);
      } else {
        waiting_.append(patch.erase, U'\0');
      }
    }
    if (!patch.insert.empty()) {
      SequenceRun run;
      run.at = at;
      run.count = static_cast<std::uint32_t>(patch.insert.size());
      chain(std::move(run));
      if (direct) {
        content_.insert(at, patch.insert.data(), patch.insert.size());
      } else {
        waiting_ += patch.insert;
      }
    }
  }
  if (direct) applied_ = events_;
}

// Joins it to the run before it where both can be told as one.
void Sequence::add_run(SequenceRun run) {
  if (run.linear && !runs_.empty()) {
    SequenceRun& last = runs_.back();
    bool kin = last.device == run.device && last.erases == run.erases;
    bool same_change = !last.each && last.change == run.change;
    bool next_change =
        run.count == 1 && (last.each || last.count == 1) && run.change == last.change + last.count;
    if (kin && (same_change || next_change)) {
      bool one = last.count == 1;
      bool joins = false;
      bool backwards = last.backwards;
      if (!run.erases) {
        joins = run.at == last.at + last.count;
      } else if (!last.backwards && run.at == last.at) {
        joins = true;
      } else if ((last.backwards || one) && run.count == 1 && run.at + last.count == last.at) {
        joins = backwards = true;
      }
      if (joins) {
        if (next_change) last.each = true;
        last.backwards = backwards;
        last.count += run.count;
        return;
      }
    }
  }
  runs_of_[run.device].push_back(static_cast<std::uint32_t>(runs_.size()));
  runs_.push_back(std::move(run));
}

// The last place in the log that every event from there on builds on whole.
std::uint32_t Sequence::window_start() const {
  std::int64_t low = tips_.empty() ? -1 : tips_.front();
  for (std::size_t i = runs_.size(); i-- > 0;) {
    const SequenceRun& run = runs_[i];
    std::int64_t place = std::min<std::int64_t>({low + 1, run.first + run.count, applied_});
    if (place > run.first) return static_cast<std::uint32_t>(place);
    std::int64_t first = run.linear ? run.first - std::int64_t{1} : -1;
    if (!run.linear && !run.parents.empty()) first = run.parents.front();
    low = std::min(low, first);
  }
  return 0;
}

void Sequence::settle() const {
  if (applied_ == events_) return;
  SequenceWalk walk(*this, window_start());
  content_ = GapBuffer(walk.merge(applied_, content_.units(), waiting_));
  applied_ = events_;
  waiting_.clear();
}

Units Sequence::content() const {
  settle();
  return content_.units();
}

std::size_t Sequence::size() const {
  settle();
  return content_.size();
}

bool Sequence::fold(const VersionVector& upto) {
  settle();
  auto folds = [&](std::uint32_t event) { return upto.covers(dot_of(event)); };
  std::vector<bool> gone(events_);
  std::vector<bool> followed(events_);  // by an event that is folded, too
  for (const SequenceRun& run : runs_) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      gone[run.first + i] = folds(run.first + i);
      if (i > 0 && gone[run.first + i]) followed[run.first + i - 1] = true;
    }
    if (!gone[run.first]) continue;
    for (std::uint32_t parent : parents_of(run)) followed[parent] = true;
  }
  std::vector<std::uint32_t> last;  // of the folded ones
  for (std::uint32_t event = 0; event < events_; ++event) {
    if (gone[event] && !followed[event]) last.push_back(event);
  }
  // Whatever stays directly behind the fold must build on all of it; what is folded, on nothing
  // that stays.
  std::vector<SequenceRun> kept;
  std::vector<std::uint32_t> moved(events_);
  std::uint32_t number = 0;
  for (const SequenceRun& run : runs_) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      std::uint32_t event = run.first + i;
      std::vector<std::uint32_t> parents =
          i > 0 ? std::vector<std::uint32_t>{event - 1} : parents_of(run);
      bool some_gone = std::any_of(parents.begin(), parents.end(), [&](auto p) { return gone[p]; });
      bool some_kept =
          std::any_of(parents.begin(), parents.end(), [&](auto p) { return !gone[p]; });
      if (gone[event]) {
        if (some_kept) return false;
        continue;
      }
      bool starts = i == 0 || gone[event - 1];
      if (some_gone || parents.empty()) {
        bool all = std::all_of(last.begin(), last.end(), [&](std::uint32_t l) {
          return std::find(parents.begin(), parents.end(), l) != parents.end();
        });
        if (!all) return false;
      }
      moved[event] = number++;
      if (!starts) {
        ++kept.back().count;
        continue;
      }
      SequenceRun rest = run;
      rest.first = moved[event];
      rest.count = 1;
      rest.linear = false;
      rest.parents.clear();
      if (run.each) rest.change += i;
      if (!run.erases) rest.at += i;
      if (run.erases && run.backwards) rest.at -= i;
      for (std::uint32_t parent : parents) {
        if (!gone[parent]) rest.parents.push_back(moved[parent]);
      }
      std::sort(rest.parents.begin(), rest.parents.end());
      if (rest.parents.size() == 1 && rest.first > 0 && rest.parents[0] == rest.first - 1) {
        rest.linear = true;
        rest.parents.clear();
      }
      kept.push_back(std::move(rest));
    }
  }
  for (std::uint32_t event = 0; event < events_; ++event) {
    if (!gone[event]) continue;
    Dot dot = dot_of(event);
    if (!folded_.covers(dot)) folded_.set(dot.device, dot.sequence);
  }
  std::vector<std::uint32_t> tips;
  for (std::uint32_t tip : tips_) {
    if (!gone[tip]) tips.push_back(moved[tip]);
  }
  runs_ = std::move(kept);
  tips_ = std::move(tips);
  events_ = applied_ = number;
  for (auto& own : runs_of_) own.clear();
  for (auto& known : known_) known.clear();
  for (std::uint32_t i = 0; i < runs_.size(); ++i) runs_of_[runs_[i].device].push_back(i);
  return true;
}

std::vector<Sequence::Change> Sequence::changes() const {
  settle();
  SequenceWalk walk(*this, 0);
  walk.replay_all();
  Units inserted(events_, U'\uFFFD');
  Units content = content_.units();
  walk.for_each_shown([&](std::uint32_t event, std::size_t place) {
    if (place < content.size()) inserted[event] = content[place];
  });
  std::vector<Change> out;
  for (const SequenceRun& run : runs_) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      Dot dot{devices_[run.device], run.change + (run.each ? i : 0)};
      bool goes_on = !out.empty() && out.back().dot == dot;
      if (!goes_on) {
        out.push_back({dot, {}, {}});
        for (std::uint32_t parent :
             i > 0 ? std::vector<std::uint32_t>{run.first + i - 1} : parents_of(run)) {
          out.back().parents.push_back(dot_of(parent));
        }
      }
      std::uint64_t at = run.erases ? (run.backwards ? run.at - i : run.at) : run.at + i;
      Patches& patches = out.back().patches;
      std::uint32_t event = run.first + i;
      Patch* last = goes_on && !patches.empty() ? &patches.back() : nullptr;
      if (run.erases && last && last->insert.empty() && last->at == at) {
        ++last->erase;
      } else if (run.erases) {
        patches.push_back({at, 1, {}});
      } else if (last && last->erase == 0 && last->at + last->insert.size() == at) {
        last->insert += inserted[event];
      } else {
        patches.push_back({at, 0, Units(1, inserted[event])});
      }
    }
  }
  return out;
}

}  // namespace holdfast::model
