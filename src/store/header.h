#pragma once

// The two header pages of a store: who may open it, and what its pages must be. docs/formats.md has
// the grammar.

#include "src/store/key_slot.h"
#include "src/store/page_codec.h"

namespace holdfast::store {

constexpr std::size_t kHeaderPage = 4096;
constexpr std::size_t kHeaderPages = 2;
constexpr std::size_t kMaxSlots = 8;

// How far the store's history goes: a count that every transaction raises, and a MAC over all of
// them, each chained to the one before.
struct Position {
  std::uint64_t commits = 0;
  Mac root{};
  bool operator==(const Position&) const = default;
};

// What the last checkpoint left in the pages.
struct Checkpoint {
  std::uint64_t number = 0;
  std::uint64_t pages = 0;           // SQLite's
  Mac table{};                       // over the page-to-tag table
  std::uint64_t log_generation = 0;  // of the log that it copied from,
  std::uint64_t log_frames = 0;      // how many of its frames,
  Mac log_mac{};                     // and the MAC of the last of them
  Position position;
};

struct Header {
  base::Id16 database_id{};
  std::uint64_t generation = 0;  // of the header itself
  // This file was just renamed over another store: a log beside it is that one's, and is removed
  // when this one is first opened.
  bool replaced_another = false;
  Checkpoint checkpoint;
  Bytes secrets_key;  // under the data key: the key that guards the device's secrets in the tables
  std::vector<KeySlot> slots;
};

constexpr std::string_view kSecretsKeyContext = "holdfast store secrets v2";

// The header of an open store. Not thread-safe: its owner (vfs.cc) locks.
class HeaderPages {
 public:
  // `stale` is the place to be written first.
  HeaderPages(base::File& file, Header header, ByteView data_key, std::size_t stale);

  const Header& header() const { return header_; }
  // Both places hold the new slots, durably, when it returns. Throws Error(io), Error(too_large).
  void set_slots(std::vector<KeySlot> slots);
  void set_replaced_another(bool value);  // likewise
  // One place is durable when it returns, the other after the next sync of the file.
  void set_checkpoint(const Checkpoint& checkpoint);

 private:
  void write(const Header& next);
  void write_twice(const Header& next);

  base::File& file_;
  Header header_;
  crypto::Secret mac_key_;
  std::size_t stale_;
};

struct Unlocked {
  Header header;
  crypto::Secret data_key;
  std::size_t stale = 0;            // the place of the older header
  bool uneven = false;              // the two places differ: write the header again
  std::optional<std::size_t> slot;  // the index of the slot that opened; none for an exported key
};
// Reads the pages and opens a slot. A damaged copy is passed over where the other is whole. Throws
// Error(not_a_store, newer_version, wrong_key, corrupt); writes nothing.
Unlocked unlock(base::File& file, const UserKey& key, const std::string& path);
// Whether it begins like a store, of whatever version and key.
bool is_store(base::File& file);
// By the data key itself. Throws Error(wrong_key) where it is another.
Unlocked unlock_with(base::File& file, ByteView data_key, const std::string& path);

}  // namespace holdfast::store
