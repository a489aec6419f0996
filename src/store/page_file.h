#pragma once

#include "src/store/page_table.h"

namespace holdfast::store {

// SQLite's database file as it lies on disk: each page sealed, behind the two header pages, with
// the page-to-tag table among them. Its owner (vfs.cc) locks: reads may run side by side, and
// beside sync(); everything else alone.
class PageFile {
 public:
  // Throws Error(corrupt).
  PageFile(base::File& file, PageCodec& codec, HeaderPages& header);

  std::uint64_t size() const { return table_.pages() * kPageSize; }
  // Any part of one page. False (and zeros) where the store has no page yet; throws Error(corrupt)
  // where the page is missing, fails authentication or is an older version. `raw` gives the sealed
  // page.
  [[nodiscard]] bool read(PageOpener& opener, std::uint64_t offset, std::span<std::uint8_t> out,
                          bool raw) const;
  // One page; `raw` takes one that is sealed. A gap before it is filled with sealed empty pages.
  void write(std::uint64_t offset, ByteView page, bool raw);
  void truncate(std::uint64_t size);
  // Makes what was written durable, and then the state of the store: the header names it. `log`
  // says which frames of the log it holds (the checkpoint's fields on the log).
  void sync(const Checkpoint& log);

 private:
  void fill(std::uint64_t to_page);
  void put(std::uint64_t index, const std::uint8_t* sealed);
  void seal_and_put(std::uint64_t index, const std::uint8_t* plain);

  base::File& file_;
  PageCodec& codec_;
  HeaderPages& header_;
  PageTable table_;
};

}  // namespace holdfast::store
