#include "src/sync/inbox.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/sync/acknowledgements.h"
#include "src/sync/claims.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr const char* kWithheld =
    "the relay withholds a part of the vault's history: nothing was taken, and nothing here was "
    "changed. Do "
    "not trust this relay";

[[noreturn]] void misfit(const char* why) {
  throw Error(ErrorCode::protocol,
              std::string("the relay's history does not fit what this device saw: ") + why +
                  ". Nothing was lost here; tell whoever runs the relay");
}

}  // namespace

void Inbox::take_page(const wire::LogPage& page, InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  LogPosition log = membership_.log().value();
  if (page.log_id != log.log_id || page.head < log.position || page.start_chain != log.chain) {
    misfit("it is another log");
  }
  for (const auto& [id, device] : membership_.control().devices()) {
    if (device.revoked && device.revoked->through.log_id == page.log_id &&
        page.head < device.revoked->through.position) {
      misfit("it ends before the place that the vault's device list names");
    }
  }
  const std::optional<LogPosition>& anchor = membership_.anchor();
  if (anchor && anchor->log_id == page.log_id && page.head < anchor->position) {
    misfit("it ends before what this device was invited to");
  }
  if (page.head - log.position < page.batches.size()) misfit("it holds more than it says");
  if (page.head > log.position && page.batches.empty()) misfit("a part of it is missing");
  for (const Bytes& batch : page.batches) take_next(batch, counts);
  log = membership_.log().value();
  if (log.chain != page.end_chain) misfit("its chain is another");
  if (log.position == page.head && log.chain != page.chain) misfit("its chain is another");
  note_first_pull(log.position == page.head);
  if (tells_ && !only_keeping_) close_revoked();
  transaction.commit();
}

void Inbox::note_seen(const base::Id16& device, std::uint64_t sealed_ms) {
  auto now = static_cast<std::uint64_t>(engine_.now_ms());
  Statement(engine_.database().connection().prepare(
                "UPDATE device SET last_seen_ms = max(last_seen_ms, ?) WHERE num = ?"))
      .bind(std::min(sealed_ms, now))
      .bind(engine_.records().index_of(device))
      .run();
}

// A device that has joined writes either before it has anything of the vault, or once it has all.
void Inbox::note_first_pull(bool complete) {
  std::optional<Bytes> joining = engine_.database().meta("joining");
  if (!joining || joining->empty()) return;
  if (complete) engine_.database().set_meta("joining", {});
  engine_.set_partly_received(!complete);
}

void Inbox::take_next(ByteView batch, InboxCounts& counts) {
  ++counts.batches;
  // A header that cannot be read ends the page: what follows it could not be placed.
  wire::BatchHeader header = wire::decode_batch_header(batch);
  Told about;
  base::Hash32 leaf = wire::leaf_of(batch);
  LostBatches lost(engine_);
  if (std::optional<LostBatch> known = lost.find(leaf)) {
    lost.forget(leaf);
    about.held_for = known->held_for;
    about.last = known->last;
    about.is_kept = only_keeping_;
    if (only_keeping_) keep_loose(batch);  // it is among what this store was made of
  } else if (only_keeping_) {
    about = keep_only(header, batch);
  } else if (header.device == engine_.identity().id) {
    about = take_own(header, batch, counts);
  } else if (is_after_revocation(header.device)) {
    counts.rejected.push_back("batch " + std::to_string(membership_.log()->position + 1) +
                              ": it is by '" + membership_.device_name(header.device).name +
                              "', which was taken out of the vault before it, and is ignored. Do "
                              "not trust this relay");
    about.is_ignored = true;
  } else {
    // An honest relay stores a device's batches in their order, and all of them.
    if (header.previous != device_leaf(engine_, header.device)) {
      throw Error(ErrorCode::fork, kWithheld);
    }
    require_signed(batch, header);
    try {
      require_leads_to_end(header.device, batch);
      OpenedBatch opened = open_batch(batch, membership_);
      check_views(opened, membership_.log()->position + 1, counts);
      Claims(engine_).note(opened, membership_);
      check_loose(engine_, membership_, opened);
      skip_gap(opened, membership_.log()->position + 1);
      bool skips =
          base::planted(base::Plant::inbox_moves_on_without_applying) && header.batch[0] < 32;
      if (!skips) apply(opened, counts);
      note_seen(header.device, opened.content.sealed_ms);
      about = told(opened);
    } catch (const Error& error) {
      if (!is_about_the_batch(error)) throw;
      about.held_for = error.what();
      counts.rejected.push_back("batch " + std::to_string(membership_.log()->position + 1) + ": " +
                                about.held_for);
    }
  }
  advance(header.device, batch, about);
}

// What its author has not signed is no item of the log, whatever the relay says.
void Inbox::require_signed(ByteView batch, const wire::BatchHeader& header) const {
  const wire::EnrolledDevice* author = membership_.control().device(header.device);
  if (!author) {
    throw Error(ErrorCode::protocol,
                "the relay shows a batch of a device that was never in the vault: nothing was "
                "taken. Do not trust this relay");
  }
  if (wire::is_signed(batch, membership_.vault(), author->sign)) return;
  throw Error(ErrorCode::protocol, "the relay shows a batch as if it were of '" +
                                       membership_.device_name(header.device).name +
                                       "', which did not sign it: nothing was taken. Do not trust "
                                       "this relay");
}

// What is acknowledged is said of a log; of one that is gone it means nothing.
Inbox::Told Inbox::told(const OpenedBatch& batch) const {
  bool empty = !batch.is_readable || batch.content.changes.empty();
  bool counts =
      batch.void_because.empty() && batch.content.seen.log_id == membership_.log()->log_id;
  Told out;
  if (!empty) out.last = batch.content.last;
  if (counts) out.acknowledged = batch.content.acknowledged;
  out.void_for = batch.void_because;
  return out;
}

Inbox::Told Inbox::take_own(const wire::BatchHeader& header, ByteView batch, InboxCounts& counts) {
  std::optional<OutboxBatch> sent = outbox_.confirm(header.batch);
  if (sent) {
    if (wire::leaf_of(sent->body) != wire::leaf_of(batch))
      misfit("it altered a batch of this device");
    counts.confirmed += sent->last - sent->first + 1;
    return {sent->last < sent->first ? 0 : sent->last, sent->acknowledged, "", "", false, false};
  }
  if (base::planted(base::Plant::copies_go_on_as_they_are)) return {};
  // Not in the outbox: this device wrote it and no longer knows, or somebody else has its keys.
  throw MustBeginAgain{"this store was a copy of '" + membership_.device_name(header.device).name +
                       "', which went on elsewhere"};
}

// What counts of it is seen to when this store begins again.
Inbox::Told Inbox::keep_only(const wire::BatchHeader& header, ByteView batch) {
  Told about;
  about.is_kept = true;
  if (is_after_revocation(header.device)) {
    about.is_ignored = true;
    return about;
  }
  if (header.previous != device_leaf(engine_, header.device))
    throw Error(ErrorCode::fork, kWithheld);
  require_signed(batch, header);
  return about;
}

// A device's batches follow each other: change sets between what they hold are in none of them and
// never come, on no device. They count as seen, so that nobody waits for them.
void Inbox::skip_gap(const OpenedBatch& batch, std::uint64_t position) {
  if (!batch.is_readable || batch.content.changes.empty()) return;
  const base::Id16& device = batch.header.device;
  store::Connection& db = engine_.database().connection();
  Statement held(
      db.prepare("SELECT 1 FROM log WHERE device = ? AND position < ? AND held > 0 AND held = 1"));
  held.bind(ByteView(device)).bind(position);
  if (held.step()) return;  // it may be in there
  Statement last(
      db.prepare("SELECT coalesce(max(last), 0) FROM batch WHERE device = ? AND position < ?"));
  last.bind(ByteView(device)).bind(position);
  last.step();
  auto expected = static_cast<std::uint64_t>(last.integer(0)) + 1;
  if (batch.content.first > expected) engine_.skip(device, expected, batch.content.first - 1);
}

void Inbox::apply(const OpenedBatch& batch, InboxCounts& counts) {
  if (!batch.void_because.empty()) {
    counts.rejected.push_back("a batch is void: " + batch.void_because);
    if (batch.is_readable) {
      engine_.skip(batch.header.device, batch.content.first, batch.content.last);
    }
    return;
  }
  store::ReceivedCounts received = engine_.receive(batch.changes);
  counts.applied += received.applied;
  counts.waiting += received.waiting;
}

// What the author had seen of the log and of the device list when it sealed must be what we see.
void Inbox::check_views(const OpenedBatch& batch, std::uint64_t position,
                        InboxCounts& counts) const {
  if (!batch.is_readable) return;
  const BatchContent& content = batch.content;
  const LogPosition& seen = content.seen;
  bool same = true;
  bool other_log = seen.log_id != base::Id16{} && seen.log_id != membership_.log()->log_id;
  if (other_log && !is_former_log(engine_, seen.log_id)) {
    // Of a log that this device never saw: what was lost with it, its devices bring back.
    const char* kLost =
        "the relay has lost recent data once, and the vault's history began anew: what is missing "
        "comes back as the other devices sync";
    if (std::find(counts.notices.begin(), counts.notices.end(), kLost) == counts.notices.end()) {
      counts.notices.emplace_back(kLost);
    }
  }
  if (seen.log_id != base::Id16{} && !other_log) {
    same = seen.position < position;
    Statement query(
        engine_.database().connection().prepare("SELECT chain FROM log WHERE position = ?"));
    query.bind(seen.position);
    if (same && seen.position > 0) same = query.step() && crypto::equal(query.blob(0), seen.chain);
  }
  if (same) same = membership_.control().holds(content.control_head);
  if (same) return;
  throw Error(ErrorCode::fork,
              "'" + membership_.device_name(batch.header.device).name +
                  "' has signed that it saw another history than this device: the relay shows "
                  "different ones to different devices, or that device lies. Syncing has stopped, "
                  "and nothing here was changed");
}

int Inbox::held_value(const Told& told) {
  if (told.is_ignored) return -1;
  if (told.is_kept) return 2;
  return told.held_for.empty() ? 0 : 1;
}

void Inbox::advance(const base::Id16& device, ByteView batch, const Told& told) {
  advance_by({wire::decode_batch_header(batch).batch, device, wire::leaf_of(batch)}, batch, told);
}

// `body` is empty where a checkpoint stands for the batch.
void Inbox::advance_by(const wire::Stub& stub, ByteView body, const Told& told) {
  const base::Id16& device = stub.device;
  const base::Hash32& leaf = stub.leaf;
  LogPosition log = membership_.log().value();
  ++log.position;
  log.chain = wire::chain_next(log.chain, log.position, leaf);
  Statement(engine_.database().connection().prepare(
                "INSERT INTO log(position, device, chain, held, reason, body, leaf, batch) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?)"))
      .bind(log.position)
      .bind(ByteView(device))
      .bind(ByteView(log.chain))
      .bind(held_value(told))
      .bind(told.held_for.empty() ? told.void_for : told.held_for)
      .bind(body.empty() ? base::view("") : body)
      .bind(ByteView(leaf))
      .bind(body.empty() ? ByteView(stub.batch) : base::view(""))
      .run();
  Acknowledgements(engine_, membership_).note(log.position, device, told.last, told.acknowledged);
  if (!only_keeping_) {
    Statement(engine_.database().connection().prepare("DELETE FROM loose WHERE leaf = ?"))
        .bind(ByteView(leaf))
        .run();
  }
  if (!told.is_ignored) set_device_leaf(engine_, device, leaf);
  membership_.set_log(log);
  membership_.check_revocations(log.position);
  const std::optional<LogPosition>& anchor = membership_.anchor();
  if (anchor && anchor->log_id == log.log_id && anchor->position == log.position &&
      anchor->chain != log.chain) {
    throw Error(
        ErrorCode::fork,
        "the relay shows another history than the one that this device was invited to: nothing "
        "was taken. Do not trust this relay");
  }
}

// Right behind this device's place; else somebody else's batch came in between, and a pull will
// bring both.
bool Inbox::is_stored_next(const wire::PushAnswer::Item& item) const {
  using wire::PushStatus;
  bool stored = item.status == PushStatus::ok || item.status == PushStatus::duplicate;
  return stored && item.position == membership_.log()->position + 1;
}

void Inbox::check_head(const wire::PushAnswer& answer) const {
  const LogPosition& log = *membership_.log();
  if (log.position == answer.head && log.chain != answer.chain) misfit("its chain is another");
}

void Inbox::take_confirmed(const wire::PushAnswer& answer, const std::vector<OutboxBatch>& sent,
                           InboxCounts& counts) {
  store::Engine::Transaction transaction(engine_);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (base::planted(base::Plant::inbox_confirms_what_was_refused)) outbox_.confirm(sent[i].batch);
    if (!is_stored_next(answer.items[i])) break;
    counts.confirmed += sent[i].last - sent[i].first + 1;
    outbox_.confirm(sent[i].batch);
    advance(engine_.identity().id, sent[i].body,
            {sent[i].last < sent[i].first ? 0 : sent[i].last, sent[i].acknowledged, "", "", false,
             false});
  }
  check_head(answer);
  transaction.commit();
}

void Inbox::take_restored(const wire::PushAnswer& answer, const std::vector<LostBatch>& sent) {
  store::Engine::Transaction transaction(engine_);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (!is_stored_next(answer.items[i])) break;
    LostBatches(engine_).forget(sent[i].leaf);
    advance_by({sent[i].batch, sent[i].device, sent[i].leaf}, sent[i].body,
               {sent[i].last, 0, sent[i].held_for, "", false, only_keeping_});
  }
  check_head(answer);
  transaction.commit();
}

}  // namespace holdfast::sync
