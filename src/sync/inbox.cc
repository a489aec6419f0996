#include "src/sync/inbox.h"

#include "holdfast/error.h"

namespace holdfast::sync {

using store::Statement;

namespace {

// Errors that mean this batch cannot be taken, now or ever, and the rest can.
bool is_about_the_batch(const Error& error) {
  return error.code() == ErrorCode::malformed || error.code() == ErrorCode::protocol ||
         error.code() == ErrorCode::newer_version || error.code() == ErrorCode::not_found;
}

[[noreturn]] void misfit(const char* why) {
  throw Error(ErrorCode::protocol,
              std::string("the relay's history does not fit what this device saw: ") + why +
                  ". Nothing was lost here; tell whoever runs the relay");
}

}  // namespace

void Inbox::take_page(const wire::LogPage& page, InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  LogPosition log = membership_.log().value();
  if (page.log_id != log.log_id) misfit("it is another log");
  if (page.head < log.position) misfit("it has lost recent data");
  if (page.head - log.position < page.batches.size()) misfit("it holds more than it says");
  if (page.head > log.position && page.batches.empty()) misfit("a part of it is missing");
  for (const Bytes& batch : page.batches) take_next(batch, counts);
  log = membership_.log().value();
  if (log.chain != page.end_chain) misfit("its chain is another");
  if (log.position == page.head && log.chain != page.chain) misfit("its chain is another");
  transaction.commit();
}

void Inbox::take_next(ByteView batch, InboxCounts& counts) {
  ++counts.batches;
  wire::BatchHeader header = wire::decode_batch_header(batch);
  std::string held_for;
  if (header.device == engine_.identity().id) {
    take_own(header, batch, counts);
  } else {
    // An honest relay stores a device's batches in their order, and all of them.
    if (header.previous != device_leaf(engine_, header.device)) misfit("a batch is missing");
    try {
      OpenedBatch opened = open_batch(batch, membership_);
      check_seen(opened.content.seen);
      apply(opened, counts);
    } catch (const Error& error) {
      if (!is_about_the_batch(error)) throw;
      held_for = error.what();
      counts.rejected.push_back("batch " + std::to_string(membership_.log()->position + 1) + ": " +
                                held_for);
    }
  }
  advance(header.device, batch, held_for);
}

void Inbox::take_own(const wire::BatchHeader& header, ByteView batch, InboxCounts& counts) {
  std::optional<OutboxBatch> sent = outbox_.confirm(header.batch);
  if (sent) {
    if (wire::leaf_of(sent->body) != wire::leaf_of(batch))
      misfit("it altered a batch of this device");
    counts.confirmed += sent->last - sent->first + 1;
    return;
  }
  // Not in the outbox: this device wrote it and no longer knows, or somebody else has its keys.
  throw Error(
      ErrorCode::fork,
      "the vault holds changes of this device that this store does not: the store was "
      "restored from a copy, or copied. Nothing was changed; enrol this copy as a new device");
}

void Inbox::apply(const OpenedBatch& batch, InboxCounts& counts) {
  for (const model::ChangeSet& change : batch.changes) {
    store::Received received = engine_.receive(change);
    counts.applied += received == store::Received::applied;
    counts.waiting += received == store::Received::waiting;
  }
}

// What the author had seen of the log when it sealed must be what we saw.
void Inbox::check_seen(const LogPosition& seen) const {
  LogPosition log = membership_.log().value();
  if (seen.log_id != log.log_id || seen.position == 0) return;
  if (seen.position > log.position) {
    throw Error(ErrorCode::protocol, "a batch names a later part of the log than it stands in");
  }
  Statement query(
      engine_.database().connection().prepare("SELECT chain FROM log WHERE position = ?"));
  query.bind(seen.position);
  if (!query.step()) return;
  if (!crypto::equal(query.blob(0), seen.chain)) {
    throw Error(
        ErrorCode::fork,
        "the relay shows different histories to different devices: syncing has stopped, and "
        "nothing here was changed. Do not trust this relay");
  }
}

void Inbox::advance(const base::Id16& device, ByteView batch, const std::string& held_for) {
  LogPosition log = membership_.log().value();
  base::Hash32 leaf = wire::leaf_of(batch);
  ++log.position;
  log.chain = wire::chain_next(log.chain, log.position, leaf);
  Statement(engine_.database().connection().prepare("INSERT INTO log VALUES(?, ?, ?, ?, ?, ?)"))
      .bind(log.position)
      .bind(ByteView(device))
      .bind(ByteView(log.chain))
      .bind(held_for.empty() ? 0 : 1)
      .bind(held_for)
      .bind(batch)
      .run();
  set_device_leaf(engine_, device, leaf);
  membership_.set_log(log);
}

void Inbox::take_confirmed(const wire::PushAnswer& answer, const std::vector<OutboxBatch>& sent,
                           InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    using wire::PushStatus;
    const wire::PushAnswer::Item& item = answer.items[i];
    bool stored = item.status == PushStatus::ok || item.status == PushStatus::duplicate;
    // Somebody else's batch came in between: a pull will bring both.
    if (!stored || item.position != membership_.log()->position + 1) break;
    counts.confirmed += sent[i].last - sent[i].first + 1;
    outbox_.confirm(sent[i].batch);
    advance(engine_.identity().id, sent[i].body, "");
  }
  const LogPosition& log = *membership_.log();
  if (log.position == answer.head && log.chain != answer.chain) misfit("its chain is another");
  transaction.commit();
}

void Inbox::take_loose(ByteView batch, InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  ++counts.batches;
  try {
    if (wire::decode_batch_header(batch).device != engine_.identity().id) {
      apply(open_batch(batch, membership_), counts);
    }
  } catch (const Error& error) {
    if (!is_about_the_batch(error)) throw;
    counts.rejected.push_back(error.what());
  }
  transaction.commit();
}

void Inbox::retry_held(InboxCounts& counts) {
  std::vector<std::pair<std::int64_t, Bytes>> held;
  std::lock_guard lock(engine_.mutex());
  {
    Statement query(engine_.database().connection().prepare(
        "SELECT position, body FROM log WHERE held > 0 ORDER BY position"));
    while (query.step()) held.emplace_back(query.integer(0), base::to_bytes(query.blob(1)));
  }
  for (const auto& [position, body] : held) {
    std::optional<OpenedBatch> opened;
    try {
      opened = open_batch(body, membership_);
    } catch (const Error& error) {
      if (!is_about_the_batch(error)) throw;
      counts.rejected.push_back("batch " + std::to_string(position) + ": " + error.what());
      continue;
    }
    store::Engine::Transaction transaction(engine_);
    apply(*opened, counts);
    Statement(engine_.database().connection().prepare(
                  "UPDATE log SET held = 0, reason = '' WHERE position = ?"))
        .bind(position)
        .run();
    transaction.commit();
  }
}

}  // namespace holdfast::sync
