// How conflicts end: by the user, by a deadline, or by the app's own function.

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/diff.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast::store {
namespace {

std::vector<Dot> sorted(std::vector<Dot> dots) {
  std::sort(dots.begin(), dots.end());
  dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
  return dots;
}

// What choosing `chosen` supersedes: exactly what was listed, and what lies inside of the other
// sides.
std::vector<Dot> superseded_by(const Conflict& conflict, std::optional<std::size_t> chosen) {
  std::vector<Dot> out;
  for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
    const Candidate& side = conflict.candidates[i];
    out.insert(out.end(), side.dots.begin(), side.dots.end());
    if (i != chosen) out.insert(out.end(), side.beneath.begin(), side.beneath.end());
  }
  return sorted(std::move(out));
}

// An element that one device removed from a list and another edited: its place is gone.
bool is_lost_element(const model::Record& record, const std::string& path,
                     const Conflict& conflict) {
  if (conflict.type != ConflictType::update_delete || path.empty()) return false;
  auto list = record.sequences.find(path.substr(0, path.rfind('/')));
  return list != record.sequences.end() &&
         std::any_of(list->second.begin(), list->second.end(),
                     [](const auto& sequence) { return sequence.second.is_list; });
}

// The kinds of side that a user may tend to choose.
constexpr const char* kTendencies[] = {"latest", "earliest", "priority", "here", "elsewhere"};

std::optional<std::size_t> side_of(const Conflict& conflict, std::string_view tendency,
                                   const model::DeviceId& self) {
  const auto& sides = conflict.candidates;
  std::optional<std::size_t> found;
  auto only = [&](auto fits) {
    for (std::size_t i = 0; i < sides.size(); ++i) {
      if (!fits(sides[i])) continue;
      if (found) return std::optional<std::size_t>();
      found = i;
    }
    return found;
  };
  if (tendency == "latest") return sides.size() - 1;
  if (tendency == "earliest") return 0;
  if (tendency == "here") return only([&](const Candidate& side) { return side.device == self; });
  if (tendency == "elsewhere") {
    return only([&](const Candidate& side) { return side.device != self; });
  }
  std::int64_t highest = INT64_MIN;
  for (const Candidate& side : sides) highest = std::max(highest, side.priority);
  return only([&](const Candidate& side) { return side.priority == highest; });
}

Key choice_key(const Conflict& conflict) {
  return {std::string(kChoiceCollection), conflict.collection + " " + conflict.path};
}

// The side that a fallback picks among those that users wrote: an edit before a deletion.
std::size_t fallback_side(const Conflict& conflict, Strategy strategy) {
  auto rank = [&](std::size_t i) {
    const Candidate& side = conflict.candidates[i];
    std::int64_t priority = strategy == Strategy::priority ? side.priority : 0;
    return std::tuple(side.value.has_value(), !side.automatic, priority, side.clock, side.dots);
  };
  std::size_t best = 0;
  for (std::size_t i = 1; i < conflict.candidates.size(); ++i) {
    if (rank(i) > rank(best)) best = i;
  }
  return best;
}

}  // namespace

std::vector<Conflict> Engine::conflicts(bool pending_only) {
  std::lock_guard lock(mutex_);
  std::vector<Conflict> all = records_.conflicts();
  if (pending_only) std::erase_if(all, [](const Conflict& conflict) { return !conflict.pending; });
  for (Conflict& conflict : all) {
    auto now = get({conflict.collection, conflict.id});
    if (now) conflict.version = now->version;
    if (conflict.pending) suggest(conflict);
  }
  return all;
}

void Engine::suggest(Conflict& conflict) {
  std::optional<model::Json> counts = get_document(choice_key(conflict));
  if (!counts) return;
  std::int64_t most = 0;
  for (const char* tendency : kTendencies) {
    auto count = counts->find(tendency);
    auto side = side_of(conflict, tendency, identity().id);
    if (count == counts->end() || !count->is_number_integer() || !side) continue;
    if (count->get<std::int64_t>() <= most) continue;
    most = count->get<std::int64_t>();
    conflict.suggested = *side;
  }
}

void Engine::remember_choice(const Conflict& conflict, std::size_t candidate) {
  Key key = choice_key(conflict);
  if (key.id.size() > model::kMaxName) return;
  auto row = records_.load(key.collection, key.id);
  model::Record record;
  if (row) record = records_.decode(*row);
  std::vector<model::Op> ops;
  for (const char* tendency : kTendencies) {
    if (side_of(conflict, tendency, identity().id) != candidate) continue;
    model::Op op;  // a counter's: see edit_counter
    op.path = model::child_path("", tendency);
    op.supersedes = model::Supersedes::own;
    std::int64_t total = 1;
    for (const model::Entry& entry : record.fields[op.path]) {
      bool own = entry.stamp.dot.device == identity().id && entry.value &&
                 entry.value->is_number_integer();
      if (own) total += entry.value->get<std::int64_t>();
    }
    op.value = total;
    ops.push_back(std::move(op));
  }
  write(key, std::move(ops));
}

void Engine::write_resolution(const Conflict& conflict, std::optional<std::size_t> candidate,
                              const std::optional<model::Json>& value, bool automatic) {
  std::string path = model::parse_path(conflict.path);
  Key key(conflict.collection, conflict.id);
  auto row = records_.load(key.collection, key.id);
  if (!row) return;  // purged: everybody has seen it go
  model::Record record = records_.decode(*row);
  std::vector<model::Op> ops(1);
  model::Op& op = ops[0];
  op.path = path;
  op.supersedes = model::Supersedes::listed;
  op.writes = superseded_by(conflict, candidate);
  if (value) op.value = *value;
  bool existence = path.empty() && conflict.type == ConflictType::update_delete;
  if (existence) {
    op.kind = value ? model::OpKind::keep : model::OpKind::remove;
    op.value = nullptr;
  } else if (path.empty()) {
    op.kind = model::OpKind::whole;
  } else if (is_lost_element(record, path, conflict)) {
    op.kind = value ? model::OpKind::set : model::OpKind::drop;
    if (value) {
      model::Json document = parse_stored(row->doc);
      model::Editing editing{record, records_.rules(key.collection), document, identity().id,
                             [this] { return new_key(); }};
      for (model::Op& placing : model::place_element(editing, path)) {
        // Settled by itself, it takes nothing away from what users wrote.
        if (automatic) placing.supersedes = model::Supersedes::listed;
        ops.push_back(std::move(placing));
      }
    }
  } else {
    op.kind = value ? model::OpKind::set : model::OpKind::unset;
  }
  if (automatic) {
    std::uint64_t picked = 0;
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
      if (!candidate || i == *candidate) picked = std::max(picked, conflict.candidates[i].clock);
    }
    for (model::Op& each : ops) {
      each.automatic = true;
      each.picked.value = picked;
    }
  }
  write(key, std::move(ops));
}

void Engine::resolve(const Conflict& conflict, std::optional<std::size_t> candidate,
                     const std::optional<model::Json>& value) {
  std::string path = model::parse_path(conflict.path);
  if (value && path.empty()) {
    model::check_document(*value);
  } else if (value) {
    model::check_field(*value, path);
  }
  std::vector<Dot> writes = superseded_by(conflict, candidate);
  Transaction transaction(*this);
  bool known =
      std::all_of(writes.begin(), writes.end(), [&](const Dot& dot) { return seen_.covers(dot); });
  if (!known || writes.empty()) {
    throw Error(ErrorCode::invalid_argument, "the conflict is not of this store: list them again");
  }
  write_resolution(conflict, candidate, value, false);
  if (path.empty() && value && conflict.type == ConflictType::update_delete) {
    // Keeping the record is one thing, what it says another: only a value of the user's own changes
    // it, and only what the user had seen.
    bool offered = std::any_of(conflict.candidates.begin(), conflict.candidates.end(),
                               [&](const Candidate& side) { return side.value == value; });
    if (!offered) put({conflict.collection, conflict.id}, *value, conflict.version, {});
  }
  if (candidate) remember_choice(conflict, *candidate);
  transaction.commit();
}

bool Engine::settle(const Conflict& conflict, const model::FieldRule& rule, std::int64_t now_ms) {
  auto users = std::count_if(conflict.candidates.begin(), conflict.candidates.end(),
                             [](const Candidate& side) { return !side.automatic; });
  if (users < 2) return false;  // what was settled by itself is not settled again
  auto function = custom_.find(conflict.collection);
  bool asks_the_app = rule.strategy == Strategy::custom && !conflict.pending;
  if (asks_the_app && function != custom_.end() && conflict.path != "$") {
    std::optional<model::Json> decided;
    try {
      decided = function->second(conflict);
      if (decided) model::check_field(*decided, model::parse_path(conflict.path));
    } catch (...) {  // whatever an app throws
      decided.reset();
    }
    if (decided) write_resolution(conflict, std::nullopt, decided, true);
    if (decided) return true;
  }
  if (!conflict.deadline_ms || *conflict.deadline_ms > now_ms) return false;
  std::size_t best = fallback_side(conflict, rule.fallback);
  std::optional<model::Json> value = conflict.candidates[best].value;
  if (rule.fallback == Strategy::merge && conflict.path != "$") {
    std::vector<const model::Json*> values;
    for (const Candidate& side : conflict.candidates) {
      if (side.value && &side != &conflict.candidates[best]) values.push_back(&*side.value);
    }
    if (value) values.push_back(&*value);
    std::optional<model::Json> merged = value;
    if (!values.empty()) merged = model::merge_values(values);
    try {
      if (merged) model::check_field(*merged, model::parse_path(conflict.path));
      value = std::move(merged);
    } catch (const Error&) {
      // Together they are too large: the side that ranks first it is.
    }
  }
  write_resolution(conflict, best, value, true);
  return true;
}

std::size_t Engine::settle() {
  Transaction transaction(*this);
  if (partly_received_) {
    transaction.commit();
    return 0;
  }
  records_.prune_history();
  std::int64_t now = environment_.clock->now_ms();
  std::size_t count = 0;
  for (const Records::Name& name : records_.in_conflict()) {
    const model::Rules& rules = records_.rules(name.collection);
    for (const Conflict& conflict : records_.conflicts(name.collection, name.id)) {
      count += settle(conflict, rules.at(model::parse_path(conflict.path)), now);
    }
  }
  transaction.commit();
  return count;
}

void Engine::set_custom(const std::string& collection, CustomStrategy function) {
  std::lock_guard lock(mutex_);
  if (function) {
    custom_[collection] = std::move(function);
  } else {
    custom_.erase(collection);
  }
}

}  // namespace holdfast::store
