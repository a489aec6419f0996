#include "src/store/backup_stream.h"

#include <algorithm>
#include <cstring>

#include "holdfast/error.h"
#include "src/crypto/aead.h"

namespace holdfast::store {
namespace {

constexpr std::string_view kMagic = "HOLDBACK";
constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kContext = "holdfast backup v1";
constexpr std::size_t kChunk = 64 * 1024;
constexpr std::size_t kSealedChunk = kChunk + crypto_secretstream_xchacha20poly1305_ABYTES;
constexpr std::size_t kPlainHead = 8 + 1 + 1 + 16 + 4 + 4;  // all before the commitment
constexpr std::size_t kHead = kPlainHead + 32 + crypto_secretstream_xchacha20poly1305_HEADERBYTES;
constexpr std::size_t kMaxItem = 64 * 1024 * 1024;

using State = crypto_secretstream_xchacha20poly1305_state;
State* state_of(crypto::Secret& secret) { return reinterpret_cast<State*>(secret.data()); }

std::uint8_t kind_byte(UserKey::Kind kind) {
  switch (kind) {
    case UserKey::Kind::passphrase: return 1;
    case UserKey::Kind::raw: return 2;
    case UserKey::Kind::fernet: return 3;
    case UserKey::Kind::recovery_code: return 4;
    default:
      throw Error(ErrorCode::invalid_argument,
                  "a backup is sealed by a passphrase, a raw or Fernet key or a recovery code");
  }
}

crypto::Committed key_for(const UserKey& key, ByteView salt, crypto::Argon2Cost cost,
                          ByteView head) {
  crypto::Secret secret = key.kind() == UserKey::Kind::passphrase
                              ? crypto::argon2id(key.secret().view(), salt, cost)
                              : crypto::hkdf_sha256(key.secret().view(), salt,
                                                    base::view("holdfast backup key v1"), 32);
  base::Writer context;
  context.sized(kContext);
  context.raw(head);
  return crypto::derive_committed(secret.view(), salt, context.bytes());
}

}  // namespace

BackupWriter::BackupWriter(std::unique_ptr<base::File> file, const UserKey& key,
                           crypto::Argon2Cost cost, base::Random& random)
    : file_(std::move(file)), state_(sizeof(State)), chunk_(kChunk) {
  base::Writer out;
  base::Id16 salt = random.array<16>();
  out.raw(base::view(kMagic));
  out.u8(kVersion);
  out.u8(kind_byte(key.kind()));
  out.raw(salt);
  out.u32(cost.passes);
  out.u32(cost.memory_kib);
  crypto::Committed committed = key_for(key, salt, cost, out.bytes());
  out.raw(committed.commitment);
  std::array<std::uint8_t, crypto_secretstream_xchacha20poly1305_HEADERBYTES> stream;
  crypto_secretstream_xchacha20poly1305_init_push(state_of(state_), stream.data(),
                                                  committed.key.view().data());
  out.raw(stream);
  header_ = out.take();
  file_->truncate(0);
  file_->write(0, header_);
  offset_ = header_.size();
}

void BackupWriter::write(ByteView bytes) {
  while (!bytes.empty()) {
    if (filled_ == kChunk) write_chunk(crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
    std::size_t n = std::min(bytes.size(), kChunk - filled_);
    std::memcpy(chunk_.data() + filled_, bytes.data(), n);
    filled_ += n;
    bytes = bytes.subspan(n);
  }
}

void BackupWriter::write_chunk(unsigned char tag) {
  Bytes sealed(filled_ + crypto_secretstream_xchacha20poly1305_ABYTES);
  ByteView with = offset_ == header_.size() ? ByteView(header_) : ByteView();
  crypto_secretstream_xchacha20poly1305_push(state_of(state_), sealed.data(), nullptr,
                                             chunk_.data(), filled_, with.data(), with.size(), tag);
  file_->write(offset_, sealed);
  offset_ += sealed.size();
  filled_ = 0;
}

std::uint64_t BackupWriter::finish() {
  write_chunk(crypto_secretstream_xchacha20poly1305_TAG_FINAL);
  file_->sync();
  return offset_;
}

BackupReader::BackupReader(std::unique_ptr<base::File> file, const UserKey& key,
                           const std::string& path)
    : file_(std::move(file)), path_(path), state_(sizeof(State)), header_(kHead) {
  size_ = file_->size();
  std::size_t there = file_->read(0, header_);
  ByteView head = header_;
  if (there < kMagic.size() || base::text(head.first(kMagic.size())) != kMagic) {
    throw Error(ErrorCode::not_a_store, path + " is not a Holdfast backup");
  }
  if (there < kHead) damaged();
  base::Reader in(head.subspan(kMagic.size()), "a backup's header");
  if (in.u8() > kVersion) {
    throw Error(ErrorCode::newer_version,
                path + " was written by a newer version of Holdfast: update this app");
  }
  std::uint8_t kind = in.u8();
  base::Id16 salt = in.array<16>();
  crypto::Argon2Cost cost;
  cost.passes = in.u32();
  cost.memory_kib = in.u32();
  Error wrong(ErrorCode::wrong_key, "that passphrase or key does not open " + path);
  if (kind != kind_byte(key.kind())) throw wrong;
  crypto::Committed committed = key_for(key, salt, cost, head.first(kPlainHead));
  if (!crypto::equal(committed.commitment, in.raw(32))) throw wrong;
  crypto_secretstream_xchacha20poly1305_init_pull(state_of(state_), in.rest().data(),
                                                  committed.key.view().data());
  offset_ = kHead;
}

void BackupReader::damaged() const {
  throw Error(ErrorCode::corrupt, path_ + " is damaged or was cut short: use another backup");
}

void BackupReader::next_chunk() {
  if (last_) damaged();
  Bytes sealed(kSealedChunk);
  std::size_t n = file_->read(offset_, sealed);
  if (n < crypto_secretstream_xchacha20poly1305_ABYTES) damaged();
  std::size_t plain = n - crypto_secretstream_xchacha20poly1305_ABYTES;
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
  used_ = 0;
  std::size_t before = buffer_.size();
  buffer_.resize(before + plain);
  ByteView with = first_ ? ByteView(header_) : ByteView();
  unsigned char tag = 0;
  if (crypto_secretstream_xchacha20poly1305_pull(state_of(state_), buffer_.data() + before, nullptr,
                                                 &tag, sealed.data(), n, with.data(),
                                                 with.size()) != 0) {
    damaged();
  }
  first_ = false;
  offset_ += n;
  last_ = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
  if (last_ && offset_ != size_) damaged();
}

ByteView BackupReader::read(std::size_t size) {
  if (size > kMaxItem) damaged();
  while (buffer_.size() - used_ < size) next_chunk();
  ByteView out = ByteView(buffer_).subspan(used_, size);
  used_ += size;
  return out;
}

std::uint64_t BackupReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    std::uint8_t byte = u8();
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  damaged();
}

void BackupReader::expect_end() {
  while (!last_ && used_ == buffer_.size()) next_chunk();
  if (used_ != buffer_.size()) damaged();
}

}  // namespace holdfast::store
