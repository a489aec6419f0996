// A log of a few frames, damaged as the input says: pairs of place and value.
#include "fuzz/fuzz.h"
#include "src/base/fakes.h"
#include "src/store/wal_file.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using store::WalFile;
  static base::MemoryFiles files;
  static store::PageCodec codec(Bytes(32, 1), base::Id16{},
                                std::make_shared<base::SeededRandom>(1));
  static const Bytes whole = [] {
    WalFile wal(files, "w", codec, {});
    wal.write(0, Bytes(WalFile::kHeader, 5), {});
    for (std::size_t i = 0; i < 4; ++i) {
      std::uint64_t at = WalFile::kHeader + i * WalFile::kFrame;
      wal.write(at, Bytes(WalFile::kFrameHeader, static_cast<std::uint8_t>(i)), {});
      Bytes page(store::kPageSize, 7);
      std::fill(page.end() - store::kReserved, page.end(), std::uint8_t{0});
      wal.write(at + WalFile::kFrameHeader, page, {});
      if (i == 1) {
        wal.sync_file();
        wal.synced();
      }
    }
    return files.content("w");
  }();
  Bytes damaged = whole;
  for (std::size_t i = 0; i + 3 <= size; i += 3) {
    std::size_t at = (std::size_t{data[i]} << 8 | data[i + 1]) % damaged.size();
    damaged[at] ^= data[i + 2];
  }
  if (size % 3 == 1) damaged.resize(damaged.size() * data[size - 1] / 256);
  files.content("w") = damaged;
  refuses_only_by_error([&] {
    WalFile wal(files, "w", codec, {});
    store::PageOpener opener(codec);
    Bytes frame(WalFile::kFrame);
    for (std::uint64_t at = WalFile::kHeader; at + frame.size() <= wal.size(); at += frame.size()) {
      require(wal.read(opener, at, frame, false));
      require(frame[WalFile::kFrameHeader] == 7);  // what was written, or nothing
    }
  });
  return 0;
}
