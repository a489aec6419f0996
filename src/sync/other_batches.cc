// The inbox's part for batches that do not come as the next of the log: past it, again, or at last.

#include "holdfast/error.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/claims.h"
#include "src/sync/inbox.h"

namespace holdfast::sync {

using store::Statement;

bool is_about_the_batch(const Error& error) {
  return error.code() == ErrorCode::malformed || error.code() == ErrorCode::protocol ||
         error.code() == ErrorCode::newer_version || error.code() == ErrorCode::not_found;
}

void Inbox::apply_loose(ByteView batch, InboxCounts& counts) {
  try {
    apply(open_batch(batch, membership_), counts);
  } catch (const Error& error) {
    if (!is_about_the_batch(error)) throw;
    counts.rejected.push_back(error.what());
  }
}

void Inbox::keep_loose(ByteView batch) {
  Statement(engine_.database().connection().prepare(
                "INSERT OR IGNORE INTO loose(leaf, body) VALUES(?, ?)"))
      .bind(ByteView(wire::leaf_of(batch)))
      .bind(batch)
      .run();
}

void Inbox::take_again(std::uint64_t position, ByteView batch, InboxCounts& counts) {
  Told about;
  base::Id16 author = wire::decode_batch_header(batch).device;
  try {
    about.is_ignored = is_behind_end(author, static_cast<std::int64_t>(position));
    if (!about.is_ignored) {
      require_leads_to_end(author, batch);
      OpenedBatch opened = open_batch(batch, membership_);
      check_views(opened, position, counts);
      Claims(engine_).note(opened, membership_);
      skip_gap(opened, position);
      apply(opened, counts);
      note_seen(author, opened.content.sealed_ms);
      about = told(opened);
    }
  } catch (const Error& error) {
    if (!is_about_the_batch(error)) throw;
    about.held_for = error.what();
    counts.rejected.push_back("batch " + std::to_string(position) + ": " + about.held_for);
  }
  Acknowledgements(engine_, membership_).note(position, author, about.last, about.acknowledged);
  Statement(engine_.database().connection().prepare(
                "UPDATE log SET held = ?, reason = ? WHERE position = ?"))
      .bind(held_value(about))
      .bind(about.held_for.empty() ? about.void_for : about.held_for)
      .bind(position)
      .run();
}

bool Inbox::is_in_log(ByteView batch) const {
  Statement query(engine_.database().connection().prepare("SELECT 1 FROM log WHERE leaf = ?"));
  base::Hash32 leaf = wire::leaf_of(batch);
  query.bind(ByteView(leaf));
  return query.step();
}

void Inbox::take_loose(ByteView batch, InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  ++counts.batches;
  try {
    OpenedBatch opened = open_batch(batch, membership_);
    if (!membership_.control().member(opened.header.device)) {
      throw Error(ErrorCode::protocol,
                  "its author was taken out of the vault: what counts of it comes by the relay");
    }
    if (!membership_.control().holds(opened.content.control_head)) {
      throw Error(ErrorCode::not_found,
                  "its author knows a newer list of devices: sync with the relay first");
    }
    bool own = opened.header.device == engine_.identity().id;
    if (own && opened.content.last > engine_.seen().at(opened.header.device)) {
      throw Error(
          ErrorCode::protocol,
          "it is by this very device and not known here: the store was restored from a copy, "
          "or copied");
    }
    apply(opened, counts);
    if (membership_.log() && !is_in_log(batch)) keep_loose(batch);
    note_first_pull(false);
  } catch (const Error& error) {
    if (!is_about_the_batch(error)) throw;
    counts.rejected.push_back(error.what());
  }
  transaction.commit();
}

void Inbox::retry_held(InboxCounts& counts) {
  for (std::int64_t position = 0;;) {
    store::Engine::Transaction transaction(engine_);
    Bytes body;
    {
      Statement query(
          engine_.database().connection().prepare("SELECT position, body FROM log WHERE held = 1 "
                                                  "AND position > ? ORDER BY position LIMIT 1"));
      query.bind(position);
      if (!query.step()) return transaction.commit();
      position = query.integer(0);
      body = base::to_bytes(query.blob(1));
    }
    try {
      OpenedBatch opened = open_batch(body, membership_);
      if (!is_behind_end(opened.header.device, position)) {
        require_leads_to_end(opened.header.device, body);
        check_views(opened, static_cast<std::uint64_t>(position), counts);
        Claims(engine_).note(opened, membership_);
        skip_gap(opened, static_cast<std::uint64_t>(position));
        apply(opened, counts);
        note_seen(opened.header.device, opened.content.sealed_ms);
        Told about = told(opened);
        Acknowledgements(engine_, membership_)
            .note(static_cast<std::uint64_t>(position), opened.header.device, about.last,
                  about.acknowledged);
      }
      Statement(engine_.database().connection().prepare(
                    "UPDATE log SET held = 0, reason = ? WHERE position = ?"))
          .bind(opened.void_because)
          .bind(position)
          .run();
    } catch (const Error& error) {
      if (!is_about_the_batch(error)) throw;
      counts.rejected.push_back("batch " + std::to_string(position) + ": " + error.what());
    }
    transaction.commit();
  }
}

}  // namespace holdfast::sync
