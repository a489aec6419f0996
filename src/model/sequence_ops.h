#pragma once

// The value of an `edit` op, a JSON array: first, in the op that begins a sequence, what was there
// before (a text, or a list's values); then, for each patch, position, count erased, and what
// comes: of a text a string, of a list an array of its elements' keys.

#include "src/model/record.h"

namespace holdfast::model {

constexpr std::size_t kMaxPatchUnits = 1 << 20;

// Throws Error(malformed) unless `value` is one.
void check_edit(const Json& value);
void edit_sequence(SequenceState& sequence, const ChangeSet& change, const Op& op);
void fold_sequence(SequenceState& sequence, const VersionVector& upto);

Json text_edit(const Patches& patches, const Json* before = nullptr);
struct ListPatch {
  std::size_t at = 0;
  std::size_t erase = 0;
  std::vector<std::string> insert;
};
Json list_edit(const std::vector<ListPatch>& patches, const Json* before = nullptr);

std::string text_of(const SequenceState& sequence);
// The elements' keys in their order: each once, where it was last put.
std::vector<std::string> order_of(const SequenceState& sequence);
// The same, as places among all slots, those that an element has left since included.
std::vector<std::size_t> places_of(const SequenceState& sequence);
// Of the elements of a list that was there before it was a sequence.
std::string first_key(const Dot& began, std::size_t index);
// The name under which a member of a set is kept: a hash of its value.
std::string set_key(const Json& member);

SequenceState join_sequences(const SequenceState& a, const SequenceState& b);
// Whether somebody who has seen `seen` and has no such sequence has forgotten it.
bool knows_all_of(const VersionVector& seen, const Dot& began, const SequenceState& sequence);
Bytes canonical_sequence(const SequenceState& sequence);

}  // namespace holdfast::model
