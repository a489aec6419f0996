#pragma once

// A store over fakes, for tests.

#include <cstdlib>

#include "src/base/fakes.h"
#include "src/store/engine.h"

namespace holdfast::store {

// What takes the tables back to those of the first release.
constexpr const char* kToFirstTables =
    "BEGIN; DROP TABLE query_index; DROP TABLE sqlite_stat1; DROP TABLE pending;"
    "DROP TABLE history; DROP TABLE batch; DROP INDEX record_with_hidden;"
    "DROP TABLE lost; DROP TABLE loose; DROP TABLE claim; DROP TABLE former_log;"
    "DROP TABLE checkpoint; DROP TABLE checkpoint_chunk; DROP TABLE stub; DROP TABLE lost_place;"
    "DROP TABLE egress_key; DROP TABLE egress_queue; DROP TABLE grant_end;"
    "DROP TABLE egress_budget; DROP TABLE egress_noise; DROP TABLE ledger; DROP TABLE ledger_node;"
    "ALTER TABLE log DROP COLUMN leaf; ALTER TABLE log DROP COLUMN batch;"
    "ALTER TABLE record DROP COLUMN hidden; ALTER TABLE outbox DROP COLUMN acknowledged;"
    "ALTER TABLE device DROP COLUMN closed; ALTER TABLE device DROP COLUMN last_seen_ms;"
    "UPDATE meta SET value = x'0100000000000000' WHERE name = 'schema'; COMMIT";

struct FakeWorld {
  explicit FakeWorld(std::uint64_t seed = 1)
      : clock(std::make_shared<base::FakeClock>()),
        random(std::make_shared<base::SeededRandom>(seed)),
        files(std::make_shared<base::MemoryFiles>()),
        environment{clock, random, files, nullptr} {}

  static UserKey key(std::uint8_t fill = 7) { return UserKey::raw(Bytes(32, fill)); }
  StoreOptions options(StoreOptions::Open open = StoreOptions::Open::or_create) const {
    StoreOptions out;
    out.open = open;
    out.environment = &environment;
    out.cache_mib = 2;
    out.checkpoint_bytes = checkpoint_bytes;
    return out;
  }
  EncryptedLocalStore open(const std::string& path = "test.db") const {
    return EncryptedLocalStore(path, key(), options());
  }
  void cut_power() { environment.files = files = files->after_power_cut(); }

  std::uint64_t checkpoint_bytes = StoreOptions().checkpoint_bytes;
  std::shared_ptr<base::FakeClock> clock;
  std::shared_ptr<base::SeededRandom> random;
  std::shared_ptr<base::MemoryFiles> files;
  base::Environment environment;
};

// Long programmes look at every so manyth case: HOLDFAST_TEST_STRIDE, by default all.
inline std::uint64_t test_stride() {
  const char* set = std::getenv("HOLDFAST_TEST_STRIDE");
  return set ? std::max<std::uint64_t>(std::strtoull(set, nullptr, 10), 1) : 1;
}

// The code of the Error that `work` throws; fails the test where it throws none.
template <typename Work>
ErrorCode code_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  throw std::runtime_error("no Error was thrown");
}

}  // namespace holdfast::store
