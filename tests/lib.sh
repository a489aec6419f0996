# Shared by the tests of the two programs. BIN is the folder that holds them.
set -uo pipefail
source "$(dirname "$0")/ports.sh"

work=$(mktemp -d)
relay_pid=
collector_pid=
cleanup() {
  [[ -n $relay_pid ]] && stop_relay KILL
  [[ -n $collector_pid ]] && stop_collector KILL
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1

failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
finish() {
  ((failures == 0)) || { echo "$failures checks failed" >&2; exit 1; }
  echo "all checks passed"
}

# expect CODE COMMAND…: runs it, output in ./out and ./err, and checks its exit code.
expect() {
  local wanted=$1
  shift
  "$@" >out 2>err
  local code=$?
  [[ $code == "$wanted" ]] || fail "exit $code instead of $wanted: $* -- $(head -c 300 err)"
  # Whatever goes wrong, it is said in words on stderr.
  [[ $wanted == 0 || $wanted == 3 || -s err ]] || fail "no message: $*"
}
expect_out() { [[ $(cat out) == "$1" ]] || fail "printed '$(head -c 300 out)' instead of '$1'"; }
expect_err() { grep -q -- "$1" err || fail "stderr is '$(head -c 300 err)', without '$1'"; }

holdfast() { "$BIN/holdfast" "$@"; }
new_key() { head -c 32 /dev/urandom >"$1"; }

# start_relay [PORT]: on loopback, its data in ./relay; sets relay_url.
start_relay() {
  : >relay.out
  "$BIN/holdfast-relay" --listen "127.0.0.1:${1:-0}" --data relay --quiet >relay.out 2>relay.err &
  relay_pid=$!
  for _ in $(seq 200); do
    grep -q listening relay.out && break
    kill -0 "$relay_pid" 2>/dev/null || { cat relay.err >&2; exit 1; }
    read -rt 0.05 <> <(:) || true
  done
  relay_url=http://$(sed 's/listening on //' relay.out)
  relay_port=${relay_url##*:}
}
stop_relay() {
  { kill "-${1:-TERM}" "$relay_pid" && wait "$relay_pid"; } 2>/dev/null
  relay_pid=
}

# start_collector [PORT]: on loopback, writing to ./received.ndjson under ./collector.key, which is made if need
# be; sets collector_port and collector_key, its public key.
start_collector() {
  if [[ ! -e collector.key ]]; then
    collector_key=$("$BIN/holdfast-relay" collect --new-key collector.key | jq -r .public_key)
  fi
  "$BIN/holdfast-relay" collect --key collector.key --out received.ndjson --listen "127.0.0.1:${1:-0}" \
    >collect.out 2>collect.err &
  collector_pid=$!
  for _ in $(seq 200); do
    grep -q listening collect.out && break
    kill -0 "$collector_pid" 2>/dev/null || { cat collect.err >&2; exit 1; }
    read -rt 0.05 <> <(:) || true
  done
  collector_port=$(sed 's/.*://' collect.out)
}
stop_collector() {
  { kill "-${1:-TERM}" "$collector_pid" && wait "$collector_pid"; } 2>/dev/null
  collector_pid=
}
