#!/usr/bin/env bash
# kill -9 of a relay under load, again and again: every batch that it acknowledged is there once, in order.
# KILLS=500 for all of them; HOLDFAST_TEST_POSTGRES for a relay on that database instead of files.
set -euo pipefail
kills=${KILLS:-12}
folder=$(mktemp -d)
source "$(dirname "$0")/ports.sh"
port=$(free_ports 1)
if [[ -n ${HOLDFAST_TEST_POSTGRES:-} ]]; then
  place=(--postgres "$HOLDFAST_TEST_POSTGRES")
  "$BIN/holdfast-relay" migrate "${place[@]}"
else
  place=(--data "$folder/data")
fi
start() {
  "$BIN/holdfast-relay" --listen "127.0.0.1:$port" "${place[@]}" --vault-requests 100000 \
    --address-strangers 100000 --address-vaults 100000 --quiet >"$folder/out" 2>>"$folder/log" &
  relay=$!
}
finish() {
  kill -9 "$relay" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
start
until_says "$folder/out" listening "$relay"
seconds=$((kills / 3 + 2))
"$BIN/relay_load" push --port "$port" --vaults 16 --clients 16 --seconds "$seconds" --seed $((RANDOM % 20000)) >"$folder/load" &
load=$!
until_says "$folder/load" "signed in" "$load"
sleep 0.3
for ((i = 0; i < kills; ++i)); do
  kill -9 "$relay"
  wait "$relay" 2>/dev/null || true
  start
  sleep "0.$((RANDOM % 30 + 5))"
done
wait "$load" || { cat "$folder/load" "$folder/log"; exit 1; }
cat "$folder/load"
echo "relay killed $kills times"
grep -q "checked: [1-9][0-9]* acknowledged, 0 wrong" "$folder/load"
