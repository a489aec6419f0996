#pragma once

#include "holdfast/conflict.h"
#include "holdfast/encrypted_local_store.h"

namespace holdfast {

// What a field said before a change.
struct PastValue {
  std::string path;                     // "$.field"; "$" for the whole record, before its deletion
  std::optional<nlohmann::json> value;  // nothing: there was none
  std::optional<nlohmann::json> by;     // of a counter, instead: what was added to it
  // Who wrote that value, and when by that device's clock (UTC milliseconds); zeros where nothing.
  std::array<std::uint8_t, 16> device{};
  std::int64_t time_ms = 0;
};

// One change set's effect on one record.
struct PastChange {
  Dot change;                     // who made it, and which of that device's change sets it is
  std::int64_t time_ms = 0;       // by that device's clock
  bool created = false;           // the record came to be
  bool deleted = false;           // it was deleted
  std::vector<PastValue> values;  // that it superseded; of concurrent ones, all
};

struct UndoReport {
  std::size_t records = 0;           // that were changed back
  std::vector<std::string> skipped;  // fields changed again since, as "collection/id $.path"
};

// What records said before. Kept on this device for StoreOptions::history_days, from when a change
// arrived here; not in backups, and not on other devices. Edits of texts, and where elements of
// lists stood, are not in it. Thread-safe. The store must outlive it.
class History {
 public:
  explicit History(EncryptedLocalStore& store) : store_(&store) {}

  // A record's changes, those that came to this device last first; empty for an unknown record.
  std::vector<PastChange> changes(const Key& key) const;
  // Puts back what a change set replaced, in all records that it changed, as a new change of this
  // device: the other devices get it like any other. A field that was changed again since is left
  // as it is, and named. Throws Error(not_found) where the change set is not in the history.
  UndoReport undo(const Dot& change);

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
