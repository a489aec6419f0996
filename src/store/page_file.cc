#include "src/store/page_file.h"

#include <cstring>

#include "holdfast/error.h"
#include "src/store/header.h"

namespace holdfast::store {
namespace {

constexpr std::uint64_t kStart = kHeaderPages * kHeaderPage;

[[noreturn]] void damaged(std::uint64_t page, const char* how) {
  throw Error(ErrorCode::corrupt, "page " + std::to_string(page) + " of the store " + how +
                                      ": restore a backup or sync a new device from the vault");
}

}  // namespace

std::uint64_t PageFile::size() {
  std::uint64_t size = file_->size();
  return size <= kStart ? 0 : (size - kStart) / kPageSize * kPageSize;
}

bool PageFile::read(std::uint64_t offset, std::span<std::uint8_t> out, bool raw) {
  std::uint64_t index = offset / kPageSize;
  std::size_t at = static_cast<std::size_t>(offset % kPageSize);
  std::array<std::uint8_t, kPageSize> sealed;
  std::array<std::uint8_t, kPageSize> plain;
  if (at + out.size() > kPageSize) {
    throw Error(ErrorCode::io, "SQLite read across two pages, which Holdfast does not know");
  }
  if (file_->read(kStart + index * kPageSize, sealed) != kPageSize) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    if (size() == 0) return false;
    damaged(index + 1, "is missing");
  }
  if (raw && out.size() == kPageSize) {
    std::memcpy(out.data(), sealed.data(), kPageSize);
    return true;
  }
  bool whole = out.size() == kPageSize;
  std::uint8_t* target = whole ? out.data() : plain.data();
  if (!codec_.open(static_cast<std::uint32_t>(index + 1), sealed.data(), target)) {
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
  std::uint64_t pages = size() / kPageSize;
  if (index > pages) fill(pages, index);
  if (raw) {
    file_->write(kStart + offset, page);
  } else {
    seal_and_write(static_cast<std::uint32_t>(index + 1), page.data());
  }
}

void PageFile::truncate(std::uint64_t size) {
  std::uint64_t pages = this->size() / kPageSize;
  std::uint64_t wanted = size / kPageSize;
  if (wanted > pages) {
    fill(pages, wanted);
  } else {
    file_->truncate(kStart + wanted * kPageSize);
  }
}

void PageFile::verify() {
  std::uint64_t pages = size() / kPageSize;
  std::array<std::uint8_t, kPageSize> page;
  for (std::uint64_t index = 0; index < pages; ++index) {
    static_cast<void>(read(index * kPageSize, page, false));
  }
  crypto::wipe(page);
}

void PageFile::fill(std::uint64_t from_page, std::uint64_t to_page) {
  static constexpr std::array<std::uint8_t, kPageSize> kEmpty{};
  for (std::uint64_t index = from_page; index < to_page; ++index) {
    seal_and_write(static_cast<std::uint32_t>(index + 1), kEmpty.data());
  }
}

void PageFile::seal_and_write(std::uint32_t page, const std::uint8_t* plain) {
  std::array<std::uint8_t, kPageSize> sealed;
  if (!codec_.seal(page, plain, sealed.data())) {
    throw Error(ErrorCode::io, "SQLite used bytes of a page that are reserved for its seal");
  }
  file_->write(kStart + std::uint64_t{page - 1} * kPageSize, sealed);
}

}  // namespace holdfast::store
