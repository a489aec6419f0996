#pragma once

// Devices with one record, over the model alone, for tests.

#include <algorithm>
#include <random>
#include <set>

#include "src/model/clock.h"
#include "src/model/diff.h"
#include "src/model/purge.h"
#include "src/model/view.h"

namespace holdfast::model {

class Table : public DeviceTable {
 public:
  std::uint64_t index_of(const DeviceId& device) override {
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      if (ids_[i] == device) return i;
    }
    ids_.push_back(device);
    return ids_.size() - 1;
  }
  const DeviceId& id_of(std::uint64_t index) override {
    if (index >= ids_.size()) throw std::out_of_range("no such device");
    return ids_[index];
  }

 private:
  std::vector<DeviceId> ids_;
};

struct Replica {
  explicit Replica(std::uint8_t name) { id[0] = name; }

  ChangeSet write(std::vector<Op> ops, std::int64_t now) {
    ChangeSet change;
    change.device = id;
    change.sequence = seen.at(id) + 1;
    change.hlc = clock.tick(now);
    change.context = seen;
    change.ops = std::move(ops);
    accept(change);
    return change;
  }
  bool can_accept(const ChangeSet& change) const {
    return change.sequence == seen.at(change.device) + 1 && seen.covers(change.context);
  }
  void accept(const ChangeSet& change) {
    for (const Op& op : change.ops) apply(record, change, op);
    seen.set(change.device, change.sequence);
    clock.observe(change.hlc, INT64_MAX / 2);
  }
  void catch_up(const std::vector<ChangeSet>& changes) {
    for (const ChangeSet& change : changes) {
      if (can_accept(change)) accept(change);
    }
  }
  Json document(const Rules& rules) const { return render(record, rules).document; }

  // Calls `edit` with what it would edit here; writes what comes back, where there is anything.
  template <typename Edit>
  std::optional<ChangeSet> edit(const Rules& rules, std::int64_t now, Edit make) {
    Json current = document(rules);
    Editing editing{record, rules, current, id,
                    [this] { return std::to_string(id[0]) + "-" + std::to_string(++keys); }};
    std::vector<Op> ops = make(editing);
    if (ops.empty()) return std::nullopt;
    return write(std::move(ops), now);
  }
  std::optional<ChangeSet> store(const Rules& rules, std::int64_t now, const Json& after) {
    if (!record.alive()) {
      Op op;
      op.value = after;
      return write({op}, now);
    }
    return edit(rules, now, [&](const Editing& e) { return diff(e.current, after, &e); });
  }

  DeviceId id{};
  Record record;
  VersionVector seen;
  HybridClock clock;
  int keys = 0;
};

inline Rules typed_rules() {
  Rules rules;
  auto add = [&](const char* path, FieldType type) {
    FieldRule rule;
    rule.type = type;
    rules.add(path, rule);
  };
  add("/count", FieldType::counter);
  add("/tags", FieldType::set);
  add("/todo", FieldType::list);
  add("/text", FieldType::text);
  return rules;
}

inline std::string random_text(std::mt19937_64& rng, std::size_t longest) {
  std::string out;
  for (std::size_t n = rng() % (longest + 1); n > 0; --n)
    out += static_cast<char>('a' + rng() % 26);
  return out;
}

// A document that differs a little from `document`, in any of its fields.
inline Json altered(std::mt19937_64& rng, Json document) {
  auto list = [&](const char* name) -> Json& {
    if (!document.contains(name) || !document[name].is_array()) document[name] = Json::array();
    return document[name];
  };
  switch (rng() % 9) {
    case 0: document["title"] = random_text(rng, 3); break;
    case 1: document["map"]["k" + std::to_string(rng() % 3)] = rng() % 5; break;
    case 2: document["count"] = document.value("count", 0) + static_cast<int>(rng() % 9) - 4; break;
    case 3: list("tags").push_back(random_text(rng, 1)); break;
    case 4:
      if (Json& tags = list("tags"); !tags.empty()) tags.erase(rng() % tags.size());
      break;
    case 5: {
      Json& todo = list("todo");
      auto at = todo.begin() + static_cast<std::ptrdiff_t>(rng() % (todo.size() + 1));
      todo.insert(at, Json{{"id", std::to_string(rng())}, {"t", random_text(rng, 2)}});
      break;
    }
    case 6:
      if (Json& todo = list("todo"); !todo.empty()) {
        std::size_t from = rng() % todo.size();
        Json item = todo[from];
        todo.erase(from);
        if (rng() % 2)
          todo.insert(todo.begin() + static_cast<std::ptrdiff_t>(rng() % (todo.size() + 1)), item);
      }
      break;
    case 7:
      if (Json& todo = list("todo"); !todo.empty())
        todo[rng() % todo.size()]["t"] = random_text(rng, 3);
      break;
    default: {
      std::string text = document.value("text", "start");
      std::size_t at = rng() % (text.size() + 1);
      text.replace(at, rng() % 3, random_text(rng, 4));
      document["text"] = text;
    }
  }
  if (document.contains("tags")) {  // a set holds nothing twice
    Json once = Json::array();
    for (const Json& tag : document["tags"]) {
      if (std::find(once.begin(), once.end(), tag) == once.end()) once.push_back(tag);
    }
    document["tags"] = once;
  }
  return document;
}

struct TypedHistory {
  std::vector<ChangeSet> changes;
  std::vector<Replica> replicas;

  // `purging`: purge now and then what every replica has.
  static TypedHistory random(std::uint64_t seed, int devices, int edits, bool with_deletes,
                             bool purging) {
    std::mt19937_64 rng(seed);
    TypedHistory out;
    static const Rules rules = typed_rules();
    for (int i = 0; i < devices; ++i) out.replicas.emplace_back(static_cast<std::uint8_t>(i + 1));
    auto keep = [&](std::optional<ChangeSet> change) {
      if (change) out.changes.push_back(std::move(*change));
    };
    keep(out.replicas[0].store(rules, 1000,
                               {{"title", "x"},
                                {"count", 5},
                                {"tags", {"a", "b"}},
                                {"todo", {{{"id", "1"}, {"t", "x"}}, {{"id", "2"}, {"t", "y"}}}},
                                {"text", "hello"}}));
    for (Replica& replica : out.replicas) replica.catch_up(out.changes);
    for (int i = 0; i < edits; ++i) {
      Replica& who = out.replicas[rng() % out.replicas.size()];
      std::int64_t now = 2000 + static_cast<std::int64_t>(rng() % 100);
      if (rng() % 3 == 0) who.catch_up(out.changes);
      if (with_deletes && rng() % 12 == 0) {
        Op remove;
        remove.kind = OpKind::remove;
        if (who.record.alive()) keep(who.write({remove}, now));
        continue;
      }
      Json before = who.record.alive() ? who.document(rules) : Json::object();
      keep(who.store(rules, now, altered(rng, before)));
      if (purging && rng() % 4 == 0) keep(out.purge(who, now));
    }
    return out;
  }

  // What all replicas have, and none will write anything that does not know it.
  std::optional<ChangeSet> purge(Replica& who, std::int64_t now) {
    VersionVector known = who.seen;
    for (const Replica& other : replicas) {
      for (const auto& [device, unused] : who.seen.entries()) {
        known.set(device, std::min(known.at(device), other.seen.at(device)));
      }
    }
    // Every change set that does not know it must be here.
    for (const ChangeSet& change : changes) {
      if (!change.context.covers(known) && !who.seen.covers(change.dot())) {
        if (!known.covers(change.dot())) return std::nullopt;
      }
    }
    std::vector<Op> ops = purge_ops(who.record, known);
    if (ops.empty()) return std::nullopt;
    return who.write(std::move(ops), now);
  }
};

// Delivers everything in some order that causality allows.
inline Replica deliver(std::vector<ChangeSet> rest, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  Replica out(200);
  while (!rest.empty()) {
    std::shuffle(rest.begin(), rest.end(), rng);
    auto next = std::find_if(rest.begin(), rest.end(),
                             [&](const ChangeSet& change) { return out.can_accept(change); });
    if (next == rest.end()) throw std::logic_error("the history is not causal");
    out.accept(*next);
    rest.erase(next);
  }
  return out;
}

}  // namespace holdfast::model
