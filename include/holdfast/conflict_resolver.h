#pragma once

#include "holdfast/conflict.h"
#include "holdfast/encrypted_local_store.h"

namespace holdfast {

struct Policy {
  std::string collection;
  std::string
      path;  // "$" for the whole collection, or "$.field.below"; holds for all that lies below
  Strategy strategy = Strategy::timestamp;
};

// Lists and resolves conflicts, and sets how they are shown. Conflicts are data: a device that has
// both sides shows the same as every other, by the policies, which travel in the vault.
// Thread-safe. The store must outlive it.
class ConflictResolver {
 public:
  explicit ConflictResolver(EncryptedLocalStore& store) : store_(&store) {}

  // All fields with concurrent values, by collection, id and path; with `pending_only`, those that
  // wait for the user: under Strategy::user_choice, update_delete and type_mismatch.
  std::vector<Conflict> conflicts(bool pending_only = false) const;
  std::size_t count_pending() const;

  // Writes the chosen side (or another value) as a change that supersedes exactly the candidates
  // listed in `conflict`: what has come since then stays. Choosing a side that deleted deletes.
  // Throws Error: invalid_argument (no such candidate; a record's value that is no object).
  void resolve(const Conflict& conflict, std::size_t candidate);
  void resolve(const Conflict& conflict, const nlohmann::json& value);

  // Takes effect here at once and on the other devices when they sync. Throws
  // Error(invalid_argument).
  void set_policy(const Policy& policy);
  std::vector<Policy> policies() const;  // by collection and path

 private:
  void write(const Conflict& conflict, const std::optional<nlohmann::json>& value,
             const std::vector<Candidate>& superseded);
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
