#!/usr/bin/env bash
# Permission, anonymising, sending to a collector in another process, ledger: by the commands alone, with
# wrong input and a killed collector; and a search for what must not have left.
source "$(dirname "$0")/lib.sh"

new_key key-a
a() { holdfast "$@" --db a.hf --key-file key-a; }

expect 0 "$BIN/holdfast-relay" collect --new-key collector.key
public_key=$(jq -r .public_key out)
expect 1 "$BIN/holdfast-relay" collect --new-key collector.key
expect 2 "$BIN/holdfast-relay" collect --out received.ndjson
start_collector
port=$collector_port

cat >policy.json <<EOF
{"holdfast_policy": 1, "version": 1,
 "destinations": [{"id": "models", "controller": "Example Models", "contact": "privacy@models.example",
   "jurisdiction": "DE", "url": "http://127.0.0.1:$port/v1",
   "keys": [{"id": "k1", "public_key": "$public_key", "not_before": "2020-01-01", "not_after": "2099-12-31"}]}],
 "purposes": [{"id": "improve", "text": "Make suggestions better", "term": "dpv:ServiceOptimisation"}],
 "data_types": [{"id": "usage", "text": "How the model was used", "linked": false,
   "fields": {"/model": {"action": "keep"}, "/ms": {"action": "generalise", "to": "bucket", "size": 10},
     "/liked": {"action": "randomise", "mechanism": "response", "epsilon": 1, "values": [false, true]},
     "/note": {"action": "keep"}, "/device_id": {"action": "pseudonym"}}}],
 "uses": [{"data_type": "usage", "purpose": "improve", "destination": "models",
   "budget": {"epsilon_per_day": 4, "epsilon_lifetime": 40}}]}
EOF
export HOLDFAST_POLICY=policy.json
data='{"model":"small","ms":137,"liked":true,"note":"ask canary@example.org","device_id":"canary-device","email":"canary@example.org","raw":"canary-raw"}'

expect 0 a init
expect 1 a egress send "$data" --to models
expect_err "ask the user"
expect 2 a consent grant usage improve </dev/null
expect_err "--yes"
expect 1 a consent grant usage other --yes
expect 2 holdfast egress verify --head 12 --db a.hf --key-file key-a
expect 0 a egress preview "$data" --to models --json
jq -e '.document.ms == 130 and .document.note == "ask [email]" and (.document | has("email") | not)' out >/dev/null ||
  fail "preview: $(cat out)"
[[ ! -s received.ndjson ]] || fail "something was sent before there was a permission"
expect 0 a consent grant usage improve --yes --sample "$data"
expect_err "Example Models"
expect 0 a egress send "$data" --to models
expect_out "sent $(jq -r .egress received.ndjson)"
jq -e '.data.ms == 130 and .purpose == "improve" and .data.model == "small"' received.ndjson >/dev/null ||
  fail "received: $(cat received.ndjson)"

# The collector dies, what comes waits; half a line is what the kill left.
stop_collector KILL
expect 4 a egress send "$data" --to models
expect 4 a egress flush --all
expect 0 a egress queue --json
jq -e 'length == 1 and .[0].attempts == 2' out >/dev/null || fail "queue: $(cat out)"
printf '{"egress":"00' >>received.ndjson
start_collector "$port"
expect 0 a egress flush --all
expect_out "1 sent, 0 dropped, 0 waiting"
[[ $(jq -s length received.ndjson) == 2 ]] || fail "received: $(cat received.ndjson)"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'POST /v1 HTTP/1.0\r\nContent-Length: 7\r\n\r\nrubbish' >&3
read -r _ status _ <&3
exec 3>&-
[[ $status == 400 ]] || fail "rubbish was answered with $status"

# The ledger.
expect 0 a egress head
head=$(cat out)
expect 0 a egress verify --head "$head"
expect 0 a egress ls --json
[[ $(jq -s -c 'map(.kind)' out) == '["request","grant","preparation","attempt","send","preparation","attempt","attempt","attempt","send"]' ]] ||
  fail "ledger: $(jq -s -c 'map(.kind)' out)"
expect 1 a egress verify --head "9:${head#*:}"
expect_err "does not continue"
expect 0 a egress export ledger.ndjson
[[ $(wc -l <ledger.ndjson) == 11 ]] || fail "export: $(wc -l <ledger.ndjson) lines"
expect 0 a egress forget 2
expect 1 a egress forget 2
expect 0 a egress verify --head "$head"

# Taking back.
stop_collector TERM
expect 4 a egress send "$data" --to models
expect 0 a consent revoke usage
start_collector "$port"
expect 0 a egress flush --all
expect 1 a egress send "$data" --to models
expect_err "taken back"
expect 0 a consent ls --json
id=$(jq -r '.[0].id' out)
[[ $(jq -r '.[0].state' out) == revoked ]] || fail "grants: $(cat out)"
expect 0 a consent export "$id"
jq -e '[.event[].event_state] == ["consent_given", "consent_withdrawn"]' out >/dev/null || fail "record: $(cat out)"
[[ $(jq -s length received.ndjson) == 2 ]] || fail "something was sent after the revocation"

expect 0 a egress budget --to models --json
jq -e '.spent == "1" and .left == "9"' out >/dev/null || fail "budget: $(cat out)"
expect 0 holdfast egress report
jq -e '.data_types[0].linked_to_user == false' out >/dev/null || fail "report: $(cat out)"
jq '.uses[0].budget.epsilon_per_day = 0' policy.json >bad.json
expect 1 holdfast egress report --policy bad.json
expect_err "/uses/0/budget/epsilon_per_day"

for word in canary-device canary-raw canary@example; do
  grep -rqa "$word" received.ndjson ledger.ndjson a.hf* && fail "$word was found"
done
grep -qa 'improve' received.ndjson || fail "the search finds nothing at all"
finish
