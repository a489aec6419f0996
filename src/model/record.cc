#include "src/model/record.h"

#include <algorithm>

#include "src/model/json.h"
#include "src/model/path.h"

namespace holdfast::model {
namespace {

bool supersedes(const ChangeSet& change, const Op& op, const Dot& dot) {
  if (dot == change.dot()) return true;
  if (op.resolves.empty()) return change.context.covers(dot);
  return std::binary_search(op.resolves.begin(), op.resolves.end(), dot);
}

template <typename Items, typename Item>
void insert_by_dot(Items& items, Item item) {
  auto place = std::find_if(items.begin(), items.end(),
                            [&](const auto& other) { return item.stamp.dot < other.stamp.dot; });
  items.insert(place, std::move(item));
}

// Supersedes at the op's path and below.
void supersede(Record& record, const ChangeSet& change, const Op& op) {
  const std::string& path = op.path;
  auto at = record.fields.lower_bound(path);
  // Keys between a path and what lies below it exist ("/a", "/a-b", "/a/c"), so the range may skip.
  while (at != record.fields.end() && at->first.starts_with(path)) {
    if (at->first == path || is_below(at->first, path)) {
      std::erase_if(at->second,
                    [&](const Entry& entry) { return supersedes(change, op, entry.stamp.dot); });
      if (at->second.empty()) {
        at = record.fields.erase(at);
        continue;
      }
    }
    ++at;
  }
}

}  // namespace

bool Record::alive() const {
  return std::any_of(presence.begin(), presence.end(), [](const Presence& p) { return p.alive; });
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

void apply(Record& record, const ChangeSet& change, const Op& op) {
  Stamp stamp{change.dot(), change.hlc, op.priority, op.automatic};
  bool first = record.presence.empty() && record.fields.empty() && record.updated_ms == 0;
  record.created_ms = first ? change.hlc.ms() : std::min(record.created_ms, change.hlc.ms());
  record.updated_ms = std::max(record.updated_ms, change.hlc.ms());

  // Every op says that the record exists, or not. One that resolves a field leaves a concurrent
  // delete to be resolved for itself.
  bool of_a_field = !op.resolves.empty() && !op.path.empty();
  std::erase_if(record.presence, [&](const Presence& word) {
    if (word.stamp.dot == change.dot()) return true;
    if (of_a_field && !word.alive) return false;
    if (of_a_field) return change.context.covers(word.stamp.dot);
    return supersedes(change, op, word.stamp.dot);
  });
  insert_by_dot(record.presence, Presence{stamp, op.kind != OpKind::remove});
  if (op.kind == OpKind::set) {
    supersede(record, change, op);
    for_each_leaf(op.value, op.path, [&](const std::string& path, const Json& value) {
      insert_by_dot(record.fields[path], Entry{stamp, value});
    });
  } else if (op.kind == OpKind::unset) {
    supersede(record, change, op);
    insert_by_dot(record.fields[op.path], Entry{stamp, std::nullopt});
  }
}

Bytes canonical_state(const Record& record) {
  base::Writer out;
  auto put_stamp = [&](const Stamp& stamp) {
    out.raw(stamp.dot.device);
    out.varint(stamp.dot.sequence);
    out.u64(stamp.hlc.value);
    out.zigzag(stamp.priority);
    out.u8(stamp.automatic);
  };
  out.zigzag(record.created_ms);
  out.zigzag(record.updated_ms);
  for (const Presence& presence : record.presence) {
    put_stamp(presence.stamp);
    out.u8(presence.alive);
  }
  for (const auto& [path, entries] : record.fields) {
    out.sized(path);
    out.varint(entries.size());
    for (const Entry& entry : entries) {
      put_stamp(entry.stamp);
      out.u8(entry.value.has_value());
      if (entry.value) out.sized(to_cbor(*entry.value));
    }
  }
  return out.take();
}

}  // namespace holdfast::model
