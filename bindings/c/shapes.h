#pragma once

// The C++ values as the JSON that the C headers describe, and back.

#include <nlohmann/json.hpp>

#include "holdfast/conflict_resolver.h"
#include "holdfast/history.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/privacy_first_sync.h"
#include "holdfast/vault.h"

namespace holdfast::c {

using nlohmann::json;

std::string hex(const std::array<std::uint8_t, 16>& id);
std::string text_of(const Dot& change);  // "device:sequence"
Dot dot_of(const std::string& text);     // Error(invalid_argument)

json to_json(const Candidate& candidate);
json to_json(const Conflict& conflict);
json to_json(const Policy& policy);
json to_json(const Resolution& resolution);
json to_json(const QueryPlan& plan);
json to_json(const QueryChange& change);
json to_json(const MigrationReport& report);
json to_json(const PastChange& change);
json to_json(const SyncMetadata& state);
json to_json(const SyncProgress& progress);
json to_json(const SyncResult& result);
json to_json(const ApplyResult& result);
json to_json(const LocalChange& change);
json to_json(const BatchProblem& problem);
json to_json(const Device& device);
json to_json(const FieldChange& change);
json to_json(const AnonymizedDocument& document);
json to_json(const PermissionRequest& request);
json to_json(const Grant& grant);
json to_json(const SendResult& result);
json to_json(const QueuedEgress& egress);
json to_json(const LedgerEntry& entry);

template <typename T>
json all_to_json(const std::vector<T>& values) {
  json out = json::array();
  for (const T& value : values) out.push_back(to_json(value));
  return out;
}

Policy policy_of(const json& policy);
void read_metadata(const json& given, SyncMetadata& metadata);
LedgerEntry entry_of(const json& entry);
json package_to_json(const SyncPackage& package);
SyncPackage package_of(std::string_view text);

}  // namespace holdfast::c
