// The rules that a VFS which seals must keep, one test each. Each was broken by a known
// implementation.

#include "src/store/vfs.h"

#include <gtest/gtest.h>

#include <thread>

#include "src/store/page_file.h"
#include "src/store/store_files.h"
#include "src/store/test_store.h"
#include "src/store/wal_file.h"

namespace holdfast::store {
namespace {

constexpr std::size_t kWalFirstFrame = 1024;
constexpr std::size_t kWalFrame = 24 + 4096 + 24;

struct Opened {
  Opened() : store(world.open()) {}
  Connection& sql() {
    store::Database& database = store.engine().database();
    database.set_guard(nullptr);  // of one thread
    return database.connection();
  }
  std::string pragma(const char* name) {
    Statement query(sql().prepare(name));
    return query.step() ? std::string(query.text(0)) : "";
  }
  Bytes& file() { return world.files->content("test.db"); }
  Bytes& log() { return world.files->content("test.db-wal"); }
  FakeWorld world;
  EncryptedLocalStore store;
};

// Counts what is done to each file.
class CountingFiles : public base::FileSystem {
 public:
  struct Counts {
    int reads = 0;
    int writes = 0;
  };
  explicit CountingFiles(std::shared_ptr<base::MemoryFiles> files) : files_(std::move(files)) {}
  std::map<std::string, Counts> counts;

  std::unique_ptr<base::File> open(const std::string& path, Mode mode) override {
    opened.insert(path);
    auto file = files_->open(path, mode);
    if (!file) return nullptr;
    return std::make_unique<Handle>(counts[path], std::move(file));
  }
  bool exists(const std::string& path) override { return files_->exists(path); }
  void remove(const std::string& path) override { files_->remove(path); }
  bool rename_new(const std::string& from, const std::string& to) override {
    return files_->rename_new(from, to);
  }
  void rename_over(const std::string& from, const std::string& to) override {
    files_->rename_over(from, to);
  }
  std::string canonical(const std::string& path) override { return path; }
  std::set<std::string> opened;

 private:
  struct Handle : base::File {
    Handle(Counts& in_counts, std::unique_ptr<base::File> in_file)
        : counts(in_counts), file(std::move(in_file)) {}
    std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) override {
      ++counts.reads;
      return file->read(offset, out);
    }
    void write(std::uint64_t offset, ByteView bytes) override {
      ++counts.writes;
      file->write(offset, bytes);
    }
    std::uint64_t size() override { return file->size(); }
    void truncate(std::uint64_t size) override { file->truncate(size); }
    void sync() override { file->sync(); }
    bool try_lock() override { return file->try_lock(); }
    bool is_at(const std::string& path) override { return file->is_at(path); }
    Counts& counts;
    std::unique_ptr<base::File> file;
  };
  std::shared_ptr<base::MemoryFiles> files_;
};

TEST(Vfs, Rule1SQLiteSeesItsReservedBytesAsZerosAndItsBuffersAsItLeftThem) {
  PageCodec codec(Bytes(32, 1), {}, std::make_shared<base::SeededRandom>(1));
  Bytes page(kPageSize, 5);
  std::fill(page.end() - kReserved, page.end(), std::uint8_t{0});
  const Bytes before = page;
  Bytes sealed(kPageSize);
  ASSERT_TRUE(codec.seal(3, page.data(), sealed.data()));
  EXPECT_EQ(page, before);
  Bytes opened(kPageSize, 9);
  PageOpener opener(codec);
  ASSERT_TRUE(opener.open(3, sealed.data(), opened.data()));
  EXPECT_EQ(opened, before);
  for (std::size_t at = kPlainSize; at < kPageSize; ++at) {
    page[at] = 1;
    EXPECT_FALSE(codec.seal(3, page.data(), sealed.data())) << at;
    page[at] = 0;
  }
}

TEST(Vfs, Rule2FrameHeadersAreMaskedByPlaceAndThereIsNoRollbackJournal) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  opened.store.store("a", {{"n", 1}, {"m", 2}});
  // SQLite's salts are the same in every frame of a log; on disk no two are alike.
  std::set<Bytes> masked;
  std::size_t frames = (opened.log().size() - kWalFirstFrame) / kWalFrame;
  ASSERT_GT(frames, 3u);
  for (std::size_t i = 0; i < frames; ++i) {
    auto at = opened.log().begin() + static_cast<std::ptrdiff_t>(kWalFirstFrame + i * kWalFrame);
    masked.insert(Bytes(at + 8, at + 16));
  }
  EXPECT_EQ(masked.size(), frames);
  try {  // a rollback journal would be a file of its own: it is not opened
    opened.sql().execute("PRAGMA journal_mode = DELETE");
    opened.store.store("b", {{"n", 1}});
  } catch (const Error&) {
  }
  EXPECT_FALSE(opened.world.files->exists("test.db-journal"));
}

TEST(Vfs, Rule3AFrameIsOneWriteAndOneRead) {
  FakeWorld world;
  auto counting = std::make_shared<CountingFiles>(world.files);
  world.environment.files = counting;
  auto store = world.open();
  store.store("a", {{"n", 1}});
  auto& counts = counting->counts["test.db-wal"];
  std::size_t frames = (world.files->content("test.db-wal").size() - kWalFirstFrame) / kWalFrame;
  int writes = counts.writes;
  store.store("b", {{"n", 2}});
  std::size_t more =
      (world.files->content("test.db-wal").size() - kWalFirstFrame) / kWalFrame - frames;
  ASSERT_GT(more, 0u);
  EXPECT_EQ(counts.writes - writes, static_cast<int>(more));
  // Another connection reads a page of the log with one read, and checks the frame with none.
  int reads = counts.reads;
  store.list();
  EXPECT_GT(counts.reads, reads);
  EXPECT_LE(counts.reads - reads, 8);
}

TEST(Vfs, Rule4ATornTailEndsTheLogAndDamageElsewhereIsAnError) {
  Opened opened;
  for (int n = 0; n < 5; ++n) opened.store.store("a", {{"n", n}});
  auto reopen = [&](const std::function<void(Bytes&)>& change) {
    FakeWorld other(2);
    other.environment.files = other.files = opened.world.files->after_kill();
    change(other.files->content("test.db-wal"));
    return other.open().retrieve("a")->at("n").get<int>();
  };
  EXPECT_EQ(reopen([](Bytes& log) { log.resize(log.size() - 100); }), 3);
  EXPECT_EQ(reopen([](Bytes& log) { log[log.size() - 2000] ^= 1; }), 3);
  EXPECT_EQ(code_of([&] { reopen([](Bytes& log) { log[kWalFirstFrame + 500] ^= 1; }); }),
            ErrorCode::corrupt);
}

TEST(Vfs, Rule5NoSplitWritesNoMmapAndOnePageSizeForEver) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  sqlite3_file* file = nullptr;
  sqlite3_file_control(opened.sql().handle(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(file->pMethods->xDeviceCharacteristics(file) & SQLITE_IOCAP_POWERSAFE_OVERWRITE);
  EXPECT_EQ(file->pMethods->iVersion, 2);  // without xFetch
  opened.pragma("PRAGMA mmap_size = 1000000");
  EXPECT_EQ(opened.pragma("PRAGMA mmap_size"), "");
  opened.pragma("PRAGMA page_size = 8192");
  EXPECT_EQ(opened.pragma("PRAGMA page_size"), "4096");
  Bytes part(100);
  EXPECT_EQ(file->pMethods->xRead(file, part.data(), 100, 4096 + 200), SQLITE_OK);
  EXPECT_NE(file->pMethods->xRead(file, part.data(), 100, 4096 - 50), SQLITE_OK);
}

TEST(Vfs, Rule6ACheckpointCopiesCiphertext) {
  Opened opened;
  opened.store.store("a", {{"t", std::string(3000, 'x')}});
  Bytes log = opened.log();
  opened.pragma("PRAGMA wal_checkpoint(PASSIVE)");
  std::size_t copied = 0;
  std::size_t frames = (log.size() - kWalFirstFrame) / kWalFrame;
  for (std::size_t i = 0; i < frames; ++i) {
    auto page = log.begin() + static_cast<std::ptrdiff_t>(kWalFirstFrame + i * kWalFrame + 24);
    auto found = std::search(opened.file().begin(), opened.file().end(), page, page + kPageSize);
    if (found != opened.file().end()) ++copied;
  }
  EXPECT_GT(copied, 2u);
}

TEST(Vfs, Rule7TemporaryDataStaysInMemory) {
  FakeWorld world;
  auto counting = std::make_shared<CountingFiles>(world.files);
  world.environment.files = counting;
  auto store = world.open();
  store.transaction([&] {
    for (int n = 0; n < 3000; ++n) {
      store.store("k" + std::to_string(n),
                  {{"t", std::string(500, static_cast<char>('a' + n % 26))}});
    }
  });
  EXPECT_EQ(store.query("SELECT id FROM records ORDER BY doc ->> '$.t', id DESC").size(), 3000u);
  for (const std::string& path : counting->opened) {
    EXPECT_TRUE(path.starts_with("test.db")) << path;
    EXPECT_EQ(path.find("journal"), path.npos) << path;
  }
  sqlite3_vfs* vfs = nullptr;
  sqlite3_file_control(store.engine().locked()->database().connection().handle(), "main",
                       SQLITE_FCNTL_VFS_POINTER, &vfs);
  ASSERT_NE(vfs, nullptr);
  Bytes room(static_cast<std::size_t>(vfs->szOsFile));
  auto* file = reinterpret_cast<sqlite3_file*>(room.data());
  for (int kind : {SQLITE_OPEN_TEMP_DB, SQLITE_OPEN_TRANSIENT_DB, SQLITE_OPEN_MAIN_JOURNAL,
                   SQLITE_OPEN_TEMP_JOURNAL, SQLITE_OPEN_SUBJOURNAL, SQLITE_OPEN_SUPER_JOURNAL}) {
    for (const char* name : {static_cast<const char*>(nullptr), "test.db-journal", "other"}) {
      EXPECT_EQ(
          vfs->xOpen(vfs, name, file, kind | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr),
          SQLITE_CANTOPEN);
    }
  }
}

TEST(Vfs, Rule8AHoleIsASealedEmptyPageAndTheBackupApiWorks) {
  FakeWorld world;
  auto file = world.files->open("f", base::FileSystem::Mode::create);
  Header header;
  Bytes key(32, 1);
  HeaderPages pages_header(*file, header, key, 0);
  PageCodec codec(key, {}, world.random);
  PageFile pages(*file, codec, pages_header);
  Bytes page(kPageSize, 7);
  std::fill(page.end() - kReserved, page.end(), std::uint8_t{0});
  pages.write(5 * kPageSize, page, false);
  PageOpener opener(codec);
  Bytes out(kPageSize, 1);
  ASSERT_TRUE(pages.read(opener, 2 * kPageSize, out, false));
  EXPECT_EQ(out, Bytes(kPageSize, 0));
  // Zeros that somebody puts there are not such a page.
  Bytes& content = world.files->content("f");
  std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(PageTable::offset_of(2)), kPageSize, 0);
  EXPECT_EQ(code_of([&] { static_cast<void>(pages.read(opener, 2 * kPageSize, out, false)); }),
            ErrorCode::corrupt);

  Opened opened;
  opened.store.store("a", {{"n", 1}});
  sqlite3* memory = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &memory), SQLITE_OK);
  sqlite3_backup* copy = sqlite3_backup_init(memory, "main", opened.sql().handle(), "main");
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(sqlite3_backup_step(copy, -1), SQLITE_DONE);
  sqlite3_backup_finish(copy);
  sqlite3_close(memory);
}

TEST(Vfs, Rule9ThereIsNoShmFileAndOneProcessAtATime) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  opened.store.list();
  EXPECT_FALSE(opened.world.files->exists("test.db-shm"));
  std::int64_t before = opened.world.clock->monotonic_ms();
  EXPECT_EQ(code_of([&] { opened.world.open(); }), ErrorCode::in_use);
  EXPECT_GE(opened.world.clock->monotonic_ms() - before, 5000);
}

// Who waited for a store that was replaced meanwhile must not go on with the file that is gone.
TEST(Vfs, Rule9AWaiterGetsTheFileThatHasTheName) {
  FakeWorld world;
  world.open().store("a", {{"n", 1}});
  auto held = world.files->open("test.db", base::FileSystem::Mode::existing);
  ASSERT_TRUE(held->try_lock());
  class Clock : public base::FakeClock {
   public:
    std::function<void()> slept;
    void sleep_ms(std::int64_t ms) override {
      advance_ms(ms);
      if (slept) std::exchange(slept, nullptr)();
    }
  };
  auto clock = std::make_shared<Clock>();
  {
    FakeWorld other(3);
    other.open().store("a", {{"n", 2}});
    world.files->open("other", base::FileSystem::Mode::create)
        ->write(0, other.files->content("test.db"));
  }
  clock->slept = [&] {
    world.files->rename_over("other", "test.db");
    held.reset();
  };
  world.environment.clock = clock;
  EXPECT_EQ(world.open().retrieve("a")->at("n"), 2);
}

TEST(Vfs, Rule10OneConnectionWritesAndReadersNeverDo) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  Bytes file = opened.file();
  Bytes log = opened.log();
  opened.store.query("SELECT count(*) AS n FROM records");
  opened.store.list();
  Readers::Lease reader = opened.store.engine().database().readers().lease(Readers::Use::own);
  Statement pages(reader->connection->prepare("SELECT count(*) FROM record"));
  EXPECT_TRUE(pages.step());
  EXPECT_EQ(opened.file(), file);
  EXPECT_EQ(opened.log(), log);
  // Not even its lock, which a reader would take to rebuild the log's index.
  Readers::Lease other = opened.store.engine().database().readers().lease(Readers::Use::own);
  EXPECT_THROW(other->connection->execute("BEGIN IMMEDIATE"), Error);
  opened.store.store("b", {{"n", 2}});
  EXPECT_EQ(opened.store.list().size(), 2u);
}

// The writer changes the index of the log in steps. How long it takes over them is not for the
// store's clock to say.
TEST(Vfs, Rule10AReaderThatMeetsTheIndexHalfWrittenWaitsForTheWriter) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  Readers::Lease reader = opened.store.engine().database().readers().lease(Readers::Use::own);
  sqlite3_file* file = nullptr;
  sqlite3_file_control(reader->connection->handle(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  StoreFiles& files = *open_file(file).files;
  auto flip = [&] {
    std::lock_guard lock(files.lock_mutex_);
    static_cast<std::uint8_t*>(files.shm_.map(0, 32768, false))[8] ^= 1;
  };
  flip();
  std::thread writer([&] {
    for (int i = 0; i < 2000; ++i) std::this_thread::yield();
    flip();
  });
  Statement count(reader->connection->prepare("SELECT count(*) FROM record"));
  EXPECT_NO_THROW(EXPECT_TRUE(count.step()));
  writer.join();
}

TEST(Vfs, Rule11OtherDatabasesAreNotOpened) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  for (const char* sql : {"ATTACH 'other.db' AS o", "ATTACH ':memory:' AS o", "ATTACH '' AS o",
                          "VACUUM INTO 'copy.db'", "VACUUM INTO 'file:copy.db?vfs=unix'"}) {
    EXPECT_THROW(opened.sql().execute(sql), Error) << sql;
  }
  EXPECT_EQ(opened.world.files->all().size(), 2u);
}

TEST(Vfs, Rule12AfterAFailedSyncNothingIsWrittenUntilReopened) {
  Opened opened;
  opened.store.store("a", {{"n", 1}});
  opened.world.files->fail_syncs = true;
  EXPECT_EQ(code_of([&] { opened.store.store("a", {{"n", 2}}); }), ErrorCode::io);
  opened.world.files->fail_syncs = false;
  Bytes log = opened.log();
  EXPECT_EQ(code_of([&] { opened.store.store("a", {{"n", 3}}); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { opened.store.add_key(FakeWorld::key(3)); }), ErrorCode::io);
  EXPECT_EQ(opened.log(), log);
}

}  // namespace
}  // namespace holdfast::store
