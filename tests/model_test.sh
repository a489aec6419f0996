#!/usr/bin/env bash
# The model of syncing: spin looks at every interleaving of it, finds the faults that are planted in it, and
# random runs of it are replayed on the real classes.
#   BIN=build/dev/bin tests/model_test.sh [RUNS]
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)/models/sync.pml
runs=${1:-300}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bin=$(realpath "$BIN")
cd "$folder"

check() { # FLAGS… -> "errors: N"
  spin -a "$@" "$model"
  gcc -w -O2 -DSAFETY -DCOLLAPSE -o pan pan.c
  ./pan -m1000000 -n -w24 >out
  grep -q 'max search depth too small' out && { cat out; exit 1; }
  grep -o 'errors: [0-9]*' out
}

[[ $(check) == "errors: 0" ]] || { cat out; spin -t -DTRACE -T "$model"; exit 1; }
awk '/states, stored/ { print $1 " states of the model looked at" }' out
for fault in 1 2 3 4 5; do
  [[ $(check -DFAULT=$fault) == "errors: 1" ]] || { echo "spin does not find planted fault $fault"; exit 1; }
done
echo "5 planted faults found by spin"

for ((seed = 1; seed <= runs; ++seed)); do
  echo "run $seed"
  spin -T -n$seed -DTRACE -u100000 "$model" | grep -vE 'process(es)? created|^$'
done >traces
HOLDFAST_TRACES=$folder/traces "$bin/sync_tests" --gtest_filter='ModelTrace.*' >replay 2>&1 || { tail -60 replay; exit 1; }
grep 'replayed$' replay
