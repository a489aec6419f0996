// Import and point read, each beside plain SQLite doing the same row work: the same table, index,
// page size and pragmas, the same 400-byte documents, in the same run. Prints the ratios at the
// end.
//
//   cmake --preset dev && cmake --build --preset dev
//   build/dev/bin/store_bench [--benchmark_repetitions=5]

#include <benchmark/benchmark.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "holdfast/encrypted_local_store.h"

namespace {

using nlohmann::json;

constexpr int kRecords = 20'000;

std::string folder() {
  static const std::string path = [] {
    auto out =
        std::filesystem::temp_directory_path() / ("holdfast-bench-" + std::to_string(getpid()));
    std::filesystem::create_directories(out);
    return out.string();
  }();
  return path;
}

std::string id_of(int i) { return "record-" + std::to_string(i); }

json document_of(int i) {
  return {{"name", "Person " + std::to_string(i)},
          {"age", i % 90},
          {"tags", {"a", "b"}},
          {"email", "person" + std::to_string(i) + "@example.org"},
          {"note", std::string(300, static_cast<char>('a' + i % 26))}};
}

// What the store writes for a record, by plain SQLite: the row, its index, and the change to be
// sent.
class Plain {
 public:
  explicit Plain(const std::string& path) {
    sqlite3_open(path.c_str(), &db_);
    run("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY");
    run("CREATE TABLE IF NOT EXISTS record(num INTEGER PRIMARY KEY, collection INTEGER NOT NULL,"
        "id TEXT NOT NULL, alive INTEGER, doc TEXT NOT NULL, created_ms INTEGER, updated_ms "
        "INTEGER,"
        "conflicts INTEGER, pending INTEGER, state BLOB);"
        "CREATE UNIQUE INDEX IF NOT EXISTS record_by_id ON record(collection, id);"
        "CREATE TABLE IF NOT EXISTS change(sequence INTEGER PRIMARY KEY, body BLOB NOT NULL)");
    sqlite3_prepare_v2(db_,
                       "INSERT INTO record(collection, id, alive, doc, created_ms, updated_ms,"
                       "conflicts, pending, state) VALUES(1, ?, 1, ?, 1, 1, 0, 0, ?)",
                       -1, &insert_, nullptr);
    sqlite3_prepare_v2(db_, "INSERT INTO change(body) VALUES(?)", -1, &change_, nullptr);
    sqlite3_prepare_v2(db_, "SELECT doc FROM record WHERE collection = 1 AND id = ?", -1, &select_,
                       nullptr);
  }
  ~Plain() {
    for (sqlite3_stmt* statement : {insert_, change_, select_}) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) std::abort();
  }
  void put(const std::string& id, const json& document) {
    std::string text = document.dump();
    sqlite3_bind_text(insert_, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
    sqlite3_bind_text(insert_, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    sqlite3_bind_zeroblob(insert_, 3, 16);
    sqlite3_step(insert_);
    sqlite3_reset(insert_);
    pending_ += text + id;
    if (pending_.size() > 256 * 1024) flush();
  }
  void flush() {
    sqlite3_bind_blob(change_, 1, pending_.data(), static_cast<int>(pending_.size()),
                      SQLITE_STATIC);
    sqlite3_step(change_);
    sqlite3_reset(change_);
    pending_.clear();
  }
  json get(const std::string& id) {
    sqlite3_bind_text(select_, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
    sqlite3_step(select_);
    json out = json::parse(reinterpret_cast<const char*>(sqlite3_column_text(select_, 0)));
    sqlite3_reset(select_);
    return out;
  }

 private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* change_ = nullptr;
  sqlite3_stmt* select_ = nullptr;
  std::string pending_;
};

holdfast::EncryptedLocalStore open_store(const std::string& path) {
  std::vector<std::uint8_t> key(32, 7);
  holdfast::StoreOptions options;
  options.cache_mib = 64;
  return holdfast::EncryptedLocalStore(path, holdfast::UserKey::raw(key), options);
}

void remove(const std::string& path) {
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
}

void import_holdfast(benchmark::State& state) {
  std::string path = folder() + "/import.hf";
  for (auto _ : state) {
    remove(path);
    auto store = open_store(path);
    store.transaction([&] {
      for (int i = 0; i < kRecords; ++i) store.store(id_of(i), document_of(i));
    });
  }
  state.SetItemsProcessed(state.iterations() * kRecords);
}

void import_sqlite(benchmark::State& state) {
  std::string path = folder() + "/import.db";
  for (auto _ : state) {
    remove(path);
    Plain plain(path);
    plain.run("BEGIN");
    for (int i = 0; i < kRecords; ++i) plain.put(id_of(i), document_of(i));
    plain.flush();
    plain.run("COMMIT");
  }
  state.SetItemsProcessed(state.iterations() * kRecords);
}

void read_holdfast(benchmark::State& state) {
  auto store = open_store(folder() + "/import.hf");
  int i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(store.retrieve(id_of(i)));
    i = (i + 7919) % kRecords;
  }
  state.SetItemsProcessed(state.iterations());
}

void read_sqlite(benchmark::State& state) {
  Plain plain(folder() + "/import.db");
  int i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(plain.get(id_of(i)));
    i = (i + 7919) % kRecords;
  }
  state.SetItemsProcessed(state.iterations());
}

// Prints what Google Benchmark prints, and remembers the rates.
class Reporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      auto rate = run.counters.find("items_per_second");
      if (rate != run.counters.end()) rates[run.run_name.function_name].push_back(rate->second);
    }
  }
  double median(const std::string& name) {
    auto& all = rates[name];
    if (all.empty()) return 0;
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  }
  std::map<std::string, std::vector<double>> rates;
};

}  // namespace

BENCHMARK(import_sqlite)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(2);
BENCHMARK(import_holdfast)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(2);
BENCHMARK(read_sqlite)->UseRealTime();
BENCHMARK(read_holdfast)->UseRealTime();

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  for (const char* work : {"import", "read"}) {
    double ours = reporter.median(std::string(work) + "_holdfast");
    double plain = reporter.median(std::string(work) + "_sqlite");
    if (ours > 0 && plain > 0) {
      std::printf("%-7s %9.0f records a second, plain SQLite %9.0f: %.2f times its time\n", work,
                  ours, plain, plain / ours);
    }
  }
  std::filesystem::remove_all(folder());
}
