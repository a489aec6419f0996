#include "src/privacy/merkle.h"

#include <algorithm>
#include <bit>

namespace holdfast::privacy {
namespace {

// The size of the left subtree of `count` leaves, count > 1.
std::uint64_t split_of(std::uint64_t count) { return std::bit_floor(count - 1); }

}  // namespace

Hash32 merkle_leaf(ByteView entry) {
  const std::uint8_t prefix[] = {0};
  return base::sha256({prefix, entry});
}

Hash32 merkle_node(const Hash32& left, const Hash32& right) {
  const std::uint8_t prefix[] = {1};
  return base::sha256({prefix, left, right});
}

Hash32 MerkleTree::range(std::uint64_t begin, std::uint64_t end) const {
  std::uint64_t count = end - begin;
  if (count == 0) return base::sha256({});
  if (std::has_single_bit(count)) {
    auto level = static_cast<unsigned>(std::countr_zero(count));
    return hash_of_(level, begin >> level);
  }
  std::uint64_t middle = begin + split_of(count);
  return merkle_node(range(begin, middle), range(middle, end));
}

Hash32 MerkleTree::root(std::uint64_t size) const { return range(0, size); }

std::vector<Hash32> MerkleTree::inclusion(std::uint64_t num) const {
  std::vector<Hash32> proof;
  std::uint64_t begin = 0, end = size_;
  while (end - begin > 1) {
    std::uint64_t middle = begin + split_of(end - begin);
    if (num < middle) {
      proof.push_back(range(middle, end));
      end = middle;
    } else {
      proof.push_back(range(begin, middle));
      begin = middle;
    }
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

std::vector<Hash32> MerkleTree::consistency(std::uint64_t old_size) const {
  std::vector<Hash32> proof;
  std::uint64_t begin = 0, end = size_;
  bool whole = true;  // the old tree's part of this range is a tree that its owner knows
  while (old_size != end && old_size != 0) {
    std::uint64_t middle = begin + split_of(end - begin);
    if (old_size <= middle) {
      proof.push_back(range(middle, end));
      end = middle;
    } else {
      proof.push_back(range(begin, middle));
      begin = middle;
      whole = false;
    }
  }
  if (!whole) proof.push_back(range(begin, end));
  std::reverse(proof.begin(), proof.end());
  return proof;
}

bool verify_inclusion(const Hash32& leaf, std::uint64_t num, std::uint64_t size,
                      const std::vector<Hash32>& proof, const Hash32& root) {
  if (num >= size) return false;
  std::uint64_t at = num, last = size - 1;
  Hash32 hash = leaf;
  for (const Hash32& other : proof) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      hash = merkle_node(other, hash);
      while (at % 2 == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = merkle_node(hash, other);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(std::uint64_t old_size, const Hash32& old_root, std::uint64_t size,
                        const Hash32& root, const std::vector<Hash32>& proof) {
  if (old_size > size) return false;
  if (old_size == size) return proof.empty() && old_root == root;
  if (old_size == 0) return proof.empty() && old_root == base::sha256({});
  std::vector<Hash32> path = proof;
  if (std::has_single_bit(old_size)) path.insert(path.begin(), old_root);
  if (path.empty()) return false;
  std::uint64_t at = old_size - 1, last = size - 1;
  while (at % 2 == 1) {
    at >>= 1;
    last >>= 1;
  }
  Hash32 old_hash = path[0], hash = path[0];
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      old_hash = merkle_node(path[i], old_hash);
      hash = merkle_node(path[i], hash);
      while (at % 2 == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = merkle_node(hash, path[i]);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == old_root && hash == root;
}

}  // namespace holdfast::privacy
