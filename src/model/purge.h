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

// A device that was away for so long that the others no longer wait for it comes back: the vault
// may have forgotten what its own edits, which nobody has yet, were made on. Returns the record's
// edits anew, to be written on top of the vault's state, so that none is lost and nothing that the
// vault deleted comes back. A record that the vault deleted and forgot, and that was edited here,
// comes back whole, as it was here.
struct Returning {
  const Record& mine;          // with the edits in it
  const Record& acknowledged;  // as it was without them
  const VersionVector& known;  // what the vault and this device both had
  const Record& vault;
  const VersionVector& vault_seen;
  const std::vector<ChangeSet>& unsent;  // with this record's ops only, in order
};
std::vector<ChangeSet> rebase(const Returning& returning);

}  // namespace holdfast::model
