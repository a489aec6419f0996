#include "src/model/diff.h"

#include "src/model/path.h"
#include "src/model/typed_diff.h"

namespace holdfast::model {

bool same_leaf(const Json& a, const Json& b) {
  if (a.is_number_integer() && b.is_number_integer()) return a == b;
  return a.type() == b.type() && (a.is_structured() ? a.dump() == b.dump() : a == b);
}

Op make_op(OpKind kind, std::string path, Json value) {
  Op op;
  op.kind = kind;
  op.path = std::move(path);
  op.value = std::move(value);
  return op;
}

void diff_at(const std::string& path, const Json& before, const Json& after, const Editing* editing,
             std::vector<Op>& ops) {
  if (editing) {
    if (auto typed = typed_diff(*editing, path, before, after)) {
      for (Op& op : *typed) ops.push_back(std::move(op));
      return;
    }
  }
  bool maps = before.is_object() && after.is_object();
  if (!maps) {
    if (!same_leaf(before, after)) ops.push_back(make_op(OpKind::set, path, after));
    return;
  }
  if (after.empty() && !before.empty() && !path.empty()) {
    ops.push_back(make_op(OpKind::set, path, after));  // beside what says that its fields are gone
    ops.back().supersedes = Supersedes::listed;
  }
  for (const auto& [key, value] : before.items()) {
    if (!after.contains(key)) ops.push_back(make_op(OpKind::unset, child_path(path, key)));
  }
  for (const auto& [key, value] : after.items()) {
    std::string child = child_path(path, key);
    auto old = before.find(key);
    if (old == before.end()) {
      ops.push_back(make_op(OpKind::set, child, value));
    } else {
      diff_at(child, *old, value, editing, ops);
    }
  }
}

std::vector<Op> diff(const Json& before, const Json& after, const Editing* editing) {
  std::vector<Op> ops;
  diff_at("", before, after, editing, ops);
  return ops;
}

}  // namespace holdfast::model
