// Comparing and resolving two plain documents.

#include <algorithm>

#include "holdfast/conflict_resolver.h"
#include "src/model/path.h"
#include "src/model/view.h"

namespace holdfast {
namespace {

using model::Json;

const Json& field(const Json& document, const char* name) {
  static const Json kNone = nullptr;
  if (!document.is_object()) return kNone;
  auto found = document.find(name);
  return found == document.end() ? kNone : *found;
}

std::int64_t whole_number(const Json& value) {
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

struct Side {
  const Json* document = nullptr;
  Candidate candidate;
  std::string text;
};

Side side_of(const Json& document) {
  Side side;
  side.document = &document;
  side.text = document.dump();
  if (!document.is_null()) side.candidate.value = document;
  side.candidate.time_ms = whole_number(field(document, "updated_at"));
  side.candidate.priority = whole_number(field(document, "priority"));
  return side;
}

// Numbers before texts, texts by their order: RFC 3339 in UTC sorts by time.
bool later(const Side& a, const Side& b, Strategy strategy) {
  if (strategy == Strategy::priority && a.candidate.priority != b.candidate.priority) {
    return a.candidate.priority > b.candidate.priority;
  }
  const Json& at_a = field(*a.document, "updated_at");
  const Json& at_b = field(*b.document, "updated_at");
  if (at_a != at_b) return at_a > at_b;
  std::int64_t version_a = whole_number(field(*a.document, "version"));
  std::int64_t version_b = whole_number(field(*b.document, "version"));
  if (version_a != version_b) return version_a > version_b;
  return a.text > b.text;
}

// Where both sides say something else; maps are walked.
void differences(const Json& a, const Json& b, const std::string& path,
                 const std::function<void(const std::string&, const Json*, const Json*)>& visit) {
  if (!a.is_object() || !b.is_object()) {
    if (a != b) visit(path, &a, &b);
    return;
  }
  for (const auto& [key, value] : a.items()) {
    std::string child = model::child_path(path, key);
    if (b.contains(key)) differences(value, b[key], child, visit);
  }
}

bool differs_at(const Json& a, const Json& b, const std::string& pointer) {
  Json::json_pointer at(pointer);
  bool in_a = a.contains(at);
  bool in_b = b.contains(at);
  return in_a != in_b || (in_a && a.at(at) != b.at(at));
}

ConflictType type_of(const Json& local, const Json& remote) {
  if (local == remote) return ConflictType::no_conflict;
  if (local.is_null() || remote.is_null()) return ConflictType::update_delete;
  if (field(local, "id") != field(remote, "id")) return ConflictType::different_records;
  if (field(local, "version") != field(remote, "version")) return ConflictType::version_conflict;
  ConflictType type = ConflictType::concurrent_update;
  differences(local, remote, "", [&](const std::string&, const Json* a, const Json* b) {
    std::optional<Json> one = *a;
    std::optional<Json> other = *b;
    if (model::conflict_type({&one, &other}) == ConflictType::type_mismatch) {
      type = ConflictType::type_mismatch;
    }
  });
  return type;
}

}  // namespace

Resolution ConflictResolver::resolve_conflict(const nlohmann::json& local,
                                              const nlohmann::json& remote,
                                              const ConflictContext& context) {
  Resolution out;
  out.type = type_of(local, remote);
  if (out.type == ConflictType::different_records) return out;
  if (out.type == ConflictType::no_conflict) {
    if (!local.is_null()) out.value = local;
    return out;
  }
  Side sides[] = {side_of(local), side_of(remote)};
  bool remote_ranks = later(sides[1], sides[0], context.strategy);
  const Side& best = sides[remote_ranks];
  const Side& other = sides[!remote_ranks];
  out.value = best.candidate.value;
  // An edit before a deletion, but not without a question.
  if (out.type == ConflictType::update_delete) {
    out.value = best.candidate.value ? best.candidate.value : other.candidate.value;
  }
  out.needs_user = context.strategy == Strategy::user_choice ||
                   out.type == ConflictType::update_delete ||
                   out.type == ConflictType::type_mismatch;
  for (const std::string& path : context.critical_paths) {
    out.needs_user |= differs_at(local, remote, model::parse_path(path));
  }
  if (context.strategy == Strategy::merge && best.candidate.value && other.candidate.value) {
    out.value = model::merge_values({other.document, best.document});
    differences(local, remote, "", [&](const std::string& path, const Json* a, const Json* b) {
      Lineage merged{model::display_path(path), {sides[0].candidate, sides[1].candidate}};
      merged.candidates[0].value = *a;
      merged.candidates[1].value = *b;
      out.lineage.push_back(std::move(merged));
    });
  }
  if (context.strategy == Strategy::custom && context.custom) {
    Conflict conflict;
    conflict.path = "$";
    conflict.type = out.type;
    conflict.candidates = {sides[0].candidate, sides[1].candidate};
    conflict.visible = conflict.suggested = remote_ranks;
    conflict.shown = out.value;
    if (auto decided = context.custom(conflict)) {
      out.value = std::move(decided);
      out.needs_user = false;
    }
  }
  return out;
}

}  // namespace holdfast
