#pragma once

// Merkle trees as RFC 9162 (section 2.1) has them: hashes, proofs, and how they are checked. Pure.

#include <functional>

#include "src/base/hash.h"

namespace holdfast::privacy {

using base::Hash32;

Hash32 merkle_leaf(ByteView entry);
Hash32 merkle_node(const Hash32& left, const Hash32& right);

// A tree of `size` leaves, of whose whole subtrees the hash is asked for: number `num` of 2^level
// leaves.
class MerkleTree {
 public:
  using HashOf = std::function<Hash32(unsigned level, std::uint64_t num)>;
  MerkleTree(std::uint64_t size, HashOf hash_of) : size_(size), hash_of_(std::move(hash_of)) {}

  Hash32 root() const { return root(size_); }
  Hash32 root(std::uint64_t size) const;  // of its first leaves; size <= that of the tree
  // That leaf `num` is in it; num < size.
  std::vector<Hash32> inclusion(std::uint64_t num) const;
  // That its first `old_size` leaves are those of an older tree; old_size <= size.
  std::vector<Hash32> consistency(std::uint64_t old_size) const;

 private:
  Hash32 range(std::uint64_t begin, std::uint64_t end) const;
  std::uint64_t size_;
  HashOf hash_of_;
};

bool verify_inclusion(const Hash32& leaf, std::uint64_t num, std::uint64_t size,
                      const std::vector<Hash32>& proof, const Hash32& root);
bool verify_consistency(std::uint64_t old_size, const Hash32& old_root, std::uint64_t size,
                        const Hash32& root, const std::vector<Hash32>& proof);

}  // namespace holdfast::privacy
