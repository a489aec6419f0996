// The same SQL on plain SQLite and on an encrypted one, turn by turn in one process: prints a line
// "WORK CACHE_MB PLAIN_SECONDS SEALED_SECONDS" for each work and round. bench/peers builds it three
// times: over Holdfast's VFS (the system's SQLite), SQLCipher, and SQLite3MultipleCiphers.
//
//   sql_bench FOLDER ROUNDS [PRAGMA…]     the pragmas turn a peer's encryption on

#include <sqlite3.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#ifdef HOLDFAST_BENCH
#include "src/store/database.h"
#endif

namespace {

constexpr int kRows = 40'000;

[[noreturn]] void fail(sqlite3* db, const char* what) {
  std::fprintf(stderr, "sql_bench: %s: %s\n", what, sqlite3_errmsg(db));
  std::exit(1);
}

// A database under test, plain or sealed.
class Base {
 public:
  Base(const std::string& path, bool sealed, int cache_mib, const std::vector<std::string>& keys) {
#ifdef HOLDFAST_BENCH
    if (sealed) {
      using namespace holdfast;
      StoreOptions options;
      options.cache_mib = static_cast<std::size_t>(cache_mib);
      store_ = std::make_unique<store::Database>(path, UserKey::raw(Bytes(32, 7)), options,
                                                 base::system_environment());
      db_ = store_->connection().handle();
    }
#endif
    if (!db_) {
      if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) fail(db_, "open");
      own_ = true;
      if (sealed) {
        for (const std::string& key : keys) run(("PRAGMA " + key).c_str());
      }
      run("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
          "PRAGMA temp_store = MEMORY");
      run(("PRAGMA cache_size = -" + std::to_string(cache_mib * 1024)).c_str());
    }
    run("PRAGMA wal_autocheckpoint = 0");  // checkpoints are timed by themselves
    run("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, n INTEGER, doc TEXT);"
        "CREATE INDEX IF NOT EXISTS t_n ON t(n)");
  }
  ~Base() {
    for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
    if (own_) sqlite3_close(db_);
  }
  Base(const Base&) = delete;
  Base& operator=(const Base&) = delete;

  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(db_, sql);
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) fail(db_, sql);
    statements_.push_back(statement);
    return statement;
  }
  void step(sqlite3_stmt* statement) {
    int code = 0;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    }
    if (code != SQLITE_DONE) fail(db_, "step");
    sqlite3_reset(statement);
  }

 private:
  sqlite3* db_ = nullptr;
  bool own_ = false;
  std::vector<sqlite3_stmt*> statements_;
#ifdef HOLDFAST_BENCH
  std::unique_ptr<holdfast::store::Database> store_;
#endif
};

double timed(const std::function<void()>& work) {
  auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string document(int i) {
  return "{\"name\":\"Person " + std::to_string(i) + "\",\"age\":" + std::to_string(i % 90) +
         ",\"note\":\"" + std::string(340, static_cast<char>('a' + i % 26)) + "\"}";
}

struct Work {
  const char* name;
  std::function<void(Base&)> run;
};

void insert(Base& base, int first, int count, int in_one) {
  sqlite3_stmt* add = base.prepare("INSERT INTO t VALUES(?, ?, ?)");
  for (int i = first; i < first + count; ++i) {
    if (in_one > 1 && (i - first) % in_one == 0) base.run("BEGIN");
    std::string text = document(i);
    sqlite3_bind_int(add, 1, i);
    sqlite3_bind_int(add, 2, static_cast<int>((i * 7919L) % kRows));
    sqlite3_bind_text(add, 3, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    base.step(add);
    if (in_one > 1 && ((i - first) % in_one == in_one - 1 || i + 1 == first + count)) {
      base.run("COMMIT");
    }
  }
}

std::vector<Work> works() {
  return {
      {"insert_100_a_transaction", [](Base& base) { insert(base, 0, kRows, 100); }},
      {"checkpoint", [](Base& base) { base.run("PRAGMA wal_checkpoint(PASSIVE)"); }},
      {"insert_one_a_transaction", [](Base& base) { insert(base, kRows, 4000, 1); }},
      {"update_20000",
       [](Base& base) {
         sqlite3_stmt* update = base.prepare("UPDATE t SET doc = ? WHERE id = ?");
         base.run("BEGIN");
         for (int i = 0; i < 20'000; ++i) {
           std::string text = document(i + 1);
           sqlite3_bind_text(update, 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
           sqlite3_bind_int(update, 2, static_cast<int>((i * 7919L) % kRows));
           base.step(update);
         }
         base.run("COMMIT");
         base.run("PRAGMA wal_checkpoint(TRUNCATE)");
       }},
      {"point_read",
       [](Base& base) {
         sqlite3_stmt* read = base.prepare("SELECT doc FROM t WHERE id = ?");
         for (int i = 0; i < 60'000; ++i) {
           sqlite3_bind_int(read, 1, static_cast<int>((i * 7919L) % kRows));
           base.step(read);
         }
       }},
      {"index_range",
       [](Base& base) {
         sqlite3_stmt* read =
             base.prepare("SELECT sum(length(doc)) FROM t WHERE n BETWEEN ? AND ?");
         for (int i = 0; i < 300; ++i) {
           sqlite3_bind_int(read, 1, i * 100);
           sqlite3_bind_int(read, 2, i * 100 + 200);
           base.step(read);
         }
       }},
      {"json_scan",
       [](Base& base) {
         sqlite3_stmt* read =
             base.prepare("SELECT count(*) FROM t WHERE json_extract(doc, '$.age') = ?");
         for (int i = 0; i < 3; ++i) {
           sqlite3_bind_int(read, 1, i);
           base.step(read);
         }
       }},
  };
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::string folder = argv[1];
  int rounds = std::atoi(argv[2]);
  std::vector<std::string> keys(argv + 3, argv + argc);
  for (int cache : {2, 64}) {
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::vector<double>> seconds(2);
      double open[2];
      std::uintmax_t size[2];
      for (int turn = 0; turn < 2; ++turn) {
        int sealed = (turn + round) % 2;  // who goes first changes
        std::string path = folder + (sealed ? "/sealed.db" : "/plain.db");
        for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
        {
          Base base(path, sealed != 0, cache, keys);
          for (const Work& work : works()) {
            seconds[static_cast<std::size_t>(sealed)].push_back(timed([&] { work.run(base); }));
          }
        }
        size[sealed] = std::filesystem::file_size(path);
        open[sealed] = timed([&] {
          Base base(path, sealed != 0, cache, keys);
          base.step(base.prepare("SELECT doc FROM t WHERE id = 5"));
        });
      }
      std::size_t i = 0;
      for (const Work& work : works()) {
        std::printf("%s %d %.6f %.6f\n", work.name, cache, seconds[0][i], seconds[1][i]);
        ++i;
      }
      std::printf("open %d %.6f %.6f\n", cache, open[0], open[1]);
      std::printf("file_size %d %ju %ju\n", cache, size[0], size[1]);
      std::fflush(stdout);
    }
  }
}
