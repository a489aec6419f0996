#pragma once

#include "src/store/header.h"

namespace holdfast::store {

// SQLite's write-ahead log as it lies on disk: sealed frames under a chain of MACs.
//
// SQLite believes in a file of a 32-byte header and frames of 24 + 4096 bytes. On disk there are
// two places for the header (written in turn, so that a torn header never hides a valid one) and
// frames of 24 + 4096 + 24 bytes; docs/formats.md has the grammar. Each frame is authenticated
// together with the log's generation, its index, the frame before it, and how many frames were
// durable when it was written. The last number tells damage from a power cut: a broken frame that
// was durable is an error, a broken tail that was not ends the log there. The header names the
// checkpoint that the log continues, so that an older log, or another's, is refused.
//
// Its owner (vfs.cc) locks: reads may run side by side, and beside sync_file(); all else alone.
class WalFile {
 public:
  static constexpr std::size_t kHeader = 32;
  static constexpr std::size_t kFrameHeader = 24;
  static constexpr std::size_t kFrame = kFrameHeader + kPageSize;

  // Reads and checks what is there. Throws Error(corrupt) where durable frames are damaged or the
  // log does not continue `checkpoint`.
  WalFile(base::FileSystem& files, const std::string& path, PageCodec& codec,
          const Checkpoint& checkpoint);
  ~WalFile();

  std::uint64_t size() const;
  // The bytes at SQLite's offset; false (and zeros) where they lie behind the end. `raw` gives the
  // sealed page instead of the plain one, for a checkpoint to copy.
  [[nodiscard]] bool read(PageOpener& opener, std::uint64_t offset, std::span<std::uint8_t> out,
                          bool raw) const;
  // `checkpoint` is the last one: a new header names it.
  void write(std::uint64_t offset, ByteView bytes, const Checkpoint& checkpoint);
  void truncate(std::uint64_t size);
  // Durable in two steps, so that readers need not wait for the disk.
  void sync_file() { file_->sync(); }
  void synced() { durable_ = frames_.size(); }

  bool holds(std::uint32_t page) const;  // in a committed transaction
  // Whether all that is committed is in the pages already.
  bool is_copied(const Checkpoint& checkpoint) const {
    return generation_ == checkpoint.log_generation && committed() == checkpoint.log_frames;
  }
  // After the last committed transaction.
  Position position() const;
  // What a checkpoint of all that is committed is to say of this log.
  void describe(Checkpoint& checkpoint) const;

 private:
  using FrameHeader = std::array<std::uint8_t, kFrameHeader>;
  struct Frame {
    std::uint32_t page = 0;
    bool commits = false;  // the last of a transaction
    Mac tag{};             // of the sealed page
    Mac mac{};
  };
  struct Pending {  // a frame header whose page may be the next write
    std::size_t index;
    FrameHeader header;
  };
  struct OnDisk;

  void scan(const Checkpoint& checkpoint);
  bool load_header(std::size_t place);
  void check_continues(const Checkpoint& checkpoint) const;
  bool check(const OnDisk& frame, std::uint64_t generation, std::size_t index,
             const Mac& before) const;
  void check_lost_frames(std::size_t first_bad, std::size_t count);
  void write_header(ByteView header, const Checkpoint& checkpoint);
  std::size_t committed() const;  // frames up to the last commit
  void append(const Pending& pending, const std::uint8_t* page);
  void rewrite_page(std::size_t index, const std::uint8_t* page);
  void rewrite_header(const Pending& pending);
  void make_durable(base::FileSystem& files, const std::string& path);
  Mac header_mac(std::size_t place, ByteView body) const;
  Mac frame_mac(std::uint64_t generation, std::size_t index, std::uint64_t durable,
                ByteView masked_header, ByteView tag, const Mac& before) const;
  Mac mac_before(std::size_t index) const {
    return index == 0 ? header_mac_ : frames_[index - 1].mac;
  }
  FrameHeader masked(const FrameHeader& header, std::size_t index);

  std::unique_ptr<base::File> file_;
  PageCodec& codec_;
  bool has_header_ = false;
  std::array<std::uint8_t, kHeader> header_{};
  std::size_t place_ = 1;  // of the current header; the next goes to the other
  Mac header_mac_{};
  std::uint64_t generation_ = 0;
  std::uint64_t continues_ = 0;  // the number of the checkpoint before this log
  Position base_;                // before its first frame
  std::uint64_t durable_ = 0;
  std::vector<Frame> frames_;
  std::optional<Pending> pending_;
  std::unique_ptr<OnDisk> frame_;  // being written
};

}  // namespace holdfast::store
