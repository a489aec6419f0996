// What of a store's keys, and of what it holds, can be found in the process's memory: what a core
// dump would take, while it is open, and everything, once it is locked.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

#ifdef HOLDFAST_SANITIZED
constexpr bool kShadowed = true;  // the sanitizer keeps freed memory, and terabytes of its own
#else
constexpr bool kShadowed = false;
#endif

// How often `needle` (kept inverted, so that it is not found itself) lies in readable memory. With
// `dumped_only`, in the parts that a core dump holds.
std::size_t count_in_memory(const Bytes& inverted, bool dumped_only) {
  Bytes needle = inverted;
  std::ifstream maps("/proc/self/smaps");
  std::FILE* memory = std::fopen("/proc/self/mem", "rb");
  std::size_t found = 0;
  std::string line;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  bool readable = false;
  std::vector<std::uint8_t> buffer(1 << 20);
  auto self = reinterpret_cast<std::uint64_t>(buffer.data());
  while (std::getline(maps, line)) {
    unsigned long long a = 0;
    unsigned long long b = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &a, &b, mode) == 3) {
      from = a;
      to = b;
      readable = mode[0] == 'r' && mode[1] == 'w';
    }
    if (!line.starts_with("VmFlags:") || !readable) continue;
    if (dumped_only && line.find(" dd") != std::string::npos) continue;
    for (std::uint64_t at = from; at < to;) {
      std::size_t n = std::min<std::uint64_t>(buffer.size(), to - at);
      if (std::fseek(memory, static_cast<long>(at), SEEK_SET) != 0 ||
          std::fread(buffer.data(), 1, n, memory) != n) {
        break;
      }
      for (std::size_t i = 0; i + needle.size() <= n; ++i) {
        const void* hit = memchr(buffer.data() + i, needle[0] ^ 0xff, n - needle.size() + 1 - i);
        if (!hit) break;
        i = static_cast<std::size_t>(static_cast<const std::uint8_t*>(hit) - buffer.data());
        bool same = true;
        for (std::size_t k = 0; k < needle.size() && same; ++k) {
          same = buffer[i + k] == (needle[k] ^ 0xff);
        }
        bool own = at + i >= self && at + i < self + buffer.size();  // read just now
        if (same && !own) ++found;
      }
      if (at + n == to) break;
      at += n - needle.size() + 1;
    }
  }
  std::fclose(memory);
  return found;
}

Bytes inverted(ByteView bytes) {
  Bytes out = base::to_bytes(bytes);
  for (std::uint8_t& byte : out) byte ^= 0xff;
  return out;
}

std::string folder() {
  static std::string path = [] {
    char name[] = "/tmp/holdfast-memory-XXXXXX";
    return std::string(mkdtemp(name));
  }();
  return path;
}

TEST(Memory, NoKeyIsInACoreDumpAndNoneAnywhereAfterLock) {
  if (kShadowed) GTEST_SKIP() << "not under a sanitizer";
  std::string path = folder() + "/a.db";
  // The keys of the test are known to it only inverted, too.
  Bytes raw(32);
  base::system_random()->fill(raw);
  Bytes raw_inverted = inverted(raw);
  auto key = std::make_unique<UserKey>(UserKey::raw(raw));
  crypto::wipe(raw);
  StoreOptions options;
  EncryptedLocalStore store(path, *key, options);
  for (int i = 0; i < 200; ++i) store.store("k" + std::to_string(i), {{"n", i}});
  store.query("SELECT id FROM records");

  // The data key and the device's own, by way of an exported key and the store's identity.
  Bytes sign_inverted = inverted(store.engine().identity().sign.seed());
  Bytes data_inverted;
  {
    UserKey exported = UserKey::exported(store.export_key_for_backup("x"), "x");
    data_inverted = inverted(exported.secret().view());
  }
  std::vector<std::pair<const char*, Bytes*>> secrets = {{"the user's key", &raw_inverted},
                                                         {"the data key", &data_inverted},
                                                         {"the signing key", &sign_inverted}};
  for (auto& [what, secret] : secrets) {
    EXPECT_GT(count_in_memory(*secret, false), 0u) << what << ": the search finds nothing";
    EXPECT_EQ(count_in_memory(*secret, true), 0u) << what << " would be in a core dump";
  }
  key.reset();
  store.lock();
  for (auto& [what, secret] : secrets) {
    EXPECT_EQ(count_in_memory(*secret, false), 0u) << what << " is in memory after lock";
  }
  Bytes planted = inverted(data_inverted);
  EXPECT_GT(count_in_memory(data_inverted, true), 0u) << "a planted key is not found";
  crypto::wipe(planted);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace holdfast::store
