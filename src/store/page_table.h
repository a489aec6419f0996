#pragma once

#include "src/store/header.h"

namespace holdfast::store {

// The page-to-tag table: which sealed page belongs to each number, so that an older version of a
// single page is refused. It lies among the pages: each group of 254 pages follows two places of
// 4096 bytes, written in turn, for the tags of the group. The header's checkpoint authenticates all
// groups together. In memory, 16 bytes a page. Not thread-safe: its owner (vfs.cc) locks.
class PageTable {
 public:
  static constexpr std::uint64_t kGroupPages = 254;
  static constexpr std::uint64_t kGroupBlocks = 2 + kGroupPages;

  // Reads the table that `checkpoint` names. Throws Error(corrupt).
  PageTable(base::File& file, const PageCodec& codec, const Checkpoint& checkpoint);

  static std::uint64_t offset_of(std::uint64_t index);  // of a page in the file
  static std::uint64_t file_size(std::uint64_t pages);

  std::uint64_t pages() const { return tags_.size(); }
  const Mac& tag(std::uint64_t index) const { return tags_[index]; }
  void set(std::uint64_t index, const Mac& tag);  // at most one behind the last
  void resize(std::uint64_t pages);               // smaller

  bool changed() const { return changed_; }
  // Writes the groups that changed to their other places; returns the MAC over the table as the
  // checkpoint of that number is to name it. It counts only once the header does.
  Mac write(std::uint64_t number);

 private:
  struct Group {
    std::size_t place = 1;  // of the current block
    Mac mac{};
    bool dirty = true;
  };
  struct Block;
  std::optional<Block> read_block(std::uint64_t group, std::size_t place) const;
  void load_group(std::uint64_t group, const Checkpoint& checkpoint);
  Mac block_mac(std::uint64_t group, ByteView body) const;
  Mac table_mac(std::uint64_t number) const;

  base::File& file_;
  const PageCodec& codec_;
  std::vector<Mac> tags_;
  std::vector<Group> groups_;
  bool changed_ = false;
};

}  // namespace holdfast::store
