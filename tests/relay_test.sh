#!/usr/bin/env bash
# The relay as its operator meets it: commands, admission, erasure, backup, TLS, metrics, stopping, a full disk.
source_dir=$(cd "$(dirname "$0")/.." && pwd)
source "$(dirname "$0")/lib.sh"

relay() { "$BIN/holdfast-relay" "$@"; }
# serve OPTION…: a relay with these options, on $data; sets relay_url and relay_port.
serve() {
  : >relay.out
  "$BIN/holdfast-relay" --listen 127.0.0.1:0 --data "$data" --quiet "$@" >relay.out 2>relay.err &
  relay_pid=$!
  for _ in $(seq 200); do
    grep -q listening relay.out && break
    kill -0 "$relay_pid" 2>/dev/null || return 1
    read -rt 0.05 <> <(:) || true
  done
  relay_url=http://$(sed 's/listening on //' relay.out)
  relay_port=${relay_url##*:}
}
get() { # get PORT PATH: status and body
  exec 9<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$2" >&9
  cat <&9
  exec 9>&-
}

# Wrong use.
expect 2 relay
expect 2 relay --data a --postgres b
expect 2 relay --data a --listen nonsense
expect 1 relay vaults --data nowhere
expect 2 relay migrate --data a
expect 2 relay --data a --tls-certificate missing.pem --tls-key missing.pem
expect 2 relay --data a --tls-key missing.pem
expect_err "TLS needs both"
expect 2 relay --data a --origin nonsense
expect 2 relay --data a --origin https://relay.example/path
expect 2 relay --data a --proxy 10.0.0.0/8
expect 2 relay --data a --vault-requests 0
expect 2 relay expire --data a --retention-days 0
expect 2 relay --retention-days 0 expire --data a
expect 2 relay invite --data a --days 0
expect 2 relay vaults
[[ ! -e nowhere ]] || fail "looking for a folder made it"
expect 1 relay migrate --postgres "host=$work/none dbname=x"

# Vaults, quotas, verification.
data=relay-data
metrics_port=$(free_ports 1)
serve --metrics "127.0.0.1:$metrics_port"
"$BIN/relay_load" push --port "$relay_port" --vaults 6 --clients 2 --seconds 0.3 --seed 5 >load || fail "load"
expect 0 relay vaults --data relay-data --totals --json
[[ $(jq .vaults out) == 6 ]] || fail "not 6 vaults: $(cat out)"
expect 0 relay vaults --data relay-data --json
id=$(head -1 out | jq -r .vault)
expect 0 relay quota "$id" 1 --data relay-data
expect 0 relay vaults --data relay-data --json
grep "$id" out | jq -e '.quota == 1048576' >/dev/null || fail "the quota was not set"
expect 2 relay quota nonsense 1 --data relay-data
expect 1 relay quota "${id//[0-9]/a}" 1 --data relay-data
expect 0 relay expire --data relay-data
expect 0 relay verify --data relay-data
grep -q "^6 vaults, [1-9][0-9]* batches, 0 faults$" out || fail "verify: $(cat out)"
get "$relay_port" /readyz | grep -q ready || fail "not ready"
get "$relay_port" /metrics | grep -q 404 || fail "metrics for strangers"

# What the dashboard asks for is there, by route and method.
get "$metrics_port" /metrics >metrics
grep -q 'requests_total{method="POST",route="/v1/vaults/\*/batches",status="200"} [1-9]' metrics || fail "metrics: $(grep requests_total metrics)"
for name in $(jq -r '.. | .expr? // empty' "$source_dir/packaging/holdfast-relay-dashboard.json" | grep -oE 'holdfast_relay_[a-z_]+' | sort -u); do
  grep -q "^$name" metrics || fail "the dashboard asks for $name, which there is not"
done

# A backup while it runs; what came later is lost with it, and no vault is.
expect 0 relay backup copy --data relay-data
expect 1 relay backup copy --data relay-data
expect 0 relay verify --data copy

# A line for each request, of nobody.
stop_relay TERM
serve --log-requests --log-json
"$BIN/relay_load" push --port "$relay_port" --vaults 2 --clients 2 --seconds 0.1 --seed 6 >load || fail "load"
jq 'select(.request.route == "/v1/vaults/*/batches" and .request.status == 200) | .request.vault' relay.err >hashes
[[ $(sort -u hashes | wc -l) == 2 ]] || fail "not 2 vaults in the log"
expect 0 relay vaults --data relay-data --json
for vault in $(jq -r .vault out); do
  grep -q "$vault" relay.err && fail "a vault stands in the log"
done
grep -q "127\.0\.0\.1" relay.err && fail "an address stands in the log"
expect 0 relay erase "$(jq -r .vault out | grep -v "$id" | head -1)" --yes --data relay-data
expect 0 relay erase "$(relay vaults --data relay-data --json | jq -r .vault | grep -v "$id" | head -1)" --yes --data relay-data

# Erased by the operator: for good.
expect 2 relay erase "$id" --data relay-data
expect 0 relay erase "$id" --yes --data relay-data
expect 1 relay erase "$id" --yes --data relay-data
expect 0 relay vaults --data relay-data --totals --json
[[ $(jq .vaults out) == 5 ]] || fail "not erased"

# Stopping: soon, though connections are open.
exec 8<>"/dev/tcp/127.0.0.1/$relay_port"
SECONDS=0
stop_relay TERM
((SECONDS < 5)) || fail "it took $SECONDS s to stop"
exec 8>&-
data=copy
serve --restored || fail "the copy does not start"
stop_relay TERM

# What is damaged is found, and a shard that is missing.
sqlite=$(find copy -name 'relay-*.db' -size +20k | head -1)
python3 - "$sqlite" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE batch SET body = zeroblob(512) WHERE position = 1")
db.commit()
PY
relay verify --data copy >out 2>err && fail "damage was not found"
grep -q "is not what was stored" out || fail "damage was not named: $(cat out err)"
mv copy/relay-1.db .
expect 1 relay vaults --data copy
expect 1 relay --listen 127.0.0.1:0 --data copy
mv relay-1.db copy
rm copy/shards
expect 1 relay vaults --data copy
expect 1 relay --listen 127.0.0.1:0 --data copy

# A damaged page is noticed, wherever it is, and no backup is made of it.
cp -r relay-data damaged
for shard in damaged/relay-*.db; do
  python3 - "$shard" <<'PY'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batch_by_id'").fetchone()[0]
db.close()
with open(sys.argv[1], "r+b") as file:
    file.seek((page - 1) * 4096)
    file.write(os.urandom(4096))
PY
done
relay verify --data damaged >out 2>err && fail "a damaged page was not found"
grep -q "the database itself" out || fail "not named: $(cat out err)"
expect 1 relay backup damaged-copy --data damaged
expect_err "damaged"

# What was erased since a backup stays so when that is put back.
expect 0 relay backup older --data relay-data
gone=$(relay vaults --data relay-data --json | head -1 | jq -r .vault)
expect 0 relay erase "$gone" --yes --data relay-data
expect 0 relay erased --data relay-data
grep -q "$gone" out || fail "it does not list what was erased"
cp out erased-list
expect 2 relay erase --list erased-list --data older
{ cat erased-list; echo nonsense; } >bad-list
expect 2 relay erase --list bad-list --yes --data older
relay vaults --data older | grep -q "$gone" || fail "a list that is wrong was half obeyed"
{ sed 's/$/\r/' erased-list; echo; } >edited-list  # as another system's editor leaves it
expect 0 relay erase --list edited-list --yes --data older
relay vaults --data older | grep -q "$gone" && fail "it is back"
relay erased --data older | sort >again
sort erased-list | cmp - again || fail "not all are erased in the backup"

# TLS of its own.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
data=tls-data
serve --tls-certificate cert.pem --tls-key key.pem || fail "TLS does not start: $(cat relay.err)"
tls() {
  printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
    timeout 10 openssl s_client -quiet -verify_return_error -CAfile cert.pem -connect "127.0.0.1:$relay_port" 2>/dev/null
}
tls | grep -q "200 OK" || fail "no answer over TLS"
get "$relay_port" /healthz | grep -q "200 OK" && fail "answers without TLS"
echo nonsense >cert2.pem
cp cert.pem good.pem
cp cert2.pem cert.pem
kill -HUP "$relay_pid"
sleep 0.3
cp good.pem cert.pem
tls | grep -q "200 OK" || fail "a bad certificate took the good one's place"
new_key tls.key
expect 0 holdfast init --db tls.hf --key-file tls.key --name phone --recovery-out tls-code.txt
expect 4 holdfast relay "https://localhost:$relay_port" --db tls.hf --key-file tls.key
expect_err "issuer trusted"
stop_relay TERM

# By invitation, and erased by the user.
data=invite-data
serve --admission invite --backup-days 30
new_key a.key
export HOLDFAST_KEY_FILE=a.key
expect 0 holdfast init --db a.hf --key-file a.key --name phone --recovery-out code.txt
expect 0 relay invite --data invite-data
code=$(cat out)
holdfast relay "$relay_url" --db a.hf --key-file a.key >out 2>err && fail "in without an invitation"
expect_err "invitation"
holdfast relay "$relay_url" --invitation wrong --db a.hf --key-file a.key >out 2>err && fail "in with a wrong one"
expect 0 holdfast relay "$relay_url" --invitation "$code" --db a.hf --key-file a.key
expect 0 holdfast sync --db a.hf --key-file a.key
expect 2 holdfast vault erase --db a.hf --key-file a.key
expect 0 holdfast vault erase --yes --json --db a.hf --key-file a.key
[[ $(jq .backup_days out) == 30 ]] || fail "not told when backups forget it: $(cat out)"
holdfast sync --db a.hf --key-file a.key >out 2>err && fail "synced with an erased vault"
expect_err "erased"
expect 0 relay vaults --data invite-data --totals --json
[[ $(jq .vaults out) == 0 ]] || fail "still there"
stop_relay TERM

# Work instead.
data=work-data
serve --admission work
expect 0 holdfast relay "$relay_url" --db a.hf --key-file a.key
stop_relay TERM

# A full disk: pushes are refused, pulls served, and it goes on without a restart when there is room.
mkdir full
if mount -t tmpfs -o size=6m tmpfs full 2>/dev/null; then
  trap 'cleanup; umount "$work/full" 2>/dev/null' EXIT
  data=full/data
  serve --vault-requests 100000 --address-strangers 100000
  "$BIN/relay_load" push --port "$relay_port" --vaults 2 --clients 2 --seconds 0.2 --seed 3 >load || fail "load"
  dd if=/dev/zero of=full/filler bs=64k 2>/dev/null
  "$BIN/relay_load" push --port "$relay_port" --vaults 2 --clients 2 --seconds 3 --seed 3 >load 2>load.err &
  load=$!
  sleep 1
  get "$relay_port" /readyz | grep -q "200 OK" || fail "reads nothing on a full disk"
  rm full/filler
  wait "$load" || fail "on a full disk: $(cat load load.err)"
  grep -q "checked: [1-9][0-9]* acknowledged, 0 wrong" load || fail "$(cat load)"
  stop_relay TERM
  umount full
else
  echo "the full disk was not tried: no tmpfs can be mounted here"
fi
finish
