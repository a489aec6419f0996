#!/usr/bin/env bash
# Compiles the README's C++ example as it stands there, and runs it twice.
set -euo pipefail
source_dir=$1 library_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk '/^```cpp$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$source_dir/README.md" >"$work/example.cc"
lines=$(wc -l <"$work/example.cc")
[[ $lines -ge 10 && $lines -le 32 ]] || { echo "the README's example has $lines lines" >&2; exit 1; }
flags=$(pkg-config --cflags --libs sqlite3 libsodium libcrypto libzstd libcurl)
# shellcheck disable=SC2086
${CXX:-g++} -std=c++20 ${SANITIZE:+-fsanitize=$SANITIZE} -I"$source_dir/include" "$work/example.cc" -o "$work/example" \
  -L"$library_dir" -lholdfast_sync -lholdfast_store -lholdfast_wire -lholdfast_model -lholdfast_crypto \
  -lholdfast_base $flags
cd "$work"
for _ in 1 2; do  # a second run meets the store of the first
  output=$(HOLDFAST_PASSPHRASE=test ./example)
  echo "$output"
  grep -q "oat milk" <<<"$output"
done
! grep -aq "oat milk" ./*.hf || { echo "the example's store holds plaintext" >&2; exit 1; }
