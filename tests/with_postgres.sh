#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own, as durable as any: tests/with_postgres.sh COMMAND...
# HOLDFAST_TEST_POSTGRES tells the command where it is, HOLDFAST_TEST_PGDATA where its files are.
set -euo pipefail
source "$(dirname "$0")/../scripts/postgres.sh"
need_postgres
folder=$(mktemp -d /tmp/holdfast-pg.XXXXXX)
give_postgres "$folder"
stop() {
  stop_postgres "$folder" immediate 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
make_postgres "$folder"
start_postgres "$folder"
export HOLDFAST_TEST_POSTGRES="host=$folder user=postgres dbname=postgres"
export HOLDFAST_TEST_PGDATA="$folder/data"
status=0
"$@" || status=$?
((status == 0)) || tail -20 "$folder/log" >&2
exit $status
