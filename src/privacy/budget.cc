#include "src/privacy/budget.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/privacy/anonymizer.h"
#include "src/privacy/grants.h"
#include "src/wire/control.h"

namespace holdfast::privacy {
namespace {

using store::Engine;
using store::Statement;

std::string scope_of(const Use& use) { return use.destination + " " + use.purpose; }

wire::ControlState device_list(Engine& engine) {
  std::lock_guard lock(engine.mutex());
  wire::ControlState state;
  Statement query(
      engine.database().connection().prepare("SELECT body FROM control ORDER BY position"));
  while (query.step()) state.append(query.blob(0), wire::ControlState::Origin::stored);
  return state;
}

// Of a store that a backup was put into, and of all that join the vault that it founds.
bool came_from_backup(Engine& engine) {
  std::lock_guard lock(engine.mutex());
  std::optional<Bytes> mark = engine.database().meta(store::kCameFromBackup);
  return (mark && !mark->empty()) || engine.document_of({kPrivacyCollection, kNoBudget});
}

}  // namespace

std::optional<std::uint64_t> device_place(Engine& engine) {
  if (came_from_backup(engine)) return std::nullopt;
  wire::ControlState state = device_list(engine);
  if (state.empty()) return 0;
  auto own = state.devices().find(engine.identity().id);
  if (own == state.devices().end()) return std::nullopt;
  auto place = std::count_if(state.devices().begin(), state.devices().end(), [&](const auto& one) {
    return one.second.position < own->second.position;
  });
  return static_cast<std::uint64_t>(place);
}

bool is_removed(Engine& engine) {
  wire::ControlState state = device_list(engine);
  return !state.empty() && state.device(engine.identity().id) != nullptr &&
         state.member(engine.identity().id) == nullptr;
}

BudgetBook::BudgetBook(Engine& engine, const Use& use, std::int64_t day)
    : engine_(engine),
      budget_(use.budget.value_or(Budget{})),
      scope_(scope_of(use)),
      day_(day),
      place_(device_place(engine)) {}

std::int64_t BudgetBook::share(std::int64_t limit) const {
  bool has_one = place_ && *place_ < static_cast<std::uint64_t>(budget_.devices);
  return has_one ? limit / budget_.devices : 0;
}

std::int64_t BudgetBook::left_today() const {
  return std::max<std::int64_t>(share(budget_.per_day) - spent_today(), 0);
}
std::int64_t BudgetBook::left_ever() const {
  return std::max<std::int64_t>(share(budget_.lifetime) - spent_ever(), 0);
}

bool BudgetBook::is_overdrawn() const {
  return spent_today() > share(budget_.per_day) || spent_ever() > share(budget_.lifetime);
}

std::int64_t BudgetBook::spent(std::int64_t day) const {
  Statement query(engine_.database().connection().prepare(
      "SELECT spent FROM egress_budget WHERE scope = ? AND day = ?"));
  query.bind(scope_).bind(day);
  return query.step() ? query.integer(0) : 0;
}

void BudgetBook::add(std::int64_t day, std::int64_t micros) {
  Statement insert(engine_.database().connection().prepare(
      "INSERT INTO egress_budget VALUES(?, ?, ?) "
      "ON CONFLICT(scope, day) DO UPDATE SET spent = spent + excluded.spent"));
  insert.bind(scope_).bind(day).bind(micros).run();
}

bool BudgetBook::charge(std::int64_t micros) {
  if (micros == 0) return true;
  if (micros > left_today() || micros > left_ever()) return false;
  add(day_, micros);
  add(kAllDays, micros);
  return true;
}

NoiseBook::NoiseBook(Engine& engine, const Use& use)
    : engine_(engine), scope_(scope_of(use) + " " + use.data_type) {}

Json NoiseBook::noisy(const std::string& path, const FieldRule& rule, const Json& truth) {
  constexpr std::size_t kMostFields = 1000;
  if (used_.size() >= kMostFields) {
    throw Error(ErrorCode::too_large, "the data has more than 1000 fields that are randomised");
  }
  // Another rule is another question.
  std::string field = path + " " + rule.to_json().dump();
  Drawn drawn{base::sha256({base::view(truth.dump())}), "",
              micros_up(rule.epsilon).value_or(INT64_MAX / 2)};
  std::lock_guard lock(engine_.mutex());
  {
    Statement query(engine_.database().connection().prepare(
        "SELECT noisy FROM egress_noise WHERE scope = ? AND field = ? AND value = ? "
        "ORDER BY charged DESC"));
    query.bind(scope_).bind(field).bind(ByteView(drawn.value));
    if (query.step()) drawn.noisy = query.text(0);
  }
  if (drawn.noisy.empty()) {
    std::optional<Json> noisy = add_noise(rule, truth, *engine_.environment().random);
    if (!noisy) return Json();
    drawn.noisy = noisy->dump();
  }
  Json out = Json::parse(drawn.noisy);
  used_[field] = std::move(drawn);
  return out;
}

void NoiseBook::save() {
  base::Connection& connection = engine_.database().connection();
  Statement(connection.prepare("DELETE FROM egress_noise WHERE scope = ? AND charged = 0"))
      .bind(scope_)
      .run();
  for (const auto& [field, drawn] : used_) {
    if (is_charged(field, drawn)) continue;
    Statement insert(connection.prepare("INSERT INTO egress_noise VALUES(?, ?, ?, ?, 0)"));
    insert.bind(scope_).bind(field).bind(ByteView(drawn.value)).bind(drawn.noisy).run();
  }
}

bool NoiseBook::is_charged(const std::string& field, const Drawn& drawn) const {
  Statement query(engine_.database().connection().prepare(
      "SELECT 1 FROM egress_noise WHERE scope = ? AND field = ? AND value = ? AND noisy = ? AND "
      "charged = 1"));
  query.bind(scope_).bind(field).bind(ByteView(drawn.value)).bind(drawn.noisy);
  return query.step();
}

std::int64_t NoiseBook::cost() {
  std::int64_t sum = 0;
  for (const auto& [field, drawn] : used_) {
    if (!is_charged(field, drawn)) sum += drawn.micros;
  }
  return sum;
}

void NoiseBook::mark_charged() {
  base::Connection& connection = engine_.database().connection();
  for (const auto& [field, drawn] : used_) {
    Statement insert(
        connection.prepare("INSERT OR REPLACE INTO egress_noise VALUES(?, ?, ?, ?, 1)"));
    insert.bind(scope_).bind(field).bind(ByteView(drawn.value)).bind(drawn.noisy).run();
    Statement remove(connection.prepare(
        "DELETE FROM egress_noise WHERE scope = ? AND field = ? AND charged = 0"));
    remove.bind(scope_).bind(field).run();
  }
}

}  // namespace holdfast::privacy
