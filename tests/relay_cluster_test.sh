#!/usr/bin/env bash
# Failovers under load: databases killed, frozen and switched, relays and etcd killed beside them; every batch that was
# acknowledged is there once. FAILOVERS=20 for all of them. Needs what `scripts/install-deps cluster` installs.
set -euo pipefail
failovers=${FAILOVERS:-3}
cluster=$(dirname "$0")/../scripts/relay-cluster
folder=$(mktemp -d /tmp/holdfast-cluster.XXXXXX)
chmod 755 "$folder"
source "$(dirname "$0")/ports.sh"
port=$(free_ports 50)
load=
finish() {
  [[ -z $load ]] || kill -9 "$load" 2>/dev/null || true
  "$cluster" down "$folder/c" || true
  rm -rf "$folder"
}
trap finish EXIT
HOLDFAST_RELAY=$BIN/holdfast-relay relay_options="--vault-requests 100000 --address-strangers 100000 --address-vaults 100000" \
  "$cluster" up "$folder/c" --port "$port"
"$BIN/relay_load" push --port "$port" --vaults 16 --clients 16 --seconds 100000 --seed $((RANDOM % 20000)) >"$folder/load" 2>&1 &
load=$!
until_says "$folder/load" "signed in" "$load"
sleep 2
another_leads() { local now; now=$("$cluster" leader "$folder/c" 2>/dev/null) && [[ $now != "$old" ]]; }
until_true() {
  local end=$((SECONDS + 120))
  until "$@"; do
    ((SECONDS < end)) || { echo "not within 120 s: $*" >&2; "$cluster" status "$folder/c" >&2; tail -n 5 "$folder"/c/log/database* >&2; exit 1; }
    sleep 0.1
  done
}
status() { "$cluster" status "$folder/c" || true; }
# A new leader answers nothing before it has a follower: and only such a one may be lost.
is_whole() { local now; now=$(status); [[ $now == *leads* && $now == *"has all that"* && $now == *"ready: http"* && $now != *"does not run"* ]]; }
for ((i = 0; i < failovers; ++i)); do
  until_true is_whole
  kill -0 "$load" 2>/dev/null || { cat "$folder/load" >&2; exit 1; }
  sleep "0.$((RANDOM % 90 + 10))"
  old=$("$cluster" leader "$folder/c")
  start=$(date +%s%N)
  case $((i % 3)) in
    0) how=killed; "$cluster" kill "$folder/c" "$old" ;;
    1) how=frozen; "$cluster" freeze "$folder/c" "$old" ;;
    2)
      how=switched
      # Patroni says no while it changes its mind about who follows.
      for _ in 1 2 3 4 5; do "$cluster" switch "$folder/c" && break || sleep 2; done ;;
  esac
  "$cluster" kill "$folder/c" "relay$((i % 2))"
  "$cluster" kill "$folder/c" "etcd$((i % 3))"
  until_true another_leads
  echo "$old $how: another leads after $((($(date +%s%N) - start) / 1000000)) ms"
  "$cluster" start "$folder/c" "relay$((i % 2))" "etcd$((i % 3))"
  case $how in
    killed) "$cluster" start "$folder/c" "$old" ;;
    # Fenced, as a watchdog does it: see docs/scale.md.
    frozen) "$cluster" kill "$folder/c" "$old"; "$cluster" start "$folder/c" "$old" ;;
  esac
done
until_true is_whole
sleep 2
kill "$load"
wait "$load" || { cat "$folder/load" >&2; exit 1; }
load=
cat "$folder/load"
echo "$failovers failovers"
grep -q "checked: [1-9][0-9]* acknowledged, 0 wrong" "$folder/load"
