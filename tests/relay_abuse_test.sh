#!/usr/bin/env bash
# Many slow, half-open and lying sockets: the relay's memory stays, and honest devices go on.
# ABUSERS=5000 for all of them.
set -euo pipefail
unset MALLOC_TRIM_THRESHOLD_ MALLOC_MMAP_THRESHOLD_  # memory is measured
abusers=${ABUSERS:-600}
seconds=${ABUSE_SECONDS:-6}
folder=$(mktemp -d)
source "$(dirname "$0")/ports.sh"
port=$(free_ports 1)
ulimit -n "$(ulimit -Hn)"
"${BIN:?}/holdfast-relay" --listen "127.0.0.1:$port" --data "$folder/data" --quiet --vault-requests 1000 \
  --address-vaults 1000 >"$folder/out" 2>"$folder/log" &
relay=$!
trap 'kill "$relay" 2>/dev/null || true; wait "$relay" 2>/dev/null || true; rm -rf "$folder"' EXIT
until_says "$folder/out" listening "$relay"
memory() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$relay/status"; }
honest() { "$BIN/relay_load" push --port "$port" --vaults 16 --clients 16 --rate 400 --seconds "$seconds" --seed "$1"; }
alone=$(honest 1)
before=$(memory)
# On cores that are others' in truth: what its own work costs is not what the relay does to honest devices.
nice -n 19 "$BIN/relay_abuse" --port "$port" --sockets "$abusers" --seconds "$((seconds + 4))" >"$folder/abuse" &
abuse=$!
until_says "$folder/abuse" opened "$abuse"
sleep 1
among=$(honest 2)
wait "$abuse"
after=$(memory)
cat "$folder/abuse"
echo "alone: $alone"
echo "among $abusers: $among"
echo "memory at most: $before MB alone, $after MB among them"
cat "$folder/log"
for out in "$alone" "$among"; do
  [[ $out =~ checked:\ [1-9][0-9]*\ acknowledged,\ 0\ wrong ]] || { echo "not all went well" >&2; exit 1; }
  # Nobody honest was refused or cut off.
  [[ $out =~ retried\ 0\  ]] || { echo "honest devices had to try again" >&2; exit 1; }
done
# Rooms are bounded: 16 KiB for each socket is more than it may have.
((after - before < 32 + abusers / 64)) || { echo "memory has grown" >&2; exit 1; }
