#!/usr/bin/env bash
# kill -9 of PostgreSQL's backends and postmaster under load: every batch that was acknowledged is there once.
# DATABASE_KILLS=200 for all of them.
set -euo pipefail
kills=${DATABASE_KILLS:-6}
source "$(dirname "$0")/../scripts/postgres.sh"
folder=$(mktemp -d)
source "$(dirname "$0")/ports.sh"
port=$(free_ports 2)
place=(--postgres "$HOLDFAST_TEST_POSTGRES")
"$BIN/holdfast-relay" migrate "${place[@]}"
for i in 0 1; do  # two processes over one database
  "$BIN/holdfast-relay" --listen "127.0.0.1:$((port + i))" "${place[@]}" --vault-requests 100000 \
    --address-strangers 100000 --address-vaults 100000 --origin "http://127.0.0.1:$port" --quiet >"$folder/out$i" 2>>"$folder/log" &
  relays[i]=$!
done
finish() {
  kill "${relays[@]}" 2>/dev/null || true
  wait "${relays[@]}" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
for i in 0 1; do until_says "$folder/out$i" listening "${relays[i]}"; done
# Who waits at one process is woken by what another takes.
"$BIN/relay_load" watch --port "$port" --other-port $((port + 1)) --clients 50 --seconds 0.3 --seed 3 >"$folder/watch" ||
  { cat "$folder/watch"; exit 1; }
cat "$folder/watch"
# Connections that end while nobody asks cost nobody an answer.
"$BIN/relay_load" push --port "$port" --vaults 8 --clients 1 --seconds 0.2 --seed 1 >"$folder/before"
psql -qAtX "$HOLDFAST_TEST_POSTGRES" -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdfast-relay'" >"$folder/ended"
(($(<"$folder/ended") > 1))
"$BIN/relay_load" push --port "$port" --vaults 8 --clients 1 --seconds 0.2 --seed 2 >"$folder/after"
grep -q 'retried 0 ' "$folder/after" || { cat "$folder/after" "$folder/log"; exit 1; }
"$BIN/relay_load" push --port "$port" --vaults 16 --clients 16 --seconds $((kills + 2)) --seed $((RANDOM % 20000)) >"$folder/load" &
load=$!
until_says "$folder/load" "signed in" "$load"
postmaster() { head -1 "$HOLDFAST_TEST_PGDATA/postmaster.pid"; }
for ((i = 0; i < kills; ++i)); do
  sleep "0.$((RANDOM % 50 + 20))"
  if ((i % 2 == 0)); then  # a backend: PostgreSQL restarts all of them by itself
    backend=$(pgrep -P "$(postmaster)" -f holdfast-relay -n || pgrep -P "$(postmaster)" -f 'postgres: postgres' -n || true)
    [[ -z $backend ]] || kill -9 "$backend"
  else
    pid=$(postmaster)
    kill -9 "$pid"
    while pgrep -P "$pid" >/dev/null || kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    sleep 0.2
    for _ in {1..50}; do  # a process of the old one may still recover its data, and keeps a new one out
      rm -f "$HOLDFAST_TEST_PGDATA/postmaster.pid"
      start_postgres "$(dirname "$HOLDFAST_TEST_PGDATA")" 2>/dev/null && break
      sleep 0.2
    done
  fi
done
wait "$load" || { cat "$folder/load" "$folder/log" | tail -30; exit 1; }
cat "$folder/load"
echo "PostgreSQL killed $kills times"
grep -q "checked: [1-9][0-9]* acknowledged, 0 wrong" "$folder/load"
