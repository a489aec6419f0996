#include "src/store/page_table.h"

#include <cstring>

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

constexpr std::uint64_t kStart = kHeaderPages * kHeaderPage;
constexpr std::size_t kBody = PageTable::kGroupPages * kMacSize + 8;

std::uint64_t block_offset(std::uint64_t group, std::size_t place) {
  return kStart + (group * PageTable::kGroupBlocks + place) * kPageSize;
}

std::uint64_t groups_of(std::uint64_t pages) {
  return (pages + PageTable::kGroupPages - 1) / PageTable::kGroupPages;
}

[[noreturn]] void damaged(const char* what) {
  throw Error(ErrorCode::corrupt, std::string("the store's table of pages ") + what +
                                      ": restore a backup or sync a new device from the vault");
}

}  // namespace

struct PageTable::Block {
  Bytes body;
  std::uint64_t number = 0;  // of the checkpoint that wrote it
  Mac mac{};
};

std::uint64_t PageTable::offset_of(std::uint64_t index) {
  return kStart + (index / kGroupPages * kGroupBlocks + 2 + index % kGroupPages) * kPageSize;
}

std::uint64_t PageTable::file_size(std::uint64_t pages) {
  return pages == 0 ? kStart : offset_of(pages - 1) + kPageSize;
}

PageTable::PageTable(base::File& file, const PageCodec& codec, const Checkpoint& checkpoint)
    : file_(file), codec_(codec) {
  // The header is authentic, but a file that lost its end must not make us reserve what it had.
  if (checkpoint.pages > 0 && file.size() < block_offset(groups_of(checkpoint.pages) - 1, 0)) {
    damaged("is missing");
  }
  tags_.resize(checkpoint.pages);
  groups_.resize(groups_of(checkpoint.pages));
  for (std::uint64_t group = 0; group < groups_.size(); ++group) load_group(group, checkpoint);
  if (checkpoint.pages > 0 && table_mac(checkpoint.number) != checkpoint.table) {
    damaged("is not the one that the header names");
  }
}

std::optional<PageTable::Block> PageTable::read_block(std::uint64_t group,
                                                      std::size_t place) const {
  std::array<std::uint8_t, kBody + kMacSize> bytes;
  if (file_.read(block_offset(group, place), bytes) != bytes.size()) return std::nullopt;
  ByteView body = ByteView(bytes).first(kBody);
  Block block;
  block.mac = block_mac(group, body);
  if (!crypto::equal(block.mac, ByteView(bytes).last(kMacSize))) return std::nullopt;
  block.body = base::to_bytes(body);
  block.number = base::Reader(body.last(8), "the table of pages").u64();
  return block;
}

// The newest block that is not newer than the checkpoint. A newer one is what a crash left of a
// checkpoint that never counted; it is written over with the next.
void PageTable::load_group(std::uint64_t group, const Checkpoint& checkpoint) {
  std::optional<Block> current;
  bool abandoned = false;
  for (std::size_t place = 0; place < 2; ++place) {
    std::optional<Block> block = read_block(group, place);
    if (!block) continue;
    if (block->number > checkpoint.number) {
      abandoned = true;
    } else if (!current || block->number > current->number) {
      groups_[group].place = place;
      current = std::move(block);
    }
  }
  if (!current) damaged("fails authentication");
  groups_[group].mac = current->mac;
  groups_[group].dirty = abandoned;
  std::uint64_t first = group * kGroupPages;
  std::uint64_t count = std::min(kGroupPages, tags_.size() - first);
  std::memcpy(tags_[first].data(), current->body.data(), count * kMacSize);
}

Mac PageTable::block_mac(std::uint64_t group, ByteView body) const {
  base::Writer message;
  message.u8('B');
  message.u64(group);
  message.raw(body);
  return codec_.table_mac(message.bytes());
}

Mac PageTable::table_mac(std::uint64_t number) const {
  base::Writer message;
  message.u8('T');
  message.u64(number);
  message.u64(tags_.size());
  for (const Group& group : groups_) message.raw(group.mac);
  return codec_.table_mac(message.bytes());
}

void PageTable::set(std::uint64_t index, const Mac& tag) {
  if (index == tags_.size()) {
    tags_.push_back(tag);
    groups_.resize(groups_of(tags_.size()));
  } else {
    tags_.at(index) = tag;
  }
  groups_[index / kGroupPages].dirty = true;
  changed_ = true;
}

void PageTable::resize(std::uint64_t pages) {
  if (pages >= tags_.size()) return;
  tags_.resize(pages);
  groups_.resize(groups_of(pages));
  if (!groups_.empty()) groups_.back().dirty = true;
  changed_ = true;
}

Mac PageTable::write(std::uint64_t number) {
  for (std::uint64_t index = 0; index < groups_.size(); ++index) {
    Group& group = groups_[index];
    if (!group.dirty) continue;
    std::uint64_t first = index * kGroupPages;
    std::uint64_t count = std::min(kGroupPages, tags_.size() - first);
    base::Writer out;
    for (std::uint64_t i = first; i < first + count; ++i) out.raw(tags_[i]);
    Bytes body = out.take();
    body.resize(kGroupPages * kMacSize);
    base::Writer tail;
    tail.u64(number);
    body.insert(body.end(), tail.bytes().begin(), tail.bytes().end());
    Mac mac = block_mac(index, body);
    body.insert(body.end(), mac.begin(), mac.end());
    file_.write(block_offset(index, 1 - group.place), body);
    group.place = 1 - group.place;
    group.mac = mac;
    group.dirty = false;
  }
  changed_ = false;
  return table_mac(number);
}

}  // namespace holdfast::store
