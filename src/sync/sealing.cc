#include "src/sync/sealing.h"

#include <zstd.h>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/model/change_codec.h"

namespace holdfast::sync {
namespace {

constexpr std::uint8_t kContentVersion = 4;
constexpr std::uint8_t kWithoutAcknowledgement = 1;
constexpr std::uint8_t kWithoutTime = 2;
constexpr std::uint8_t kWithoutClaims = 3;
constexpr int kCompression = 3;
constexpr std::size_t kMaxContent = 8 << 20;
constexpr std::string_view kKeyContext = "holdfast batch key v1";

Bytes encode_content(const BatchContent& content) {
  base::Writer out;
  out.u8(kContentVersion);
  out.varint(content.first);
  out.varint(content.last);
  out.raw(content.seen.log_id);
  out.varint(content.seen.position);
  out.raw(content.seen.chain);
  out.raw(content.control_head);
  out.varint(content.acknowledged);
  out.varint(content.sealed_ms);
  out.varint(content.claims.size());
  for (const Claim& claim : content.claims) {
    out.raw(claim.device);
    out.varint(claim.sequence);
    out.raw(claim.hash);
  }
  out.raw(content.changes);
  return out.take();
}

BatchContent decode_content(ByteView bytes) {
  base::Reader in(bytes, "the inside of a batch");
  std::uint8_t version = in.u8();
  if (version > kContentVersion) {
    throw Error(ErrorCode::newer_version,
                "a device of this vault runs a newer version of the app: update this one");
  }
  BatchContent content;
  content.first = in.varint();
  content.last = in.varint();
  bool sane = content.first > 0 && content.last + 1 >= content.first &&
              content.last + 1 - content.first <= model::kMaxChangesPerBatch &&
              content.last < static_cast<std::uint64_t>(INT64_MAX);
  if (!sane) in.fail("its sequence numbers are out of range");
  content.seen.log_id = in.array<16>();
  content.seen.position = in.varint();
  content.seen.chain = in.array<32>();
  content.control_head = in.array<32>();
  if (version > kWithoutAcknowledgement) content.acknowledged = in.varint();
  if (version > kWithoutTime) content.sealed_ms = in.varint();
  if (version > kWithoutClaims) {
    content.claims.resize(in.count(33));
    if (content.claims.size() > kMaxClaims) in.fail("it claims too much");
    for (Claim& claim : content.claims) {
      claim.device = in.array<16>();
      claim.sequence = in.varint();
      claim.hash = in.array<16>();
    }
  }
  if (content.acknowledged > content.seen.position) in.fail("it acknowledges what it has not seen");
  content.changes = base::to_bytes(in.rest());
  if (content.changes.empty() != (content.last + 1 == content.first)) {
    in.fail("its sequence numbers are out of range");
  }
  return content;
}

Bytes compress(ByteView bytes) {
  Bytes out(ZSTD_compressBound(bytes.size()));
  std::size_t size =
      ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kCompression);
  if (ZSTD_isError(size)) throw std::bad_alloc();
  out.resize(size);
  return out;
}

Bytes decompress(ByteView bytes) {
  unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size > kMaxContent) {
    throw Error(ErrorCode::malformed, "a batch is malformed: its inside is too large");
  }
  Bytes out(static_cast<std::size_t>(size));
  std::size_t got = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(got) || got != out.size()) {
    throw Error(ErrorCode::malformed, "a batch is malformed: it does not decompress");
  }
  return out;
}

// The key depends on every field of the header but the salt and the commitment, which follow from
// it.
crypto::Committed batch_key(const wire::BatchHeader& header, ByteView epoch_key) {
  base::Writer context;
  context.sized(kKeyContext);
  context.raw(ByteView(wire::encode(header)).first(wire::BatchHeader::kSize - 48));
  return crypto::derive_committed(epoch_key, header.salt, context.bytes());
}

}  // namespace

Bytes packed(ByteView bytes) {
  Bytes compressed = compress(bytes);
  base::Writer out;
  out.u32(static_cast<std::uint32_t>(compressed.size()));
  out.raw(compressed);
  return out.take();
}

Bytes unpacked(ByteView plain) {
  base::Reader in(plain, "a batch");
  std::uint32_t size = in.u32();
  Bytes inside = decompress(in.raw(size));
  for (std::uint8_t byte : in.rest()) {
    if (byte != 0) in.fail("its padding is not empty");
  }
  return inside;
}

Bytes seal_batch(const BatchContent& content, const base::Hash32& previous_leaf,
                 const Membership& membership, const store::Identity& identity,
                 base::Random& random) {
  wire::BatchHeader header;
  header.vault = membership.vault();
  random.fill(header.batch);
  header.device = identity.id;
  header.previous = previous_leaf;
  header.epoch = membership.control().epoch();
  random.fill(header.salt);
  crypto::Committed key = batch_key(header, membership.epoch_key(header.epoch).view());
  header.commitment = key.commitment;
  Bytes head = wire::encode(header);

  Bytes inside = encode_content(content);
  Bytes padded = packed(inside);
  constexpr std::size_t kBehind = crypto::kTagSize + wire::kSignatureSize;
  std::size_t size = wire::padded_size(head.size() + padded.size() + kBehind);
  if (inside.size() > kMaxContent) size = wire::kMaxBatch + 1;
  if (size > wire::kMaxBatch) {
    throw Error(ErrorCode::too_large, "a change does not fit into one batch");
  }
  padded.resize(size - head.size() - kBehind);
  Bytes sealed = crypto::seal_once(key.key.view(), head, padded);
  head.insert(head.end(), sealed.begin(), sealed.end());
  auto signature = identity.sign.sign(wire::signed_message(wire::kSignBatch, header.vault, head));
  head.insert(head.end(), signature.begin(), signature.end());
  return head;
}

OpenedBatch open_batch(ByteView batch, const Membership& membership) {
  OpenedBatch out;
  out.header = wire::decode_batch_header(batch);
  if (out.header.vault != membership.vault()) {
    throw Error(ErrorCode::protocol, "a batch is of another vault");
  }
  const wire::EnrolledDevice* author = membership.control().device(out.header.device);
  if (!author) {
    throw Error(ErrorCode::not_found,
                "it is by a device that this one does not know yet: sync with the relay first");
  }
  if (!wire::is_signed(batch, out.header.vault, author->sign)) {
    throw Error(ErrorCode::protocol, "a batch is not signed by its author");
  }
  // Every device has the same key of an epoch, or none: what one cannot open with it nobody can.
  crypto::Committed key = batch_key(out.header, membership.epoch_key(out.header.epoch).view());
  std::optional<crypto::Secret> plain;
  if (crypto::equal(key.commitment, out.header.commitment)) {
    ByteView head = batch.first(wire::BatchHeader::kSize);
    std::size_t end = batch.size() - wire::kSignatureSize;
    plain = crypto::open_once(key.key.view(), head, batch.first(end).subspan(head.size()));
  }
  if (!plain) {
    out.void_because = "it is not sealed under the vault's key";
    out.is_readable = false;
    return out;
  }
  try {
    out.content = decode_content(unpacked(plain->view()));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::malformed) throw;
    out.void_because = error.what();
    out.is_readable = false;
    return out;
  }
  if (out.content.changes.empty()) return out;
  try {
    out.changes = model::decode_changes(out.content.changes, out.header.device);
    if (out.changes.front().sequence != out.content.first ||
        out.changes.back().sequence != out.content.last) {
      out.void_because = "it does not hold the change sets that it names";
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::malformed) throw;
    out.void_because = error.what();
  }
  return out;
}

}  // namespace holdfast::sync
