#pragma once

#include <functional>

#include "src/model/policy.h"
#include "src/model/record.h"
#include "src/model/view.h"

namespace holdfast::model {

// What the edits of a record are made on.
struct Editing {
  const Record& record;
  const Rules& rules;
  const Json& current;  // what the record shows now
  DeviceId device{};
  std::function<std::string()> new_key;  // for elements of lists; never the same twice
};

// The field-level ops that turn `before` into `after`, both objects: maps are walked, everything
// else is a leaf, but for the fields that the rules give a type. Empty where nothing differs.
// `before` may be an earlier version than the current one: then typed fields get what was changed
// in between as well.
std::vector<Op> diff(const Json& before, const Json& after, const Editing* editing = nullptr);

// The ops for one edit of a typed field. Throw Error(invalid_argument) where the field is not
// there, or not of that type, or the place is outside of it.
std::vector<Op> edit_counter(const Editing& editing, const std::string& path, const Json& by);
std::vector<Op> edit_set(const Editing& editing, const std::string& path, const Json& member,
                         bool add);
std::vector<Op> edit_text(const Editing& editing, const std::string& path, const Patch& patch);
std::vector<Op> insert_element(const Editing& editing, const std::string& path, std::size_t at,
                               const Json& value);
std::vector<Op> move_element(const Editing& editing, const std::string& path, std::size_t from,
                             std::size_t to);
// Gives the element at `path`, which has no place in its list any more, one at the end.
std::vector<Op> place_element(const Editing& editing, const std::string& path);
std::vector<Op> erase_element(const Editing& editing, const std::string& path, std::size_t at);

}  // namespace holdfast::model
