// Convergence by exhaustion and by a million random histories; purging and returning against a
// history that forgets nothing.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <functional>

#include "src/model/change_codec.h"
#include "src/model/json.h"
#include "src/model/test_replica.h"

namespace holdfast::model {
namespace {

// How much of each programme to run: everything in scripts/test --full, a part of it by default.
std::uint64_t share(std::uint64_t whole) {
  const char* full = std::getenv("HOLDFAST_MODEL_FULL");
  const char* stride = std::getenv("HOLDFAST_TEST_STRIDE");
  if (stride) return std::max<std::uint64_t>(whole / 1000, 20);
  return full ? whole : std::max<std::uint64_t>(whole / 20, 100);
}

Op field(OpKind kind, const char* path, Json value = nullptr) {
  Op op;
  op.kind = kind;
  op.path = path;
  op.value = std::move(value);
  return op;
}

// Says in words which writes of registers must be live at the end: those that no op at the same
// place or above, whose author knew them, came upon.
std::map<std::string, std::set<Dot>> naive_registers(const std::vector<ChangeSet>& changes) {
  std::map<std::string, std::set<Dot>> live;
  auto covers = [](const std::string& above, const std::string& path) {
    return above == path || above.empty() ||
           (path.size() > above.size() && path.starts_with(above) && path[above.size()] == '/');
  };
  for (const ChangeSet& change : changes) {
    for (const Op& op : change.ops) {
      if (op.kind != OpKind::set && op.kind != OpKind::unset) continue;
      std::set<std::string> paths{op.path};
      if (op.kind == OpKind::set) {
        paths.clear();
        for_each_leaf(op.value, op.path,
                      [&](const std::string& path, const Json&) { paths.insert(path); });
      }
      for (const std::string& path : paths) {
        bool lives = true;
        for (const ChangeSet& later : changes) {
          if (!later.context.covers(change.dot())) continue;
          for (const Op& other : later.ops) {
            bool writes = other.kind == OpKind::set || other.kind == OpKind::unset;
            if (writes && covers(other.path, path)) lives = false;
          }
        }
        if (lives) live[path].insert(change.dot());
      }
    }
  }
  return live;
}

std::map<std::string, std::set<Dot>> registers_of(const Record& record) {
  std::map<std::string, std::set<Dot>> out;
  for (const auto& [path, entries] : record.fields) {
    for (const Entry& entry : entries) out[path].insert(entry.stamp.dot);
  }
  return out;
}

// The record lives where a write says so that no deletion knew, or that came after all of them.
bool naive_alive(const std::vector<ChangeSet>& changes) {
  for (const ChangeSet& change : changes) {
    bool removes = change.ops[0].kind == OpKind::remove;
    bool superseded = std::any_of(changes.begin(), changes.end(), [&](const ChangeSet& later) {
      return later.context.covers(change.dot());
    });
    if (!removes && !superseded) return true;
  }
  return false;
}

// Three devices with four steps each; every way in which the steps can interleave.
TEST(Convergence, AllInterleavingsOfThreeDevicesWithFourStepsEach) {
  enum Step { kPull, kSetA, kSetM, kUnsetM, kRemove };
  const std::vector<std::vector<Step>> scripts = {
      {kSetA, kPull, kSetM, kPull},
      {kRemove, kPull, kSetA, kUnsetM},
      {kPull, kSetM, kRemove, kSetA},
      {kUnsetM, kSetA, kPull, kRemove},
  };
  std::uint64_t histories = 0;
  std::uint64_t stride = std::max<std::uint64_t>(1, 64 * 34650 / share(64 * 34650));
  std::uint64_t number = 0;
  for (int combination = 0; combination < 64; ++combination) {
    const std::vector<Step>* of[] = {&scripts[combination % 4], &scripts[combination / 4 % 4],
                                     &scripts[combination / 16]};
    std::vector<int> schedule = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
    do {
      if (number++ % stride != 0) continue;
      ++histories;
      std::vector<Replica> replicas;
      for (std::uint8_t i = 1; i <= 3; ++i) replicas.emplace_back(i);
      std::vector<ChangeSet> changes;
      std::size_t at[3] = {0, 0, 0};
      for (int who : schedule) {
        Replica& replica = replicas[who];
        std::int64_t now = 1000 + static_cast<std::int64_t>(changes.size());
        switch ((*of[who])[at[who]++]) {
          case kPull: replica.catch_up(changes); break;
          case kSetA: changes.push_back(replica.write({field(OpKind::set, "/a", who)}, now)); break;
          case kSetM:
            changes.push_back(replica.write({field(OpKind::set, "/m", {{"x", who}})}, now));
            break;
          case kUnsetM: changes.push_back(replica.write({field(OpKind::unset, "/m")}, now)); break;
          case kRemove: changes.push_back(replica.write({field(OpKind::remove, "")}, now)); break;
        }
      }
      Record joined =
          join(replicas[0].record, replicas[0].seen, replicas[1].record, replicas[1].seen);
      VersionVector joined_seen = replicas[0].seen;
      for (const auto& [id, last] : replicas[1].seen.entries())
        joined_seen.set(id, std::max(last, joined_seen.at(id)));
      joined = join(joined, joined_seen, replicas[2].record, replicas[2].seen);
      for (Replica& replica : replicas) replica.catch_up(changes);
      Bytes state = canonical_state(replicas[0].record);
      ASSERT_EQ(canonical_state(replicas[1].record), state);
      ASSERT_EQ(canonical_state(replicas[2].record), state);
      ASSERT_EQ(canonical_state(joined), state);
      ASSERT_EQ(registers_of(replicas[0].record), naive_registers(changes));
      ASSERT_EQ(replicas[0].record.alive(), naive_alive(changes));
      // Once more changes nothing.
      ASSERT_EQ(
          canonical_state(join(joined, replicas[0].seen, replicas[1].record, replicas[1].seen)),
          state);
    } while (std::next_permutation(schedule.begin(), schedule.end()));
  }
  std::printf("%llu interleavings, all alike\n", static_cast<unsigned long long>(histories));
}

void check(const char* what, std::uint64_t runs,
           const std::function<void(std::uint64_t)>& property) {
  rc::detail::TestParams params;
  params.seed = 20260101;
  params.maxSuccess = static_cast<int>(runs);
  rc::detail::TestMetadata metadata;
  metadata.description = what;
  auto result = rc::detail::checkTestable(
      [&] { property(*rc::gen::arbitrary<std::uint64_t>().as("seed")); }, metadata, params);
  bool ok = result.template is<rc::detail::SuccessResult>();
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  EXPECT_TRUE(ok) << text.str();
  std::printf("%llu properties: %s\n", static_cast<unsigned long long>(runs), what);
}

TEST(Convergence, AnyOrderAndAnyJoinGivesTheSameState) {
  static const Rules rules = typed_rules();
  check("any causal order, and joins of states, give the same", share(500'000),
        [](std::uint64_t seed) {
          TypedHistory history =
              TypedHistory::random(seed, 2 + static_cast<int>(seed % 2), 7, true, false);
          Replica one = deliver(history.changes, seed);
          Replica other = deliver(history.changes, seed + 1);
          RC_ASSERT(canonical_state(one.record) == canonical_state(other.record));
          Replica& a = history.replicas[0];
          Replica& b = history.replicas[1];
          Record ab = join(a.record, a.seen, b.record, b.seen);
          Record ba = join(b.record, b.seen, a.record, a.seen);
          RC_ASSERT(canonical_state(ab) == canonical_state(ba));
          a.catch_up(history.changes);
          b.catch_up(history.changes);
          RC_ASSERT(canonical_state(a.record) == canonical_state(one.record));
          RC_ASSERT(canonical_state(join(a.record, a.seen, b.record, b.seen)) ==
                    canonical_state(one.record));
          if (history.replicas.size() == 2)
            RC_ASSERT(canonical_state(ab) == canonical_state(one.record));
        });
}

// Counters add up, sets hold what was added and not removed by somebody who knew of it; nobody's
// characters are lost.
TEST(Convergence, TypedFieldsAgreeWithANaiveModel) {
  static const Rules rules = typed_rules();
  check("typed fields agree with a naive model", share(300'000), [](std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::vector<Replica> replicas;
    for (std::uint8_t i = 1; i <= 3; ++i) replicas.emplace_back(i);
    std::vector<ChangeSet> changes;
    changes.push_back(*replicas[0].store(rules, 1, {{"count", 0}, {"tags", Json::array()}}));
    for (Replica& replica : replicas) replica.catch_up(changes);
    std::int64_t total = 0;
    struct Added {
      Dot dot;
      std::string member;
    };
    std::vector<Added> added;
    std::vector<std::pair<VersionVector, std::string>> removed;
    for (int i = 0; i < 10; ++i) {
      Replica& who = replicas[rng() % 3];
      if (rng() % 3 == 0) who.catch_up(changes);
      std::optional<ChangeSet> change;
      VersionVector before = who.seen;
      if (rng() % 2) {
        std::int64_t by = static_cast<std::int64_t>(rng() % 100) - 50;
        change =
            who.edit(rules, 2, [&](const Editing& e) { return edit_counter(e, "/count", by); });
        total += by;
      } else {
        std::string member(1, static_cast<char>('a' + rng() % 3));
        bool add = rng() % 2;
        change =
            who.edit(rules, 2, [&](const Editing& e) { return edit_set(e, "/tags", member, add); });
        if (change && add) added.push_back({change->dot(), member});
        if (change && !add) removed.emplace_back(before, member);
      }
      if (change) changes.push_back(*change);
    }
    std::set<std::string> expected;
    for (const Added& one : added) {
      bool gone = std::any_of(removed.begin(), removed.end(), [&](const auto& removal) {
        return removal.second == one.member && removal.first.covers(one.dot);
      });
      if (!gone) expected.insert(one.member);
    }
    Json document = deliver(changes, seed).document(rules);
    RC_ASSERT(document["count"] == total);
    std::set<std::string> members;
    for (const Json& member : document["tags"]) members.insert(member.get<std::string>());
    RC_ASSERT(members == expected);
  });
}

TEST(Convergence, WhatIsStoredAndSentComesBack) {
  static const Rules rules = typed_rules();
  check("stored states and encoded change sets come back", share(100'000), [](std::uint64_t seed) {
    TypedHistory history = TypedHistory::random(seed, 3, 8, true, true);
    Replica whole = deliver(history.changes, seed);
    Json document = whole.document(rules);
    Table devices;
    Record again = decode_record(encode_record(whole.record, document, devices),
                                 Json::parse(document.dump()), devices);
    RC_ASSERT(canonical_state(again) == canonical_state(whole.record));
    Replica received(200);
    for (ChangeSet change : history.changes) {
      for (Op& op : change.ops) op.collection = op.record = "r";
      Bytes bytes = encode_changes({change});
      ChangeSet back = decode_changes(bytes, change.device).front();
      RC_ASSERT(encode_changes({back}) == bytes);
      received.accept(back);
    }
    RC_ASSERT(canonical_state(received.record) == canonical_state(whole.record));
  });
}

// Whoever forgets what everybody has shows the same as who forgets nothing.
TEST(Purge, ForgetsNothingThatShowsAndLeavesEverybodyAlike) {
  static const Rules rules = typed_rules();
  std::uint64_t purges = 0;
  check("purging changes nothing that is shown", share(100'000), [&](std::uint64_t seed) {
    TypedHistory history =
        TypedHistory::random(seed, 2 + static_cast<int>(seed % 2), 12, true, true);
    Replica one = deliver(history.changes, seed);
    Replica other = deliver(history.changes, seed + 1);
    RC_ASSERT(canonical_state(one.record) == canonical_state(other.record));
    // The same history without its purges.
    std::vector<ChangeSet> unpurged = history.changes;
    for (ChangeSet& change : unpurged) {
      std::size_t before = change.ops.size();
      std::erase_if(change.ops, [](const Op& op) {
        return op.kind == OpKind::purge || op.kind == OpKind::fold;
      });
      purges += before != change.ops.size();
    }
    Replica oracle = deliver(unpurged, seed);
    RC_ASSERT(one.record.alive() == oracle.record.alive());
    if (!one.record.alive()) return;
    RC_ASSERT(one.document(rules).dump() == oracle.document(rules).dump());
  });
  EXPECT_GT(purges, share(100'000) / 100);
  std::printf("%llu purges among them\n", static_cast<unsigned long long>(purges));
}

TEST(Purge, EverythingIsForgottenOnceEverybodyHasIt) {
  static const Rules rules = typed_rules();
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    TypedHistory history = TypedHistory::random(seed, 2, 10, true, false);
    for (Replica& replica : history.replicas) replica.catch_up(history.changes);
    Replica& who = history.replicas[0];
    Json before = who.document(rules);
    bool alive = who.record.alive();
    auto purge = history.purge(who, 5000);
    if (purge) history.replicas[1].accept(*purge);
    ASSERT_EQ(canonical_state(who.record), canonical_state(history.replicas[1].record));
    ASSERT_EQ(who.record.empty(), !alive) << seed;
    if (!alive) continue;
    ASSERT_EQ(who.document(rules), before);
    for (const auto& [path, sequences] : who.record.sequences) {
      for (const auto& [began, sequence] : sequences) ASSERT_FALSE(sequence.units.has_log());
    }
  }
}

}  // namespace
}  // namespace holdfast::model
