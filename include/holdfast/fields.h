#pragma once

#include <string>

#include "holdfast/encrypted_local_store.h"

namespace holdfast {

// Edits of fields whose type a policy declares: concurrent ones of several devices all happen.
// Storing a whole document works as well: what changed is found by comparing. These say exactly
// what was meant, and settle what was in conflict at the field. An element that one device erases
// while another edits it is kept as far as it was edited, and asked about. `path` is like "$.todo".
// Where the record is not there each returns false; where the field is not there or not of the
// type, or the place is outside of it, each throws Error(invalid_argument). Thread-safe. The store
// must outlive it.
class Fields {
 public:
  explicit Fields(EncryptedLocalStore& store) : store_(&store) {}

  // A counter.
  bool add(const Key& key, const std::string& path, std::int64_t by);
  // A set. Adding a member that is there, or removing one that is not, does nothing.
  bool insert_member(const Key& key, const std::string& path, const nlohmann::json& member);
  bool remove_member(const Key& key, const std::string& path, const nlohmann::json& member);
  // A list. Indexes as the list is shown now; `to` is where the element is after the move.
  bool insert(const Key& key, const std::string& path, std::size_t at, const nlohmann::json& value);
  bool move(const Key& key, const std::string& path, std::size_t from, std::size_t to);
  bool erase(const Key& key, const std::string& path, std::size_t at);
  // A text: `erase` characters (Unicode scalars) at `at` go, and `insert`, UTF-8, comes.
  bool edit_text(const Key& key, const std::string& path, std::size_t at, std::size_t erase,
                 const std::string& insert);

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
