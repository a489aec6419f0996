#pragma once

#include "src/sync/checkpoint_header.h"
#include "src/wire/checkpoint.h"

namespace holdfast::sync {

// Checkpoints as this device makes, verifies, keeps and loads them. It keeps the newest that
// counts, sealed as it goes over the wire, in the place of the batches that it stands for: so that
// it can begin again, and give the relay back what that may have lost.
class Checkpoints {
 public:
  Checkpoints(store::Engine& engine, const Membership& membership)
      : engine_(engine), membership_(membership) {}

  // Whether the store holds what its log says up to its place, and nothing else. A change set may
  // wait for one that is not in the log, which nobody may ever bring.
  bool is_quiet() const;
  // Whether the log has grown so much behind that place that another one is worth its cost; or by
  // one `part`-th of that.
  bool is_due(std::uint64_t after, std::uint64_t part = 1) const;
  // Of the place where this device is, which is quiet: seals and keeps it, signed by this device.
  wire::Checkpoint make();
  // Whether what another device says of the place where this one is, which is quiet, is so here;
  // then it is kept as by make().
  bool agrees(const wire::Checkpoint& other);
  wire::Checkpoint::Signature sign(const wire::Checkpoint& checkpoint) const;

  // The newest that is here in whole, of those up to a place.
  std::optional<wire::Checkpoint> kept(std::uint64_t upto = INT64_MAX) const;
  Bytes chunk(std::uint64_t position, std::size_t number) const;
  // What is here of the one at a place is fetched from now on, or signed otherwise.
  void keep(const wire::Checkpoint& checkpoint, bool complete);
  // Throws Error(protocol) where it is not the one that the checkpoint names.
  void keep_chunk(const wire::Checkpoint& checkpoint, std::size_t number, ByteView body);
  // Batches between this device's place and the checkpoint's: how far they are here, and more.
  std::uint64_t stubs_upto() const;
  void keep_stubs(const std::vector<wire::Stub>& stubs);

  // Puts its records, and what else follows from the log up to there, into a store without any, in
  // the caller's transaction. Throws Error(protocol) where they are not what was signed.
  void load(const wire::Checkpoint& checkpoint, const WorkStep& step);
  // The edits that were written anew by others up to there, without the rest.
  std::vector<Claim> claims(const wire::Checkpoint& checkpoint) const;
  // What the newest that is here says of the last change sets of a device, where it stands for a
  // part of the log.
  static ChangeHashes changes_of(store::Engine& engine, const Membership& membership,
                                 const base::Id16& device);
  // Takes the batches that it stands for out of this device's log, whose leaves stay, and forgets
  // earlier ones. In one transaction.
  void trim(const wire::Checkpoint& checkpoint);
  // Whether this device's log leads to it.
  bool is_of_log(const wire::Checkpoint& checkpoint) const;
  bool is_trimmed(const wire::Checkpoint& checkpoint) const;
  // The history of this device's log up to a place; nothing where it does not reach there.
  std::optional<base::Hash32> history_at(std::uint64_t position) const;

 private:
  CheckpointHeader header_of(const wire::Checkpoint& checkpoint) const;
  CheckpointHeader header_here() const;
  wire::Checkpoint describe(bool keeps_chunks);
  void load_header(const CheckpointHeader& header, const wire::Checkpoint& checkpoint);
  Bytes open_block(const wire::Checkpoint& checkpoint, std::size_t number) const;

  store::Engine& engine_;
  const Membership& membership_;
};

}  // namespace holdfast::sync
