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

}  // namespace holdfast::model
