#include "bindings/c/shapes.h"

#include <sodium.h>

#include "bindings/c/objects.h"

namespace holdfast::c {
namespace {

void add_if_there(json& object, const char* name, const std::optional<json>& value) {
  if (value) object[name] = *value;
}

}  // namespace

std::string hex(const std::array<std::uint8_t, 16>& id) {
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (std::uint8_t byte : id) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

std::string text_of(const Dot& change) {
  return hex(change.device) + ":" + std::to_string(change.sequence);
}

Dot dot_of(const std::string& text) {
  std::size_t colon = text.find(':');
  std::string digits = colon == text.npos ? "" : text.substr(colon + 1);
  if (digits.empty() || digits.size() > 19 ||
      digits.find_first_not_of("0123456789") != digits.npos) {
    throw Error(ErrorCode::invalid_argument,
                "a change is named by a device's id, a colon and a number, as the history has it");
  }
  return {id_of(text.substr(0, colon)), std::stoull(digits)};
}

json to_json(const Candidate& candidate) {
  json out = {{"device", hex(candidate.device)},
              {"time_ms", candidate.time_ms},
              {"priority", candidate.priority},
              {"automatic", candidate.automatic}};
  add_if_there(out, "value", candidate.value);
  return out;
}

json to_json(const Conflict& conflict) {
  json out = {{"collection", conflict.collection},
              {"id", conflict.id},
              {"path", conflict.path},
              {"type", conflict_type_name(conflict.type)},
              {"candidates", all_to_json(conflict.candidates)},
              {"visible", conflict.visible},
              {"merged", conflict.merged},
              {"pending", conflict.pending},
              {"suggested", conflict.suggested}};
  add_if_there(out, "shown", conflict.shown);
  if (conflict.deadline_ms) out["deadline_ms"] = *conflict.deadline_ms;
  return out;
}

json to_json(const Policy& policy) {
  return {{"collection", policy.collection},
          {"path", policy.path},
          {"strategy", strategy_name(policy.strategy)},
          {"type", field_type_name(policy.type)},
          {"critical", policy.critical},
          {"deadline_ms", policy.deadline_ms},
          {"fallback", strategy_name(policy.fallback)},
          {"whole_records", policy.whole_records},
          {"delete_wins", policy.delete_wins}};
}

namespace {

void read_strategy(const json& object, const char* name, Strategy& strategy) {
  std::string text = strategy_name(strategy);
  read(object, name, text);
  auto found = strategy_from_name(text);
  if (!found) throw Error(ErrorCode::invalid_argument, "there is no strategy " + text);
  strategy = *found;
}

}  // namespace

Policy policy_of(const json& policy) {
  Policy out;
  read(policy, "collection", out.collection);
  read(policy, "path", out.path);
  read_strategy(policy, "strategy", out.strategy);
  std::string type = field_type_name(out.type);
  read(policy, "type", type);
  auto found = field_type_from_name(type);
  if (!found) throw Error(ErrorCode::invalid_argument, "there is no type of fields " + type);
  out.type = *found;
  read(policy, "critical", out.critical);
  read(policy, "deadline_ms", out.deadline_ms);
  read_strategy(policy, "fallback", out.fallback);
  read(policy, "whole_records", out.whole_records);
  read(policy, "delete_wins", out.delete_wins);
  return out;
}

json to_json(const Resolution& resolution) {
  json lineage = json::array();
  for (const Lineage& field : resolution.lineage) {
    lineage.push_back({{"path", field.path}, {"candidates", all_to_json(field.candidates)}});
  }
  json out = {{"type", conflict_type_name(resolution.type)},
              {"needs_user", resolution.needs_user},
              {"lineage", lineage}};
  add_if_there(out, "value", resolution.value);
  return out;
}

json to_json(const QueryPlan& plan) {
  json steps = json::array();
  for (const QueryStep& step : plan.steps) {
    steps.push_back(
        {{"detail", step.detail}, {"scans", step.scans}, {"collection", step.collection}});
  }
  return {{"scans", plan.scans()}, {"steps", steps}};
}

json to_json(const QueryChange& change) {
  return {{"added", change.added}, {"removed", change.removed}, {"rows", change.rows}};
}

json to_json(const MigrationReport& report) {
  return {{"from", report.from}, {"to", report.to}, {"steps", report.steps}};
}

json to_json(const PastChange& change) {
  json values = json::array();
  for (const PastValue& value : change.values) {
    json one = {{"path", value.path}, {"device", hex(value.device)}, {"time_ms", value.time_ms}};
    add_if_there(one, "value", value.value);
    add_if_there(one, "by", value.by);
    values.push_back(std::move(one));
  }
  return {{"change", text_of(change.change)},
          {"time_ms", change.time_ms},
          {"created", change.created},
          {"deleted", change.deleted},
          {"values", values}};
}

json to_json(const SyncMetadata& state) {
  return {{"state", sync_state_name(state.state)},
          {"last_sync_timestamp", state.last_sync_timestamp},
          {"items_synced", state.items_synced},
          {"conflicts_resolved", state.conflicts_resolved},
          {"sync_duration_ms", state.sync_duration_ms},
          {"error_message", state.error_message},
          {"network_type", state.network_type}};
}

void read_metadata(const json& given, SyncMetadata& metadata) {
  auto items = static_cast<std::int64_t>(metadata.items_synced);
  auto resolved = static_cast<std::int64_t>(metadata.conflicts_resolved);
  read(given, "last_sync_timestamp", metadata.last_sync_timestamp);
  read(given, "items_synced", items);
  read(given, "conflicts_resolved", resolved);
  read(given, "sync_duration_ms", metadata.sync_duration_ms);
  read(given, "error_message", metadata.error_message);
  read(given, "network_type", metadata.network_type);
  if (items < 0 || resolved < 0) {
    throw Error(ErrorCode::invalid_argument, "a count cannot be negative");
  }
  metadata.items_synced = static_cast<std::uint64_t>(items);
  metadata.conflicts_resolved = static_cast<std::uint64_t>(resolved);
}

json to_json(const SyncProgress& progress) {
  return {{"phase", sync_phase_name(progress.phase)},
          {"items", progress.items},
          {"total", progress.total},
          {"bytes", progress.bytes},
          {"remaining_ms", progress.remaining_ms.value_or(-1)}};
}

json to_json(const SyncResult& result) {
  return {{"state", sync_state_name(result.state)},
          {"applied", result.applied},
          {"sent", result.sent},
          {"conflicts_pending", result.conflicts_pending},
          {"duration_ms", result.duration_ms},
          {"error", result.error ? json(error_code_name(*result.error)) : json(nullptr)},
          {"message", result.message},
          {"waiting", result.waiting},
          {"rejected", result.rejected},
          {"notices", result.notices}};
}

json to_json(const ApplyResult& result) {
  return {{"applied", result.applied},
          {"waiting", result.waiting},
          {"conflicts", all_to_json(result.conflicts)},
          {"rejected", result.rejected}};
}

json to_json(const LocalChange& change) {
  return {{"sequence", change.sequence},
          {"time_ms", change.time_ms},
          {"collection", change.collection},
          {"id", change.id},
          {"path", change.path},
          {"kind", change.kind}};
}

json to_json(const BatchProblem& problem) {
  return {{"kind", batch_problem_name(problem.kind)},
          {"position", problem.position},
          {"device", problem.device},
          {"reason", problem.reason}};
}

json to_json(const Device& device) {
  return {{"id", hex(device.id)},
          {"name", device.name},
          {"kind", device.kind},
          {"added_by", device.added_by},
          {"by_recovery", device.by_recovery},
          {"this_device", device.this_device},
          {"state", device_state_name(device.state)},
          {"last_seen_ms", device.last_seen_ms},
          {"revoked_by", device.revoked_by}};
}

json to_json(const FieldChange& change) {
  json out = {{"path", change.path}, {"action", change.action}, {"before", change.before}};
  add_if_there(out, "after", change.after);
  return out;
}

json to_json(const AnonymizedDocument& document) {
  return {{"document", document.document}, {"changes", all_to_json(document.changes)}};
}

json to_json(const PermissionRequest& request) {
  return {{"data_type", request.data_type},     {"data_type_text", request.data_type_text},
          {"purpose", request.purpose},         {"purpose_text", request.purpose_text},
          {"destination", request.destination}, {"controller", request.controller},
          {"contact", request.contact},         {"jurisdiction", request.jurisdiction},
          {"linked", request.linked},           {"until_ms", request.until_ms},
          {"preview", request.preview},         {"fields", all_to_json(request.fields)}};
}

json to_json(const Grant& grant) {
  return {{"id", grant.id},
          {"data_type", grant.data_type},
          {"purpose", grant.purpose},
          {"destination", grant.destination},
          {"policy_hash", grant.policy_hash},
          {"given_ms", grant.given_ms},
          {"until_ms", grant.until_ms},
          {"device", grant.device},
          {"state", grant_state_name(grant.state)}};
}

json to_json(const SendResult& result) {
  return {{"status", send_status_name(result.status)},
          {"reason", result.reason},
          {"message", result.message},
          {"egress", result.egress}};
}

json to_json(const QueuedEgress& egress) {
  return {{"egress", egress.egress},           {"grant", egress.grant},
          {"data_type", egress.data_type},     {"purpose", egress.purpose},
          {"destination", egress.destination}, {"next_attempt_ms", egress.next_attempt_ms},
          {"attempts", egress.attempts}};
}

json to_json(const LedgerEntry& entry) {
  json out = {{"index", entry.index},
              {"entry", entry.entry},
              {"salt", entry.salt},
              {"commitment", entry.commitment}};
  add_if_there(out, "payload", entry.payload);
  return out;
}

LedgerEntry entry_of(const json& entry) {
  LedgerEntry out;
  std::int64_t index = -1;
  read(entry, "index", index);
  if (index < 0) throw Error(ErrorCode::invalid_argument, "a ledger's entry has an index");
  out.index = static_cast<std::uint64_t>(index);
  out.entry = entry.value("entry", json());
  read(entry, "salt", out.salt);
  read(entry, "commitment", out.commitment);
  return out;
}

json package_to_json(const SyncPackage& package) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  json out = json::array();
  for (const auto& batch : package) {
    std::string text(sodium_base64_encoded_len(batch.size(), kVariant), '\0');
    sodium_bin2base64(text.data(), text.size(), batch.data(), batch.size(), kVariant);
    text.pop_back();  // its NUL
    out.push_back(std::move(text));
  }
  return out;
}

SyncPackage package_of(std::string_view text) {
  // Anything but texts in one array is refused before memory goes into it.
  constexpr std::size_t kShortest = 64;  // no batch is
  auto is_flat = [](int depth, json::parse_event_t event, json& value) {
    bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    bool is_batch = event != json::parse_event_t::value ||
                    (value.is_string() && value.get_ref<const std::string&>().size() >= kShortest);
    if (depth > 0 && (opens || !is_batch)) {
      throw Error(ErrorCode::malformed, "this is no package of a sync");
    }
    return true;
  };
  json array = json::parse(text, is_flat, false);
  SyncPackage out;
  bool good = array.is_array();
  for (const json& one : array) {
    good = good && one.is_string();
    if (!good) break;
    const auto& encoded = one.get_ref<const std::string&>();
    std::vector<std::uint8_t> batch(encoded.size() / 4 * 3 + 3);
    std::size_t size = 0;
    const char* end = nullptr;
    good = sodium_base642bin(batch.data(), batch.size(), encoded.data(), encoded.size(), nullptr,
                             &size, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           end == encoded.data() + encoded.size();
    batch.resize(size);
    out.push_back(std::move(batch));
  }
  if (!good) throw Error(ErrorCode::malformed, "this is no package of a sync");
  return out;
}

}  // namespace holdfast::c
