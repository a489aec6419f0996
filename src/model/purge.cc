#include "src/model/purge.h"

#include <algorithm>
#include <set>

#include "src/model/path.h"
#include "src/model/sequence_ops.h"

namespace holdfast::model {
namespace {

bool all_deleted(const std::vector<Entry>& entries) {
  return std::all_of(entries.begin(), entries.end(),
                     [](const Entry& entry) { return !entry.value && !entry.sequence; });
}

bool used(const Record& record, const std::string& path, const Dot& began) {
  auto field = record.fields.find(path);
  return field != record.fields.end() &&
         std::any_of(field->second.begin(), field->second.end(),
                     [&](const Entry& entry) { return entry.sequence == began; });
}

// A crossed-out member stays as long as a list that names it.
bool crosses_out(const Record& record, const std::string& path) {
  auto parent = record.fields.find(path.substr(0, path.rfind('/')));
  return parent != record.fields.end() &&
         std::any_of(parent->second.begin(), parent->second.end(),
                     [](const Entry& entry) { return entry.value && entry.value->is_array(); });
}

Op listed(OpKind kind, const std::string& path, std::vector<Dot> dots) {
  Op op;
  op.kind = kind;
  op.path = path;
  op.supersedes = Supersedes::listed;
  std::sort(dots.begin(), dots.end());
  dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
  op.writes = std::move(dots);
  return op;
}

// Whether nothing has happened to the record that is not known.
bool at_rest(const Record& record, const VersionVector& known) {
  for (const Presence& word : record.presence) {
    if (!known.covers(word.stamp.dot)) return false;
  }
  for (const auto& [path, entries] : record.fields) {
    for (const Entry& entry : entries) {
      if (!known.covers(entry.stamp.dot)) return false;
    }
  }
  return true;
}

std::vector<Dot> last_of(const VersionVector& known, const Sequence& units) {
  std::vector<Dot> out;
  for (const Sequence::Change& change : units.changes()) {
    std::uint64_t last = known.at(change.dot.device);
    if (change.dot.sequence <= last) out.push_back({change.dot.device, last});
  }
  return out;
}

}  // namespace

bool may_forget(const Record& record) {
  if (!record.alive() || !record.sequences.empty()) return true;
  return std::any_of(record.fields.begin(), record.fields.end(),
                     [](const auto& field) { return all_deleted(field.second); });
}

std::vector<Op> purge_ops(const Record& record, const VersionVector& known) {
  std::vector<Op> ops;
  bool rests = at_rest(record, known);
  std::vector<Presence> words = words_that_count(record);
  bool dead = std::none_of(words.begin(), words.end(), [](const Presence& w) { return w.alive; });
  if (dead && rests) {
    std::vector<Dot> dots;
    dots.reserve(record.presence.size() + record.births.size());
    for (const Presence& word : record.presence) dots.push_back(word.stamp.dot);
    for (const Stamp& birth : record.births) dots.push_back(birth.dot);
    for (const auto& [path, entries] : record.fields) {
      for (const Entry& entry : entries) dots.push_back(entry.stamp.dot);
    }
    for (const auto& [path, sequences] : record.sequences) {
      for (const auto& [began, sequence] : sequences) dots.push_back(began);
    }
    return {listed(OpKind::purge, "", std::move(dots))};
  }
  if (dead) return {};
  for (const auto& [path, entries] : record.fields) {
    if (!rests || !all_deleted(entries) || crosses_out(record, path)) continue;
    std::vector<Dot> dots;
    for (const Entry& entry : entries) dots.push_back(entry.stamp.dot);
    ops.push_back(listed(OpKind::purge, path, std::move(dots)));
  }
  for (const auto& [path, sequences] : record.sequences) {
    for (const auto& [began, sequence] : sequences) {
      bool in_use = used(record, path, began);
      if (!in_use && !rests) continue;
      std::vector<Dot> upto;
      if (in_use) {
        upto = last_of(known, sequence.units);
        Sequence trial = sequence.units;
        if (upto.empty() || !trial.fold(known)) continue;
      }
      ops.push_back(listed(OpKind::fold, path, std::move(upto)));
      ops.back().sequence = began;
    }
  }
  return ops;
}

namespace {

// The text or list as edits of the vault's: a three-way difference over what both had.
std::optional<Op> rebased_edit(const Returning& returning, const Op& op) {
  auto find = [&](const Record& record) -> const SequenceState* {
    auto field = record.sequences.find(op.path);
    if (field == record.sequences.end()) return nullptr;
    auto found = field->second.find(op.sequence);
    return found == field->second.end() ? nullptr : &found->second;
  };
  const SequenceState* mine = find(returning.mine);
  const SequenceState* base = find(returning.acknowledged);
  const SequenceState* theirs = find(returning.vault);
  if (!mine || mine->is_list) return std::nullopt;
  Units before = base ? base->units.content() : Units();
  if (!base && !op.value.empty() && op.value[0].is_string()) {
    before = to_units(op.value[0].get_ref<const std::string&>());
  }
  Op out = op;
  if (!theirs) {  // forgotten with everything else: the text as it is here begins anew
    out = Op{};
    out.path = op.path;
    out.value = text_of(*mine);
    out.supersedes = Supersedes::listed;
    return out;
  }
  Patches patches = diff_units(before, mine->units.content());
  out.value = text_edit(rebase(before, patches, theirs->units.content()));
  if (out.value.empty()) return std::nullopt;
  return out;
}

// What of the vault's values an unsent op takes away: those that its author knew.
std::vector<Dot> known_there(const Record& vault, const Op& op, const VersionVector& context) {
  std::vector<Dot> out;
  for (const auto& [path, entries] : vault.fields) {
    if (path != op.path && !is_below(path, op.path)) continue;
    for (const Entry& entry : entries) {
      bool goes = op.supersedes == Supersedes::listed
                      ? std::binary_search(op.writes.begin(), op.writes.end(), entry.stamp.dot)
                      : context.covers(entry.stamp.dot);
      if (goes) out.push_back(entry.stamp.dot);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace

std::vector<ChangeSet> rebase(const Returning& returning) {
  std::vector<ChangeSet> out;
  VersionVector context = returning.vault_seen;
  std::map<Dot, Dot> numbers;  // of the edits, as they were and as they are written now
  std::set<std::pair<std::string, Dot>> texts;  // done as a whole, with their first edit
  // What the vault deleted and forgot while it was edited here comes back whole, as it does where
  // the vault still knows it.
  bool forgotten = returning.vault.empty() && !returning.acknowledged.empty();
  Rules none;
  View view = render(returning.mine, none);
  for (const ChangeSet& change : returning.unsent) {
    ChangeSet fresh = change;
    fresh.context = context;
    fresh.ops.clear();
    if (forgotten && view.alive && out.empty()) {
      Op whole;
      whole.value = view.document;
      fresh.ops.push_back(std::move(whole));
    }
    for (const Op& op : change.ops) {
      if (forgotten) break;  // said already
      Op moved = op;
      if (op.kind == OpKind::edit) {
        if (!texts.emplace(op.path, op.sequence).second) continue;
        std::optional<Op> edit = rebased_edit(returning, op);
        if (!edit) continue;
        moved = std::move(*edit);
      } else if (op.kind == OpKind::purge || op.kind == OpKind::fold) {
        continue;
      } else if (op.kind == OpKind::keep || op.kind == OpKind::remove) {
        std::vector<Dot> words;
        for (const Presence& word : returning.vault.presence) {
          if (change.context.covers(word.stamp.dot)) words.push_back(word.stamp.dot);
        }
        moved.supersedes = Supersedes::listed;
        moved.writes = std::move(words);
      } else if (op.supersedes != Supersedes::own) {
        moved.supersedes = Supersedes::listed;
        moved.writes = known_there(returning.vault, op, change.context);
        // What this device wrote before, it goes on to supersede.
        for (const auto& [old, fresh_dot] : numbers) {
          bool goes = op.supersedes == Supersedes::listed
                          ? std::binary_search(op.writes.begin(), op.writes.end(), old)
                          : change.context.covers(old);
          if (goes) moved.writes.push_back(fresh_dot);
        }
        std::sort(moved.writes.begin(), moved.writes.end());
      }
      fresh.ops.push_back(std::move(moved));
    }
    if (fresh.ops.empty()) continue;
    // Nobody has the old ones: their numbers are free, and leave no gap.
    fresh.sequence = returning.unsent.front().sequence + out.size();
    numbers[change.dot()] = fresh.dot();
    context.set(fresh.device, fresh.sequence);
    out.push_back(std::move(fresh));
  }
  return out;
}

}  // namespace holdfast::model
