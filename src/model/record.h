#pragma once

// The state of one record: the live values of each field and of the record's existence. Applying
// the same change sets in any causal order gives the same state on every device.

#include <functional>

#include "src/model/types.h"

namespace holdfast::model {

// One live value of a field; no value: the field was deleted by this write.
struct Entry {
  Stamp stamp;
  std::optional<Json> value;
};

// One live word on whether the record exists.
struct Presence {
  Stamp stamp;
  bool alive = true;
};

struct Record {
  std::vector<Presence> presence;                    // by dot
  std::map<std::string, std::vector<Entry>> fields;  // by pointer; entries by dot
  std::int64_t created_ms = 0;                       // the earliest write ever seen
  std::int64_t updated_ms = 0;                       // the latest

  bool alive() const;
};

// Applies one op of `change`: what its context covers (and what the change set itself wrote before)
// is superseded, at the op's path and below; its own value is added beside what remains.
void apply(Record& record, const ChangeSet& change, const Op& op);

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
