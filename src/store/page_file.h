#pragma once

#include "src/store/page_codec.h"

namespace holdfast::store {

// SQLite's database file as it lies on disk: each page sealed, behind the two header pages. Not
// thread-safe: its owner (vfs.cc) locks.
class PageFile {
 public:
  PageFile(std::unique_ptr<base::File> file, PageCodec& codec)
      : file_(std::move(file)), codec_(codec) {}

  std::uint64_t size();
  // Any part of one page. False (and zeros) where the store has no page yet; throws Error(corrupt)
  // where the page is missing or fails authentication. `raw` gives the sealed page.
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::uint8_t> out, bool raw);
  // One page; `raw` takes one that is sealed. A gap before it is filled with sealed empty pages.
  void write(std::uint64_t offset, ByteView page, bool raw);
  void truncate(std::uint64_t size);
  void sync() { file_->sync(); }
  // Opens every page. Throws Error(corrupt).
  void verify();

 private:
  void fill(std::uint64_t from_page, std::uint64_t to_page);
  void seal_and_write(std::uint32_t page, const std::uint8_t* plain);

  std::unique_ptr<base::File> file_;
  PageCodec& codec_;
};

}  // namespace holdfast::store
