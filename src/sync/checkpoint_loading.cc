// The other half of Checkpoints: reading what is kept.

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/crypto/kdf.h"
#include "src/store/state_stream.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/checkpoints.h"
#include "src/sync/outbox.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr std::size_t kMaxPart = 32 << 20;  // of the stream

}  // namespace

crypto::Secret chunk_key(const Membership& membership, std::uint32_t epoch) {
  return crypto::hkdf_sha256(membership.epoch_key(epoch).view(), {},
                             base::view("holdfast checkpoints v1"), 32);
}

std::string chunk_context(const Membership& membership, std::uint64_t position,
                          std::size_t number) {
  base::Writer out;
  out.sized(std::string_view("holdfast checkpoint chunk v1"));
  out.raw(membership.vault());
  out.u64(position);
  out.u64(number);
  return std::string(base::text(out.bytes()));
}

base::Hash32 state_start(ByteView header) {
  return base::sha256({base::view("holdfast state v1"), header});
}

base::Hash32 state_next(const base::Hash32& state, ByteView waiting) {
  return base::sha256({state, waiting});
}

void Checkpoints::load_header(const CheckpointHeader& header, const wire::Checkpoint& checkpoint) {
  store::Connection& db = engine_.database().connection();
  Acknowledgements acknowledgements(engine_, membership_);
  Statement(db.prepare("DELETE FROM batch WHERE position <= ?")).bind(checkpoint.position).run();
  for (const auto& [device, written] : header.devices) {
    if (written.seen > 0) engine_.skip(device, 1, written.seen);
    if (written.position > 0 && written.position <= checkpoint.position) {
      acknowledgements.note(written.position, device, written.last, 0);
    }
  }
  for (const Claim& claim : header.claims) {
    Statement(
        db.prepare("INSERT OR REPLACE INTO claim(device, sequence, hash, sent) VALUES(?, ?, ?, 1)"))
        .bind(ByteView(claim.device))
        .bind(claim.sequence)
        .bind(ByteView(claim.hash))
        .run();
  }
  for (const auto& [device, leaf] : checkpoint.leaves) set_device_leaf(engine_, device, leaf);
}

Bytes Checkpoints::open_block(const wire::Checkpoint& checkpoint, std::size_t number) const {
  std::optional<crypto::Secret> plain = crypto::open_committing(
      chunk_key(membership_, checkpoint.epoch).view(),
      chunk_context(membership_, checkpoint.position, number), chunk(checkpoint.position, number));
  if (!plain) throw Error(ErrorCode::protocol, "the vault's checkpoint fails authentication");
  return unpacked(plain->view());
}

CheckpointHeader Checkpoints::header_of(const wire::Checkpoint& checkpoint) const {
  Bytes stream;
  for (std::size_t number = 0; number < checkpoint.chunks.size(); ++number) {
    Bytes block = open_block(checkpoint, number);
    stream.insert(stream.end(), block.begin(), block.end());
    base::Reader in(stream, "a checkpoint");
    std::uint32_t size = in.u32();
    if (size <= in.rest().size()) return CheckpointHeader::decode(in.raw(size));
  }
  throw Error(ErrorCode::protocol, "the vault's checkpoint is malformed");
}

std::vector<Claim> Checkpoints::claims(const wire::Checkpoint& checkpoint) const {
  return header_of(checkpoint).claims;
}

ChangeHashes Checkpoints::changes_of(store::Engine& engine, const Membership& membership,
                                     const base::Id16& device) {
  std::lock_guard lock(engine.mutex());
  Checkpoints checkpoints(engine, membership);
  std::optional<wire::Checkpoint> kept = checkpoints.kept();
  if (!kept) return {};
  CheckpointHeader header = checkpoints.header_of(*kept);
  auto found = header.devices.find(device);
  if (found == header.devices.end()) return {};
  if (checkpoints.is_of_log(*kept)) return std::move(found->second.changes);
  // Not what the log has lost since.
  Statement last(engine.database().connection().prepare(
      "SELECT coalesce(max(last), 0) FROM batch WHERE device = ?"));
  last.bind(ByteView(device));
  last.step();
  ChangeHashes& changes = found->second.changes;
  changes.erase(changes.upper_bound(static_cast<std::uint64_t>(last.integer(0))), changes.end());
  return std::move(changes);
}

void Checkpoints::load(const wire::Checkpoint& checkpoint, const WorkStep& step) {
  std::optional<base::Hash32> state;
  std::uint64_t waiting = 0;  // change sets that come before the records
  Bytes stream;
  const std::size_t all = checkpoint.chunks.size();
  for (std::size_t number = 0; number < all; ++number) {
    if (step) step(number, all);
    Bytes block = open_block(checkpoint, number);
    stream.insert(stream.end(), block.begin(), block.end());
    std::size_t done = 0;
    while (stream.size() - done >= 4) {
      ByteView rest = ByteView(stream).subspan(done);
      std::uint32_t size = base::Reader(rest, "a checkpoint").u32();
      if (size > kMaxPart) throw Error(ErrorCode::protocol, "the vault's checkpoint is malformed");
      if (rest.size() - 4 < size) break;
      ByteView part = rest.subspan(4, size);
      if (waiting > 0) {
        engine_.add_waiting(decode_waiting(part));
        state = state_next(*state, part);
        --waiting;
      } else if (state) {
        state = store::load_state(engine_, *state, part);
      } else {
        CheckpointHeader header = CheckpointHeader::decode(part);
        load_header(header, checkpoint);
        waiting = header.waiting;
        state = state_start(part);
      }
      done += 4 + size;
    }
    stream.erase(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(done));
  }
  if (!stream.empty() || waiting > 0 || state != checkpoint.state) {
    throw Error(ErrorCode::protocol,
                "the vault's checkpoint is not what the devices signed: nothing was taken. Make "
                "another one: sync a device that has been in the vault for longer");
  }
  engine_.records().set_cached_policies();
  if (step) step(all, all);
}

}  // namespace holdfast::sync
