#pragma once

#include <functional>

#include "holdfast/conflict.h"
#include "holdfast/encrypted_local_store.h"

namespace holdfast {

// How concurrent values of a field, and of all that lies below it, are treated.
struct Policy {
  std::string collection;
  // "$" for the whole collection, "$.field.below", or with * for any one key: "$.lines.*.price".
  // Of several that fit, the one with the most steps counts; a key goes before a *.
  std::string path;
  Strategy strategy = Strategy::timestamp;
  FieldType type = FieldType::value;  // of the field itself, not of what lies below
  bool critical = false;              // its conflicts wait for the user under any strategy
  // A conflict that has been pending on a device for so long is settled there by `fallback`
  // (timestamp, priority or merge). 0: at the next sync.
  std::int64_t deadline_ms = kDefaultDeadlineMs;
  Strategy fallback = Strategy::timestamp;
  // For the path "$" only:
  bool whole_records = false;  // documents written from now on are one value each: a conflict is
                               // between whole documents
  bool delete_wins = false;    // a deletion beats concurrent edits, without a question
};

// The app's own decision between the sides of a conflict; nothing: leave it as it is. Not asked
// about what waits for the user. Called under the store's lock: it must not use the store. What it
// throws leaves the conflict as it is.
using CustomStrategy = std::function<std::optional<nlohmann::json>(const Conflict&)>;

// What was merged, and of what: for a later review.
struct Lineage {
  std::string path;
  std::vector<Candidate> candidates;  // the local side first; `device` is not known here
};

// Settings for resolve_conflict().
struct ConflictContext {
  Strategy strategy = Strategy::timestamp;
  CustomStrategy custom;                    // for Strategy::custom
  std::vector<std::string> critical_paths;  // like "$.price": where these differ, the user decides
};

struct Resolution {
  ConflictType type = ConflictType::no_conflict;
  std::optional<nlohmann::json> value;  // what to show; nothing: deleted, or no common record
  bool needs_user = false;              // `value` is provisional
  std::vector<Lineage> lineage;         // fields that were merged, and that a user may review
};

// Lists and resolves conflicts, and sets how they are shown. Conflicts are data: a device that has
// both sides shows the same as every other, by the policies, which travel in the vault.
// Thread-safe. The store must outlive it.
class ConflictResolver {
 public:
  explicit ConflictResolver(EncryptedLocalStore& store) : store_(&store) {}

  // All fields with concurrent values, by collection, id and path; with `pending_only`, those that
  // wait for the user: under Strategy::user_choice, critical, update_delete and type_mismatch.
  std::vector<Conflict> conflicts(bool pending_only = false) const;
  std::size_t count_pending() const;

  // Writes the chosen side (or another value) as a change that supersedes exactly the candidates
  // listed in `conflict`: what has come since then stays. Choosing a side that deleted deletes.
  // Which kind of side was chosen is remembered for the field, and shapes Conflict::suggested.
  // Throws Error: invalid_argument (no such candidate; a record's value that is no object).
  void resolve(const Conflict& conflict, std::size_t candidate);
  void resolve(const Conflict& conflict, const nlohmann::json& value);

  // Writes what is due: fallbacks of conflicts whose deadline has passed, and what the app's
  // functions decide. Each sync does it, too. Returns how many it wrote. Such a write ranks below
  // any write of a user, concurrent ones included.
  std::size_t settle();
  // The function for Strategy::custom in a collection, on this device, while the store is open. An
  // empty one takes it away.
  void set_custom(const std::string& collection, CustomStrategy function);

  // Calls `observer` with conflicts that have become pending, after the commit that brought them,
  // on the thread that committed. It may use the store.
  using Observer = std::function<void(const std::vector<Conflict>&)>;
  int subscribe(Observer observer);
  void unsubscribe(int subscription);  // waits for calls of it on other threads

  // Takes effect here at once and on the other devices when they sync. Throws
  // Error(invalid_argument).
  void set_policy(const Policy& policy);
  std::vector<Policy> policies() const;  // by collection and path

  // Compares and resolves two plain documents, with no store: by their fields `id`, `version`,
  // `updated_at` (milliseconds, or a text that sorts by time) and `priority`. Null stands for a
  // deleted one. The same whichever side is local, except which one ranks first where all of these
  // are equal: then the one with the greater JSON text. no_conflict: they are equal;
  // different_records: nothing to resolve; version_conflict: their versions differ; else
  // concurrent_update, update_delete, or type_mismatch where a field has two kinds of value.
  static Resolution resolve_conflict(const nlohmann::json& local, const nlohmann::json& remote,
                                     const ConflictContext& context = {});

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
