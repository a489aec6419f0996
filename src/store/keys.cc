// The keys of a store: its slots, and a new data key.

#include <algorithm>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/store/database.h"
#include "src/store/exported_key.h"
#include "src/store/page_file.h"

namespace holdfast::store {
namespace {

std::vector<KeySlot>::iterator find(std::vector<KeySlot>& slots, std::uint8_t number) {
  auto found = std::find_if(slots.begin(), slots.end(),
                            [&](const KeySlot& slot) { return slot.number == number; });
  if (found != slots.end()) return found;
  throw Error(ErrorCode::not_found,
              "the store has no key slot " + std::to_string(number) + ": list them first");
}

}  // namespace

std::vector<KeySlotInfo> Database::key_slots() {
  connection();
  std::vector<KeySlotInfo> out;
  for (const KeySlot& slot : vfs_->header().slots) {
    KeySlotInfo info;
    info.number = slot.number;
    info.created_ms = slot.created_ms;
    if (slot.unknown.empty()) info.kind = key_kind_name(slot.kind);
    out.push_back(std::move(info));
  }
  return out;
}

std::uint8_t Database::add_key(const UserKey& key) {
  connection();
  Header header = vfs_->header();
  std::uint8_t number = 1;
  for (const KeySlot& slot : header.slots) {
    number = std::max(number, static_cast<std::uint8_t>(slot.number + 1));
  }
  for (std::uint8_t free = 1; free < number; ++free) {  // the lowest free number
    bool taken = std::any_of(header.slots.begin(), header.slots.end(),
                             [&](const KeySlot& slot) { return slot.number == free; });
    if (!taken) number = free;
  }
  for (const KeySlot& slot : header.slots) {
    // Two slots of one key would make removing one of them mean nothing. Trying a passphrase is
    // slow.
    if (key.kind() == UserKey::Kind::passphrase || !open_slot(slot, key, header.database_id))
      continue;
    throw Error(ErrorCode::exists,
                "that key opens the store already, as key slot " + std::to_string(slot.number));
  }
  header.slots.push_back(make_slot(number, key, header.database_id, data_key_.view(),
                                   passphrase_cost(options_, key.kind(), environment_),
                                   environment_.clock->now_ms(), *environment_.random));
  vfs_->set_slots(std::move(header.slots));
  return number;
}

void Database::change_key(std::uint8_t number, const UserKey& key) {
  connection();
  Header header = vfs_->header();
  auto slot = find(header.slots, number);
  *slot = make_slot(number, key, header.database_id, data_key_.view(),
                    passphrase_cost(options_, key.kind(), environment_),
                    environment_.clock->now_ms(), *environment_.random);
  vfs_->set_slots(std::move(header.slots));
}

void Database::remove_key(std::uint8_t number) {
  connection();
  Header header = vfs_->header();
  auto slot = find(header.slots, number);
  std::size_t usable = static_cast<std::size_t>(
      std::count_if(header.slots.begin(), header.slots.end(),
                    [](const KeySlot& one) { return one.unknown.empty(); }));
  if (slot->unknown.empty() && usable == 1) {
    throw Error(ErrorCode::invalid_argument,
                "that is the store's last key: without it nobody could open the store; add another "
                "first");
  }
  header.slots.erase(slot);
  vfs_->set_slots(std::move(header.slots));
}

std::string Database::export_key(std::string_view password) {
  connection();
  crypto::Argon2Cost cost = passphrase_cost(options_, UserKey::Kind::passphrase, environment_);
  return store::export_key(data_key_.view(), password, cost, *environment_.random);
}

// Everything once more under a new key, in a file aside that then takes the old one's place. Killed
// before the rename, the old file is untouched; after it, the new one is whole.
void Database::rekey(const Progress& progress) {
  std::string aside = path_ + ".rekey";
  bool renaming = false;
  try {
    write_log_into_pages();
    Header header = vfs_->header();
    Unlocked fresh;
    fresh.data_key = crypto::Secret(32);
    environment_.random->fill(fresh.data_key.span());
    fresh.header.database_id = header.database_id;
    fresh.header.generation = header.generation;
    fresh.header.replaced_another = true;
    Checkpoint& start = fresh.header.checkpoint;
    start.number = header.checkpoint.number;
    start.log_generation = header.checkpoint.log_generation + 1;
    start.position.commits = header.checkpoint.position.commits + 1;
    environment_.random->fill(start.position.root);
    fresh.header.secrets_key = crypto::seal_committing(fresh.data_key.view(), kSecretsKeyContext,
                                                       secrets_key_.view(), *environment_.random);
    for (const KeySlot& slot : header.slots) {
      if (!slot.unknown.empty()) {
        throw Error(ErrorCode::newer_version,
                    "the store has a key of a newer version of Holdfast, which this one cannot "
                    "keep: update this app, or remove key slot " +
                        std::to_string(slot.number));
      }
      fresh.header.slots.push_back(box_slot(slot, header.database_id, data_key_.view(),
                                            fresh.data_key.view(), *environment_.random));
    }
    auto file = lock_store(aside, base::FileSystem::Mode::create, environment_);
    write_rekeyed(aside, file, fresh, progress);
    renaming = true;
    environment_.files->rename_over(aside, path_);
    connection_.reset();
    vfs_.reset();
    Unlocked again = unlock_with(*file, fresh.data_key.view(), path_);
    connect_all(std::move(file), std::move(again));
  } catch (...) {
    if (renaming) {
      close();  // the one file or the other is there, and whole: opening tells which
    } else {
      environment_.files->remove(aside);
    }
    throw;
  }
  anchor();
}

// The pages, under the new key.
void Database::write_rekeyed(const std::string& aside, std::unique_ptr<base::File>& file,
                             const Unlocked& fresh, const Progress& progress) {
  environment_.files->remove(aside + "-wal");
  file->truncate(0);
  Header empty = fresh.header;
  HeaderPages header(*file, empty, fresh.data_key.view(), 0);
  header.set_slots(fresh.header.slots);
  PageCodec codec(fresh.data_key.view(), fresh.header.database_id, environment_.random);
  PageFile pages(*file, codec, header);
  vfs_->read_pages([&](std::uint64_t index, ByteView page, std::uint64_t total) {
    pages.write(index * kPageSize, page, false);
    if (progress && index % 256 == 0 && !progress({"encrypting", index, total})) {
      throw Error(ErrorCode::cancelled, "the new key was cancelled: the old one still holds");
    }
  });
  pages.sync(fresh.header.checkpoint);
  file->sync();
}

}  // namespace holdfast::store
