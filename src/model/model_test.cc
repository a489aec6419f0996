// Convergence, conflicts and strategies, by properties.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <random>

#include "holdfast/error.h"
#include "src/model/change_codec.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/model/test_replica.h"

namespace holdfast::model {
namespace {

Rules always(Strategy strategy) {
  FieldRule rule;
  rule.strategy = strategy;
  Rules rules;
  rules.add("", rule);
  return rules;
}

Op put(const std::string& path, Json value, std::int64_t priority = 0) {
  Op op;
  op.path = path;
  op.value = std::move(value);
  op.priority = priority;
  return op;
}
Op kind(OpKind kind, const std::string& path = "") {
  Op op;
  op.kind = kind;
  op.path = path;
  return op;
}

// Edits of a record by several devices that see each other's work now and then.
struct History {
  std::vector<ChangeSet> changes;

  static History random(std::uint64_t seed, int devices, int edits) {
    std::mt19937_64 rng(seed);
    std::vector<Replica> replicas;
    for (int i = 0; i < devices; ++i) replicas.emplace_back(static_cast<std::uint8_t>(i + 1));
    History history;
    const std::vector<std::string> paths = {"/a", "/b", "/m", "/m/x", "/m/y", "/m/y/z"};
    for (int i = 0; i < edits; ++i) {
      Replica& who = replicas[rng() % replicas.size()];
      if (rng() % 3 == 0) who.catch_up(history.changes);
      std::vector<Op> ops;
      switch (rng() % 8) {
        case 0: ops = {kind(OpKind::remove)}; break;
        case 1: ops = {kind(OpKind::unset, paths[rng() % paths.size()])}; break;
        case 2: ops = {put("", {{"a", rng() % 3}, {"m", {{"x", rng() % 3}}}})}; break;
        case 3: ops = {put("/m", Json::object())}; break;
        case 4: ops = {put("/b", Json::array({rng() % 3, rng() % 3}))}; break;
        case 5: ops = {put("/a", rng() % 3), put("/m/x", "s")}; break;
        default: ops = {put(paths[rng() % paths.size()], rng() % 4, static_cast<int>(rng() % 3))};
      }
      std::int64_t now = 1'000'000 + static_cast<std::int64_t>(rng() % 50);
      history.changes.push_back(who.write(std::move(ops), now));
    }
    return history;
  }
};

TEST(Model, EveryCausalOrderGivesTheSameStateAndView) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    History history = History::random(seed, 2 + static_cast<int>(seed % 3), 12);
    Replica first = deliver(history.changes, seed);
    Replica second = deliver(history.changes, seed + 77777);
    ASSERT_EQ(canonical_state(first.record), canonical_state(second.record)) << seed;
    for (Strategy strategy :
         {Strategy::timestamp, Strategy::priority, Strategy::merge, Strategy::user_choice}) {
      ASSERT_EQ(first.document(always(strategy)).dump(), second.document(always(strategy)).dump())
          << seed;
    }
  }
}

TEST(Model, StoredFormGivesTheStateBack) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    Replica replica = deliver(History::random(seed, 3, 14).changes, seed);
    for (Strategy strategy : {Strategy::timestamp, Strategy::merge}) {
      Table devices;
      Json document = replica.document(always(strategy));
      Bytes state = encode_record(replica.record, document, devices);
      Record again = decode_record(state, Json::parse(document.dump()), devices);
      ASSERT_EQ(canonical_state(again), canonical_state(replica.record)) << seed;
    }
  }
}

// A checkpoint brings states from other devices: what they name must be fit to be shown.
TEST(Model, StoredFormRefusesPathsThatAreNoPointers) {
  History history = History::random(1, 1, 1);
  history.changes[0].ops = {put("/a", 1), put("/m/x", "s")};
  Replica replica = deliver(history.changes, 1);
  Table devices;
  Json document = replica.document(always(Strategy::timestamp));
  Json other = {{"a", 2}, {"m", {{"x", "t"}}}};  // so that the state names both fields
  Bytes state = encode_record(replica.record, other, devices);
  for (std::string path : {"/m/\xf2", "am/x", "/m~x"}) {
    Bytes spoilt = state;
    auto at = std::search(spoilt.begin(), spoilt.end(), &"/m/x"[0], &"/m/x"[4]);
    ASSERT_NE(at, spoilt.end());
    std::copy(path.begin(), path.end(), at);
    try {
      decode_record(spoilt, other, devices);
      FAIL() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
    }
  }
}

// A second, slower way to say what is live: an op's values are live unless a later change set whose
// context covers it wrote at the same path or above.
TEST(Model, AgreesWithANaiveReading) {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    History history = History::random(seed, 3, 12);
    Replica replica = deliver(history.changes, seed);
    std::map<std::string, std::map<Dot, std::string>> expected;
    for (const ChangeSet& change : history.changes) {
      for (std::size_t i = 0; i < change.ops.size(); ++i) {
        const Op& op = change.ops[i];
        std::map<std::string, std::string> written;
        if (op.kind == OpKind::unset) written[op.path] = "gone";
        if (op.kind == OpKind::set) {
          for_each_leaf(op.value, op.path,
                        [&](const std::string& path, const Json& v) { written[path] = v.dump(); });
        }
        for (const auto& [path, value] : written) {
          bool live = true;
          for (const ChangeSet& later : history.changes) {
            bool same = later.dot() == change.dot();
            if (!same && !later.context.covers(change.dot())) continue;
            for (std::size_t j = same ? i + 1 : 0; j < later.ops.size(); ++j) {
              const Op& other = later.ops[j];
              if (other.kind != OpKind::set && other.kind != OpKind::unset) continue;
              if (other.path == path || is_below(path, other.path)) live = false;
            }
          }
          if (live) expected[path][change.dot()] = value;
        }
      }
    }
    std::map<std::string, std::map<Dot, std::string>> actual;
    for (const auto& [path, entries] : replica.record.fields) {
      for (const Entry& entry : entries) {
        actual[path][entry.stamp.dot] = entry.value ? entry.value->dump() : "gone";
      }
    }
    ASSERT_EQ(actual, expected) << seed;
  }
}

TEST(Model, ChangesRoundTripInOneEncoding) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Replica replica(1);
    Replica other(2);
    std::vector<ChangeSet> changes;
    History history = History::random(seed, 3, 20);
    for (const ChangeSet& change : history.changes) {
      if (change.device == DeviceId{1}) changes.push_back(change);
    }
    if (changes.empty()) continue;
    for (ChangeSet& change : changes) {
      for (Op& op : change.ops) {
        op.collection = "notes";
        op.record = "r" + std::to_string(change.sequence % 3);
      }
    }
    Bytes bytes = encode_changes(changes);
    std::vector<ChangeSet> again = decode_changes(bytes, DeviceId{1});
    ASSERT_EQ(encode_changes(again), bytes);
    ASSERT_EQ(again.size(), changes.size());
    for (std::size_t i = 0; i < changes.size(); ++i) {
      ASSERT_EQ(again[i].context, changes[i].context);
      ASSERT_EQ(again[i].hlc, changes[i].hlc);
    }
    // Damaged bytes are refused or decode to something else that again has one encoding.
    std::mt19937_64 rng(seed);
    for (int i = 0; i < 50; ++i) {
      Bytes damaged = bytes;
      damaged[rng() % damaged.size()] ^= static_cast<std::uint8_t>(1 + rng() % 255);
      try {
        ASSERT_EQ(encode_changes(decode_changes(damaged, DeviceId{1})), damaged);
      } catch (const Error&) {
      }
    }
  }
}

TEST(Model, AFieldChangeIsSmall) {
  Replica replica(1);
  ChangeSet change = replica.write({put("/title", "0123456789")}, 1'700'000'000'000);
  std::vector<ChangeSet> changes;
  for (int i = 0; i < 1000; ++i) {
    ChangeSet next = replica.write({put("/title", "0123456789")}, 1'700'000'000'000 + i);
    next.ops[0].collection = "records";
    next.ops[0].record = "r" + std::to_string(i);
    changes.push_back(next);
  }
  double each = static_cast<double>(encode_changes(changes).size()) / 1000;
  RecordProperty("bytes_per_field_change", std::to_string(each));
  EXPECT_LE(each,
            28);  // a value of 12 bytes, a record id of 5, and 11 to say what, when and upon what
}

struct Fork {
  Fork(Json base, std::vector<Op> left, std::vector<Op> right, std::int64_t right_after_ms = 10) {
    ChangeSet first = a.write({put("", std::move(base))}, 1000);
    b.accept(first);
    ChangeSet l = a.write(std::move(left), 2000);
    ChangeSet r = b.write(std::move(right), 2000 + right_after_ms);
    a.accept(r);
    b.accept(l);
  }
  View view(Strategy strategy) const {
    View one = render(a.record, always(strategy));
    View two = render(b.record, always(strategy));
    EXPECT_EQ(one.document.dump(), two.document.dump());
    EXPECT_EQ(one.conflicts.size(), two.conflicts.size());
    return one;
  }
  Replica a{1};
  Replica b{2};
};

TEST(Strategies, TimestampShowsTheLatestAndKeepsTheOther) {
  Fork fork({{"x", 1}, {"y", 1}}, {put("/x", 2)}, {put("/x", 3)});
  View view = fork.view(Strategy::timestamp);
  EXPECT_EQ(view.document, (Json{{"x", 3}, {"y", 1}}));
  ASSERT_EQ(view.conflicts.size(), 1u);
  EXPECT_EQ(view.conflicts[0].path, "$.x");
  EXPECT_EQ(view.conflicts[0].candidates.size(), 2u);
  EXPECT_EQ(view.pending, 0u);
}

TEST(Strategies, PriorityRanksBeforeTime) {
  Fork fork({{"x", 1}}, {put("/x", 2, 9)}, {put("/x", 3, 1)});
  EXPECT_EQ(fork.view(Strategy::priority).document["x"], 2);
  EXPECT_EQ(fork.view(Strategy::timestamp).document["x"], 3);
}

TEST(Strategies, EqualValuesCountWithTheHighestPriorityAmongThem) {
  Replica a(1), b(2), c(3);
  ChangeSet base = a.write({put("", {{"x", 0}})}, 1000);
  b.accept(base);
  c.accept(base);
  ChangeSet old = a.write({put("/x", "same", 10)}, 2000);
  ChangeSet newer = b.write({put("/x", "same", 0)}, 3000);
  ChangeSet other = c.write({put("/x", "other", 5)}, 4000);
  for (const ChangeSet& change : {newer, old}) c.accept(change);
  EXPECT_EQ(c.document(always(Strategy::priority))["x"], "same");
  EXPECT_EQ(c.document(always(Strategy::timestamp))["x"], "other");
}

TEST(Strategies, MergeUnitesLists) {
  Fork fork({{"x", {"a"}}}, {put("/x", {"a", "b"})}, {put("/x", {"c", "a"})});
  EXPECT_EQ(fork.view(Strategy::merge).document["x"], (Json{"a", "b", "c"}));
}

TEST(Strategies, UserChoiceIsPending) {
  Fork fork({{"x", 1}}, {put("/x", 2)}, {put("/x", 3)});
  View view = fork.view(Strategy::user_choice);
  EXPECT_EQ(view.document["x"], 3);
  EXPECT_EQ(view.pending, 1u);
}

TEST(Strategies, DifferentFieldsAndEqualValuesDoNotConflict) {
  EXPECT_TRUE(Fork({{"m", {{"x", 1}, {"y", 1}}}}, {put("/m/x", 2)}, {put("/m/y", 3)})
                  .view(Strategy::timestamp)
                  .conflicts.empty());
  EXPECT_TRUE(Fork({{"x", 1}}, {put("/x", 2)}, {put("/x", 2)})
                  .view(Strategy::user_choice)
                  .conflicts.empty());
}

TEST(Strategies, AnEditBesideADeleteKeepsTheRecordAndAsks) {
  Fork fork({{"x", 1}, {"y", 1}}, {kind(OpKind::remove)}, {put("/x", 2)});
  EXPECT_TRUE(fork.a.record.alive());
  View view = fork.view(Strategy::timestamp);
  EXPECT_EQ(view.document, (Json{{"x", 2}, {"y", 1}}));
  ASSERT_EQ(view.conflicts.size(), 1u);
  EXPECT_EQ(view.conflicts[0].type, ConflictType::update_delete);
  EXPECT_EQ(view.conflicts[0].path, "$");
  EXPECT_EQ(view.pending, 1u);
}

TEST(Strategies, ValuesOfDifferentKindsAsk) {
  View view = Fork({{"x", 1}}, {put("/x", "text")}, {put("/x", 7)}).view(Strategy::timestamp);
  ASSERT_EQ(view.conflicts.size(), 1u);
  EXPECT_EQ(view.conflicts[0].type, ConflictType::type_mismatch);
  EXPECT_EQ(view.pending, 1u);
  View tree = Fork({{"x", 1}}, {put("/x", {{"in", 1}})}, {put("/x", 7)}).view(Strategy::timestamp);
  ASSERT_EQ(tree.conflicts.size(), 1u);
  EXPECT_EQ(tree.conflicts[0].type, ConflictType::type_mismatch);
  EXPECT_EQ(tree.document["x"], 7);
}

TEST(Strategies, AutomaticResolutionsRankBelowEveryUser) {
  Op automatic = put("/x", 9);
  automatic.automatic = true;
  Fork fork({{"x", 1}}, {put("/x", 2)}, {automatic});
  EXPECT_EQ(fork.view(Strategy::timestamp).document["x"], 2);
}

TEST(HybridClock, FollowsTimeNeverGoesBackAndIsNotDraggedAlong) {
  HybridClock clock;
  Hlc first = clock.tick(1000);
  EXPECT_EQ(first.ms(), 1000);
  EXPECT_GT(clock.tick(500), first);
  clock.observe({std::uint64_t{9'000'000'000} << 16}, 2000);
  EXPECT_LT(clock.tick(2000).ms(), 10'000);
  clock.observe({std::uint64_t{3000} << 16}, 2000);
  EXPECT_GT(clock.tick(2000).ms(), 2999);
}

TEST(Diff, TurnsOneDocumentIntoTheOther) {
  std::mt19937_64 rng(5);
  std::function<Json(int)> make = [&](int depth) -> Json {
    switch (rng() % (depth > 0 ? 6 : 4)) {
      case 0: return rng() % 3;
      case 1: return "s";
      case 2: return 1.5;
      case 3: return Json::array({rng() % 2});
      default: {
        Json out = Json::object();
        for (const char* key : {"a", "b", "/~"}) {
          if (rng() % 2) out[key] = make(depth - 1);
        }
        return out;
      }
    }
  };
  for (int i = 0; i < 5000; ++i) {
    Json before = {{"r", make(3)}, {"s", make(2)}};
    Json after = {{"r", make(3)}, {"t", make(2)}};
    Replica replica(1);
    replica.write({put("", before)}, 1);
    ASSERT_EQ(replica.document({}), before);
    std::vector<Op> ops = diff(before, after);
    if (!ops.empty()) replica.write(ops, 2);
    ASSERT_EQ(replica.document({}), after);
  }
  EXPECT_TRUE(diff({{"a", {{"b", 1}}}}, {{"a", {{"b", 1}}}}).empty());
}

TEST(Path, FormsRoundTrip) {
  for (const char* text : {"$", "$.a", "$.a.b_c-1", "$.\"a.b\"", "$.\"\"", "$.\"a/b~c\".x"}) {
    EXPECT_EQ(display_path(parse_path(text)), text);
  }
  for (const char* text : {"", "a", "$a", "$.", "$..a", "$.a b", "$.\"a"}) {
    EXPECT_THROW(parse_path(text), Error) << text;
  }
}

TEST(Json, RefusesHostileInput) {
  EXPECT_THROW(parse_json("{"), Error);
  EXPECT_THROW(parse_json("{\"a\":1}x"), Error);
  EXPECT_THROW(parse_json("\"\xff\""), Error);
  EXPECT_THROW(parse_json("1e999"), Error);
  std::string deep(200'000, '[');
  EXPECT_THROW(parse_json(deep), Error);
  EXPECT_THROW(parse_json(std::string(1 << 20, ' ')), Error);
  EXPECT_THROW(from_cbor(Bytes(1'000'000, 0x81)), Error);               // nested a million deep
  EXPECT_THROW(from_cbor(Bytes{0x9a, 0xff, 0xff, 0xff, 0xff}), Error);  // four billion items
  EXPECT_THROW(from_cbor(Bytes{0x18, 0x01}), Error);        // 1, not in its shortest form
  EXPECT_THROW(from_cbor(Bytes{0x41, 0x00}), Error);        // bytes
  EXPECT_THROW(from_cbor(Bytes{0x61, 0xff}), Error);        // not UTF-8
  EXPECT_THROW(from_cbor(Bytes{0xf9, 0x7e, 0x00}), Error);  // NaN
  EXPECT_THROW(from_cbor(Bytes{0x9f, 0xff}), Error);        // indefinite
  EXPECT_THROW(from_cbor(Bytes{0xa2, 0x61, 'a', 1, 0x61, 'a', 2}), Error);  // a key twice
}

TEST(Json, CborRoundTrips) {
  for (const char* text : {"null", "-1", "1.5", "1e300", "18446744073709551615", "[]", "{}",
                           "{\"a\":[1,-2,\"x\",true,null,{\"b\":0.1}]}", "-9223372036854775808"}) {
    Json value = parse_json(text);
    EXPECT_EQ(from_cbor(to_cbor(value)).dump(), value.dump()) << text;
  }
}

// A device's first change begins a text, and so names itself; what it has received before its next
// one comes later in the batch, and is named later.
TEST(ChangeCodec, NamesDevicesInTheOrderInWhichTheyAreRead) {
  ChangeSet first;
  first.device.fill(9);
  first.sequence = 1;
  first.hlc.value = 1;
  Op edit;
  edit.kind = OpKind::edit;
  edit.collection = edit.record = "r";
  edit.path = "/text";
  edit.sequence = first.dot();
  edit.value = Json::array({"old", 0, 0, "new"});
  first.ops.push_back(edit);
  ChangeSet second = first;
  second.sequence = 2;
  second.context.set(DeviceId{1}, 5);
  second.context.set(first.device, 1);
  Bytes bytes = encode_changes({first, second});
  EXPECT_EQ(encode_changes(decode_changes(bytes, first.device)), bytes);
}

}  // namespace
}  // namespace holdfast::model
