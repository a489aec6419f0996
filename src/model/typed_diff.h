#pragma once

// The typed fields' part of diff.h.

#include "src/model/diff.h"

namespace holdfast::model {

Op make_op(OpKind kind, std::string path, Json value = nullptr);
bool same_leaf(const Json& a, const Json& b);
// As diff(), for the value at `path`.
void diff_at(const std::string& path, const Json& before, const Json& after, const Editing* editing,
             std::vector<Op>& ops);

// Ops that turn the typed field's value `before` into `after`; nothing where it has no type, or
// is not there yet.
std::optional<std::vector<Op>> typed_diff(const Editing& editing, const std::string& path,
                                          const Json& before, const Json& after);
std::vector<Op> list_diff(const Editing& editing, const std::string& path, const Json& before,
                          const Json& after);

// The sequence whose content a field shows, or the plain value that becomes one with its first
// edit.
struct ShownSequence {
  Dot began;
  const SequenceState* state = nullptr;  // null: still a plain value
};
std::optional<ShownSequence> shown_sequence(const Editing& editing, const std::string& path,
                                            const Json& shown);
Op edit_op(const std::string& path, const ShownSequence& sequence, Json value);

}  // namespace holdfast::model
