#pragma once

// What is behind EncryptedLocalStore: local edits become change sets, change sets become records.

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "holdfast/conflict_resolver.h"
#include "holdfast/observers.h"
#include "src/base/hash.h"
#include "src/crypto/keys.h"
#include "src/model/clock.h"
#include "src/store/live_query.h"
#include "src/store/records.h"

namespace holdfast::store {

// The device that this store is, in its vault. The secrets leave it only inside the sealed file.
struct Identity {
  crypto::SigningKey sign;
  crypto::BoxKey box;
  model::DeviceId id;  // follows from the signing key
};

constexpr const char* kClockOffset = "clock_offset";
// Set in a store that a backup was put into: until it is in a vault, and for ever.
constexpr const char* kRestored = "restored";
constexpr const char* kCameFromBackup = "came_from_backup";

void check_key(const Key& key);                  // throws Error(invalid_argument)
model::Json parse_stored(std::string_view doc);  // throws Error(corrupt)

struct ReceivedCounts {
  std::uint64_t applied = 0;
  std::uint64_t waiting = 0;
};

// Thread-safe: every method takes the lock; a caller that needs several to agree holds a
// Transaction.
class Engine {
 public:
  Engine(const std::string& path, const UserKey& key, const StoreOptions& options);

  // All or nothing, until commit(). Nested ones join the outermost. Holds the engine's lock.
  class Transaction {
   public:
    explicit Transaction(Engine& engine);
    ~Transaction();  // rolls back what was not committed
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    // Lets go of the lock and tells observers; where a statement of the store is still in use, that
    // waits for the destructor.
    void commit();

   private:
    void let_go();

    Engine& engine_;
    std::unique_lock<base::OwnedMutex> lock_;
    bool done_ = false;
    struct News;
    std::unique_ptr<News> news_;  // for observers, until they are told
  };

  // Documents: see EncryptedLocalStore.
  void put(const Key& key, model::Json document, const WriteOptions& options);
  void put(const Key& key, const model::Json& document, const RecordVersion& version,
           const WriteOptions& options);
  std::optional<VersionedDocument> get(const Key& key);
  std::optional<model::Json> get_document(const Key& key);
  bool remove(const Key& key);
  std::vector<std::string> list(const std::string& collection);
  void for_each(const std::string& collection,
                const std::function<bool(const std::string&, const model::Json&)>& visit);
  std::vector<std::string> collections();
  void verify(const Progress& progress);

  // Queries: see EncryptedLocalStore.
  void query(const std::string& sql, const std::vector<model::Json>& parameters,
             const std::function<bool(const model::Json&)>& visit, std::set<std::string>* touched);
  QueryPlan explain(const std::string& sql, const std::vector<model::Json>& parameters);
  LiveQuery watch(const std::string& sql, const std::vector<model::Json>& parameters,
                  LiveQuery::State::Callback callback);
  bool create_index(const IndexInfo& index);
  bool drop_index(const IndexInfo& index);
  std::vector<IndexInfo> indexes();

  // Keys: see EncryptedLocalStore.
  void rekey(const Progress& progress);
  void lock();
  void unlock(const UserKey& key);
  bool is_locked();
  // Calls `work` with the database while nothing else uses it, outside of any transaction.
  void with_database(const std::function<void(Database&)>& work);

  // Calls `work` with a connection that reads the store as of one moment, while others write.
  void snapshot(const std::function<void(Connection&)>& work);
  crypto::Argon2Cost passphrase_cost(UserKey::Kind kind);
  // After rows were put into the tables past this object, in the caller's transaction.
  void reload() { load(); }
  // Every record as a new write of this device, with no history before it, in the caller's
  // transaction: for a restored store's new vault. Throws Error(invalid_argument) where conflicts
  // are pending.
  void write_all_again();

  // Writes a document of one of Holdfast's own collections, whole.
  void put_own(const Key& key, model::Json document);
  // Writes ops on one record.
  void write(const Key& key, std::vector<model::Op> ops);
  // What the open transaction has written so far becomes a change set, in history as well.
  void finish_change();
  // Throws Error(too_large) where the record has outgrown what a document may be.
  void check_size(const Key& key);
  std::string new_key();  // for an element of a list
  // Whether this device, new in its vault, has a part of its history and not yet the rest. It must
  // not write then: others may have forgotten what its edits would be made on.
  void set_partly_received(bool partly);
  // Applies what another device wrote, or keeps it until what it builds on is here.
  ReceivedCounts receive(const std::vector<model::ChangeSet>& changes);

  // For a store that begins again from its vault's log: see rebuilding.cc.
  void make_next_identity();                // keys of another device, kept until they count
  std::optional<Identity> next_identity();  // those, where they were made
  // Calls `before`, forgets all records and changes, and is that next device from then on, whose
  // records `work` brings back. All or nothing.
  void rebuild(const std::function<void()>& before, const std::function<void()>& work);
  // Forgets all records but not the changes that are still to be sent, and has `work` bring them
  // back. All or nothing.
  void replace_records(const std::function<void()>& work);
  void forget_records();  // in the caller's transaction
  void apply_unsealed();  // this device's changes that are in no batch yet, likewise
  // By how much this device's clock is behind; then unsealed changes get the time that they would
  // have had, and later ones the right one. Forgets the value `spent`, by which it was allowed.
  void correct_clock(std::int64_t offset_ms, const char* spent);
  std::int64_t clock_offset();
  std::int64_t now_ms() const { return environment_.clock->now_ms() + offset_ms_; }
  void observe_time(std::int64_t ms);  // of what came another way than by receive()
  // Calls `work` and takes back all that it did, in the caller's transaction.
  void try_out(const std::function<void()>& work);
  // An edit that was made on what `known` covers, on top of what is here. Nothing: no such record.
  struct EditedAgain {
    Key key;
    std::optional<model::Json> before;
    std::optional<model::Json> after;
    model::VersionVector known;
    model::Hlc hlc;  // when it was made
  };
  void write_again(const EditedAgain& edit);
  // As get_document, of Holdfast's own collections, too.
  std::optional<model::Json> document_of(const Key& key);

  // Conflicts: see ConflictResolver, and settling.cc.
  std::vector<Conflict> conflicts(bool pending_only);
  void resolve(const Conflict& conflict, std::optional<std::size_t> candidate,
               const std::optional<model::Json>& value);
  std::size_t settle();
  void set_custom(const std::string& collection, CustomStrategy function);
  // Told after each commit in which this device wrote; on the writer's thread, without the lock.
  Observers<>& edit_observers() { return edit_observers_; }
  Observers<const std::vector<Conflict>&>& conflict_observers() { return conflict_observers_; }
  // Change sets of a batch that is void: they count as seen, and do nothing.
  void skip(const model::DeviceId& device, std::uint64_t first, std::uint64_t last);
  // Of this device nothing counts behind its change set `last`, and nobody waits for more. In the
  // caller's transaction.
  void close_device(const model::DeviceId& device, std::uint64_t last);
  bool is_closed(const model::DeviceId& device) const { return closed_.count(device) != 0; }
  std::uint64_t count_waiting();  // change sets that wait for what they build on
  // All of them, in the order of devices and numbers. What one store gives another takes, in the
  // caller's transaction: so that it need not see what they came in. add_waiting throws
  // Error(malformed).
  struct Waiting {
    model::DeviceId device{};
    std::uint64_t sequence = 0;
    Bytes body;  // as stored
  };
  void visit_waiting(const std::function<void(const Waiting&)>& visit);
  void add_waiting(const Waiting& waiting);

  // Throws Error(invalid_argument) inside a transaction of this thread.
  void require_no_transaction();
  std::mutex& sync_mutex() { return sync_mutex_; }  // one sync at a time
  // One sends to destinations at a time, and who takes a permission back waits for it to end.
  struct EgressTurn {
    std::mutex mutex;
    std::mutex counting;               // guards the next two together
    int revoking = 0;                  // how many wait
    std::atomic<bool> stopped{false};  // what is being sent is to end
  };
  EgressTurn& egress_turn() { return egress_turn_; }
  bool is_partly_received() const { return partly_received_; }

  std::uint64_t checkpoint_bytes() const { return checkpoint_bytes_; }  // see StoreOptions
  Records& records() { return records_; }
  Database& database() { return database_; }
  const base::Environment& environment() const { return environment_; }
  const Identity& identity() const;  // until the store is locked
  const model::VersionVector& seen() const { return seen_; }
  base::OwnedMutex& mutex() { return mutex_; }
  // This, locked until the end of the expression.
  struct Locked {
    std::unique_lock<base::OwnedMutex> lock;
    Engine* engine;
    Engine* operator->() const { return engine; }
  };
  Locked locked() { return {std::unique_lock(mutex_), this}; }

 private:
  void load();
  void open();
  void forget_everything();
  bool in_own_transaction() const { return transaction_thread_ == std::this_thread::get_id(); }
  // Calls `work` with a connection to read from: beside the writer, or in this thread's
  // transaction.
  template <typename Work>
  auto read(Work work) {
    if (in_own_transaction()) return work(database_.connection());
    Readers::Lease reader = database_.readers().lease(Readers::Use::own);
    return work(*reader->connection);
  }
  void without_history(const std::function<void()>& work);
  void make_identity();
  void load_identity();
  void require_intact();
  void open_change();
  void close_change();
  void save_clock();
  void apply(const model::ChangeSet& change);
  void set_seen(const model::DeviceId& device, std::uint64_t sequence);
  void save_seen();
  void write_resolution(const Conflict& conflict, std::optional<std::size_t> candidate,
                        const std::optional<model::Json>& value, bool automatic);
  bool settle(const Conflict& conflict, const model::FieldRule& rule, std::int64_t now_ms);
  void remember_choice(const Conflict& conflict, std::size_t candidate);
  void suggest(Conflict& conflict);
  struct Next;
  bool waits_for(const Dot& place) const;
  // One that `change` builds on and that is not here.
  std::optional<Dot> lacks(const model::ChangeSet& change) const;
  void note_waiting(const model::DeviceId& device, std::uint64_t sequence);
  Next next_waiting(const model::DeviceId& device);
  void apply_waiting();
  void write_new(const Key& key, model::Json document, std::int64_t priority);
  void write_diff(const Key& key, const Records::Row& row, const model::Json* before,
                  const model::Json& after, const model::VersionVector* known,
                  const WriteOptions& options);

  base::Environment environment_;
  std::uint64_t checkpoint_bytes_;
  base::OwnedMutex mutex_;
  Database database_;
  Records records_;
  std::optional<Identity> identity_;
  model::HybridClock clock_;
  model::Hlc saved_clock_;
  std::atomic<std::int64_t> offset_ms_{0};
  model::VersionVector seen_;
  std::set<model::DeviceId> seen_changed_;  // whose entries are still to be written
  std::map<std::string, CustomStrategy> custom_;
  Observers<const std::vector<Conflict>&> conflict_observers_;
  Observers<> edit_observers_;
  bool wrote_ = false;  // a change set of this device, in the open transaction
  int depth_ = 0;
  bool rekeying_ = false;
  std::atomic<std::thread::id> transaction_thread_;  // that holds the open transaction
  LiveQueries live_;
  bool anchor_failed_ = false;
  bool stale_ = false;  // what is in memory may not be what is in the file: load() first
  std::mutex sync_mutex_;
  EgressTurn egress_turn_;
  std::map<model::DeviceId, std::uint64_t> closed_;  // and the last of its change sets that counts
  // Devices with change sets in the table of that name, and what the first of them was found to
  // wait for.
  std::map<model::DeviceId, std::optional<Dot>> waiting_;
  bool partly_received_ = false;
  std::optional<model::Hlc> as_of_;  // the time of what is written now, where it is not now
  bool failed_ = false;              // an inner transaction rolled back: so must the outermost

  // The change set being built by the open transaction.
  std::optional<model::ChangeSet> building_;
  std::size_t building_bytes_ = 0;
};

}  // namespace holdfast::store
