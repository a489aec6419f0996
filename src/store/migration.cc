// Versions: the app's own, of its documents, and Holdfast's, of the tables.

#include "holdfast/encrypted_local_store.h"
#include "src/store/engine.h"
#include "src/store/schema.h"

namespace holdfast {
namespace {

constexpr std::string_view kAppVersion = "app_version";

struct DryRun {};  // leaves a transaction that is not to be kept

std::uint32_t app_version(store::Database& database) {
  std::optional<Bytes> stored = database.meta(kAppVersion);
  return stored ? base::Reader(*stored, "the app's version").u32() : 0;
}

}  // namespace

MigrationReport EncryptedLocalStore::migrate(const std::vector<Migration>& steps, bool dry_run) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].version == i + 1 && steps[i].run) continue;
    throw Error(ErrorCode::invalid_argument,
                "migrations must have the versions 1, 2, … and each a function");
  }
  MigrationReport report;
  report.to = static_cast<std::uint32_t>(steps.size());
  auto run = [&] {
    store::Database& database = engine_->database();
    report.from = app_version(database);
    if (report.from > report.to) {
      throw Error(ErrorCode::newer_version,
                  "the documents are of version " + std::to_string(report.from) +
                      ", and this app knows " + std::to_string(report.to) + ": update the app");
    }
    for (const Migration& step : steps) {
      if (step.version <= report.from) continue;
      step.run(*this);
      report.steps.push_back(step.name);
    }
    base::Writer version;
    version.u32(report.to);
    if (report.from != report.to) database.set_meta(kAppVersion, version.bytes());
    if (dry_run) throw DryRun();
  };
  try {
    transaction(run);
  } catch (const DryRun&) {
    // Rolled back, as it was meant to be.
  }
  return report;
}

MigrationReport EncryptedLocalStore::check_upgrade(const std::string& db_path,
                                                   const UserKey& user_key,
                                                   const StoreOptions& options) {
  StoreOptions existing = options;
  existing.open = StoreOptions::Open::existing;
  base::Environment environment =
      options.environment ? *options.environment : base::system_environment();
  MigrationReport report;
  store::Database::check_upgrade(db_path, user_key, existing, environment, report);
  return report;
}

}  // namespace holdfast
