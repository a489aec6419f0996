#include "src/model/view.h"

#include <algorithm>
#include <set>

#include "src/model/path.h"

namespace holdfast::model {
namespace {

// A value on one side of a conflict, with the greatest stamp behind it.
struct Side {
  std::optional<Json> value;
  Stamp stamp;
  std::vector<Dot> dots;
};

bool outranks(const Stamp& a, const Stamp& b, Strategy strategy) {
  if (a.automatic != b.automatic) return b.automatic;
  if (strategy == Strategy::priority && a.priority != b.priority) return a.priority > b.priority;
  if (a.hlc != b.hlc) return a.hlc > b.hlc;
  return a.dot > b.dot;
}

std::string identity(const std::optional<Json>& value) { return value ? value->dump() : ""; }

// null goes with anything; whole and broken numbers are of one kind.
int kind_of(const Json& value) {
  if (value.is_null()) return 0;
  if (value.is_number()) return 1;
  return 2 + static_cast<int>(value.type());
}

ConflictType type_of(const std::vector<Side>& sides) {
  int kind = 0;
  bool mismatch = false;
  for (const Side& side : sides) {
    if (!side.value) return ConflictType::update_delete;
    int k = kind_of(*side.value);
    if (k != 0 && kind != 0 && k != kind) mismatch = true;
    if (k != 0) kind = k;
  }
  return mismatch ? ConflictType::type_mismatch : ConflictType::concurrent_update;
}

// Equal values that were written concurrently agree: one side.
void add_side(std::vector<Side>& sides, Side side) {
  for (Side& other : sides) {
    if (identity(other.value) != identity(side.value)) continue;
    other.dots.insert(other.dots.end(), side.dots.begin(), side.dots.end());
    std::int64_t priority = std::max(other.stamp.priority, side.stamp.priority);
    if (outranks(side.stamp, other.stamp, Strategy::timestamp)) other.stamp = side.stamp;
    other.stamp.priority = priority;
    return;
  }
  sides.push_back(std::move(side));
}

Json union_of(const std::vector<Side>& sides) {
  Json out = Json::array();
  std::set<std::string> seen;
  for (const Side& side : sides) {
    for (const Json& item : *side.value) {
      if (seen.insert(item.dump()).second) out.push_back(item);
    }
  }
  return out;
}

// The document as a tree in which a field may have values of its own and fields below it at once.
struct Node {
  const std::vector<Entry>* entries = nullptr;
  std::map<std::string, Node> children;
};

class Renderer {
 public:
  Renderer(const StrategyOf& strategy, View& view) : strategy_(strategy), view_(view) {}

  Node grow(const Record& record) {
    Node root;
    for (const auto& [path, entries] : record.fields) {
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
    Side below;
    bool any_below = false;
    for (const auto& [step, child] : node.children) {
      Side side = show(child, path + step);
      if (!side.value) continue;
      if (!below.value) below.value = Json::object();
      (*below.value)[last_key(step)] = std::move(*side.value);
      if (!any_below || outranks(side.stamp, below.stamp, Strategy::timestamp)) {
        below.stamp = side.stamp;
      }
      any_below = true;
      below.dots.insert(below.dots.end(), side.dots.begin(), side.dots.end());
    }
    std::vector<Side> sides;
    if (node.entries) {
      for (const Entry& entry : *node.entries) {
        // An object's own {} agrees with whatever lies below it.
        if (any_below && entry.value && entry.value->is_object()) {
          below.dots.push_back(entry.stamp.dot);
          continue;
        }
        add_side(sides, {entry.value, entry.stamp, {entry.stamp.dot}});
      }
    }
    if (any_below) sides.push_back(std::move(below));
    return choose(std::move(sides), path);
  }

  Side choose(std::vector<Side> sides, const std::string& path) {
    if (sides.empty()) return {};
    Strategy strategy = sides.size() == 1 ? Strategy::timestamp : strategy_(path);
    std::sort(sides.begin(), sides.end(), [&](const Side& a, const Side& b) {
      return outranks(b.stamp, a.stamp, Strategy::timestamp);
    });
    std::size_t best = 0;
    for (std::size_t i = 1; i < sides.size(); ++i) {
      if (outranks(sides[i].stamp, sides[best].stamp, strategy)) best = i;
    }
    // Its own writes only: settling a conflict above this field does not settle one here.
    Side shown = sides[best];
    if (sides.size() == 1) return shown;
    ConflictType type = type_of(sides);
    bool lists = std::all_of(sides.begin(), sides.end(),
                             [](const Side& s) { return s.value && s.value->is_array(); });
    if (strategy == Strategy::merge && lists) shown.value = union_of(sides);
    add_conflict(path, type, sides, best, strategy);
    return shown;
  }

  void add_conflict(const std::string& path, ConflictType type, const std::vector<Side>& sides,
                    std::size_t best, Strategy strategy) {
    Conflict conflict;
    conflict.path = display_path(path);
    conflict.type = type;
    conflict.visible = best;
    conflict.pending = strategy == Strategy::user_choice || type != ConflictType::concurrent_update;
    for (const Side& side : sides) {
      conflict.candidates.push_back(
          {side.value, side.stamp.dot.device, side.stamp.hlc.ms(), side.stamp.priority, side.dots});
    }
    view_.pending += conflict.pending;
    view_.conflicts.push_back(std::move(conflict));
  }

 private:
  const StrategyOf& strategy_;
  View& view_;
};

}  // namespace

View render(const Record& record, const StrategyOf& strategy) {
  View view;
  Renderer renderer(strategy, view);
  Node root = renderer.grow(record);
  // The document is always an object: only fields below the root are ever written.
  Side shown = renderer.show(root, "");
  if (shown.value) view.document = std::move(*shown.value);
  if (!record.alive()) {
    view.conflicts.clear();
    view.pending = 0;
    return view;
  }
  std::vector<Side> words;
  for (const Presence& word : record.presence) {
    std::optional<Json> value;
    if (word.alive) value = view.document;
    add_side(words, {std::move(value), word.stamp, {word.stamp.dot}});
  }
  if (words.size() > 1) {
    std::sort(words.begin(), words.end(), [](const Side& a, const Side& b) {
      return outranks(b.stamp, a.stamp, Strategy::timestamp);
    });
    std::size_t alive = words[0].value ? 0 : 1;
    renderer.add_conflict("", ConflictType::update_delete, words, alive, Strategy::user_choice);
  }
  std::sort(view.conflicts.begin(), view.conflicts.end(),
            [](const Conflict& a, const Conflict& b) { return a.path < b.path; });
  return view;
}

}  // namespace holdfast::model
