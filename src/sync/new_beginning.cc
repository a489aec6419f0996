#include "src/sync/new_beginning.h"

#include <algorithm>

#include "holdfast/error.h"
#include "src/model/change_codec.h"

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
  std::vector<model::ChangeSet> held;  // it turned out that the vault has them
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

NewBeginning::Unsent NewBeginning::take_unsent(std::uint64_t at) const {
  std::vector<model::ChangeSet> changes;
  for (const Bytes& body : bodies(engine_, "SELECT body FROM outbox ORDER BY num")) {
    for (model::ChangeSet& change : open_batch(body, membership_).changes) {
      changes.push_back(std::move(change));
    }
  }
  for (const Bytes& body : bodies(engine_, "SELECT body FROM change ORDER BY sequence")) {
    changes.push_back(model::decode_changes(body, engine_.identity().id).front());
  }
  Unsent out;
  auto first = changes.begin() + static_cast<std::ptrdiff_t>(count_held(changes, at));
  for (auto change = first; change != changes.end(); ++change) {
    for (const model::Op& op : change->ops) {
      if (op.kind == model::OpKind::purge || op.kind == model::OpKind::fold) continue;
      auto [found, added] = out.records.try_emplace({op.collection, op.record});
      found->second.hlc = std::max(found->second.hlc, change->hlc);
      if (added) found->second.mine = engine_.document_of({op.collection, op.record});
    }
  }
  out.held.assign(changes.begin(), first);
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

// What came past the log, or the log has lost, and was applied here.
void NewBeginning::replay_others(Inbox& inbox, InboxCounts& counts) {
  for (const char* sql :
       {"SELECT body FROM lost ORDER BY num", "SELECT body FROM loose ORDER BY num"}) {
    for (const Bytes& body : bodies(engine_, sql)) {
      base::Id16 author = wire::decode_batch_header(body).device;
      if (inbox.is_after_revocation(author)) {  // the vault went on without it
        LostBatches(engine_).forget(wire::leaf_of(body));
        continue;
      }
      OpenedBatch opened = open_batch(body, membership_);
      if (opened.void_because.empty() && !opened.changes.empty()) {
        counts.applied += engine_.receive(opened.changes).applied;
      }
    }
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
    unsent = take_unsent(at);
  };
  engine_.rebuild(before, [&] {
    InboxCounts again;  // all of it was counted when it came
    replay(0, at, inbox, again);
    replay_others(inbox, again);
    if (!unsent.held.empty()) engine_.receive(unsent.held);
    model::VersionVector known = engine_.seen();
    for (auto& [name, record] : unsent.records) {
      record.before = engine_.document_of({name.first, name.second});
    }
    replay(at, membership_.log()->position, inbox, counts);
    // In the order of their times: a device's clock does not go back.
    std::vector<std::pair<model::Hlc, std::pair<std::string, std::string>>> order;
    for (const auto& [name, record] : unsent.records) order.emplace_back(record.hlc, name);
    std::sort(order.begin(), order.end());
    for (const auto& [hlc, name] : order) {
      const Unsent::Record& record = unsent.records.at(name);
      engine_.write_again({{name.first, name.second}, record.before, record.mine, known, hlc});
    }
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
