#!/usr/bin/env bash
# Run by with_postgres.sh: storage tests, then load on a relay while its PostgreSQL is killed, then while it is killed.
set -euo pipefail
"$BIN/relay_tests" --gtest_filter='*ostgres*'
KILLS=${KILLS:-8} "$(dirname "$0")/relay_kill_test.sh"
"$(dirname "$0")/relay_database_kill.sh"
