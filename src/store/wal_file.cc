#include "src/store/wal_file.h"

#include <algorithm>
#include <cstring>

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

constexpr std::size_t kPlaceSize = 512;  // of one header: a sector, so that one torn write hits one
constexpr std::size_t kFirstFrame = 2 * kPlaceSize;
constexpr std::size_t kDiskFrame = WalFile::kFrame + 8 + kMacSize;
constexpr std::size_t kHeaderBody = WalFile::kHeader + 8 + 8 + 8 + kMacSize;
constexpr std::size_t kHeaderOnDisk = kHeaderBody + kMacSize;
constexpr std::uint8_t kHeaderLabel = 'H';
constexpr std::uint8_t kFrameLabel = 'F';
constexpr std::size_t kMaskedAt = 8;  // salts and checksums: one AES block of a frame header

std::uint64_t frame_offset(std::size_t index) { return kFirstFrame + index * kDiskFrame; }

std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

std::uint64_t little_endian(const std::uint8_t* p) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | p[i];
  return value;
}

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorCode::corrupt, "the store's write-ahead log is damaged (" + what +
                                      "): restore a backup or sync a new device from the vault");
}

}  // namespace

struct WalFile::OnDisk {
  std::uint8_t bytes[kDiskFrame];
  ByteView header() const { return {bytes, kFrameHeader}; }
  const std::uint8_t* page() const { return bytes + kFrameHeader; }
  ByteView tag() const { return {bytes + kFrame - kMacSize, kMacSize}; }
  std::uint32_t page_number() const { return big_endian(bytes); }
  bool commits() const { return big_endian(bytes + 4) != 0; }
  std::uint64_t durable() const { return little_endian(bytes + kFrame); }
  Mac mac() const {
    Mac out;
    std::memcpy(out.data(), bytes + kFrame + 8, kMacSize);
    return out;
  }
};

WalFile::WalFile(base::FileSystem& files, const std::string& path, PageCodec& codec,
                 const Checkpoint& checkpoint)
    : file_(files.open(path, base::FileSystem::Mode::create)),
      codec_(codec),
      frame_(std::make_unique<OnDisk>()) {
  scan(checkpoint);
  if (frames_.empty()) return;
  try {
    make_durable(files, path);
  } catch (const Error&) {
    // A full disk must not keep anybody from reading, or from deleting.
    files.remove(path + ".new");
  }
}

WalFile::~WalFile() = default;

std::uint64_t WalFile::size() const {
  return has_header_ ? kHeader + std::uint64_t{frames_.size()} * kFrame : 0;
}

Mac WalFile::frame_mac(std::uint64_t generation, std::size_t index, std::uint64_t durable,
                       ByteView masked_header, ByteView tag, const Mac& before) const {
  std::array<std::uint8_t, 1 + 3 * 8 + kFrameHeader + 2 * kMacSize> message;
  std::uint8_t* at = message.data();
  *at++ = kFrameLabel;
  for (std::uint64_t value : {generation, std::uint64_t{index}, durable}) {
    for (int i = 0; i < 8; ++i) *at++ = static_cast<std::uint8_t>(value >> (8 * i));
  }
  for (ByteView part : {masked_header, tag, ByteView(before)}) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return codec_.chain_mac(message);
}

bool WalFile::check(const OnDisk& frame, std::uint64_t generation, std::size_t index,
                    const Mac& before) const {
  return crypto::equal(frame.mac(), frame_mac(generation, index, frame.durable(), frame.header(),
                                              frame.tag(), before));
}

Mac WalFile::header_mac(std::size_t place, ByteView body) const {
  base::Writer message;
  message.u8(kHeaderLabel);
  message.u8(static_cast<std::uint8_t>(place));
  message.raw(body);
  return codec_.chain_mac(message.bytes());
}

bool WalFile::load_header(std::size_t place) {
  std::array<std::uint8_t, kHeaderOnDisk> bytes;
  if (file_->read(place * kPlaceSize, bytes) != bytes.size()) return false;
  ByteView body = ByteView(bytes).first(kHeaderBody);
  Mac mac = header_mac(place, body);
  if (!crypto::equal(mac, ByteView(bytes).last(kMacSize))) return false;
  base::Reader in(body.subspan(kHeader), "the log's header");
  std::uint64_t generation = in.u64();
  if (has_header_ && generation <= generation_) return false;
  has_header_ = true;
  place_ = place;
  header_mac_ = mac;
  generation_ = generation;
  continues_ = in.u64();
  base_.commits = in.u64();
  base_.root = in.array<kMacSize>();
  std::memcpy(header_.data(), bytes.data(), kHeader);
  codec_.unmask(place * kPlaceSize, 0, header_);
  return true;
}

// Either the log that the last checkpoint copied from, not reset yet, or one that was begun after
// it.
void WalFile::check_continues(const Checkpoint& checkpoint) const {
  bool copied = generation_ == checkpoint.log_generation;
  if (copied) {
    if (frames_.size() < checkpoint.log_frames ||
        (checkpoint.log_frames > 0 &&
         frames_[checkpoint.log_frames - 1].mac != checkpoint.log_mac)) {
      damaged("it is older than the store, or was cut short");
    }
  } else if (generation_ < checkpoint.log_generation || continues_ != checkpoint.number) {
    damaged("it is older than the store, or another's");
  }
}

void WalFile::scan(const Checkpoint& checkpoint) {
  std::uint64_t size = file_->size();
  std::size_t count =
      size < kFirstFrame ? 0 : static_cast<std::size_t>((size - kFirstFrame) / kDiskFrame);
  load_header(0);
  load_header(1);
  if (!has_header_) {
    // A header is synced before the first frame: without frames, none was ever complete.
    if (count > 0) damaged("its header");
    generation_ = checkpoint.log_generation;
    base_ = checkpoint.position;
    return;
  }
  PageOpener opener(codec_);
  auto frame = std::make_unique<OnDisk>();
  std::array<std::uint8_t, kPageSize> plain;
  std::size_t index = 0;
  for (; index < count; ++index) {
    file_->read(frame_offset(index), frame->bytes);
    if (!check(*frame, generation_, index, mac_before(index)) ||
        !opener.open(frame->page_number(), frame->page(), plain.data())) {
      break;
    }
    frames_.push_back(
        {frame->page_number(), frame->commits(), tag_of(frame->page()), frame->mac()});
    durable_ = frame->durable();
  }
  crypto::wipe(plain);
  check_lost_frames(index, count);
  check_continues(checkpoint);
}

// After a sync that failed, the system may show bytes that never reached the disk, and will not
// write them again of itself. What the log continues from is written once more, so that the next
// sync means it; and elsewhere, for what is written over can be lost to a power cut.
void WalFile::make_durable(base::FileSystem& files, const std::string& path) {
  std::string aside = path + ".new";
  auto copy = files.open(aside, base::FileSystem::Mode::create);
  copy->truncate(0);
  std::array<std::uint8_t, kHeaderOnDisk> place;
  file_->read(place_ * kPlaceSize, place);
  copy->write(place_ * kPlaceSize, place);
  auto frame = std::make_unique<OnDisk>();
  for (std::size_t index = 0; index < frames_.size(); ++index) {
    if (file_->read(frame_offset(index), frame->bytes) != kDiskFrame) damaged("it was cut short");
    copy->write(frame_offset(index), frame->bytes);
  }
  copy->sync();
  files.rename_over(aside, path);
  file_ = std::move(copy);
  synced();
}

// Frames behind the first bad one may be leftovers of older generations or of a write that a power
// cut tore. A valid one that was written when the bad one was already durable proves damage, and so
// does one of the next generation: its header is gone.
void WalFile::check_lost_frames(std::size_t first_bad, std::size_t count) {
  constexpr std::size_t kMostLookedAt = 1'000'000;  // 4 GB: a hostile file may be sparse and vast
  count = std::min(count, first_bad + kMostLookedAt);
  auto frame = std::make_unique<OnDisk>();
  Mac before = mac_before(first_bad);
  for (std::size_t index = first_bad; index < count; ++index) {
    file_->read(frame_offset(index), frame->bytes);
    if (frame->durable() > first_bad && check(*frame, generation_, index, before)) {
      damaged("frame " + std::to_string(first_bad));
    }
    if (index > 0 && check(*frame, generation_ + 1, index, before)) damaged("its header");
    before = frame->mac();
  }
}

bool WalFile::read(PageOpener& opener, std::uint64_t offset, std::span<std::uint8_t> out,
                   bool raw) const {
  if (offset + out.size() > size()) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return false;
  }
  if (offset < kHeader) {
    if (offset + out.size() > kHeader) damaged("a read of an unknown shape");
    std::memcpy(out.data(), header_.data() + offset, out.size());
    return true;
  }
  std::size_t index = static_cast<std::size_t>((offset - kHeader) / kFrame);
  std::size_t at = static_cast<std::size_t>((offset - kHeader) % kFrame);
  const Frame& known = frames_[index];

  bool whole = at == 0 && out.size() == kFrame;
  if (whole || at + out.size() <= kFrameHeader) {
    FrameHeader header;
    if (file_->read(frame_offset(index), header) != header.size()) damaged("it was cut short");
    codec_.unmask(frame_offset(index), known.page, {header.data() + kMaskedAt, 16});
    std::memcpy(out.data(), header.data() + at, std::min(out.size(), kFrameHeader - at));
    if (!whole) return true;
  } else if (at != kFrameHeader || out.size() != kPageSize) {
    damaged("a read of an unknown shape");
  }
  std::uint8_t* page = out.data() + (whole ? kFrameHeader : 0);
  std::array<std::uint8_t, kPageSize> sealed;
  bool there = file_->read(frame_offset(index) + kFrameHeader, sealed) == sealed.size();
  if (!there || tag_of(sealed.data()) != known.tag) damaged("frame " + std::to_string(index));
  if (raw) {
    // A checkpoint copies it sealed: what is wrong with it will be found there as it would be here.
    std::memcpy(page, sealed.data(), kPageSize);
  } else if (!opener.open(known.page, sealed.data(), page)) {
    damaged("frame " + std::to_string(index));
  }
  return true;
}

std::size_t WalFile::committed() const {
  std::size_t count = frames_.size();
  while (count > 0 && !frames_[count - 1].commits) --count;
  return count;
}

bool WalFile::holds(std::uint32_t page) const {
  auto end = frames_.begin() + static_cast<std::ptrdiff_t>(committed());
  return std::any_of(frames_.begin(), end, [&](const Frame& one) { return one.page == page; });
}

Position WalFile::position() const {
  Position out = base_;
  for (const Frame& frame : frames_) {
    if (frame.commits) ++out.commits;
  }
  std::size_t count = committed();
  if (count > 0) out.root = frames_[count - 1].mac;
  return out;
}

void WalFile::describe(Checkpoint& checkpoint) const {
  std::size_t count = committed();
  checkpoint.log_generation = generation_;
  checkpoint.log_frames = count;
  checkpoint.log_mac = count > 0 ? frames_[count - 1].mac : Mac{};
  checkpoint.position = position();
}

void WalFile::write(std::uint64_t offset, ByteView bytes, const Checkpoint& checkpoint) {
  if (offset == 0 && bytes.size() == kHeader) return write_header(bytes, checkpoint);
  std::size_t index = static_cast<std::size_t>((offset - kHeader) / kFrame);
  std::size_t at = static_cast<std::size_t>((offset - kHeader) % kFrame);
  if (offset >= kHeader && has_header_ && index <= frames_.size()) {
    if (at == 0 && bytes.size() == kFrameHeader) {
      pending_.emplace(Pending{index, {}});
      std::memcpy(pending_->header.data(), bytes.data(), kFrameHeader);
      // Of a frame that exists, the header may be all that comes, and must not wait in memory.
      if (index < frames_.size()) rewrite_header(*pending_);
      return;
    }
    if (at == kFrameHeader && bytes.size() == kPageSize) {
      if (pending_ && pending_->index == index) {
        Pending pending = *pending_;
        pending_.reset();
        return append(pending, bytes.data());
      }
      if (index < frames_.size()) return rewrite_page(index, bytes.data());
    }
  }
  throw Error(ErrorCode::io, "SQLite wrote its log in a shape that Holdfast does not know");
}

void WalFile::write_header(ByteView header, const Checkpoint& checkpoint) {
  pending_.reset();
  std::size_t place = 1 - place_;
  std::uint64_t generation = generation_ + 1;
  // SQLite begins a log anew when all of the old one is in the pages, or none of it counted.
  Position base = position();
  std::array<std::uint8_t, kHeader> hidden;
  std::copy(header.begin(), header.end(), hidden.begin());
  codec_.mask(place * kPlaceSize, 0, hidden);
  base::Writer out;
  out.raw(hidden);
  out.u64(generation);
  out.u64(checkpoint.number);
  out.u64(base.commits);
  out.raw(base.root);
  Mac mac = header_mac(place, out.bytes());
  out.raw(mac);
  file_->write(place * kPlaceSize, out.bytes());
  // Only now: where the write failed, the old header still counts, and the next try comes here
  // again.
  frames_.clear();
  durable_ = 0;
  place_ = place;
  header_mac_ = mac;
  generation_ = generation;
  continues_ = checkpoint.number;
  base_ = base;
  has_header_ = true;
  std::copy(header.begin(), header.end(), header_.begin());
}

WalFile::FrameHeader WalFile::masked(const FrameHeader& header, std::size_t index) {
  FrameHeader out = header;
  codec_.mask(frame_offset(index), big_endian(header.data()), {out.data() + kMaskedAt, 16});
  return out;
}

// A header and its page, one write. Everything behind it is no longer part of the log.
void WalFile::append(const Pending& pending, const std::uint8_t* page) {
  std::size_t index = pending.index;
  frames_.resize(index);
  durable_ = std::min<std::uint64_t>(durable_, index);
  Frame known;
  known.page = big_endian(pending.header.data());
  known.commits = big_endian(pending.header.data() + 4) != 0;
  FrameHeader header = masked(pending.header, index);
  std::memcpy(frame_->bytes, header.data(), kFrameHeader);
  if (!codec_.seal(known.page, page, frame_->bytes + kFrameHeader)) {
    throw Error(ErrorCode::io, "SQLite used bytes of a page that are reserved for its seal");
  }
  known.tag = tag_of(frame_->page());
  known.mac = frame_mac(generation_, index, durable_, header, known.tag, mac_before(index));
  for (int i = 0; i < 8; ++i) {
    frame_->bytes[kFrame + static_cast<std::size_t>(i)] =
        static_cast<std::uint8_t>(durable_ >> (8 * i));
  }
  std::memcpy(frame_->bytes + kFrame + 8, known.mac.data(), kMacSize);
  file_->write(frame_offset(index), frame_->bytes);
  frames_.push_back(known);
}

// SQLite replaces a page inside an open transaction; it rewrites the headers from there on before
// the commit, and with them the MACs.
void WalFile::rewrite_page(std::size_t index, const std::uint8_t* page) {
  pending_.reset();
  Bytes sealed(kPageSize);
  if (!codec_.seal(frames_[index].page, page, sealed.data())) {
    throw Error(ErrorCode::io, "SQLite used bytes of a page that are reserved for its seal");
  }
  frames_[index].tag = tag_of(sealed.data());
  durable_ = std::min<std::uint64_t>(durable_, index);
  file_->write(frame_offset(index) + kFrameHeader, sealed);
}

// A header alone, and its MAC.
void WalFile::rewrite_header(const Pending& pending) {
  Frame& known = frames_[pending.index];
  known.commits = big_endian(pending.header.data() + 4) != 0;
  FrameHeader header = masked(pending.header, pending.index);
  durable_ = std::min<std::uint64_t>(durable_, pending.index);
  known.mac =
      frame_mac(generation_, pending.index, durable_, header, known.tag, mac_before(pending.index));
  base::Writer trailer;
  trailer.u64(durable_);
  trailer.raw(known.mac);
  file_->write(frame_offset(pending.index), header);
  file_->write(frame_offset(pending.index) + kFrame, trailer.bytes());
}

void WalFile::truncate(std::uint64_t size) {
  pending_.reset();
  if (size < kHeader) {
    file_->truncate(0);
    base_ = position();
    frames_.clear();
    durable_ = 0;
    has_header_ = false;
    return;
  }
  std::size_t count = static_cast<std::size_t>((size - kHeader) / kFrame);
  if (count >= frames_.size()) return;
  frames_.resize(count);
  durable_ = std::min<std::uint64_t>(durable_, count);
  file_->truncate(frame_offset(count));
}

}  // namespace holdfast::store
