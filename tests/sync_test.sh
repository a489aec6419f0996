#!/usr/bin/env bash
# Two devices, two processes, one relay on a port: join, edit offline, converge, resolve; and a search for
# plaintext in everything that was written.
source "$(dirname "$0")/lib.sh"

new_key key-a
new_key key-b
a() { holdfast "$@" --db a.hf --key-file key-a; }
b() { holdfast "$@" --db b.hf --key-file key-b; }

start_relay
expect 0 a init --name laptop-name
expect 0 a relay "$relay_url"
expect 0 a device invite --ticket
cp out ticket
expect 0 b device join - --name phone-name <ticket
expect 1 holdfast device join - --name third --db c.hf --key-file key-b <ticket
expect_err "spent"
expect 0 a sync
expect 0 a device ls --json
jq -e 'map([.name, .this_device, .state]) == [["laptop-name", true, "active"], ["phone-name", false, "active"]]' out >/dev/null ||
  fail "devices: $(cat out)"
for strategy in timestamp priority merge user_choice; do
  expect 0 a policy set "$strategy" '$' "$strategy"
  expect 0 a put record '{"canary-field":"base","tags":["x"]}' -c "$strategy"
done
expect 0 a sync
expect 0 b sync

stop_relay KILL
for strategy in timestamp priority merge user_choice; do
  expect 0 a put record '{"canary-field":"canary-left","tags":["x","l"]}' -c "$strategy" --priority 5
  expect 0 b put record '{"canary-field":"canary-right","tags":["x","r"]}' -c "$strategy" --priority 1
done
expect 4 a sync
expect 4 b sync
start_relay "$relay_port"
expect 0 a sync
expect 3 b sync
expect 3 a sync
for strategy in timestamp priority merge user_choice; do
  expect 0 a get record -c "$strategy"
  cp out left
  expect 0 b get record -c "$strategy"
  cmp -s left out || fail "$strategy: the devices differ"
done
expect 0 a get record -c priority
expect_out '{"canary-field":"canary-left","tags":["x","l"]}'
expect 0 a get record -c merge
expect_out '{"canary-field":"canary-right","tags":["x","l","r"]}'
expect 3 b status
expect 0 b conflicts --json
jq -e 'length == 2 and all(.pending) and .[0].collection == "user_choice"' out >/dev/null ||
  fail "conflicts: $(cat out)"
number_of() { jq ".[] | select(.path == \"$1\") | .number" listed; }
cp out listed
expect 2 b resolve "$(number_of '$.tags')" --pick 3
expect 0 b resolve "$(number_of '$.canary-field')" --pick 1
expect 1 b resolve "$(number_of '$.canary-field')" --pick 1
expect_err "there is no conflict"
expect 0 b resolve "$(number_of '$.tags')" --value '["chosen"]'
expect 0 b sync
expect 0 a sync
expect 0 a conflicts
expect_out ''
expect 0 a get record -c user_choice
expect_out '{"canary-field":"canary-left","tags":["chosen"]}'

# A relay that answers garbage: named, and nothing is lost.
stop_relay
cat >answer <<'SCRIPT'
#!/bin/bash
while read -r line && [[ $line != $'\r' ]]; do :; done
printf 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ngarbage'
SCRIPT
chmod +x answer
socat TCP-LISTEN:"$relay_port",bind=127.0.0.1,reuseaddr,fork EXEC:./answer 2>/dev/null &
garbage=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$relay_port") 2>/dev/null; do :; done
expect 0 a put kept '{"n":1}'
expect 1 a sync
kill $garbage
wait $garbage 2>/dev/null
start_relay "$relay_port"
expect 0 a sync
expect 0 b sync
expect 0 b get kept

# What another device sends comes by itself, and a signal ends it.
"$BIN/holdfast" sync --watch --json --db b.hf --key-file key-b >watched 2>watch-err &
watcher=$!
until [[ -s watched ]]; do kill -0 $watcher || fail "watch ended: $(cat watch-err)"; done
expect 0 a put watched '{"n":1}'
expect 0 a sync
until (($(wc -l <watched) > 1)); do kill -0 $watcher || fail "watch ended: $(cat watch-err)"; done
kill -TERM $watcher
wait $watcher || fail "watch did not end well: $(cat watch-err)"
expect 0 b get watched
expect_out '{"n":1}'
expect 2 a sync --watch --nonsense

# No plaintext anywhere: not with the devices, not with the relay.
search() { grep -rlaF -e canary -e laptop-name -e phone-name -e user_choice "$@"; }
hits=$(search a.hf* b.hf* relay)
[[ -z $hits ]] || fail "plaintext in $hits"
echo 'xx canary xx' >relay/planted
[[ $(search a.hf* b.hf* relay) == relay/planted ]] || fail "the search does not find a planted file"
[[ $(stat -c %a a.hf relay/relay-0.db) == $'600\n600' ]] || fail "others may read the files"
finish
