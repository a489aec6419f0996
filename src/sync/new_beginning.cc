#include "src/sync/new_beginning.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/change_codec.h"
#include "src/sync/claims.h"

namespace holdfast::sync {

using store::Statement;

namespace {

constexpr const char* kMeta = "begin_again";

std::vector<std::pair<std::uint64_t, Bytes>> log_between(store::Engine& engine, std::uint64_t after,
                                                         std::uint64_t to, std::size_t limit) {
  std::vector<std::pair<std::uint64_t, Bytes>> out;
  Statement query(engine.database().connection().prepare(
      "SELECT position, body FROM log WHERE position > ? AND position <= ? AND held >= 0 "
      "ORDER BY position LIMIT ?"));
  query.bind(after).bind(to).bind(std::uint64_t{limit});
  while (query.step()) {
    out.emplace_back(static_cast<std::uint64_t>(query.integer(0)), base::to_bytes(query.blob(1)));
  }
  return out;
}

std::vector<Bytes> bodies(store::Engine& engine, const char* sql) {
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
  first =
      changes.begin() + static_cast<std::ptrdiff_t>(Claims(engine_).count_claimed(changes, claims));
  out.claimed.assign(changes.begin(), first);
  out.rest.assign(first, changes.end());
  for (const model::ChangeSet& change : out.of_others) {
    bool is_claimed = Claims(engine_).count_claimed({change}, claims) > 0;
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
  std::size_t count = 0;
  while (count < changes.size()) {
    auto found = held.find(changes[count].sequence);
    if (found == held.end() || found->second != model::encode_changes({changes[count]})) break;
    ++count;
  }
  return count;
}

void NewBeginning::replay(std::uint64_t after, std::uint64_t to, Inbox& inbox,
                          InboxCounts& counts) {
  for (;;) {
    auto some = log_between(engine_, after, to, 64);
    if (some.empty()) return;
    for (const auto& [position, body] : some) inbox.take_again(position, body, counts);
    after = some.back().first;
  }
}

// Batches that the log has lost: those that still fit behind what it holds of their authors go back
// to it one day. The others never can; what they say is this store's to bring.
std::vector<Bytes> NewBeginning::lost_for_good(const Inbox& inbox) const {
  std::vector<Bytes> out;
  std::map<base::Id16, base::Hash32> ends;
  for (const LostBatch& batch : LostBatches(engine_).list(SIZE_MAX)) {
    if (inbox.is_after_revocation(batch.device)) continue;
    auto [end, added] = ends.try_emplace(batch.device, device_leaf(engine_, batch.device));
    bool own = batch.device == engine_.identity().id;
    if (!own && wire::decode_batch_header(batch.body).previous == end->second) {
      end->second = wire::leaf_of(batch.body);
    } else if (batch.held_for.empty()) {
      out.push_back(batch.body);
    }
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
    base::Hash32 leaf = wire::leaf_of(batch.body);
    if (left_out.count(leaf) || inbox.is_after_revocation(batch.device)) {
      lost.forget(leaf);
    } else if (batch.held_for.empty()) {
      inbox.apply_loose(batch.body, counts);
    }
  }
  for (const Bytes& body : bodies(engine_, "SELECT body FROM loose ORDER BY num")) {
    if (!left_out.count(wire::leaf_of(body))) inbox.apply_loose(body, counts);
  }
}

void NewBeginning::finish(Inbox& inbox, InboxCounts& counts) {
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
    replay(0, at, inbox, again);
    replay_others(unsent.lost, inbox, again);
    if (!unsent.held.empty()) engine_.receive(unsent.held);
    model::VersionVector known = engine_.seen();
    engine_.try_out([&] {
      if (!unsent.claimed.empty()) engine_.receive(unsent.claimed);
      for (auto& [name, record] : unsent.records) {
        record.before = engine_.document_of({name.first, name.second});
      }
    });
    replay(at, membership_.log()->position, inbox, counts);
    // In the order of their times: a device's clock does not go back.
    std::vector<std::pair<model::Hlc, std::pair<std::string, std::string>>> order;
    order.reserve(unsent.records.size());
    for (const auto& [name, record] : unsent.records) order.emplace_back(record.hlc, name);
    std::sort(order.begin(), order.end());
    for (const auto& [hlc, name] : order) {
      const Unsent::Record& record = unsent.records.at(name);
      engine_.write_again({{name.first, name.second}, record.before, record.mine, known, hlc});
    }
    engine_.finish_change();
    Claims(engine_).add(unsent.rest, engine_.seen().at(engine_.identity().id));
    engine_.database().set_meta(kMeta, {});
    engine_.database().connection().execute(
        "DELETE FROM loose WHERE leaf IN (SELECT leaf FROM log)");
    set_leaves_again(engine_);
  });
  counts.notices.push_back(why + ": it is a device of its own now, '" +
                           membership_.device_name(engine_.identity().id).name +
                           "', with all that it had not sent. If '" + was +
                           "' is used no more, take it out ('holdfast device revoke')");
}

}  // namespace holdfast::sync
