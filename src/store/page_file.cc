#include "src/store/page_file.h"

#include <cstring>

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

[[noreturn]] void damaged(std::uint64_t page, const char* how) {
  throw Error(ErrorCode::corrupt, "page " + std::to_string(page) + " of the store " + how +
                                      ": restore a backup or sync a new device from the vault");
}

}  // namespace

PageFile::PageFile(base::File& file, PageCodec& codec, HeaderPages& header)
    : file_(file),
      codec_(codec),
      header_(header),
      table_(file, codec, header.header().checkpoint) {}

bool PageFile::read(PageOpener& opener, std::uint64_t offset, std::span<std::uint8_t> out,
                    bool raw) const {
  std::uint64_t index = offset / kPageSize;
  std::size_t at = static_cast<std::size_t>(offset % kPageSize);
  std::array<std::uint8_t, kPageSize> sealed;
  std::array<std::uint8_t, kPageSize> plain;
  if (at + out.size() > kPageSize) {
    throw Error(ErrorCode::io, "SQLite read across two pages, which Holdfast does not know");
  }
  if (table_.pages() == 0) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return false;
  }
  if (index >= table_.pages() || file_.read(PageTable::offset_of(index), sealed) != kPageSize) {
    damaged(index + 1, "is missing");
  }
  bool whole = out.size() == kPageSize;
  if (raw && whole) {
    std::memcpy(out.data(), sealed.data(), kPageSize);
    return true;
  }
  if (tag_of(sealed.data()) != table_.tag(index)) {
    damaged(index + 1, "is another than the last checkpoint left (changed, or an older version)");
  }
  std::uint8_t* target = whole ? out.data() : plain.data();
  if (!opener.open(static_cast<std::uint32_t>(index + 1), sealed.data(), target)) {
    damaged(index + 1, "fails authentication");
  }
  if (!whole) {
    std::memcpy(out.data(), plain.data() + at, out.size());
    crypto::wipe(plain);
  }
  return true;
}

void PageFile::write(std::uint64_t offset, ByteView page, bool raw) {
  std::uint64_t index = offset / kPageSize;
  if (offset % kPageSize != 0 || page.size() != kPageSize) {
    throw Error(ErrorCode::io, "SQLite wrote a part of a page, which Holdfast does not know");
  }
  fill(index);
  if (raw) {
    put(index, page.data());
  } else {
    seal_and_put(index, page.data());
  }
}

// The file keeps its length until the header says that the pages are gone.
void PageFile::truncate(std::uint64_t size) {
  fill(size / kPageSize);
  table_.resize(size / kPageSize);
}

void PageFile::sync(const Checkpoint& log) {
  Checkpoint next = log;
  next.number = header_.header().checkpoint.number;
  next.pages = table_.pages();
  next.table = header_.header().checkpoint.table;
  if (table_.changed()) next.table = table_.write(++next.number);
  file_.sync();
  header_.set_checkpoint(next);
  std::uint64_t size = PageTable::file_size(table_.pages());
  if (file_.size() > size) file_.truncate(size);
}

void PageFile::fill(std::uint64_t to_page) {
  static constexpr std::array<std::uint8_t, kPageSize> kEmpty{};
  while (table_.pages() < to_page) seal_and_put(table_.pages(), kEmpty.data());
}

void PageFile::put(std::uint64_t index, const std::uint8_t* sealed) {
  file_.write(PageTable::offset_of(index), {sealed, kPageSize});
  table_.set(index, tag_of(sealed));
}

void PageFile::seal_and_put(std::uint64_t index, const std::uint8_t* plain) {
  std::array<std::uint8_t, kPageSize> sealed;
  if (!codec_.seal(static_cast<std::uint32_t>(index + 1), plain, sealed.data())) {
    throw Error(ErrorCode::io, "SQLite used bytes of a page that are reserved for its seal");
  }
  put(index, sealed.data());
}

}  // namespace holdfast::store
