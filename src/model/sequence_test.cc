// The order of concurrent edits: against a naive FugueMax, by the published traces and anomalies.

#include "src/model/sequence.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "src/base/test_vectors.h"
#include "src/model/record.h"

namespace holdfast::model {
namespace {

DeviceId device(std::uint8_t number) {
  DeviceId id{};
  id[0] = number;
  return id;
}

// FugueMax as its paper defines it, character by character, with every character ever kept: the
// tree of left and right children, right siblings by where their right origins are (from the last
// to the first), then by id.
class NaiveFugueMax {
 public:
  using Id = std::pair<Dot, std::size_t>;
  struct Node {
    Id id;
    char32_t value = 0;
    bool deleted = false;
    int parent = -1;
    bool right = true;      // which side of its parent
    int right_origin = -1;  // -1: the end
    std::vector<int> lefts, rights;
  };
  NaiveFugueMax() { nodes_.push_back({}); }  // the root

  std::vector<int> order() const {
    std::vector<int> out;
    visit(0, out);
    return out;
  }
  // Nodes that a version with the given edits shows, in order.
  std::vector<int> visible(const std::set<Dot>& version) const {
    std::vector<int> out;
    for (int n : order()) {
      if (n == 0 || !version.contains(nodes_[n].id.first)) continue;
      bool gone = std::any_of(deleted_by_[n].begin(), deleted_by_[n].end(),
                              [&](const Dot& dot) { return version.contains(dot); });
      if (!gone) out.push_back(n);
    }
    return out;
  }
  void apply(const Dot& dot, std::set<Dot> version, const Patches& patches) {
    std::size_t count = 0;
    for (const Patch& patch : patches) {
      for (std::size_t i = 0; i < patch.erase; ++i) {
        std::vector<int> now = visible(version);
        version.insert(dot);
        now = visible(version);
        if (patch.at < now.size()) deleted_by_[now[patch.at]].insert(dot);
      }
      version.insert(dot);
      for (std::size_t i = 0; i < patch.insert.size(); ++i) {
        std::vector<int> now = visible(version);
        std::size_t at = std::min<std::size_t>(patch.at + i, now.size());
        insert({dot, count++}, patch.insert[i], at == 0 ? 0 : now[at - 1], version);
      }
    }
  }
  Units content(const std::set<Dot>& version) const {
    Units out;
    for (int n : visible(version)) out += nodes_[n].value;
    return out;
  }

 private:
  void visit(int n, std::vector<int>& out) const {
    for (int child : nodes_[n].lefts) visit(child, out);
    out.push_back(n);
    for (int child : nodes_[n].rights) visit(child, out);
  }
  void insert(Id id, char32_t value, int left, const std::set<Dot>& version) {
    // The right origin is the next one, deleted ones included, that the author knew.
    std::vector<int> all = order();
    auto at = std::find(all.begin(), all.end(), left);
    int right = -1;
    for (++at; at != all.end(); ++at) {
      if (*at != 0 && version.contains(nodes_[*at].id.first)) {
        right = *at;
        break;
      }
    }
    auto known = [&](int n) { return version.contains(nodes_[n].id.first); };
    bool has_right_child =
        std::any_of(nodes_[left].rights.begin(), nodes_[left].rights.end(), known);
    int n = static_cast<int>(nodes_.size());
    Node node;
    node.id = id;
    node.value = value;
    if (!has_right_child) {
      node.parent = left;
      node.right = true;
      node.right_origin = right;
    } else {
      node.parent = right;
      node.right = false;
    }
    nodes_.push_back(node);
    deleted_by_.resize(nodes_.size());
    std::vector<int>& siblings =
        node.right ? nodes_[node.parent].rights : nodes_[node.parent].lefts;
    std::vector<int> place(nodes_.size(), 0);
    for (std::size_t i = 0; i < all.size(); ++i) place[all[i]] = static_cast<int>(i);
    auto rank = [&](int origin) { return origin < 0 ? INT_MAX : place[origin]; };
    auto before = [&](int a, int b) {
      if (node.right && rank(nodes_[a].right_origin) != rank(nodes_[b].right_origin)) {
        return rank(nodes_[a].right_origin) > rank(nodes_[b].right_origin);
      }
      return nodes_[a].id < nodes_[b].id;
    };
    siblings.insert(
        std::find_if(siblings.begin(), siblings.end(), [&](int other) { return before(n, other); }),
        n);
  }
  std::vector<Node> nodes_;
  std::vector<std::set<Dot>> deleted_by_{1};
};

struct Edit {
  Dot dot;
  VersionVector context;
  Patches patches;
};

std::set<Dot> dots_of(const VersionVector& version) {
  std::set<Dot> out;
  for (const auto& [id, last] : version.entries()) {
    for (std::uint64_t n = 1; n <= last; ++n) out.insert({id, n});
  }
  return out;
}

struct Writer {
  DeviceId id;
  VersionVector seen;
  Sequence text;
  void take(const Edit& edit) {
    if (seen.covers(edit.dot)) return;
    text.apply(edit.dot, edit.context, edit.patches);
    seen.set(edit.dot.device, edit.dot.sequence);
  }
  Edit write(Patches patches) {
    Edit edit{{id, seen.at(id) + 1}, seen, std::move(patches)};
    take(edit);
    return edit;
  }
};

std::vector<Edit> random_history(std::mt19937_64& rng, int devices, int edits,
                                 std::size_t longest) {
  std::vector<Writer> writers;
  for (int i = 0; i < devices; ++i)
    writers.push_back({device(static_cast<std::uint8_t>(i + 1)), {}, Sequence(U"0123")});
  std::vector<Edit> history;
  for (int i = 0; i < edits; ++i) {
    Writer& who = writers[rng() % writers.size()];
    if (rng() % 3 == 0) {
      for (const Edit& edit : history) {
        if (who.seen.covers(edit.context)) who.take(edit);
      }
    }
    Patches patches;
    std::size_t size = who.text.size();
    std::size_t count = rng() % 8 == 0 ? 2 : 1;
    for (std::size_t p = 0; p < count; ++p) {
      Patch patch;
      patch.at = rng() % (size + 1);
      if (rng() % 3 == 0) patch.erase = std::min<std::size_t>(rng() % 4, size - patch.at);
      if (patch.erase == 0 || rng() % 4 == 0) {
        for (std::size_t n = 1 + rng() % longest; n > 0; --n) {
          patch.insert += static_cast<char32_t>('a' + rng() % 26);
        }
      }
      size += patch.insert.size() - patch.erase;
      patches.push_back(std::move(patch));
    }
    history.push_back(who.write(std::move(patches)));
  }
  return history;
}

// In a random causal order, looking at the content now and then.
Writer deliver(std::mt19937_64& rng, std::vector<Edit> history) {
  Writer out{device(200), {}, Sequence(U"0123")};
  while (!history.empty()) {
    std::shuffle(history.begin(), history.end(), rng);
    auto next = std::find_if(history.begin(), history.end(), [&](const Edit& edit) {
      return out.seen.covers(edit.context) && out.seen.at(edit.dot.device) + 1 == edit.dot.sequence;
    });
    out.take(*next);
    history.erase(next);
    if (rng() % 4 == 0) out.text.content();
  }
  return out;
}

TEST(Sequence, AgreesWithANaiveFugueMaxInAnyOrder) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    std::mt19937_64 rng(seed);
    std::vector<Edit> history =
        random_history(rng, 2 + static_cast<int>(seed % 3), 4 + static_cast<int>(seed % 14), 3);
    NaiveFugueMax naive;
    Dot base{device(0), 1};
    naive.apply(base, {}, {{0, 0, U"0123"}});
    std::set<Dot> all{base};
    for (const Edit& edit : history) {
      std::set<Dot> version = dots_of(edit.context);
      version.insert(base);
      naive.apply(edit.dot, version, edit.patches);
      all.insert(edit.dot);
    }
    Units expected = naive.content(all);
    for (int order = 0; order < 3; ++order) {
      ASSERT_EQ(to_utf8(deliver(rng, history).text.content()), to_utf8(expected)) << seed;
    }
  }
}

TEST(Sequence, ItsLogAndItsChangesGiveItBack) {
  class Table : public DeviceTable {
   public:
    std::uint64_t index_of(const DeviceId& id) override { return id[0]; }
    const DeviceId& id_of(std::uint64_t index) override {
      return id_ = device(static_cast<std::uint8_t>(index));
    }

   private:
    DeviceId id_;
  };
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    std::mt19937_64 rng(seed);
    std::vector<Edit> history = random_history(rng, 3, 20, 3);
    std::size_t half = rng() % history.size();
    Writer whole = deliver(rng, history);
    Writer part{device(200), {}, Sequence(U"0123")};
    for (std::size_t i = 0; i < half; ++i) part.take(history[i]);
    Table devices;
    base::Writer out;
    part.text.encode_log(out, devices);
    base::Reader in(out.bytes(), "a log");
    part.text = Sequence::decode(in, part.text.content(), devices);
    in.expect_end();
    for (const Edit& edit : history) part.take(edit);
    ASSERT_EQ(part.text.content(), whole.text.content()) << seed;
    Sequence again(U"0123");
    for (const Sequence::Change& change : whole.text.changes()) again.apply(change);
    ASSERT_EQ(again.content(), whole.text.content()) << seed;
  }
}

TEST(Sequence, FoldingForgetsTheLogAndLaterEditsStillMerge) {
  int folded = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    std::mt19937_64 rng(seed);
    std::vector<Edit> history = random_history(rng, 3, 14, 3);
    Writer whole = deliver(rng, history);
    // Fold at any moment what all later edits know.
    std::size_t half = rng() % history.size();
    VersionVector known;
    for (std::size_t i = 0; i < half; ++i)
      known.set(history[i].dot.device, history[i].dot.sequence);
    bool all_know = std::all_of(history.begin() + static_cast<std::ptrdiff_t>(half), history.end(),
                                [&](const Edit& edit) { return edit.context.covers(known); });
    Writer writer{device(200), {}, Sequence(U"0123")};
    std::size_t taken = half + rng() % (history.size() - half + 1);
    for (std::size_t i = 0; i < taken; ++i) writer.take(history[i]);
    if (all_know) {
      ASSERT_TRUE(writer.text.fold(known)) << seed;
      ++folded;
      EXPECT_EQ(writer.text.has_log(), taken > half);
    }
    for (const Edit& edit : history) writer.take(edit);
    ASSERT_EQ(writer.text.content(), whole.text.content()) << seed;
  }
  EXPECT_GT(folded, 100);
}

// The anomalies of the FugueMax paper: two runs typed at the same place at the same time, forwards
// or backwards, stay whole.
TEST(Sequence, ConcurrentRunsDoNotInterleave) {
  for (bool backwards : {false, true}) {
    std::vector<Edit> edits;
    std::string words[] = {"milk", "eggs", "bread"};
    for (int i = 0; i < 3; ++i) {
      Writer writer{device(static_cast<std::uint8_t>(i + 1)), {}, Sequence(U"()")};
      std::string word = words[i];
      if (backwards) std::reverse(word.begin(), word.end());
      for (std::size_t n = 0; n < word.size(); ++n) {
        edits.push_back(
            writer.write({{backwards ? 1 : 1 + n, 0, Units(1, static_cast<char32_t>(word[n]))}}));
      }
    }
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      std::mt19937_64 rng(seed);
      std::vector<Edit> rest = edits;
      Writer out{device(200), {}, Sequence(U"()")};
      while (!rest.empty()) {
        std::size_t n = rng() % rest.size();
        bool next = out.seen.at(rest[n].dot.device) + 1 == rest[n].dot.sequence;
        if (!next) continue;
        out.take(rest[n]);
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(n));
      }
      EXPECT_EQ(to_utf8(out.text.content()), "(milkeggsbread)");
    }
  }
}

nlohmann::json trace(const std::string& name) {
  std::optional<std::string> path = base::data_file("traces/" + name + ".json.gz");
  if (!path) return nullptr;
  gzFile file = gzopen(path->c_str(), "rb");
  std::string text;
  char buffer[1 << 16];
  for (int got; (got = gzread(file, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  gzclose(file);
  return nlohmann::json::parse(text);
}

Patches patches_of(const nlohmann::json& list) {
  Patches out;
  for (const auto& patch : list) {
    out.push_back({patch[0].get<std::uint64_t>(), patch[1].get<std::uint64_t>(),
                   to_units(patch[2].get<std::string>())});
  }
  return out;
}

TEST(Trace, OneAuthorsPaperReplaysToItsEnd) {
  nlohmann::json data = trace("automerge-paper");
  if (data.is_null()) GTEST_SKIP() << "the editing traces are not here: set HOLDFAST_DATA";
  Writer writer{device(1), {}, Sequence()};
  for (const auto& txn : data["txns"]) writer.write(patches_of(txn["patches"]));
  EXPECT_EQ(to_utf8(writer.text.content()), data["endContent"].get<std::string>());
}

TEST(Trace, TwoAuthorsAtOnceReachTheSameEndOnTwoDevices) {
  nlohmann::json data = trace("friendsforever");
  if (data.is_null()) GTEST_SKIP() << "the editing traces are not here: set HOLDFAST_DATA";
  const auto& txns = data["txns"];
  std::vector<Edit> edits;
  std::vector<VersionVector> versions;  // after each transaction
  std::map<int, std::uint64_t> last;
  for (const auto& txn : txns) {
    Edit edit;
    for (const auto& parent : txn["parents"]) {
      for (const auto& [id, sequence] : versions[parent.get<std::size_t>()].entries()) {
        if (edit.context.at(id) < sequence) edit.context.set(id, sequence);
      }
    }
    int agent = txn["agent"].get<int>();
    edit.dot = {device(static_cast<std::uint8_t>(agent + 1)), ++last[agent]};
    edit.patches = patches_of(txn["patches"]);
    versions.push_back(edit.context);
    versions.back().set(edit.dot.device, edit.dot.sequence);
    edits.push_back(std::move(edit));
  }
  // One device hears everything in the order of the file; the other, each author in one go, as far
  // as causality allows.
  Writer one{device(100), {}, Sequence()};
  for (const Edit& edit : edits) one.take(edit);
  EXPECT_EQ(to_utf8(one.text.content()), data["endContent"].get<std::string>());
  Writer other{device(101), {}, Sequence()};
  std::vector<std::size_t> at(2, 0);
  std::vector<std::vector<const Edit*>> by_author(2);
  for (const Edit& edit : edits) by_author[edit.dot.device[0] - 1].push_back(&edit);
  for (bool any = true; any;) {
    any = false;
    for (int author = 1; author >= 0; --author) {
      while (at[author] < by_author[author].size() &&
             other.seen.covers(by_author[author][at[author]]->context)) {
        other.take(*by_author[author][at[author]++]);
        any = true;
      }
    }
  }
  EXPECT_EQ(to_utf8(other.text.content()), data["endContent"].get<std::string>());
}

TEST(UnitsDiff, GivesTheEditsBackAndFindsFewOnes) {
  std::mt19937_64 rng(7);
  for (int i = 0; i < 5000; ++i) {
    auto make = [&] {
      Units out;
      for (std::size_t n = rng() % 12; n > 0; --n) out += static_cast<char32_t>('a' + rng() % 3);
      return out;
    };
    Units base = make();
    Units mine = make();
    Units theirs = make();
    ASSERT_EQ(patched(base, diff_units(base, mine)), mine);
    // Rebasing onto the base itself changes nothing; onto anything, it still applies.
    ASSERT_EQ(patched(base, rebase(base, diff_units(base, mine), base)), mine);
    ASSERT_EQ(patched(theirs, rebase(base, {}, theirs)), theirs);
    Units merged = patched(theirs, rebase(base, diff_units(base, mine), theirs));
    for (const Patch& patch : diff_units(base, mine)) {
      ASSERT_NE(merged.find(patch.insert), Units::npos);
    }
  }
  EXPECT_EQ(diff_units(U"the quick fox", U"the quick brown fox").size(), 1u);
}

TEST(UnitsDiff, Utf8RoundTrips) {
  for (const char* text : {"", "abc", "äöü", "日本語", "a😀b", "Z\u0301"}) {
    EXPECT_EQ(to_utf8(to_units(text)), text);
  }
}

}  // namespace
}  // namespace holdfast::model
