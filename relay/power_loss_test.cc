// A power cut takes what was written and not synced. The relay's SQLite files are kept twice: as
// the system has them, and as the disk would after a cut at any moment.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "relay/sqlite/sqlite_storage.h"
#include "relay/test_relay.h"

namespace holdfast::relay {
namespace {

namespace fs = std::filesystem;

// What a disk holds of a file: the rest is in the system's memory alone.
struct Disk {
  struct Write {
    std::size_t offset = 0;
    Bytes bytes;
    bool truncates = false;
  };
  struct Content {
    Bytes synced;
    std::vector<Write> unsynced;
  };
  static void apply(Bytes& bytes, const Write& write, std::size_t upto) {
    if (write.truncates) {
      bytes.resize(write.offset);
      return;
    }
    upto = std::min(upto, write.bytes.size());
    if (bytes.size() < write.offset + upto) bytes.resize(write.offset + upto);
    std::copy_n(write.bytes.begin(), upto,
                bytes.begin() + static_cast<std::ptrdiff_t>(write.offset));
  }
  // After a cut: of what was not synced each write is there, or not, or a part of it.
  std::map<std::string, Bytes> after_cut(std::mt19937& random) const {
    std::map<std::string, Bytes> out;
    for (const auto& [path, content] : files) {
      Bytes bytes = content.synced;
      auto mode = random() % 3;  // nothing, everything, some
      for (const Write& write : content.unsynced) {
        if (mode == 0 || (mode == 2 && random() % 2 == 0)) continue;
        apply(bytes, write, mode == 1 || random() % 4 ? SIZE_MAX : random() % 8 * 512);
      }
      out[path] = std::move(bytes);
    }
    return out;
  }
  void sync(const std::string& path) {
    if (lies) return;
    Content& content = files[path];
    for (const Write& write : content.unsynced) apply(content.synced, write, SIZE_MAX);
    content.unsynced.clear();
  }
  void write(const std::string& path, Write write) {
    files[path].unsynced.push_back(std::move(write));
    if (on_write) on_write();
  }
  std::map<std::string, Content> files;
  std::function<void()> on_write;
  bool lies = false;  // a planted fault: says that it synced
};

Disk* disk = nullptr;
sqlite3_vfs* real = nullptr;

// A file of SQLite's own VFS behind one that tells the disk.
struct File {
  sqlite3_file base;
  const char* path;
  sqlite3_file* inner() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* file_of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

template <auto Method, typename... Arguments>
auto pass(sqlite3_file* file, Arguments... arguments) {
  sqlite3_file* inner = file_of(file)->inner();
  return (inner->pMethods->*Method)(inner, arguments...);
}
template <auto Method>
struct Passes;
template <typename Result, typename... Arguments,
          Result (*sqlite3_io_methods::*Method)(sqlite3_file*, Arguments...)>
struct Passes<Method> {
  static Result call(sqlite3_file* file, Arguments... arguments) {
    return pass<Method>(file, arguments...);
  }
};

int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  auto* bytes = static_cast<const std::uint8_t*>(data);
  disk->write(file_of(file)->path, {static_cast<std::size_t>(offset), Bytes(bytes, bytes + size)});
  return pass<&sqlite3_io_methods::xWrite>(file, data, size, offset);
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  disk->write(file_of(file)->path, {static_cast<std::size_t>(size), {}, true});
  return pass<&sqlite3_io_methods::xTruncate>(file, size);
}
int sync(sqlite3_file* file, int flags) {
  disk->sync(file_of(file)->path);
  return pass<&sqlite3_io_methods::xSync>(file, flags);
}

using M = sqlite3_io_methods;
const sqlite3_io_methods kMethods = {
    2,  // none of version 3: files are not mapped
    Passes<&M::xClose>::call,
    Passes<&M::xRead>::call,
    write,
    truncate,
    sync,
    Passes<&M::xFileSize>::call,
    Passes<&M::xLock>::call,
    Passes<&M::xUnlock>::call,
    Passes<&M::xCheckReservedLock>::call,
    Passes<&M::xFileControl>::call,
    Passes<&M::xSectorSize>::call,
    Passes<&M::xDeviceCharacteristics>::call,
    Passes<&M::xShmMap>::call,
    Passes<&M::xShmLock>::call,
    Passes<&M::xShmBarrier>::call,
    Passes<&M::xShmUnmap>::call,
    nullptr,
    nullptr,
};

int open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out) {
  File* opened = file_of(file);
  opened->base.pMethods = nullptr;
  opened->path = path ? path : "";
  std::memset(opened->inner(), 0, static_cast<std::size_t>(real->szOsFile));
  int code = real->xOpen(real, path, opened->inner(), flags, out);
  if (opened->inner()->pMethods) opened->base.pMethods = &kMethods;
  return code;
}

int remove(sqlite3_vfs*, const char* path, int syncs) {
  disk->files.erase(path);
  return real->xDelete(real, path, syncs);
}

// SQLite's default while it lives.
class Watched {
 public:
  explicit Watched(Disk& of) {
    disk = &of;
    real = sqlite3_vfs_find(nullptr);
    vfs_ = *real;
    vfs_.zName = "watched";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real->szOsFile;
    vfs_.xOpen = open;
    vfs_.xDelete = remove;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~Watched() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real, 1);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  sqlite3_vfs vfs_{};
};

struct Cut {
  std::map<std::string, Bytes> files;
  std::size_t acknowledged = 0;
};

// Pushes in groups; what the disk would hold at cuts now and then, and how much of it was
// acknowledged.
std::vector<Cut> push_with_cuts(const fs::path& folder, Disk& of, std::vector<Hash32>& leaves) {
  std::mt19937 random(5);
  std::vector<Cut> cuts;
  std::size_t acknowledged = 0;
  Watched watched(of);
  SqliteStorage storage((folder / "relay.db").string());
  base::FakeClock clock;
  base::SeededRandom secrets(1);
  Service service(storage, clock, secrets, test_options());
  Signer device(1);
  service.handle({"POST", "/v1/vaults", "", device.genesis()});
  of.on_write = [&] {
    if (random() % 60 == 0) cuts.push_back({of.after_cut(random), acknowledged});
  };
  std::uint64_t position = 0;
  Hash32 chain{};
  for (int turn = 0; turn < 160; ++turn) {
    storage.group(Storage::Access::write, [&] {
      for (std::size_t n = random() % 6 + 1; n > 0; --n) {
        Id16 id{};
        std::memcpy(id.data(), &++position, sizeof position);
        leaves.push_back(wire::sha256({id}));
        chain = wire::chain_next(chain, position, leaves.back());
        storage.add_batch(device.vault(), {position, chain, 0},
                          {id, wire::device_id_of(device.pk), leaves.back()}, Bytes(4000, 7));
      }
      Vault vault = storage.vault(device.vault()).value();
      vault.head = position;
      vault.chain = chain;
      storage.put_vault(device.vault(), vault);
    });
    acknowledged = leaves.size();
    if (turn % 2 == 0) cuts.push_back({of.after_cut(random), acknowledged});
  }
  of.on_write = nullptr;
  return cuts;
}

// How many cuts lost something that was acknowledged, or left what is no state of the log.
std::size_t count_losses(const fs::path& folder, const std::vector<Cut>& cuts,
                         const std::vector<Hash32>& leaves) {
  std::size_t losses = 0;
  Hash32 id = Signer(1).vault();
  for (const Cut& cut : cuts) {
    fs::path copy = folder / "copy";
    fs::remove_all(copy);
    fs::create_directory(copy);
    for (const auto& [path, bytes] : cut.files) {
      std::ofstream out(copy / fs::path(path).filename(), std::ios::binary);
      out.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
    }
    bool is_good = false;
    try {
      SqliteStorage storage((copy / "relay.db").string());
      std::vector<wire::Stub> stubs = storage.stubs(id, 0);
      std::optional<Vault> vault = storage.vault(id);
      std::uint64_t head = vault ? vault->head : 0;
      is_good = stubs.size() >= cut.acknowledged && stubs.size() == head;
      for (std::size_t i = 0; i < stubs.size(); ++i) {
        is_good = is_good && stubs[i].leaf == leaves.at(i);
      }
    } catch (const Error&) {
      // Damaged.
    }
    losses += !is_good;
  }
  return losses;
}

TEST(RelayPowerLoss, WhatWasAcknowledgedIsOnTheDisk) {
  fs::path folder = fs::temp_directory_path() / ("holdfast-cut-" + std::to_string(::getpid()));
  for (bool lies : {false, true}) {
    fs::remove_all(folder);
    fs::create_directory(folder);
    Disk of;
    of.lies = lies;
    std::vector<Hash32> leaves;
    std::vector<Cut> cuts = push_with_cuts(folder, of, leaves);
    EXPECT_GT(cuts.size(), 100u);
    if (lies) cuts.erase(cuts.begin() + 20, cuts.end());
    std::size_t losses = count_losses(folder, cuts, leaves);
    if (lies) {
      EXPECT_GT(losses, cuts.size() / 2);  // so this test can fail
    } else {
      EXPECT_EQ(losses, 0u) << "of " << cuts.size();
      std::printf("%zu power cuts, of the relay\n", cuts.size());
    }
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace holdfast::relay
