#!/usr/bin/env bash
# The ceremonies of a vault in two terminals: pairing by a typed and a scanned code, names, revoking, a new
# key, and recovery; and a search for every secret of them in what was written and sent.
source "$(dirname "$0")/lib.sh"

for key in a b c d e; do new_key "key-$key"; done
a() { holdfast "$@" --db a.hf --key-file key-a; }
b() { holdfast "$@" --db b.hf --key-file key-b; }
c() { holdfast "$@" --db c.hf --key-file key-c; }
d() { holdfast "$@" --db d.hf --key-file key-d; }
e() { holdfast "$@" --db e.hf --key-file key-e; }

start_relay
# Everything on the wire is kept.
tap_port=$(free_ports 1)
mkdir wire
socat -r wire/up -R wire/down "TCP-LISTEN:$tap_port,bind=127.0.0.1,fork,reuseaddr" \
  "TCP:127.0.0.1:$relay_port" 2>/dev/null &
tap_pid=$!
url=http://127.0.0.1:$tap_port
stop_relay
"$BIN/holdfast-relay" --listen "127.0.0.1:$relay_port" --data relay --origin "$url" --quiet >relay.out 2>relay.err &
relay_pid=$!
until grep -q listening relay.out; do
  kill -0 "$relay_pid" || exit 1
  read -rt 0.05 <> <(:) || true
done

expect 0 a init --name laptop-canary --kind laptop --recovery-out code-1
expect 2 a device invite --ticket --qr
expect 1 a device invite --yes
expect_err "choose a relay first"
if ! (exec 3<>/dev/tty) 2>/dev/null; then
  expect 2 a device invite
  expect_err "no terminal"
fi
expect 0 a relay "$url"
expect 0 a put note '{"n":1}'
expect 0 a sync

# wait_for FILE: until the first line is there.
wait_for() {
  for _ in $(seq 200); do
    [[ -s $1 ]] && return
    read -rt 0.05 <> <(:) || true
  done
  fail "nothing came in $1"
}

# A typed code, the first try wrong.
a device invite --yes >invited 2>invite-err &
inviter=$!
wait_for invited
typed=$(cat invited)
[[ $typed =~ ^[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}$ ]] || fail "the code is '$typed'"
expect 2 b device join "${typed%?}?" --relay "$url" --name phone-canary
expect_err "mistyped"
expect 2 b device join "$typed" --name phone-canary
expect_err "relay's URL"
expect 2 b device join "$typed" --relay "$url" --name ' '
expect 4 b device join "$typed" --relay http://127.0.0.1:1 --name phone-canary
expect 0 b device join "$(tr 'A-Z-' 'a-z ' <<<"$typed")" --relay "$url" --name phone-canary --kind phone
expect_err "The other device must show"
fingerprint=$(grep -oE '[0-9]{4} [0-9]{4}' err)
wait $inviter || fail "the inviter failed: $(cat invite-err)"
grep -q "it shows $fingerprint" invite-err || fail "the fingerprints differ"
expect 0 b sync
expect 0 b get note
expect 1 c device join "$typed" --relay "$url" --name late
expect_err "no device waits"

# Cancelled: who comes then is told at once.
a device invite --yes >cancelled 2>invite-err &
wait_for cancelled
pkill -INT -f 'device invite --yes --db a.hf'
wait $!
expect 1 c device join "$(cat cancelled)" --relay "$url" --name late
expect_err "no longer waits"

# A scanned one, pasted.
a device invite --qr --yes >scanned 2>invite-err &
inviter=$!
wait_for scanned
scanned=$(cat scanned)
expect 0 c device join - --name tablet-canary <scanned
wait $inviter || fail "the inviter failed: $(cat invite-err)"
expect 0 c sync

expect 0 a device ls --json
jq -e 'length == 3 and .[0].kind == "laptop" and .[1].name == "phone-canary" and .[1].added_by == "laptop-canary"
  and all(.state == "active")' out >/dev/null || fail "devices: $(cat out)"
expect 0 a device rename tablet-canary slate-canary --kind tablet
expect 0 b sync
expect 0 b device ls
grep -q 'slate-canary (tablet)' out || fail "the name did not arrive: $(cat out)"
expect 1 b device rename nobody x
expect 1 a device revoke laptop-canary --yes
expect_err "by another one"

# A ticket is void after a change of the key; edits under the old key are sealed again.
expect 0 a device invite --ticket
cp out ticket
expect 0 b put unsent '{"n":2}'
expect 0 a vault rotate
expect 0 b sync
expect 1 d device join - --name d <ticket
expect_err "void"

# Revoked: told so, and still readable.
expect 0 c put mine '{"n":3}'
expect 0 a device revoke slate-canary --yes
expect 1 c sync
expect_err "taken out of the vault by 'laptop-canary'"
expect 0 c get mine
expect 0 a sync
expect 0 a get unsent
expect 0 a device ls --all
grep -q 'revoked by laptop-canary' out || fail "devices: $(cat out)"

# A new recovery code; then every device is lost.
expect 0 b vault recovery-code --recovery-out code-b
expect 0 a sync
expect 0 a vault show
grep -q 'replaced on phone-canary' out || fail "vault show: $(cat out)"
expect 0 a vault recovery-code --recovery-out code-2
expect 0 b sync
expect 1 d vault recover --relay "$url" --name new-canary --code-file code-1
expect_err "replaced by a newer one"
HOLDFAST_RECOVERY_CODE=$(cat code-2) expect 0 d vault recover --relay "$url" --name new-canary --recovery-out code-3
expect 0 d sync
expect 0 d get unsent
expect_out '{"n":2}'
expect 1 a sync
expect_err "by the recovery code"
expect 0 d device ls
grep -q 'not yet confirmed' out || fail "devices: $(cat out)"
expect 0 d vault show --json
jq -e '.epoch == 5' out >/dev/null || fail "epoch: $(cat out)"
expect 0 d device invite --ticket
cp out ticket-2
expect 0 e device join - --name e-canary <ticket-2
expect 0 e put last '{"n":4}'
expect 0 e sync
expect 0 d sync
expect 0 d device ls
grep -q 'not yet confirmed' out && fail "still unconfirmed: $(cat out)"

# None of it in plain text: names, codes as shown and as the relay could guess at their parts.
secret_of() { cut -c6- <<<"$1" | tr -d -; }  # of a typed code, behind its place
needles=(-e canary -e "$(cat code-1)" -e "$(cat code-2)" -e "$(cat code-3)" -e "$typed" -e "$(tr -d - <<<"$typed")"
  -e "$(secret_of "$typed")" -e "$scanned" -e "$(cut -c17-90 <<<"$scanned")" -e "$(cat ticket)" -e "$(cat ticket-2)")
search() { grep -rlaF "${needles[@]}" "$@"; }
hits=$(search ./*.hf* relay wire)
[[ -z $hits ]] || fail "a secret lies in $hits"
echo "xx $(cat code-2) xx" >wire/planted
[[ $(search ./*.hf* relay wire) == wire/planted ]] || fail "the search does not find what is planted"
[[ $(stat -c %s wire/up) -gt 20000 ]] || fail "the tap recorded nothing"
{ kill $tap_pid && wait $tap_pid; } 2>/dev/null
finish
