#include "relay/postgres/schema.h"

#include "holdfast/error.h"
#include "relay/postgres/connection.h"

namespace holdfast::relay {
namespace {

// Every key begins with the vault, and nothing points from one vault to another, so that tables can
// be spread over machines by it. fillfactor: a vault's row changes with each push, in its place.
constexpr const char* kSteps[] = {
    R"sql(
CREATE TABLE vault(vault_id bytea PRIMARY KEY, log_id bytea NOT NULL, head bigint NOT NULL,
  chain bytea NOT NULL, control_head bytea NOT NULL, control_count bigint NOT NULL,
  floor bigint NOT NULL, bytes bigint NOT NULL, quota bigint NOT NULL, changes bigint NOT NULL,
  checkpoints bigint NOT NULL, healing_ms bigint NOT NULL, anew_ms bigint NOT NULL,
  reserved_ms bigint NOT NULL, reserved_by bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE batch(vault_id bytea NOT NULL, position bigint NOT NULL, batch_id bytea NOT NULL,
  device bytea NOT NULL, leaf bytea NOT NULL, chain bytea NOT NULL, received_ms bigint NOT NULL,
  body bytea, PRIMARY KEY(vault_id, position));
ALTER TABLE batch ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX batch_by_id ON batch(vault_id, batch_id);
CREATE TABLE device(vault_id bytea, device bytea, leaf bytea NOT NULL,
  PRIMARY KEY(vault_id, device)) WITH (fillfactor = 50);
CREATE TABLE control(vault_id bytea, position bigint, record bytea NOT NULL,
  received_ms bigint NOT NULL, PRIMARY KEY(vault_id, position));
CREATE TABLE checkpoint(vault_id bytea, proposed bigint, body bytea NOT NULL,
  PRIMARY KEY(vault_id, proposed));
CREATE TABLE blob(vault_id bytea, hash bytea, received_ms bigint NOT NULL, body bytea NOT NULL,
  PRIMARY KEY(vault_id, hash));
ALTER TABLE blob ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE reservation(vault_id bytea, signer bytea, again_ms bigint NOT NULL,
  PRIMARY KEY(vault_id, signer));
CREATE TABLE erased(vault_id bytea PRIMARY KEY, request bytea NOT NULL,
  received_ms bigint NOT NULL);
CREATE TABLE invite(code bytea PRIMARY KEY, expires_ms bigint NOT NULL, vault_id bytea);
CREATE TABLE mailbox(slot bytea PRIMARY KEY, body bytea NOT NULL, expires_ms bigint NOT NULL);
CREATE INDEX mailbox_by_time ON mailbox(expires_ms);
CREATE TABLE recovery(sign bytea PRIMARY KEY, vault_id bytea NOT NULL);
CREATE INDEX recovery_by_vault ON recovery(vault_id);
CREATE TABLE secret(one bigint PRIMARY KEY, value bytea NOT NULL);
)sql",
};
static_assert(std::size(kSteps) == kPostgresVersion);

}  // namespace

int migrate_postgres(const std::string& where) {
  PgConnection connection(where);
  // Of two that come at once, one waits here; and "IF NOT EXISTS" of two at once can fail.
  connection.execute("SELECT pg_advisory_lock(7264125091)");
  connection.execute(
      "CREATE TABLE IF NOT EXISTS relay_schema(version bigint PRIMARY KEY, "
      "applied timestamptz NOT NULL DEFAULT now())");
  connection.begin(true);
  PgRows rows = connection.query("SELECT coalesce(max(version), 0)::bigint FROM relay_schema");
  std::int64_t version = rows.integer(0, 0);
  connection.commit();
  if (version > kPostgresVersion) {
    throw Error(ErrorCode::newer_version,
                "a newer relay has upgraded this database: run that version");
  }
  int steps = 0;
  for (; version < kPostgresVersion; ++version, ++steps) {
    std::string step = std::string("BEGIN;") + kSteps[version] +
                       "INSERT INTO relay_schema VALUES(" + std::to_string(version + 1) +
                       "); COMMIT";
    connection.execute(step.c_str());
  }
  connection.execute("SELECT pg_advisory_unlock(7264125091)");
  return steps;
}

}  // namespace holdfast::relay
