#pragma once

#include "relay/postgres/connection.h"
#include "relay/storage.h"

namespace holdfast::relay {

// Storage in PostgreSQL, which other processes may use at once. What a group is going to ask for is
// asked at once, and what it writes travels with the next question or the end.
class PostgresStorage : public Storage {
 public:
  // `where`: see PgConnection. Throws Error(io), and Error(newer_version) where the tables are not
  // of this version (see migrate_postgres).
  explicit PostgresStorage(const std::string& where);

  void transaction(const std::function<void()>& work) override;
  void group(Access access, const std::function<void()>& work) override;
  bool wants_expected() const override { return true; }
  void expect(const std::vector<Expected>& expected) override;
  std::optional<Vault> vault(const Hash32& id) override;
  std::vector<Hash32> vaults(const Hash32& after, std::size_t limit) override;
  void put_vault(const Hash32& id, const Vault& vault) override;
  std::map<Hash32, std::uint64_t> changes(const std::vector<Hash32>& vaults) override;
  void erase(const Hash32& vault, ByteView request, std::int64_t now_ms) override;
  std::optional<Bytes> erased(const Hash32& vault) override;
  std::vector<Hash32> erased_vaults(const Hash32& after, std::size_t limit) override;
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

 private:
  using InVault = std::pair<Hash32, Id16>;
  struct Row {
    std::optional<Vault> vault;
    bool is_new = false;  // not in the database yet
    bool is_changed = false;
  };
  void change(const char* sql, const Hash32& vault);
  void write_vaults();
  void write_recoveries();
  void expect_page(const Hash32& vault, std::uint64_t after, std::size_t bytes);
  std::map<Id16, Stored> note_places(const Hash32& vault, const PgRows& rows);
  void forget();

  PgConnection db_;
  bool in_group_ = false;
  bool writes_ = false;
  bool failed_ = false;  // a part of the group did: so must all of it
  // What this group knows already.
  std::map<Hash32, Row> vaults_;
  std::map<InVault, std::optional<Stored>> places_;
  std::map<InVault, Hash32> leaves_;
  // What it will write at its end, in the order of their keys: two groups never wait for each
  // other.
  std::map<Hash32, Hash32> recoveries_;
  struct Page {
    std::uint64_t after = 0;
    std::size_t bytes = 0;
    std::optional<Hash32> chain;
    std::vector<Bytes> batches;
  };
  std::map<Hash32, std::vector<Page>> pages_;
};

}  // namespace holdfast::relay
