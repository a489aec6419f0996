#pragma once

#include "src/model/types.h"

namespace holdfast::model {

// The field-level ops (kind, path, value) that turn `before` into `after`, both objects: maps are
// walked, everything else is a leaf. Empty where nothing differs.
std::vector<Op> diff(const Json& before, const Json& after);

}  // namespace holdfast::model
