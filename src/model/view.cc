#include "src/model/view.h"

#include <algorithm>
#include <set>

#include "src/model/path.h"
#include "src/model/sequence_ops.h"

namespace holdfast::model {
namespace {

// A value on one side of a conflict, with the greatest stamp behind it.
struct Side {
  std::optional<Json> value;
  Stamp stamp;
  std::vector<Dot> dots;
  std::vector<Dot> beneath{};  // that live inside of it without being shown
  std::string text{};          // of the value, where it was compared
};

bool outranks(const Stamp& a, const Stamp& b, Strategy strategy) {
  if (a.automatic != b.automatic) return b.automatic;
  if (strategy == Strategy::priority && a.priority != b.priority) return a.priority > b.priority;
  if (a.hlc != b.hlc) return a.hlc > b.hlc;
  return a.dot > b.dot;
}

void append(std::vector<Dot>& to, const std::vector<Dot>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

ConflictType type_of(const std::vector<Side>& sides) {
  std::vector<const std::optional<Json>*> values;
  values.reserve(sides.size());
  for (const Side& side : sides) values.push_back(&side.value);
  return conflict_type(values);
}

// Equal values that were written concurrently agree: one side.
void add_side(std::vector<Side>& sides, Side side) {
  side.text = side.value ? side.value->dump() : "";
  for (Side& other : sides) {
    if (other.text != side.text) continue;
    append(other.dots, side.dots);
    append(other.beneath, side.beneath);
    std::int64_t priority = std::max(other.stamp.priority, side.stamp.priority);
    if (outranks(side.stamp, other.stamp, Strategy::timestamp)) other.stamp = side.stamp;
    other.stamp.priority = priority;
    return;
  }
  sides.push_back(std::move(side));
}

// A part of what a side consists of.
void take_part(Side& whole, const Side& part) {
  bool first = whole.dots.empty();
  if (first || outranks(part.stamp, whole.stamp, Strategy::timestamp)) whole.stamp = part.stamp;
  append(whole.dots, part.dots);
  append(whole.beneath, part.beneath);
}

// The document as a tree in which a field may have values of its own and fields below it at once.
struct Node {
  const std::vector<Entry>* entries = nullptr;
  std::map<std::string, Node> children;
};

class Renderer {
 public:
  Renderer(const Record& record, const Rules& rules, View& view)
      : record_(record), rules_(rules), view_(view) {}

  Node grow() {
    Node root;
    for (const auto& [path, entries] : record_.fields) {
      Node* node = &root;
      for (std::size_t at = 0; at < path.size();) {
        std::size_t end = std::min(path.find('/', at + 1), path.size());
        node = &node->children[path.substr(at, end - at)];
        at = end;
      }
      node->entries = &entries;
    }
    return root;
  }

  // The side that is shown at a node; its value is absent where nothing is.
  Side show(const Node& node, const std::string& path) {
    FieldType type = rules_.has_types() ? rules_.at(path).type : FieldType::value;
    bool sequence =
        node.entries && std::any_of(node.entries->begin(), node.entries->end(),
                                    [](const Entry& e) { return e.sequence.has_value(); });
    if (sequence) return choose(sequences(node, path), path);
    if (type == FieldType::counter && node.entries) return choose(counter(node), path);
    if (type == FieldType::set) return choose(set(node), path);
    return choose(plain(node, path), path);
  }

  void add_conflict(const std::string& path, const std::vector<Side>& sides, std::size_t best,
                    const std::optional<Json>& shown, bool merged, const FieldRule& rule) {
    Conflict conflict;
    conflict.path = display_path(path);
    conflict.type = type_of(sides);
    conflict.visible = conflict.suggested = best;
    conflict.shown = shown;
    conflict.merged = merged;
    // What no user wrote asks nothing.
    auto users = std::count_if(sides.begin(), sides.end(),
                               [](const Side& side) { return !side.stamp.automatic; });
    bool asks = rule.strategy == Strategy::user_choice || rule.critical ||
                conflict.type != ConflictType::concurrent_update;
    conflict.pending = asks && users > 1;
    for (const Side& side : sides) {
      conflict.candidates.push_back({side.value, side.stamp.dot.device, side.stamp.hlc.ms(),
                                     side.stamp.hlc.value, side.stamp.priority,
                                     side.stamp.automatic, side.dots, side.beneath});
    }
    view_.pending += conflict.pending;
    view_.conflicts.push_back(std::move(conflict));
  }

 private:
  std::vector<Side> plain(const Node& node, const std::string& path) {
    Side below;
    for (const auto& [step, child] : node.children) {
      Side side = show(child, path + step);
      if (!side.value) continue;
      if (!below.value) below.value = Json::object();
      (*below.value)[last_key(step)] = std::move(*side.value);
      take_part(below, side);
    }
    std::vector<Side> sides;
    if (node.entries) {
      for (const Entry& entry : *node.entries) {
        // An object's own {} agrees with whatever lies below it.
        if (below.value && entry.value && entry.value->is_object() && entry.value->empty()) {
          below.dots.push_back(entry.stamp.dot);
          continue;
        }
        add_side(sides, {entry.value, entry.stamp, {entry.stamp.dot}, {}});
      }
    }
    if (below.value) sides.push_back(std::move(below));
    return sides;
  }

  std::vector<Side> counter(const Node& node) {
    std::vector<Side> sides;
    Side total;
    for (const Entry& entry : *node.entries) {
      Side side{entry.value, entry.stamp, {entry.stamp.dot}, {}};
      if (!entry.value || !entry.value->is_number()) {
        add_side(sides, std::move(side));
        continue;
      }
      total.value = total.value ? sum(*total.value, *entry.value) : *entry.value;
      take_part(total, side);
    }
    if (total.value) sides.push_back(std::move(total));
    return sides;
  }

  // What lists of values name, less what was removed since, and what was added.
  std::vector<Side> set(const Node& node) {
    std::vector<Side> sides;
    Side members;
    std::vector<std::pair<Stamp, const Json*>> added;
    std::set<std::string> seen, removed;
    for (const auto& [step, child] : node.children) {
      if (!child.entries) continue;
      const Entry* present = nullptr;
      for (const Entry& entry : *child.entries) {
        if (entry.value &&
            (!present || outranks(present->stamp, entry.stamp, Strategy::timestamp))) {
          present = &entry;
        }
        take_part(members, {std::nullopt, entry.stamp, {entry.stamp.dot}, {}});
      }
      if (present) {
        added.emplace_back(present->stamp, &*present->value);
      } else {
        removed.insert(step.substr(1));
      }
    }
    Json list = Json::array();
    bool any = !added.empty();
    if (node.entries) {
      for (const Entry& entry : *node.entries) {
        Side side{entry.value, entry.stamp, {entry.stamp.dot}, {}};
        if (!entry.value || !entry.value->is_array()) {
          add_side(sides, std::move(side));
          continue;
        }
        any = true;
        take_part(members, side);
        for (const Json& item : *entry.value) {
          if (!removed.contains(set_key(item)) && seen.insert(item.dump()).second)
            list.push_back(item);
        }
      }
    }
    std::sort(added.begin(), added.end(), [](const auto& a, const auto& b) {
      if (a.first.hlc != b.first.hlc) return a.first.hlc < b.first.hlc;
      if (a.first.dot != b.first.dot) return a.first.dot < b.first.dot;
      return a.second->dump() < b.second->dump();
    });
    for (const auto& [stamp, item] : added) {
      if (seen.insert(item->dump()).second) list.push_back(*item);
    }
    if (any) members.value = std::move(list);
    if (any) sides.push_back(std::move(members));
    return sides;
  }

  std::vector<Side> sequences(const Node& node, const std::string& path) {
    std::vector<Side> sides;
    std::map<Dot, Side> by_sequence;
    for (const Entry& entry : *node.entries) {
      Side side{entry.value, entry.stamp, {entry.stamp.dot}, {}};
      if (entry.sequence) {
        take_part(by_sequence[*entry.sequence], side);
      } else {
        add_side(sides, std::move(side));
      }
    }
    std::set<std::string> placed;
    for (auto& [began, side] : by_sequence) {
      const SequenceState& state = record_.sequences.at(path).at(began);
      side.value = state.is_list ? elements(state, node, path, placed, side) : Json(text_of(state));
    }
    for (auto& [began, side] : by_sequence) {
      const SequenceState& state = record_.sequences.at(path).at(began);
      if (state.is_list) add_lost(node, path, placed, side);
      add_side(sides, std::move(side));
    }
    return sides;
  }

  Json elements(const SequenceState& state, const Node& node, const std::string& path,
                std::set<std::string>& placed, Side& side) {
    Json list = Json::array();
    for (const std::string& key : order_of(state)) {
      placed.insert(key);
      auto child = node.children.find("/" + key);
      Side element;
      if (child != node.children.end()) element = show(child->second, path + child->first);
      append(side.beneath, element.dots);
      auto first = state.first_values.find(key);
      if (!element.value && first != state.first_values.end()) element.value = first->second;
      if (element.value) list.push_back(std::move(*element.value));
    }
    return list;
  }

  // Elements that were edited while another device removed them: kept, at the end, and asked about.
  void add_lost(const Node& node, const std::string& path, std::set<std::string>& placed,
                Side& side) {
    for (const auto& [step, child] : node.children) {
      if (!placed.insert(step.substr(1)).second) continue;
      Side element = show(child, path + step);
      if (!element.value) continue;
      side.value->push_back(*element.value);
      Side gone;
      gone.stamp = side.stamp;
      gone.dots = side.dots;
      add_conflict(path + step, {gone, element}, 1, element.value, false, rules_.at(path + step));
    }
  }

  Side choose(std::vector<Side> sides, const std::string& path) {
    if (sides.empty()) return {};
    if (sides.size() == 1) return std::move(sides[0]);
    FieldRule rule = rules_.at(path);
    std::sort(sides.begin(), sides.end(), [&](const Side& a, const Side& b) {
      return outranks(b.stamp, a.stamp, Strategy::timestamp);
    });
    std::size_t best = 0;
    for (std::size_t i = 1; i < sides.size(); ++i) {
      if (outranks(sides[i].stamp, sides[best].stamp, rule.strategy)) best = i;
    }
    Side shown = sides[best];
    bool all_there =
        std::all_of(sides.begin(), sides.end(), [](const Side& s) { return s.value.has_value(); });
    bool merged = rule.strategy == Strategy::merge && all_there;
    if (merged) {
      std::vector<const Json*> values;
      values.reserve(sides.size());
      for (const Side& side : sides) values.push_back(&*side.value);
      std::rotate(values.begin() + static_cast<std::ptrdiff_t>(best),
                  values.begin() + static_cast<std::ptrdiff_t>(best) + 1, values.end());
      shown.value = merge_values(values);
    }
    add_conflict(path, sides, best, shown.value, merged, rule);
    // Its own writes only: settling a conflict above this field by picking what it is part of does
    // not settle one here.
    for (std::size_t i = 0; i < sides.size(); ++i) {
      if (i == best) continue;
      append(shown.beneath, sides[i].dots);
      append(shown.beneath, sides[i].beneath);
    }
    return shown;
  }

  const Record& record_;
  const Rules& rules_;
  View& view_;
};

}  // namespace

View render(const Record& record, const Rules& rules) {
  View view;
  Renderer renderer(record, rules, view);
  Node root = renderer.grow();
  Side shown = renderer.show(root, "");
  // The document is always an object: only fields below the root, or whole objects, are written.
  if (shown.value) view.document = std::move(*shown.value);
  std::vector<Presence> words = words_that_count(record);
  bool some_alive = std::any_of(words.begin(), words.end(), [](const auto& w) { return w.alive; });
  bool some_dead = std::any_of(words.begin(), words.end(), [](const auto& w) { return !w.alive; });
  FieldRule rule = rules.empty() ? FieldRule{} : rules.at("");
  view.alive = some_alive && !(some_dead && rule.delete_wins);
  if (!view.alive) {
    view.conflicts.clear();
    view.pending = 0;
    return view;
  }
  if (some_dead || words.size() != record.presence.size()) {
    std::vector<Side> sides;
    for (const Presence& word : record.presence) {
      std::optional<Json> value;
      if (word.alive) value = view.document;
      add_side(sides, {std::move(value), word.stamp, {word.stamp.dot}, {}});
    }
    std::sort(sides.begin(), sides.end(), [](const Side& a, const Side& b) {
      return outranks(b.stamp, a.stamp, Strategy::timestamp);
    });
    if (sides.size() > 1) {
      std::size_t alive = sides[0].value ? 0 : 1;
      renderer.add_conflict("", sides, alive, view.document, false, rule);
    }
  }
  std::sort(view.conflicts.begin(), view.conflicts.end(), [](const Conflict& a, const Conflict& b) {
    return std::tie(a.path, a.type) < std::tie(b.path, b.type);
  });
  return view;
}

}  // namespace holdfast::model
