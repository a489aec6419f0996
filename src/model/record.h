#pragma once

// The state of one record: the live values of each field and of the record's existence, a
// tombstone-free dotted store. A write that the version vector covers and the state lacks has been
// superseded. The same change sets in any causal order give the same state on every device.

#include <functional>

#include "src/model/sequence.h"
#include "src/model/types.h"

namespace holdfast::model {

// One live value of a field: a value, a sequence, or neither: the field was deleted by this write.
struct Entry {
  Stamp stamp;
  std::optional<Json> value;
  std::optional<Dot> sequence;  // the write that began it
};

// One live word on whether the record exists.
struct Presence {
  Stamp stamp;
  bool alive = true;
};

// A place in a list: an element has one for each time it was put somewhere, and is shown at the
// latest.
struct Slot {
  std::string key;  // of the element: its values lie below the list's path under this name
  Dot dot;
  Hlc hlc;
};

// A text, or the order of a list. Of a list, units are indexes into `slots`.
struct SequenceState {
  Sequence units;
  bool is_list = false;
  std::vector<Slot> slots;
  std::map<std::string, Json> first_values;  // of elements from before the list was a sequence
};

struct Record {
  std::vector<Presence> presence;                                 // by dot
  std::vector<Stamp> births;                                      // writes that created it, by dot
  std::map<std::string, std::vector<Entry>> fields;               // by pointer; entries by dot
  std::map<std::string, std::map<Dot, SequenceState>> sequences;  // by pointer and first write

  bool alive() const;  // unless a policy says that a delete wins
  bool empty() const { return presence.empty() && fields.empty() && sequences.empty(); }
  std::int64_t created_ms() const;
  std::int64_t updated_ms() const;
};

// The words that count: what no user wrote, only where no user's is there.
std::vector<Presence> words_that_count(const Record& record);

// What an op took away and what it replaced, for history: see apply().
struct Taken {
  std::string path;
  std::vector<Entry> entries;
};

// Applies one op of `change`: what it supersedes goes, its own value is added beside what remains.
// Appends what went to `taken`, where that is wanted.
void apply(Record& record, const ChangeSet& change, const Op& op,
           std::vector<Taken>* taken = nullptr);

// Gives what these change sets of a device wrote another time.
void restamp(Record& record, const DeviceId& device, const std::map<std::uint64_t, Hlc>& times);

// Whether it holds anything that can be forgotten once every device knows it; see purge.h.
bool may_forget(const Record& record);

// The state that knows everything that `a` and `b` know. `a_seen` and `b_seen` cover all that was
// ever applied to each.
Record join(const Record& a, const VersionVector& a_seen, const Record& b,
            const VersionVector& b_seen);

// Calls `visit(pointer, value)` for each leaf of a document: everything but objects with members.
void for_each_leaf(const Json& value, const std::string& path,
                   const std::function<void(const std::string&, const Json&)>& visit);

// Small numbers for device ids in stored records.
class DeviceTable {
 public:
  virtual ~DeviceTable() = default;
  virtual std::uint64_t index_of(const DeviceId& device) = 0;
  virtual const DeviceId& id_of(std::uint64_t index) = 0;  // throws Error(corrupt) when unknown
};

// The state beside its rendered document, which holds most values already: a record that was
// written at once costs one shared stamp. decode_record(encode_record(r, doc), doc) == r.
Bytes encode_record(const Record& record, const Json& document, DeviceTable& devices);
// As encode_record for a record whose only write was `stamp`.
Bytes encode_fresh_record(const Stamp& stamp, DeviceTable& devices);
// Throws Error(corrupt).
Record decode_record(ByteView state, const Json& document, DeviceTable& devices);

// The whole state as bytes that are equal on all devices that hold equal states; for tests.
Bytes canonical_state(const Record& record);

}  // namespace holdfast::model
