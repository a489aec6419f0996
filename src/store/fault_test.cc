// Every call to the disk fails, one after the other, once and for ever; so does every allocation.
// No call that returned is undone by it, and none that failed leaves half of its work.

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>

#include "holdfast/backup.h"
#include "src/store/test_store.h"

#ifdef HOLDFAST_SANITIZED
#define HOLDFAST_OWN_ALLOCATOR 0  // the sanitizer brings its own
#else
#define HOLDFAST_OWN_ALLOCATOR 1
#endif

namespace {

// Count down to the allocation that fails; 0 is off.
[[maybe_unused]] thread_local long allocations_left = 0;
thread_local long sqlite_left = 0;
thread_local bool fail_for_ever = false;
thread_local bool failed_once = false;

bool fails_now(long& left) {
  if (left == 0 || --left > 0) return false;
  failed_once = true;
  if (fail_for_ever) left = 1;
  return true;
}

sqlite3_mem_methods plain_methods;

void* failing_malloc(int size) {
  return fails_now(sqlite_left) ? nullptr : plain_methods.xMalloc(size);
}
void* failing_realloc(void* p, int size) {
  return fails_now(sqlite_left) ? nullptr : plain_methods.xRealloc(p, size);
}

// Before SQLite is first used.
const bool installed = [] {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain_methods);
  sqlite3_mem_methods methods = plain_methods;
  methods.xMalloc = failing_malloc;
  methods.xRealloc = failing_realloc;
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK;
}();

}  // namespace

#if HOLDFAST_OWN_ALLOCATOR
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // inlined, the pair is not seen as one
#endif
void* operator new(std::size_t size) {
  if (fails_now(allocations_left)) throw std::bad_alloc();
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
#endif

namespace holdfast::store {
namespace {

using Json = nlohmann::json;
using Contents = std::map<std::string, int>;

// A disk whose calls fail: the one that is counted down to, and with `for_ever` all after it.
class FailingFiles : public base::FileSystem {
 public:
  explicit FailingFiles(std::shared_ptr<base::MemoryFiles> files) : files_(std::move(files)) {}

  std::uint64_t left = 0;  // 0: off
  bool for_ever = false;
  bool only_writes = false;  // a full disk: reading and syncing go on
  bool failed = false;

  void call(bool writes) {
    if (left == 0 || (only_writes && !writes)) return;
    if (--left > 0) return;
    failed = true;
    if (for_ever) left = 1;
    throw Error(ErrorCode::io, "cannot do that: the disk failed");
  }

  std::unique_ptr<base::File> open(const std::string& path, Mode mode) override {
    call(mode == Mode::create && !files_->exists(path));
    auto file = files_->open(path, mode);
    if (!file) return nullptr;
    return std::make_unique<Handle>(*this, std::move(file));
  }
  bool exists(const std::string& path) override { return files_->exists(path); }
  void remove(const std::string& path) override {
    call(false);
    files_->remove(path);
  }
  bool rename_new(const std::string& from, const std::string& to) override {
    call(false);
    return files_->rename_new(from, to);
  }
  void rename_over(const std::string& from, const std::string& to) override {
    call(false);
    files_->rename_over(from, to);
  }
  std::string canonical(const std::string& path) override { return path; }

 private:
  class Handle : public base::File {
   public:
    Handle(FailingFiles& owner, std::unique_ptr<base::File> file)
        : owner_(owner), file_(std::move(file)) {}
    std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) override {
      owner_.call(false);
      return file_->read(offset, out);
    }
    void write(std::uint64_t offset, ByteView bytes) override {
      try {
        owner_.call(true);
      } catch (...) {
        file_->write(offset, bytes.first(bytes.size() / 3));  // it may have got that far
        throw;
      }
      file_->write(offset, bytes);
    }
    std::uint64_t size() override { return file_->size(); }
    void truncate(std::uint64_t size) override {
      owner_.call(false);
      file_->truncate(size);
    }
    void sync() override {
      owner_.call(false);
      file_->sync();
    }
    bool try_lock() override { return file_->try_lock(); }
    bool is_at(const std::string& path) override { return file_->is_at(path); }

   private:
    FailingFiles& owner_;
    std::unique_ptr<base::File> file_;
  };

  std::shared_ptr<base::MemoryFiles> files_;
};

// Does many things to a store, and knows what it may hold: one of several states after a call that
// failed, for that may have come too late to undo it.
struct Workload {
  explicit Workload(const base::Environment& environment) : environment_(environment) {}

  void run() {
    std::unique_ptr<EncryptedLocalStore> store;
    auto open = [&] {
      store.reset();
      StoreOptions options;
      options.environment = &environment_;
      options.cache_mib = 2;
      store = std::make_unique<EncryptedLocalStore>("test.db", FakeWorld::key(), options);
    };
    auto put = [](Contents& contents, const std::string& id, int n) { contents[id] = n; };
    attempt(open, [](Contents&) {});
    if (!store && !replay)
      attempt(open, [](Contents&) {});
    else
      ++attempts;
    if (!store && !replay) return;
    for (int n = 0; n < 4; ++n) {
      attempt([&] { store->store("a" + std::to_string(n), document(n)); },
              [&](Contents& c) { put(c, "a" + std::to_string(n), n); });
    }
    attempt(
        [&] {
          store->transaction([&] {
            for (int n = 0; n < 9; ++n) store->store("b" + std::to_string(n), document(n));
          });
        },
        [&](Contents& c) {
          for (int n = 0; n < 9; ++n) put(c, "b" + std::to_string(n), n);
        });
    // Where it saw none, it did nothing: a write that failed may still turn up later.
    bool nothing = outcomes && replay && outcomes[kRemovedNothing] != 0;
    attempt(
        [&] {
          nothing = !store->remove("a0");
          if (outcomes) outcomes[kRemovedNothing] = nothing ? 1 : 0;
        },
        [&](Contents& c) {
          if (!nothing) c.erase("a0");
        });
    attempt([&] { store->create_index("records", "$.n"); }, [](Contents&) {});
    attempt(
        [&] {
          if (store->collections().empty()) return;  // the query would be wrong
          store->query("SELECT id FROM records WHERE doc ->> '$.n' = 1");
        },
        [](Contents&) {});
    attempt([&] { store->verify(); }, [](Contents&) {});
    attempt([&] { store->add_key(FakeWorld::key(80)); }, [](Contents&) {});
    attempt([&] { store->store("c", document(3)); }, [&](Contents& c) { put(c, "c", 3); });
    attempt([&] { backup(*store, "backup", FakeWorld::key(81)); }, [](Contents&) {});
    attempt([&] { store->rekey(); }, [](Contents&) {});
    attempt([&] { store->store("d", document(4)); }, [&](Contents& c) { put(c, "d", 4); });
    attempt(open, [](Contents&) {});
    if (!store && !replay) return;
    attempt([&] { store->store("e", document(5)); }, [&](Contents& c) { put(c, "e", 5); });
  }

  void attempt(const std::function<void()>& work, const std::function<void(Contents&)>& effect) {
    bool done = false;
    std::size_t number = attempts++;
    if (outcomes && replay) {
      done = outcomes[number] == kDone;
    } else {
      done = perform(work);
      if (outcomes) outcomes[number] = done ? kDone : kFailed;
    }
    std::vector<Contents> after;
    for (Contents contents : possible) {
      if (!done) after.push_back(contents);
      effect(contents);
      after.push_back(std::move(contents));
    }
    possible = std::move(after);
  }

  bool perform(const std::function<void()>& work) {
    bool done = false;
    if (before_attempt) before_attempt();
    struct After {
      const std::function<void()>& hook;
      ~After() {
        if (hook) hook();
      }
    };
    try {
      After after{after_attempt};
      work();
      done = true;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::io || error.code() == ErrorCode::locked)
          << error_code_name(error.code()) << ": " << error.what();
      story += std::string(" ") + error.what();
    } catch (const std::bad_alloc&) {
      story += " no memory";
    }
    story += done ? " done;" : " failed;";
    return done;
  }

  static Json document(int n) { return {{"n", n}, {"t", std::string(300, 'f')}}; }

  base::Environment environment_;
  std::vector<Contents> possible{{}};
  std::string story;  // what became of each attempt
  enum Outcome : unsigned char { kUnknown, kDone, kFailed };
  static constexpr std::size_t kRemovedNothing = 100;  // in `outcomes`, behind the attempts
  unsigned char* outcomes = nullptr;  // of each attempt, where another process is to see them
  bool replay = false;                // take them from there, and do nothing
  std::size_t attempts = 0;
  std::function<void()> before_attempt;
  std::function<void()> after_attempt;
};

// What is there once the disk and the memory work again.
void check_on(const base::Environment& environment, const Workload& workload, std::uint64_t at) {
  bool there = environment.files->exists("test.db");
  Contents found;
  try {
    if (there) {
      StoreOptions options;
      options.environment = &environment;
      EncryptedLocalStore store("test.db", FakeWorld::key(), options);
      store.verify();
      store.for_each("records", [&](const std::string& id, const Json& document) {
        found[id] = document["n"].get<int>();
        return true;
      });
      store.store("works", {{"n", 1}});
    }
  } catch (const Error& error) {
    FAIL() << "at call " << at << ": " << error.what() << " after" << workload.story;
  }
  bool fits = std::find(workload.possible.begin(), workload.possible.end(), found) !=
              workload.possible.end();
  EXPECT_TRUE(fits) << "at call " << at << ": " << Json(found).dump() << " after" << workload.story;
}

void check(const std::shared_ptr<base::MemoryFiles>& files, const Workload& workload,
           std::uint64_t at) {
  for (auto& [path, content] : files->all()) content->locked = false;
  check_on({std::make_shared<base::FakeClock>(), std::make_shared<base::SeededRandom>(5), files,
            nullptr},
           workload, at);
}

void fail_each_call(bool for_ever, bool only_writes) {
  std::uint64_t calls = 0;
  for (std::uint64_t at = 1;; at += test_stride()) {
    auto memory = std::make_shared<base::MemoryFiles>();
    auto failing = std::make_shared<FailingFiles>(memory);
    failing->left = at;
    failing->for_ever = for_ever;
    failing->only_writes = only_writes;
    Workload workload({std::make_shared<base::FakeClock>(), std::make_shared<base::SeededRandom>(1),
                       failing, nullptr});
    workload.run();
    bool failed = failing->failed;
    failing->left = 0;
    check(memory, workload, at);
    if (!failed || ::testing::Test::HasFailure()) break;
    calls = at;
  }
  EXPECT_GT(calls, 50u);
  std::printf("%llu calls failed, one in each run\n", static_cast<unsigned long long>(calls));
}

TEST(Fault, EachCallToTheDiskFailsOnce) { fail_each_call(false, false); }
TEST(Fault, EachCallToTheDiskAndAllAfterItFail) { fail_each_call(true, false); }
TEST(Fault, TheDiskIsFullFromEachWriteOn) { fail_each_call(true, true); }

void fail_each_of_sqlites_allocations(bool for_ever) {
  ASSERT_TRUE(installed);
  long calls = 0;
  for (long at = 1;; at += static_cast<long>(test_stride()) * (at < 1000 ? 1 : 11)) {
    auto memory = std::make_shared<base::MemoryFiles>();
    Workload workload({std::make_shared<base::FakeClock>(), std::make_shared<base::SeededRandom>(1),
                       memory, nullptr});
    long armed = at;
    workload.before_attempt = [&] { sqlite_left = armed; };
    workload.after_attempt = [&] { armed = std::exchange(sqlite_left, 0); };
    failed_once = false;
    fail_for_ever = for_ever;
    workload.run();
    bool failed = failed_once;
    check(memory, workload, static_cast<std::uint64_t>(at));
    if (!failed || ::testing::Test::HasFailure()) break;
    calls = at;
  }
  EXPECT_GT(calls, 500);
  std::printf("SQLite's allocations up to number %ld failed\n", calls);
}

TEST(Fault, EachOfSQLitesAllocationsFailsOnce) { fail_each_of_sqlites_allocations(false); }
TEST(Fault, EachOfSQLitesAllocationsAndAllAfterItFail) { fail_each_of_sqlites_allocations(true); }

#if HOLDFAST_OWN_ALLOCATOR
// The JSON library ends the process where it has no memory to let go of a document with. So each
// run is a process of its own, on a real disk, and may end in any way: what it acknowledged must be
// there.
void fail_each_allocation(bool for_ever) {
  char folder[] = "/tmp/holdfast-fault-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  auto* outcomes = static_cast<unsigned char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(static_cast<void*>(outcomes), MAP_FAILED);
  long calls = 0;
  int ended = 0;
  for (long at = 1;; at += static_cast<long>(test_stride()) * (at < 100 ? 1 : 1 + at / 25)) {
    std::memset(outcomes, 0, 4096);
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::string before = std::filesystem::current_path();
    base::Environment environment{base::system_clock(), base::system_random(), base::system_files(),
                                  nullptr};
    pid_t child = fork();
    if (child == 0) {
      if (chdir(folder) != 0) _exit(3);
      std::freopen("/dev/null", "w", stderr);
      Workload workload(environment);
      workload.outcomes = outcomes;
      long armed = at;
      workload.before_attempt = [&] { allocations_left = armed; };
      workload.after_attempt = [&] { armed = std::exchange(allocations_left, 0); };
      failed_once = false;
      fail_for_ever = for_ever;
      workload.run();
      _exit(failed_once ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ended += WIFEXITED(status) ? 0 : 1;
    bool whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    ASSERT_EQ(chdir(folder), 0);
    Workload workload(environment);
    workload.outcomes = outcomes;
    workload.replay = true;
    workload.run();
    check_on(environment, workload, static_cast<std::uint64_t>(at));
    ASSERT_EQ(chdir(before.c_str()), 0);
    if (whole || ::testing::Test::HasFailure()) break;
    calls = at;
  }
  munmap(outcomes, 4096);
  std::filesystem::remove_all(folder);
  EXPECT_GT(calls, 500);
  std::printf("allocations up to number %ld failed; %d processes ended of it\n", calls, ended);
}

TEST(Fault, EachAllocationFailsOnce) { fail_each_allocation(false); }
TEST(Fault, EachAllocationAndAllAfterItFail) { fail_each_allocation(true); }
#endif

}  // namespace
}  // namespace holdfast::store
