#include "src/store/schema.h"

#include "holdfast/error.h"

namespace holdfast::store {
namespace {

// Tables are in the order of the data's way: records, then what is still to be sent, then the
// vault's log.
constexpr const char* kTables = R"sql(
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE collection(num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE device(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
  seen INTEGER NOT NULL DEFAULT 0,  -- how many of its change sets are applied here
  leaf BLOB);                       -- of its last batch in the vault's log
CREATE TABLE record(num INTEGER PRIMARY KEY, collection INTEGER NOT NULL, id TEXT NOT NULL,
  alive INTEGER NOT NULL, doc TEXT NOT NULL, created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, conflicts INTEGER NOT NULL, pending INTEGER NOT NULL,
  state BLOB NOT NULL);
CREATE UNIQUE INDEX record_by_id ON record(collection, id);
CREATE INDEX record_in_conflict ON record(collection) WHERE conflicts > 0;
CREATE TABLE change(sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);  -- own, not sealed yet
CREATE TABLE outbox(num INTEGER PRIMARY KEY, batch_id BLOB NOT NULL UNIQUE,
  delivered INTEGER NOT NULL DEFAULT 0,  -- by the app; the relay is still to have it
  first INTEGER NOT NULL, last INTEGER NOT NULL, body BLOB NOT NULL);   -- sealed, not confirmed yet
CREATE TABLE waiting(device BLOB, sequence INTEGER, body BLOB NOT NULL,
  PRIMARY KEY(device, sequence)) WITHOUT ROWID;                         -- for what they build on
CREATE TABLE log(position INTEGER PRIMARY KEY, device BLOB NOT NULL, chain BLOB NOT NULL,
  held INTEGER NOT NULL,   -- 1: not applied, and `reason` says why; 2: not applied, this store
                           -- is to begin again; -1: ignored for good
  reason TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX log_held ON log(position) WHERE held > 0;
CREATE TABLE control(position INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE epoch(num INTEGER PRIMARY KEY, key BLOB NOT NULL);
)sql";

void set_version(base::Connection& connection, std::uint64_t version) {
  base::Writer out;
  out.u64(version);
  Bytes bytes = out.take();
  base::Statement(connection.prepare("INSERT INTO meta VALUES('schema', ?) "
                                     "ON CONFLICT(name) DO UPDATE SET value = excluded.value"))
      .bind(bytes)
      .run();
}

}  // namespace

void create_tables(base::Connection& connection) {
  connection.execute(kTables);
  set_version(connection, 1);
}

std::uint64_t schema_version(base::Connection& connection) {
  base::Statement tables(
      connection.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"));
  if (!tables.step() || tables.integer(0) != 1) {
    throw Error(ErrorCode::corrupt, "the store has lost its tables: restore a backup");
  }
  base::Statement query(connection.prepare("SELECT value FROM meta WHERE name = 'schema'"));
  if (!query.step() || query.blob(0).size() != 8) {
    throw Error(ErrorCode::corrupt, "the store has lost its schema version: restore a backup");
  }
  return base::Reader(query.blob(0), "the schema version").u64();
}

std::vector<std::string> upgrade(base::Connection& connection, std::uint64_t from) {
  struct Step {
    const char* name;
    const char* sql;
  };
  static constexpr Step kSteps[] = {
      // SQLite would think that a collection is a handful of records, and never use such an index:
      // the statistics say that one collection is everything.
      {"indexes that an app asks for",
       "CREATE TABLE query_index(num INTEGER PRIMARY KEY, collection TEXT NOT NULL,"
       "  path TEXT NOT NULL, UNIQUE(collection, path));"
       "ANALYZE sqlite_schema;"
       "INSERT INTO sqlite_stat1 VALUES('record', 'record_by_id', '1000000 1000000 1');"
       "ANALYZE sqlite_schema"},
      {"pending conflicts, history, and what can be forgotten",
       // hidden: whether the record may hold what can be forgotten once every device knows it
       "ALTER TABLE record ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;"
       "UPDATE record SET hidden = 1 WHERE alive = 0;"
       "CREATE INDEX record_with_hidden ON record(num) WHERE hidden > 0;"
       "CREATE TABLE pending(record INTEGER, path TEXT, since_ms INTEGER NOT NULL,"
       "  sides BLOB NOT NULL, PRIMARY KEY(record, path)) WITHOUT ROWID;"
       // record 0: the records that a change set created
       "CREATE TABLE history(num INTEGER PRIMARY KEY, record INTEGER NOT NULL,"
       "  device INTEGER NOT NULL, sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
       "  kept_ms INTEGER NOT NULL, body BLOB NOT NULL);"
       "CREATE INDEX history_of_record ON history(record);"
       // last: the author's last change set in a batch, and 0 in one that only acknowledges.
       // acknowledged: up to which position of the log all of the author's change sets that do not
       // know it are in the log by now
       "ALTER TABLE outbox ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;"
       "CREATE TABLE batch(position INTEGER PRIMARY KEY, device BLOB NOT NULL,"
       "  last INTEGER NOT NULL, acknowledged INTEGER NOT NULL)"},
      {"devices that were taken out, and when each was last heard of",
       // closed: 0, or one more than the last of its change sets that counts
       "ALTER TABLE device ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;"
       "ALTER TABLE device ADD COLUMN last_seen_ms INTEGER NOT NULL DEFAULT 0"},
      {"what a relay lost",
       "ALTER TABLE log ADD COLUMN leaf BLOB NOT NULL DEFAULT x'';"
       // batches of the log that the relay has lost, in their order
       "CREATE TABLE lost(num INTEGER PRIMARY KEY, leaf BLOB NOT NULL UNIQUE,"
       "  device BLOB NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);"
       // batches that came past the log, until they come in it
       "CREATE TABLE loose(num INTEGER PRIMARY KEY, leaf BLOB NOT NULL UNIQUE,"
       "  body BLOB NOT NULL);"
       // change sets that were written anew by who began again; sent: in the log
       "CREATE TABLE claim(device BLOB, sequence INTEGER, hash BLOB, sent INTEGER NOT NULL,"
       "  PRIMARY KEY(device, sequence, hash)) WITHOUT ROWID;"
       "CREATE TABLE former_log(log_id BLOB PRIMARY KEY) WITHOUT ROWID"},
      {"checkpoints",
       // batch: the id of one whose body is empty, because a checkpoint stands for it
       "ALTER TABLE log ADD COLUMN batch BLOB NOT NULL DEFAULT x'';"
       "ALTER TABLE lost ADD COLUMN batch BLOB NOT NULL DEFAULT x'';"
       "CREATE INDEX batch_by_device ON batch(device, position, last);"
       // body: the change set, until whoever wrote it anew has sent it
       "ALTER TABLE claim ADD COLUMN body BLOB NOT NULL DEFAULT x'';"
       // complete: all of its chunks are here
       "CREATE TABLE checkpoint(position INTEGER PRIMARY KEY, complete INTEGER NOT NULL,"
       "  body BLOB NOT NULL);"
       "CREATE TABLE checkpoint_chunk(position INTEGER NOT NULL, num INTEGER NOT NULL,"
       "  body BLOB NOT NULL);"
       "CREATE UNIQUE INDEX checkpoint_chunk_by_num ON checkpoint_chunk(position, num);"
       // batches between this device's place and that of the checkpoint that it fetches; and those
       // that a checkpoint stands for and the relay has lost
       "CREATE TABLE stub(position INTEGER PRIMARY KEY, batch BLOB NOT NULL, device BLOB NOT NULL,"
       "  leaf BLOB NOT NULL);"
       "CREATE TABLE lost_place(position INTEGER PRIMARY KEY, batch BLOB NOT NULL,"
       "  device BLOB NOT NULL, leaf BLOB NOT NULL)"},
      {"what leaves for others, and the ledger of it",
       // Of this device alone, as all of these. A key for what a grant has waiting to be sent.
       "CREATE TABLE egress_key(grant_id TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;"
       "CREATE TABLE egress_queue(num INTEGER PRIMARY KEY, egress BLOB NOT NULL UNIQUE,"
       "  grant_id TEXT NOT NULL, key_id TEXT NOT NULL, policy TEXT NOT NULL,"
       "  next_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, body BLOB NOT NULL);"
       // grants that are over for good, whatever the clock says later
       "CREATE TABLE grant_end(grant_id TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;"
       // spent: millionths of epsilon; day: since 1970, or -1 for all days together
       "CREATE TABLE egress_budget(scope TEXT, day INTEGER, spent INTEGER NOT NULL,"
       "  PRIMARY KEY(scope, day)) WITHOUT ROWID;"
       // noise for the field's last value that has left (charged), and for the last that has not
       "CREATE TABLE egress_noise(scope TEXT, field TEXT, value BLOB NOT NULL,"
       "  noisy TEXT NOT NULL, charged INTEGER, PRIMARY KEY(scope, field, charged)) WITHOUT ROWID;"
       "CREATE TABLE ledger(num INTEGER PRIMARY KEY, leaf BLOB NOT NULL, salt BLOB NOT NULL,"
       "  entry TEXT NOT NULL, payload_salt BLOB, payload TEXT);"
       // hash of the whole subtree number `num` of 2^level entries
       "CREATE TABLE ledger_node(level INTEGER, num INTEGER, hash BLOB NOT NULL,"
       "  PRIMARY KEY(level, num)) WITHOUT ROWID"},
  };
  static_assert(std::size(kSteps) + 1 == kSchemaVersion);
  std::vector<std::string> names;
  for (std::uint64_t version = from; version < kSchemaVersion; ++version) {
    const Step& step = kSteps[version - 1];
    connection.execute(step.sql);
    set_version(connection, version + 1);
    names.emplace_back(step.name);
  }
  return names;
}

}  // namespace holdfast::store
