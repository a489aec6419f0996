#include "src/privacy/ledger.h"

#include <gtest/gtest.h>

#include "src/privacy/test_privacy.h"

namespace holdfast::privacy {
namespace {

// RFC 9162, section 2.1.1, word by word: the tree that the fast one is compared with.
Hash32 naive_root(const std::vector<Hash32>& leaves, std::size_t begin, std::size_t end) {
  if (begin == end) return base::sha256({});
  if (end - begin == 1) return leaves[begin];
  std::size_t k = 1;
  while (k * 2 < end - begin) k *= 2;
  return merkle_node(naive_root(leaves, begin, begin + k), naive_root(leaves, begin + k, end));
}

struct Tree {
  explicit Tree(std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      std::uint8_t byte[] = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)};
      leaves.push_back(merkle_leaf(byte));
    }
  }
  MerkleTree tree(std::size_t size) const {
    return MerkleTree(size, [this](unsigned level, std::uint64_t num) {
      return naive_root(leaves, num << level, (num + 1) << level);
    });
  }
  std::vector<Hash32> leaves;
};

TEST(Merkle, RootsAndProofsAgreeWithIndependentTrees) {
  Tree all(70);
  EXPECT_EQ(base::to_hex(all.tree(0).root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t size = 1; size <= 70; ++size) {
    MerkleTree tree = all.tree(size);
    Hash32 root = naive_root(all.leaves, 0, size);
    ASSERT_EQ(tree.root(), root);
    for (std::size_t i = 0; i < size; ++i) {
      std::vector<Hash32> proof = tree.inclusion(i);
      ASSERT_TRUE(verify_inclusion(all.leaves[i], i, size, proof, root)) << i << " of " << size;
      ASSERT_FALSE(verify_inclusion(all.leaves[i], i + 1, size, proof, root) && size > 1);
      Hash32 other = all.leaves[i];
      other[0] ^= 1;
      ASSERT_FALSE(verify_inclusion(other, i, size, proof, root));
      if (!proof.empty()) {
        proof[proof.size() / 2][5] ^= 1;
        ASSERT_FALSE(verify_inclusion(all.leaves[i], i, size, proof, root));
        proof[proof.size() / 2][5] ^= 1;
        proof.pop_back();
        ASSERT_FALSE(verify_inclusion(all.leaves[i], i, size, proof, root));
      }
    }
    for (std::size_t old = 0; old <= size; ++old) {
      Hash32 old_root = naive_root(all.leaves, 0, old);
      std::vector<Hash32> proof = tree.consistency(old);
      ASSERT_TRUE(verify_consistency(old, old_root, size, root, proof)) << old << " of " << size;
      Hash32 wrong = old_root;
      wrong[31] ^= 1;
      ASSERT_FALSE(verify_consistency(old, wrong, size, root, proof));
      if (!proof.empty()) {
        proof[0][0] ^= 1;
        ASSERT_FALSE(verify_consistency(old, old_root, size, root, proof));
      }
    }
  }
}

struct LedgerBook {
  explicit LedgerBook(int entries, std::uint64_t seed = 1)
      : world(seed), store(world.open()), ledger(store) {
    store::Engine::Transaction transaction(store.engine());
    for (int i = 0; i < entries; ++i) {
      append_to_ledger(store.engine(), "send", {{"n", i}}, "{\"p\":" + std::to_string(i) + "}");
    }
    transaction.commit();
  }
  void sql(const char* text) { store.engine().locked()->database().connection().execute(text); }

  store::FakeWorld world;
  EncryptedLocalStore store;
  PrivacyLedger ledger;
};

TEST(Ledger, VerifiesProvesAndExports) {
  LedgerBook book(37);
  LedgerHead old = book.ledger.head();
  EXPECT_EQ(old.size, 37u);
  EXPECT_EQ(LedgerHead::parse(old.text()).root, old.root);
  EXPECT_THROW(LedgerHead::parse("12"), Error);
  {
    store::Engine::Transaction transaction(book.store.engine());
    for (int i = 0; i < 20; ++i) append_to_ledger(book.store.engine(), "drop", {{"n", i}});
    transaction.commit();
  }
  LedgerHead head = book.ledger.verify(old);
  EXPECT_EQ(head.size, 57u);
  EXPECT_TRUE(PrivacyLedger::check_consistency(old, head, book.ledger.prove_consistency(37)));
  EXPECT_FALSE(PrivacyLedger::check_consistency(old, head, book.ledger.prove_consistency(36)));
  int lines = 0;
  book.ledger.export_ndjson([&](const std::string& line) {
    json one = json::parse(line);
    ++lines;
    EXPECT_EQ(line.find("\"p\""), line.npos) << "a payload in the export";
    if (one.contains("head")) {
      EXPECT_EQ(one["head"]["root"], head.root);
      return;
    }
    LedgerEntry entry{one["index"], one["entry"], {}, one["salt"], one["commitment"]};
    EXPECT_TRUE(PrivacyLedger::check_inclusion(entry, head, one["proof"]));
    entry.entry["kind"] = "grant";
    EXPECT_FALSE(PrivacyLedger::check_inclusion(entry, head, one["proof"]));
  });
  EXPECT_EQ(lines, 58);
  EXPECT_THROW(book.ledger.prove_inclusion(57), Error);
}

TEST(Ledger, ForgettingAPayloadKeepsTheProofs) {
  LedgerBook book(10);
  LedgerHead head = book.ledger.head();
  EXPECT_TRUE(book.ledger.forget_payload(3));
  EXPECT_FALSE(book.ledger.forget_payload(3));
  EXPECT_FALSE(book.ledger.forget_payload(99));
  EXPECT_EQ(book.ledger.verify(head).root, head.root);
  book.ledger.for_each([&](const LedgerEntry& entry) {
    EXPECT_EQ(entry.payload.has_value(), entry.index != 3);
    EXPECT_TRUE(
        PrivacyLedger::check_inclusion(entry, head, book.ledger.prove_inclusion(entry.index)));
    return true;
  });
}

TEST(Ledger, EveryAlterationIsNoticed) {
  for (const char* sql : {
           "DELETE FROM ledger WHERE num = 9",
           "DELETE FROM ledger WHERE num = 4",
           "DELETE FROM ledger WHERE num = 0",
           "UPDATE ledger SET entry = replace(entry, 'send', 'drop') WHERE num = 5",
           "UPDATE ledger SET payload = '{}' WHERE num = 2",
           "UPDATE ledger SET salt = x'00000000000000000000000000000000' WHERE num = 1",
           "UPDATE ledger_node SET hash = zeroblob(32) WHERE level = 2 AND num = 1",
           "DELETE FROM ledger_node WHERE level = 1 AND num = 0",
       }) {
    LedgerBook book(10);
    LedgerHead head = book.ledger.head();
    book.sql(sql);
    EXPECT_EQ(store::code_of([&] { book.ledger.verify(head); }), ErrorCode::corrupt) << sql;
  }
  // Who can write the store can also write another ledger: a head that is kept elsewhere tells.
  LedgerBook book(10), other(12, 2);
  EXPECT_EQ(store::code_of([&] { other.ledger.verify(book.ledger.head()); }), ErrorCode::corrupt);
  EXPECT_EQ(store::code_of([&] { book.ledger.verify(other.ledger.head()); }), ErrorCode::corrupt);
}

}  // namespace
}  // namespace holdfast::privacy
