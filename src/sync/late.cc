// The inbox's part for a device that comes so late that the relay has let go of what it lacks: it
// takes the checkpoint instead, and has its own changes on top.

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/sync/checkpoints.h"
#include "src/sync/inbox.h"

namespace holdfast::sync {

using store::Statement;

void Inbox::take_checkpoint(const wire::Checkpoint& checkpoint, InboxCounts& counts,
                            const WorkStep& step) {
  Checkpoints checkpoints(engine_, membership_);
  auto take = [&] {
    own_end_ = device_leaf(engine_, engine_.identity().id);
    take_stubs(checkpoint.position, counts);
    if (checkpoints.history_at(checkpoint.position) != checkpoint.history) {
      throw Error(ErrorCode::protocol,
                  "the relay's log does not lead to the checkpoint that the vault's devices "
                  "signed: nothing was taken. Do not trust this relay");
    }
    if (only_keeping_) return;  // its records are seen to when this store begins again
    require_own_end(checkpoint);
    engine_.database().connection().execute("UPDATE device SET leaf = NULL");
    checkpoints.load(checkpoint, step);
    if (!base::planted(base::Plant::late_devices_forget_their_own)) replay_own(counts);
  };
  try {
    if (only_keeping_) {
      store::Engine::Transaction transaction(engine_);
      take();
      checkpoints.keep(checkpoint, true);
      transaction.commit();
    } else {
      engine_.replace_records([&] {
        take();
        checkpoints.keep(checkpoint, true);
        checkpoints.trim(checkpoint);
      });
    }
  } catch (...) {
    membership_.reload();
    throw;
  }
}

// The last batch of this device that the vault has must be one that this store knows.
void Inbox::require_own_end(const wire::Checkpoint& checkpoint) const {
  if (base::planted(base::Plant::late_devices_go_on_as_copies)) return;
  const base::Id16& self = engine_.identity().id;
  for (const auto& [device, leaf] : checkpoint.leaves) {
    if (device == self && leaf != own_end_) {
      throw MustBeginAgain{"this store was a copy of '" + membership_.device_name(self).name +
                           "', which went on elsewhere"};
    }
  }
}

bool Inbox::take_known_stubs(InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  std::uint64_t upto = 0;
  {
    Statement known(
        engine_.database().connection().prepare("SELECT coalesce((SELECT min(position) FROM stub "
                                                "WHERE leaf NOT IN (SELECT leaf FROM lost)),"
                                                " (SELECT max(position) + 1 FROM stub), 0)"));
    known.step();
    upto = static_cast<std::uint64_t>(std::max<std::int64_t>(known.integer(0) - 1, 0));
  }
  if (upto <= membership_.log()->position) return false;
  take_stubs(upto, counts);
  transaction.commit();
  return true;
}

// The batches between this device's place and the checkpoint's, of which only the leaves are known.
void Inbox::take_stubs(std::uint64_t upto, InboxCounts& counts) {
  LostBatches lost(engine_);
  while (membership_.log()->position < upto) {
    wire::Stub stub;
    {
      Statement query(engine_.database().connection().prepare(
          "SELECT batch, device, leaf FROM stub WHERE position = ?"));
      query.bind(membership_.log()->position + 1);
      if (!query.step()) break;
      stub.batch = base::Reader(query.blob(0), "a batch id").array<16>();
      stub.device = base::Reader(query.blob(1), "a device id").array<16>();
      stub.leaf = base::Reader(query.blob(2), "a leaf").array<32>();
    }
    ++counts.batches;
    Told about;
    about.is_kept = only_keeping_;
    Bytes body;  // where it is still here
    if (std::optional<LostBatch> known = lost.find(stub.leaf)) {
      lost.forget(stub.leaf);
      about.last = known->last;
      about.held_for = known->held_for;
      body = known->body;
      if (only_keeping_ && !body.empty()) keep_loose(body);
    } else if (!only_keeping_) {
      std::optional<OutboxBatch> sent = outbox_.confirm_leaf(stub.leaf);
      if (sent) {
        counts.confirmed += sent->last - sent->first + 1;
        own_end_ = stub.leaf;
      }
    }
    advance_by(stub, body, about);
  }
  engine_.database().connection().execute("DELETE FROM stub");
}

// What is here and not in the log up to there: batches that came past it or that it lost, and this
// device's own that are still to be sent.
void Inbox::replay_own(InboxCounts& counts) {
  InboxCounts again;  // it was counted when it came
  std::vector<Bytes> batches;
  for (const char* sql :
       {"SELECT body FROM lost WHERE body <> x'' AND reason = '' ORDER BY num",
        "SELECT body FROM loose ORDER BY num", "SELECT body FROM outbox ORDER BY num"}) {
    Statement query(engine_.database().connection().prepare(sql));
    while (query.step()) batches.push_back(base::to_bytes(query.blob(0)));
  }
  for (const Bytes& batch : batches) apply_loose(batch, again);
  counts.rejected.insert(counts.rejected.end(), again.rejected.begin(), again.rejected.end());
  engine_.apply_unsealed();
}

}  // namespace holdfast::sync
