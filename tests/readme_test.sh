#!/usr/bin/env bash
# Compiles the C++ examples of the README and of docs/privacy.md as they stand there, and runs each twice.
set -euo pipefail
source_dir=$1 library_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
part() { awk -v start="\`\`\`$2" '$0 == start {inside = 1; next} /^```$/ {inside = 0} inside' "$source_dir/$1"; }
flags=$(pkg-config --cflags --libs sqlite3 libsodium libcrypto libzstd libcurl re2)
if [[ -e /usr/include/phonenumbers ]]; then flags+=" -lphonenumber"; fi
build() {  # NAME
  # shellcheck disable=SC2086
  ${CXX:-g++} -std=c++20 ${SANITIZE:+-fsanitize=$SANITIZE} -I"$source_dir/include" "$work/$1.cc" -o "$work/$1" \
    -L"$library_dir" -lholdfast_sync -lholdfast_privacy -lholdfast_store -lholdfast_wire -lholdfast_model \
    -lholdfast_crypto -lholdfast_base $flags
}
part README.md cpp >"$work/example.cc"
lines=$(wc -l <"$work/example.cc")
[[ $lines -ge 10 && $lines -le 32 ]] || { echo "the README's example has $lines lines" >&2; exit 1; }
part docs/privacy.md cpp >"$work/private.cc"
# Its own policy, but to a destination that is not there.
part docs/privacy.md json | sed 's|https://collect.models.example/v1|http://127.0.0.1:1/v1|' >"$work/policy.json"
build example
build private
cd "$work"
for _ in 1 2; do  # a second run meets the store of the first
  output=$(HOLDFAST_PASSPHRASE=test ./example)
  echo "$output"
  grep -q "oat milk" <<<"$output"
  output=$(HOLDFAST_PASSPHRASE=test ./private)
  echo "$output"
  grep -q "^queued the destination cannot be reached" <<<"$output"
done
! grep -aqE "oat milk|ada@example" ./*.hf || { echo "an example's store holds plaintext" >&2; exit 1; }
