#!/usr/bin/env bash
# The C interface, driven from C, with a relay and a collector beside it.
source "$(dirname "$0")/lib.sh"
start_relay
start_collector
mkdir stores
# Where the library is built with a sanitizer, so is the test: nothing is freed twice, and nothing stays.
timeout 300 "$BIN/c_tests" "$work/stores" "$relay_url" "http://127.0.0.1:$collector_port" "$collector_key" ||
  fail "c_tests: exit $?"
[[ $(wc -l <received.ndjson) == 1 ]] || fail "the collector received $(wc -l <received.ndjson) payloads"
! grep -raq canary relay stores received.ndjson || fail "a plaintext was found"
finish
