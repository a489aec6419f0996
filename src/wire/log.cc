#include "src/wire/log.h"

#include <sodium.h>

#include <bit>

#include "holdfast/error.h"

namespace holdfast::wire {
namespace {

constexpr std::uint8_t kBatchVersion = 2;  // 1 was signed inside, and never released

Bytes number(std::uint64_t value) {
  base::Writer out;
  out.u64(value);
  return out.take();
}

}  // namespace

Bytes encode(const BatchHeader& header) {
  base::Writer out;
  out.u8(kBatchVersion);
  out.raw(header.vault);
  out.raw(header.batch);
  out.raw(header.device);
  out.raw(header.previous);
  out.u32(header.epoch);
  out.raw(header.salt);
  out.raw(header.commitment);
  return out.take();
}

BatchHeader decode_batch_header(ByteView batch) {
  base::Reader in(batch, "a batch");
  if (batch.size() < kMinBatch || batch.size() > kMaxBatch) in.fail("its size is out of range");
  if (padded_size(batch.size()) != batch.size()) in.fail("it is not padded");
  std::uint8_t version = in.u8();
  if (version > kBatchVersion) {
    throw Error(ErrorCode::newer_version, "a batch is of a newer version: update the app");
  }
  if (version != kBatchVersion) in.fail("its version is unknown");
  BatchHeader header;
  header.vault = in.array<32>();
  header.batch = in.array<16>();
  header.device = in.array<16>();
  header.previous = in.array<32>();
  header.epoch = in.u32();
  header.salt = in.array<16>();
  header.commitment = in.array<32>();
  return header;
}

bool is_signed(ByteView batch, const Hash32& vault, const Hash32& author_sign) {
  if (batch.size() < kSignatureSize) return false;
  std::size_t end = batch.size() - kSignatureSize;
  return verify(author_sign, kSignBatch, vault, batch.first(end), batch.subspan(end));
}

void write(base::Writer& out, const LogPosition& log) {
  out.raw(log.log_id);
  out.u64(log.position);
  out.raw(log.chain);
}

LogPosition read_position(base::Reader& in) {
  LogPosition log;
  log.log_id = in.array<16>();
  log.position = in.u64();
  log.chain = in.array<32>();
  return log;
}

Hash32 leaf_of(ByteView batch) { return sha256({batch}); }

Hash32 chain_start(const Id16& log_id) { return sha256({base::view("holdfast chain v1"), log_id}); }

Hash32 chain_next(const Hash32& chain, std::uint64_t position, const Hash32& leaf) {
  return sha256({chain, number(position), leaf});
}

std::size_t padded_size(std::size_t size) {
  if (size <= kMinBatch) return kMinBatch;
  auto exponent = static_cast<unsigned>(std::bit_width(size)) - 1;
  auto kept = static_cast<unsigned>(std::bit_width(exponent));
  std::size_t mask = (std::size_t{1} << (exponent - kept)) - 1;
  return (size + mask) & ~mask;
}

Bytes signed_message(std::string_view purpose, const Hash32& vault, ByteView message) {
  base::Writer out;
  out.sized(purpose);
  out.raw(vault);
  out.raw(message);
  return out.take();
}

bool verify(const Hash32& public_key, std::string_view purpose, const Hash32& vault,
            ByteView message, ByteView signature64) {
  Bytes whole = signed_message(purpose, vault, message);
  return signature64.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(signature64.data(), whole.data(), whole.size(),
                                     public_key.data()) == 0;
}

}  // namespace holdfast::wire
