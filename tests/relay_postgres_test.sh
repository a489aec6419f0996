#!/usr/bin/env bash
# The relay's storage tests over a real PostgreSQL, and a relay on it under load whose database is killed.
set -euo pipefail
here=$(dirname "$0")
exec "$here/with_postgres.sh" "$here/relay_on_postgres.sh"
