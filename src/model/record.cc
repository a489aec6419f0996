#include "src/model/record.h"

#include <algorithm>

#include "src/model/json.h"
#include "src/model/path.h"
#include "src/model/sequence_ops.h"

namespace holdfast::model {
namespace {

bool lists(const Op& op, const Dot& dot) {
  return std::binary_search(op.writes.begin(), op.writes.end(), dot);
}

// Whether an op takes away what `dot` wrote at its place.
bool supersedes(const ChangeSet& change, const Op& op, const Dot& dot) {
  if (dot == change.dot()) return true;
  if (op.supersedes == Supersedes::listed) return lists(op, dot);
  return change.context.covers(dot);
}

// A counter's total replaces the device's last one, and nothing else.
bool supersedes(const ChangeSet& change, const Op& op, const Entry& entry) {
  if (op.supersedes != Supersedes::own) return supersedes(change, op, entry.stamp.dot);
  bool alike = entry.value && entry.value->is_number() == op.value.is_number();
  return entry.stamp.dot.device == change.device && alike &&
         entry.stamp.dot.sequence <= change.sequence;
}

const Dot& dot_of(const Stamp& stamp) { return stamp.dot; }
const Dot& dot_of(const Entry& entry) { return entry.stamp.dot; }
const Dot& dot_of(const Presence& word) { return word.stamp.dot; }

template <typename Items, typename Item>
void insert_by_dot(Items& items, Item item) {
  auto place = std::find_if(items.begin(), items.end(),
                            [&](const auto& other) { return dot_of(item) < dot_of(other); });
  items.insert(place, std::move(item));
}

void erase_from(Record& record, const std::string& path, bool below,
                const std::function<bool(const Entry&)>& goes, std::vector<Taken>* taken) {
  auto at = record.fields.lower_bound(path);
  // Keys between a path and what lies below it exist ("/a", "/a-b", "/a/c"), so the range may skip.
  while (at != record.fields.end() && at->first.starts_with(path)) {
    if (at->first == path || (below && is_below(at->first, path))) {
      Taken gone{at->first, {}};
      std::erase_if(at->second, [&](const Entry& entry) {
        if (!goes(entry)) return false;
        if (taken) gone.entries.push_back(entry);
        return true;
      });
      if (!gone.entries.empty()) taken->push_back(std::move(gone));
      if (at->second.empty()) {
        at = record.fields.erase(at);
        continue;
      }
    } else if (!below) {
      break;
    }
    ++at;
  }
}

void drop_unused_sequences(Record& record,
                           const std::function<bool(const std::string&, const Dot&)>& goes) {
  for (auto at = record.sequences.begin(); at != record.sequences.end();) {
    auto field = record.fields.find(at->first);
    std::erase_if(at->second, [&](const auto& sequence) {
      bool used = field != record.fields.end() &&
                  std::any_of(field->second.begin(), field->second.end(),
                              [&](const Entry& entry) { return entry.sequence == sequence.first; });
      return !used && goes(at->first, sequence.first);
    });
    at = at->second.empty() ? record.sequences.erase(at) : std::next(at);
  }
}

// Forgets, and says nothing: neither of these is an edit. Each names what goes by its dots, so they
// give the same in any order.
void forget(Record& record, const Op& op) {
  if (op.kind == OpKind::fold) {
    auto field = record.sequences.find(op.path);
    if (field == record.sequences.end()) return;
    if (op.writes.empty()) {
      drop_unused_sequences(record, [&](const std::string& path, const Dot& dot) {
        return path == op.path && dot == op.sequence;
      });
      return;
    }
    auto found = field->second.find(op.sequence);
    if (found == field->second.end()) return;
    VersionVector upto;
    for (const Dot& dot : op.writes) upto.set(dot.device, dot.sequence);
    fold_sequence(found->second, upto);
    return;
  }
  auto listed = [&](const auto& item) { return lists(op, dot_of(item)); };
  if (!op.path.empty()) {
    erase_from(
        record, op.path, false,
        [&](const Entry& entry) { return listed(entry) && !entry.value && !entry.sequence; },
        nullptr);
    return;
  }
  std::erase_if(record.presence, listed);
  std::erase_if(record.births, listed);
  erase_from(record, "", true, listed, nullptr);
  drop_unused_sequences(record, [&](const std::string&, const Dot& dot) { return lists(op, dot); });
}

void add_word(Record& record, const ChangeSet& change, const Op& op, const Stamp& stamp) {
  // A write that names what it supersedes leaves a concurrent delete to be settled for itself.
  bool of_fields =
      op.supersedes == Supersedes::listed && op.kind != OpKind::keep && op.kind != OpKind::remove;
  bool of_existence = op.kind == OpKind::keep || op.kind == OpKind::remove;
  if (op.automatic && !of_existence) return;  // settles what the fields say, not whether they are
  std::erase_if(record.presence, [&](const Presence& word) {
    if (word.stamp.dot == change.dot()) return true;
    if (of_fields && !word.alive) return false;
    if (of_fields || op.supersedes == Supersedes::own) return change.context.covers(word.stamp.dot);
    return supersedes(change, op, word.stamp.dot);
  });
  insert_by_dot(record.presence, Presence{stamp, op.kind != OpKind::remove});
}

}  // namespace

std::vector<Presence> words_that_count(const Record& record) {
  std::vector<Presence> out;
  for (const Presence& word : record.presence) {
    if (!word.stamp.automatic) out.push_back(word);
  }
  return out.empty() ? record.presence : out;
}

bool Record::alive() const {
  std::vector<Presence> words = words_that_count(*this);
  return std::any_of(words.begin(), words.end(), [](const Presence& p) { return p.alive; });
}

std::int64_t Record::created_ms() const {
  std::int64_t first = INT64_MAX;
  for (const Stamp& birth : births) first = std::min(first, birth.hlc.ms());
  for (const Presence& word : presence) {
    if (births.empty()) first = std::min(first, word.stamp.hlc.ms());
  }
  return first == INT64_MAX ? 0 : first;
}

std::int64_t Record::updated_ms() const {
  std::int64_t last = 0;
  for (const Presence& word : presence) last = std::max(last, word.stamp.hlc.ms());
  return last;
}

void for_each_leaf(const Json& value, const std::string& path,
                   const std::function<void(const std::string&, const Json&)>& visit) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, child] : value.items()) {
      for_each_leaf(child, child_path(path, key), visit);
    }
  } else if (!path.empty() || !value.is_object()) {
    visit(path, value);
  }
}

void apply(Record& record, const ChangeSet& change, const Op& op, std::vector<Taken>* taken) {
  if (op.kind == OpKind::purge || op.kind == OpKind::fold) return forget(record, op);
  Stamp stamp{change.dot(), op.automatic ? op.picked : change.hlc, op.priority, op.automatic};
  add_word(record, change, op, stamp);
  if (op.kind == OpKind::keep || op.kind == OpKind::remove) return;
  bool below = op.kind != OpKind::edit && op.supersedes != Supersedes::own;
  erase_from(
      record, op.path, below, [&](const Entry& entry) { return supersedes(change, op, entry); },
      taken);
  switch (op.kind) {
    case OpKind::set:
      if (op.path.empty() && op.supersedes == Supersedes::covered) {
        std::erase_if(record.births,
                      [&](const Stamp& birth) { return supersedes(change, op, birth.dot); });
        insert_by_dot(record.births, stamp);
      }
      for_each_leaf(op.value, op.path, [&](const std::string& path, const Json& value) {
        insert_by_dot(record.fields[path], Entry{stamp, value, std::nullopt});
      });
      break;
    case OpKind::whole:
      insert_by_dot(record.fields[""], Entry{stamp, op.value, std::nullopt});
      break;
    case OpKind::unset:
      insert_by_dot(record.fields[op.path], Entry{stamp, std::nullopt, std::nullopt});
      break;
    case OpKind::edit:
      insert_by_dot(record.fields[op.path], Entry{stamp, std::nullopt, op.sequence});
      edit_sequence(record.sequences[op.path][op.sequence], change, op);
      break;
    default: break;
  }
}

namespace {

// Of two lists of items by dot: what both have, and what one has and the other has never seen.
template <typename Item>
std::vector<Item> join_items(const std::vector<Item>& a, const VersionVector& a_seen,
                             const std::vector<Item>& b, const VersionVector& b_seen) {
  std::vector<Item> out;
  auto has = [](const std::vector<Item>& items, const Dot& dot) {
    return std::any_of(items.begin(), items.end(),
                       [&](const Item& item) { return dot_of(item) == dot; });
  };
  for (const Item& item : a) {
    if (has(b, dot_of(item)) || !b_seen.covers(dot_of(item))) out.push_back(item);
  }
  for (const Item& item : b) {
    if (!has(a, dot_of(item)) && !a_seen.covers(dot_of(item))) insert_by_dot(out, item);
  }
  return out;
}

}  // namespace

Record join(const Record& a, const VersionVector& a_seen, const Record& b,
            const VersionVector& b_seen) {
  Record out;
  out.presence = join_items(a.presence, a_seen, b.presence, b_seen);
  out.births = join_items(a.births, a_seen, b.births, b_seen);
  static const std::vector<Entry> kNone;
  auto entries = [](const Record& record, const std::string& path) -> const std::vector<Entry>& {
    auto found = record.fields.find(path);
    return found == record.fields.end() ? kNone : found->second;
  };
  for (const Record* side : {&a, &b}) {
    for (const auto& [path, unused] : side->fields) {
      if (out.fields.contains(path)) continue;
      auto both = join_items(entries(a, path), a_seen, entries(b, path), b_seen);
      if (!both.empty()) out.fields[path] = std::move(both);
    }
  }
  for (const Record* side : {&a, &b}) {
    const Record& other = side == &a ? b : a;
    const VersionVector& other_seen = side == &a ? b_seen : a_seen;
    for (const auto& [path, sequences] : side->sequences) {
      auto theirs = other.sequences.find(path);
      for (const auto& [dot, sequence] : sequences) {
        bool in_both = theirs != other.sequences.end() && theirs->second.contains(dot);
        if (in_both) {
          if (side == &a)
            out.sequences[path][dot] = join_sequences(sequence, theirs->second.at(dot));
        } else if (!knows_all_of(other_seen, dot, sequence)) {
          out.sequences[path][dot] = sequence;
        }
      }
    }
  }
  return out;
}

void restamp(Record& record, const DeviceId& device, const std::map<std::uint64_t, Hlc>& times) {
  auto set = [&](const Dot& dot, Hlc& hlc) {
    auto found = times.find(dot.sequence);
    if (dot.device == device && found != times.end()) hlc = found->second;
  };
  for (Presence& presence : record.presence) {
    if (!presence.stamp.automatic) set(presence.stamp.dot, presence.stamp.hlc);
  }
  for (Stamp& birth : record.births) set(birth.dot, birth.hlc);
  for (auto& [path, entries] : record.fields) {
    for (Entry& entry : entries) {  // what was settled by itself has the time that it picked
      if (!entry.stamp.automatic) set(entry.stamp.dot, entry.stamp.hlc);
    }
  }
  for (auto& [path, sequences] : record.sequences) {
    for (auto& [began, sequence] : sequences) {
      for (Slot& slot : sequence.slots) set(slot.dot, slot.hlc);
    }
  }
}

Bytes canonical_state(const Record& record) {
  base::Writer out;
  auto put_dot = [&](const Dot& dot) {
    out.raw(dot.device);
    out.varint(dot.sequence);
  };
  auto put_stamp = [&](const Stamp& stamp) {
    put_dot(stamp.dot);
    out.u64(stamp.hlc.value);
    out.zigzag(stamp.priority);
    out.u8(stamp.automatic);
  };
  out.zigzag(record.created_ms());
  out.zigzag(record.updated_ms());
  for (const Presence& presence : record.presence) {
    put_stamp(presence.stamp);
    out.u8(presence.alive);
  }
  out.varint(record.births.size());
  for (const Stamp& birth : record.births) put_stamp(birth);
  for (const auto& [path, entries] : record.fields) {
    out.sized(path);
    out.varint(entries.size());
    for (const Entry& entry : entries) {
      put_stamp(entry.stamp);
      out.u8(entry.value.has_value());
      if (entry.value) out.sized(to_cbor(*entry.value));
      if (entry.sequence) put_dot(*entry.sequence);
    }
  }
  for (const auto& [path, sequences] : record.sequences) {
    out.sized(path);
    for (const auto& [dot, sequence] : sequences) {
      put_dot(dot);
      out.sized(canonical_sequence(sequence));
    }
  }
  return out.take();
}

}  // namespace holdfast::model
