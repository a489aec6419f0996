#pragma once

#include "relay/storage.h"
#include "src/base/sqlite.h"

namespace holdfast::relay {

// Storage in one SQLite file, fully synchronous. `path` may be ":memory:" in tests.
class SqliteStorage : public Storage {
 public:
  explicit SqliteStorage(const std::string& path);

  void transaction(const std::function<void()>& work) override;
  void group(Access access, const std::function<void()>& work) override;
  std::optional<Vault> vault(const Hash32& id) override;
  std::vector<Hash32> vaults(const Hash32& after, std::size_t limit) override;
  void put_vault(const Hash32& id, const Vault& vault) override;
  std::map<Hash32, std::uint64_t> changes(const std::vector<Hash32>& vaults) override;
  void erase(const Hash32& vault, ByteView request, std::int64_t now_ms) override;
  std::optional<Bytes> erased(const Hash32& vault) override;
  std::vector<Hash32> erased_vaults(const Hash32& after, std::size_t limit) override;
  std::vector<std::string> damage() override;
  std::optional<Stored> batch_place(const Hash32& vault, const Id16& batch) override;
  std::map<Id16, Stored> batch_places(const Hash32& vault,
                                      const std::vector<Id16>& batches) override;
  void add_batch(const Hash32& vault, const Place& place, const wire::Stub& stub,
                 ByteView body) override;
  Dropped drop_bodies(const Hash32& vault, std::uint64_t upto, std::int64_t before_ms) override;
  std::vector<wire::Stub> stubs(const Hash32& vault, std::uint64_t after) override;
  Hash32 rechain(const Hash32& vault, const Hash32& start) override;
  std::vector<Bytes> batches(const Hash32& vault, std::uint64_t after, std::size_t bytes) override;
  std::optional<Hash32> chain_at(const Hash32& vault, std::uint64_t position) override;
  Hash32 device_leaf(const Hash32& vault, const Id16& device) override;
  void set_device_leaf(const Hash32& vault, const Id16& device, const Hash32& leaf) override;
  void add_control(const Hash32& vault, std::uint64_t position, ByteView record,
                   std::int64_t now_ms) override;
  std::optional<std::int64_t> control_time(const Hash32& vault, std::uint64_t position) override;
  std::vector<Bytes> control(const Hash32& vault, std::uint64_t from,
                             std::size_t limit = 500) override;
  Bytes checkpoint(const Hash32& vault, Checkpoint which) override;
  void put_checkpoint(const Hash32& vault, Checkpoint which, ByteView bytes) override;
  std::optional<Bytes> blob(const Hash32& vault, const Hash32& hash) override;
  std::set<Hash32> blobs_of(const Hash32& vault, const std::vector<Hash32>& hashes) override;
  bool put_blob(const Hash32& vault, const Hash32& hash, ByteView body,
                std::int64_t now_ms) override;
  std::uint64_t drop_blobs(const Hash32& vault, const std::set<Hash32>& kept,
                           std::int64_t before_ms) override;
  std::optional<Bytes> mail(const Id16& slot, std::int64_t now_ms) override;
  Mail put_mail(const Id16& slot, ByteView body, std::int64_t now_ms,
                std::int64_t expires_ms) override;
  std::int64_t reserve_again(const Hash32& vault, const Hash32& signer) override;
  void set_reserve_again(const Hash32& vault, const Hash32& signer, std::int64_t ms) override;
  void add_invite(const Hash32& code, std::int64_t expires_ms) override;
  bool spend_invite(const Hash32& code, const Hash32& vault, std::int64_t now_ms) override;
  std::optional<Hash32> vault_of_recovery(const Hash32& sign) override;
  void set_vault_of_recovery(const Hash32& sign, const Hash32& vault) override;
  void expire(std::int64_t now_ms) override;
  Bytes secret(const std::function<Bytes()>& make) override;

  // A copy as of one moment, while others write. `path` is new.
  void back_up(const std::string& path);

  base::Connection& connection() { return db_; }  // for tests that look behind, or roll it back

 private:
  void check_version();
  void change(const char* sql, const Hash32& vault);

  base::Connection db_;
  bool in_group_ = false;
  bool failed_ = false;  // a part of the group did: so must all of it
};

}  // namespace holdfast::relay
