#include "src/sync/new_beginning.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/base/planted.h"
#include "src/model/change_codec.h"
#include "src/sync/checkpoints.h"
#include "src/sync/claims.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr const char* kMeta = "begin_again";

std::vector<std::pair<std::uint64_t, Bytes>> log_between(store::Engine& engine, std::uint64_t after,
                                                         std::uint64_t to, std::size_t limit) {
  std::lock_guard lock(engine.mutex());
  std::vector<std::pair<std::uint64_t, Bytes>> out;
  Statement query(engine.database().connection().prepare(
      "SELECT position, body FROM log WHERE position > ? AND position <= ? AND held >= 0 AND "
      "body <> x'' ORDER BY position LIMIT ?"));
  query.bind(after).bind(to).bind(std::uint64_t{limit});
  while (query.step()) {
    out.emplace_back(static_cast<std::uint64_t>(query.integer(0)), base::to_bytes(query.blob(1)));
  }
  return out;
}

std::vector<Bytes> bodies(store::Engine& engine, const char* sql) {
  std::lock_guard lock(engine.mutex());
  std::vector<Bytes> out;
  Statement query(engine.database().connection().prepare(sql));
  while (query.step()) out.push_back(base::to_bytes(query.blob(0)));
  return out;
}

}  // namespace

// What this store has written and does not know to be in the vault.
struct NewBeginning::Unsent {
  std::vector<model::ChangeSet> held;     // it turned out that the vault has them …
  std::vector<model::ChangeSet> claimed;  // … or that another copy has written them anew
  std::vector<model::ChangeSet> rest;
  std::vector<Bytes> lost;  // batches that hold some of these
  std::vector<model::ChangeSet> of_others;
  struct Record {
    std::optional<model::Json> mine;  // nothing: deleted here
    std::optional<model::Json> before;
    model::Hlc hlc;
  };
  std::map<std::pair<std::string, std::string>, Record> records;
};

void NewBeginning::begin(const std::string& why) {
  store::Engine::Transaction transaction(engine_);
  base::Writer at;
  at.u64(membership_.log()->position);
  at.sized(why);
  engine_.database().set_meta(kMeta, at.bytes());
  engine_.make_next_identity();
  transaction.commit();
}

bool NewBeginning::is_enrolled() const {
  std::optional<store::Identity> next = engine_.next_identity();
  return next && membership_.control().member(next->id);
}

void NewBeginning::fill_enrolment(wire::ControlRecord& record) const {
  store::Identity next = engine_.next_identity().value();
  DeviceLabel name = membership_.device_name(engine_.identity().id);
  std::string suffix = " (copy)";
  name.name = name.name.substr(0, 64 - suffix.size());
  while (!name.name.empty() && (static_cast<unsigned char>(name.name.back()) & 0xc0) == 0x80) {
    name.name.pop_back();  // not in the middle of a letter
  }
  name.name += suffix;
  if (!name.is_valid()) name = {"copy", name.kind};
  std::uint32_t epoch = membership_.control().epoch();
  record.type = wire::ControlType::enrol;
  record.device_sign = next.sign.public_key();
  record.device_box = next.box.public_key();
  record.name = membership_.seal_name(name, epoch, membership_.epoch_key(epoch).view());
}

NewBeginning::Unsent NewBeginning::take_unsent(std::uint64_t at, const Inbox& inbox) const {
  std::vector<model::ChangeSet> changes;
  Unsent out;
  out.lost = lost_for_good(inbox);
  for (const Bytes& body : out.lost) {
    for (model::ChangeSet& change : open_batch(body, membership_).changes) {
      bool own = change.device == engine_.identity().id;
      (own ? changes : out.of_others).push_back(std::move(change));
    }
  }
  for (const Bytes& body : bodies(engine_, "SELECT body FROM outbox ORDER BY num")) {
    for (model::ChangeSet& change : open_batch(body, membership_).changes) {
      changes.push_back(std::move(change));
    }
  }
  for (const Bytes& body : bodies(engine_, "SELECT body FROM change ORDER BY sequence")) {
    changes.push_back(model::decode_changes(body, engine_.identity().id).front());
  }
  auto first = changes.begin() + static_cast<std::ptrdiff_t>(count_held(changes, at));
  out.held.assign(changes.begin(), first);
  changes.erase(changes.begin(), first);
  std::set<Claim> claims = claims_in_log(at);
  // What it has written anew once before counts as it was: others may have claimed a part of it.
  std::vector<model::ChangeSet> anew = Claims(engine_).written_anew();
  if (!anew.empty()) {
    std::uint64_t upto = Claims(engine_).written_upto();
    std::erase_if(changes, [&](const model::ChangeSet& one) { return one.sequence <= upto; });
  }
  for (model::ChangeSet& change : anew) {
    bool is_claimed = Claims(engine_).is_claimed(change, claims);
    (is_claimed ? out.claimed : out.rest).push_back(std::move(change));
  }
  first =
      changes.begin() + static_cast<std::ptrdiff_t>(Claims(engine_).count_claimed(changes, claims));
  out.claimed.insert(out.claimed.end(), changes.begin(), first);
  out.rest.insert(out.rest.end(), first, changes.end());
  std::map<base::Id16, ChangeHashes> in_log;
  for (const model::ChangeSet& change : out.of_others) {
    auto [held, added] = in_log.try_emplace(change.device);
    if (added) held->second = changes_in_log(engine_, membership_, change.device, 0);
    auto same = held->second.find(change.sequence);
    if (same != held->second.end() && same->second == hash_of(change)) {
      out.held.push_back(change);
      continue;
    }
    bool is_claimed = Claims(engine_).is_claimed(change, claims);
    (is_claimed ? out.claimed : out.rest).push_back(change);
  }
  for (const model::ChangeSet& change : out.rest) {
    for (const model::Op& op : change.ops) {
      if (op.kind == model::OpKind::purge || op.kind == model::OpKind::fold) continue;
      auto [found, added] = out.records.try_emplace({op.collection, op.record});
      found->second.hlc = std::max(found->second.hlc, change.hlc);
      if (added) found->second.mine = engine_.document_of({op.collection, op.record});
    }
  }
  return out;
}

std::set<Claim> NewBeginning::claims_in_log(std::uint64_t at) const {
  std::set<Claim> out;
  Checkpoints checkpoints(engine_, membership_);
  if (std::optional<wire::Checkpoint> kept = base_between(at, INT64_MAX)) {
    for (const Claim& claim : checkpoints.claims(*kept)) out.insert(claim);
  }
  for (const auto& [position, body] : log_between(engine_, at, INT64_MAX, SIZE_MAX >> 1)) {
    try {
      std::vector<Claim> claims = open_batch(body, membership_).content.claims;
      out.insert(claims.begin(), claims.end());
    } catch (const Error&) {  // what it says cannot be read; that is reported when it is replayed
    }
  }
  return out;
}

// The device that this store was sent the first of them, as they are, before both went apart.
std::size_t NewBeginning::count_held(const std::vector<model::ChangeSet>& changes,
                                     std::uint64_t at) const {
  auto held = changes_in_log(engine_, membership_, engine_.identity().id, at);
  for (const Bytes& body : bodies(engine_,
                                  "SELECT body FROM outbox WHERE EXISTS(SELECT 1 FROM log WHERE "
                                  "body = x'' AND batch = outbox.batch_id) ORDER BY num")) {
    for (const model::ChangeSet& change : open_batch(body, membership_).changes) {
      held[change.sequence] = hash_of(change);
    }
  }
  std::size_t count = 0;
  while (count < changes.size()) {
    auto found = held.find(changes[count].sequence);
    if (found == held.end() || found->second != hash_of(changes[count])) break;
    ++count;
  }
  return count;
}

void NewBeginning::replay(std::uint64_t after, std::uint64_t to, Inbox& inbox, InboxCounts& counts,
                          const WorkStep& step) {
  std::uint64_t all = membership_.log()->position + 1;
  for (;;) {
    if (step) step(after, all);
    auto some = log_between(engine_, after, to, 64);
    if (some.empty()) return;
    for (const auto& [position, body] : some) inbox.take_again(position, body, counts);
    after = some.back().first;
  }
}

// The checkpoint that stands for what of the log is not here between two places, where some is not.
std::optional<wire::Checkpoint> NewBeginning::base_between(std::uint64_t after,
                                                           std::uint64_t to) const {
  std::lock_guard lock(engine_.mutex());
  if (base::planted(base::Plant::copies_forget_checkpoints)) return std::nullopt;
  {
    Statement query(engine_.database().connection().prepare(
        "SELECT 1 FROM log WHERE position > ? AND position <= ? AND body = x'' LIMIT 1"));
    query.bind(after).bind(to);
    if (!query.step()) return std::nullopt;
  }
  Checkpoints checkpoints(engine_, membership_);
  std::optional<wire::Checkpoint> kept = checkpoints.kept(to);
  if (!kept) kept = checkpoints.kept();
  if (!kept) {
    throw Error(
        ErrorCode::protocol,
        "this store lacks a part of the vault's log, and the checkpoint that stands for it: "
        "nothing was changed. Join with a new store");
  }
  return kept;
}

std::uint64_t NewBeginning::load(const wire::Checkpoint& checkpoint, const WorkStep& step) {
  Checkpoints(engine_, membership_).load(checkpoint, step);
  Statement(engine_.database().connection().prepare(
                "UPDATE log SET held = 0 WHERE held = 2 AND position <= ?"))
      .bind(checkpoint.position)
      .run();
  return checkpoint.position;
}

// Batches that the log has lost, or never had: those that still fit behind what it holds of their
// authors go back to it one day. The others never can; what they say is this store's to bring.
std::vector<Bytes> NewBeginning::lost_for_good(const Inbox& inbox) const {
  std::vector<Bytes> out;
  std::map<base::Id16, base::Hash32> ends;
  for (const LostBatch& batch : LostBatches(engine_).list(SIZE_MAX)) {
    if (inbox.is_after_revocation(batch.device) || batch.body.empty()) continue;
    auto [end, added] = ends.try_emplace(batch.device, device_leaf(engine_, batch.device));
    bool own = batch.device == engine_.identity().id;
    if (!own && wire::decode_batch_header(batch.body).previous == end->second) {
      end->second = wire::leaf_of(batch.body);
    } else if (batch.held_for.empty()) {
      out.push_back(batch.body);
    }
  }
  std::set<base::Id16> authors;
  for (const Bytes& body : bodies(engine_, "SELECT body FROM loose ORDER BY num")) {
    authors.insert(wire::decode_batch_header(body).device);
  }
  for (const base::Id16& author : authors) {
    if (inbox.is_after_revocation(author)) {
      std::vector<Bytes> never_sent = loose_of(engine_, author);
      out.insert(out.end(), never_sent.begin(), never_sent.end());
      continue;
    }
    auto held = changes_in_log(engine_, membership_, author, 0);
    for (Bytes& body : loose_beside(engine_, membership_, author, held))
      out.push_back(std::move(body));
  }
  return out;
}

// What came past the log, or the log has lost, and was applied here.
void NewBeginning::replay_others(const std::vector<Bytes>& unsent, Inbox& inbox,
                                 InboxCounts& counts) {
  std::set<base::Hash32> left_out;
  for (const Bytes& body : unsent) left_out.insert(wire::leaf_of(body));
  LostBatches lost(engine_);
  for (const LostBatch& batch : lost.list(SIZE_MAX)) {
    const base::Hash32& leaf = batch.leaf;
    if (left_out.count(leaf) || inbox.is_after_revocation(batch.device)) {
      lost.forget(leaf);
    } else if (batch.held_for.empty() && !batch.body.empty()) {
      inbox.apply_loose(batch.body, counts);
    }
  }
  for (const Bytes& body : bodies(engine_, "SELECT body FROM loose ORDER BY num")) {
    if (!left_out.count(wire::leaf_of(body))) inbox.apply_loose(body, counts);
  }
  for (const base::Hash32& leaf : left_out) {
    Statement(engine_.database().connection().prepare("DELETE FROM loose WHERE leaf = ?"))
        .bind(ByteView(leaf))
        .run();
  }
}

void NewBeginning::finish(Inbox& inbox, InboxCounts& counts, const WorkStep& step) {
  std::uint64_t at = 0;
  std::string why;
  std::string was = membership_.device_name(engine_.identity().id).name;
  Unsent unsent;
  auto before = [&] {
    Bytes begun = engine_.database().meta(kMeta).value();
    base::Reader in(begun, "a place");
    at = in.u64();
    why = in.sized_text();
    at = std::min(at, membership_.log()->position);  // the relay may have lost some since
    unsent = take_unsent(at, inbox);
  };
  engine_.rebuild(before, [&] {
    InboxCounts again;  // all of it was counted when it came
    std::optional<wire::Checkpoint> base = base_between(0, at);
    std::uint64_t from = base ? std::min(load(*base, step), at) : 0;
    replay(from, at, inbox, again, step);
    replay_others(unsent.lost, inbox, again);
    model::VersionVector known;
    engine_.try_out([&] {
      // As they are here: the vault may have them with a time that was put right.
      if (!unsent.held.empty()) engine_.receive(unsent.held);
      inbox.close_revoked(true);  // what waits for them alone was shown here
      known = engine_.seen();
      if (!unsent.claimed.empty()) engine_.receive(unsent.claimed);
      for (auto& [name, record] : unsent.records) {
        record.before = engine_.document_of({name.first, name.second});
      }
    });
    base = base_between(at, membership_.log()->position);
    if (base) {
      engine_.forget_records();
      at = load(*base, step);
      replay_others(unsent.lost, inbox, again);
    }
    replay(at, membership_.log()->position, inbox, counts, step);
    set_leaves_again(engine_);
    try {
      inbox.close_revoked();
    } catch (const MustBeginAgain&) {  // the next page of the log shows it as well
    }
    // In the order of their times: a device's clock does not go back.
    std::vector<std::pair<model::Hlc, std::pair<std::string, std::string>>> order;
    order.reserve(unsent.records.size());
    for (const auto& [name, record] : unsent.records) order.emplace_back(record.hlc, name);
    std::sort(order.begin(), order.end());
    for (const auto& [hlc, name] : order) {
      const Unsent::Record& record = unsent.records.at(name);
      if (base::planted(base::Plant::copies_forget_what_they_wrote)) continue;
      engine_.write_again({{name.first, name.second}, record.before, record.mine, known, hlc});
    }
    engine_.finish_change();
    Claims(engine_).add(unsent.rest, engine_.seen().at(engine_.identity().id));
    engine_.database().set_meta(kMeta, {});
    engine_.database().connection().execute(
        "DELETE FROM loose WHERE leaf IN (SELECT leaf FROM log)");
  });
  counts.notices.push_back(why + ": it is a device of its own now, '" +
                           membership_.device_name(engine_.identity().id).name +
                           "', with all that it had not sent. If '" + was +
                           "' is used no more, take it out ('holdfast device revoke')");
}

}  // namespace holdfast::sync
