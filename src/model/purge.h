#pragma once

// What a record's state can do without, once every device has it: values that were deleted, deleted
// records, and how texts and lists came to be. Purging is an op in the log like any other, never a
// clock's doing on one device alone.

#include "src/model/record.h"
#include "src/model/view.h"

namespace holdfast::model {

// The ops by which a record forgets what `known` covers: the change sets that every device of the
// vault has, and on which all that any of them writes from now on builds.
std::vector<Op> purge_ops(const Record& record, const VersionVector& known);

}  // namespace holdfast::model
