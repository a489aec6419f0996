// SIGKILL at random moments of a process that writes in every way there is. HOLDFAST_KILLS says how
// often (default 400; thousands in the full programme).

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "holdfast/backup.h"
#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

constexpr std::uint64_t kRecords = 16;

// What the killed process and the one that killed it both see.
struct Shared {
  std::atomic<std::uint64_t> acknowledged;  // the last step that returned
  std::atomic<std::uint64_t> ready;         // the store is open and was checked
  std::atomic<std::uint64_t> wrong;
  char message[400];
};

// Step n sets record n modulo kRecords, and says in "last" that it is the last.
void step(EncryptedLocalStore& store, std::uint64_t n, const std::string& path) {
  store.transaction([&] {
    store.store("k" + std::to_string(n % kRecords),
                {{"n", n}, {"t", std::string(n * 53 % 1500, 'k')}});
    store.store("last", {{"n", n}});
  });
  switch (n % 23) {
    case 3: store.verify(); break;  // a checkpoint
    case 7: store.add_key(FakeWorld::key(static_cast<std::uint8_t>(100 + n % 100))); break;
    case 9: {
      std::vector<KeySlotInfo> slots = store.key_slots();
      if (slots.size() > 1) store.remove_key(slots.back().number);
      break;
    }
    case 12: store.rekey(); break;
    case 15: store.create_index("records", "$.n"); break;
    case 16: store.drop_index("records", "$.n"); break;
    case 19: {
      std::filesystem::remove(path + ".backup");
      backup(store, path + ".backup", FakeWorld::key(3));
      RestoreOptions options;
      restore(path + ".backup", FakeWorld::key(3), path + ".other", FakeWorld::key(), options);
      std::filesystem::remove(path + ".other");
      break;
    }
    case 21:
      store.lock();
      store.unlock(FakeWorld::key());
      break;
    default: break;
  }
}

// All of what the last step and those before it left, and nothing else.
void check(const EncryptedLocalStore& store, std::uint64_t acknowledged, std::uint64_t& last) {
  auto row = store.retrieve("last");
  last = row ? row->at("n").get<std::uint64_t>() : 0;
  if (last != acknowledged && last != acknowledged + 1) {
    throw std::runtime_error("step " + std::to_string(acknowledged) + " was acknowledged, and " +
                             std::to_string(last) + " is the last");
  }
  for (std::uint64_t n = last > kRecords ? last - kRecords + 1 : 1; n <= last; ++n) {
    auto record = store.retrieve("k" + std::to_string(n % kRecords));
    if (!record || record->at("n") != n) {
      throw std::runtime_error("the record of step " + std::to_string(n) + " is another");
    }
  }
}

[[noreturn]] void write_until_killed(const std::string& path, Shared& shared) {
  try {
    EncryptedLocalStore store(path, FakeWorld::key());
    std::filesystem::remove(path + ".other");
    std::uint64_t last = 0;
    check(store, shared.acknowledged, last);
    if (shared.ready % 50 == 0) store.verify();
    shared.acknowledged = last;
    ++shared.ready;
    for (std::uint64_t n = last + 1;; ++n) {
      step(store, n, path);
      shared.acknowledged = n;
    }
  } catch (const std::exception& error) {
    std::snprintf(shared.message, sizeof shared.message, "%s", error.what());
    shared.wrong = 1;
  }
  _exit(1);
}

TEST(Kill, AProcessAtAnyMomentLosesNothingAcknowledged) {
  const char* set = std::getenv("HOLDFAST_KILLS");
  std::uint64_t kills = (set ? std::strtoull(set, nullptr, 10) : 400) / test_stride() + 60;
  char name[] = "/tmp/holdfast-kill-XXXXXX";
  std::string folder = mkdtemp(name);
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& shared = *new (memory) Shared{};
  auto random = base::system_random();
  for (std::uint64_t round = 0; round < kills && !shared.wrong; ++round) {
    std::uint64_t ready = shared.ready;
    std::uint64_t before = shared.acknowledged;
    pid_t child = fork();
    if (child == 0) write_until_killed(folder + "/a.db", shared);
    // Half of them die while they still open the store, a quarter behind a step or more, however
    // slow this machine is.
    if (round % 2 == 0) {
      while (shared.ready == ready && !shared.wrong) usleep(50);
    }
    if (round % 4 == 2) {
      while (shared.acknowledged <= before + 1 && !shared.wrong) usleep(50);
    }
    usleep(static_cast<useconds_t>(random->below(round % 4 < 2 ? 3000 : 12000)));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
  }
  EXPECT_EQ(shared.wrong, 0u) << shared.message;
  std::printf("%llu processes killed, %llu steps acknowledged\n",
              static_cast<unsigned long long>(kills),
              static_cast<unsigned long long>(shared.acknowledged));
  EXPECT_GE(shared.acknowledged, kills / 4);
  munmap(memory, sizeof(Shared));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace holdfast::store
