#!/usr/bin/env bash
# The command as a person meets it: right input, wrong input, exit codes.
source "$(dirname "$0")/lib.sh"

new_key key
export HOLDFAST_DB=$work/a.hf
k=(--key-file "$work/key")

# Usage.
expect 0 holdfast --help
expect 0 holdfast --version
for command in init put get ls rm import policy relay sync status conflicts resolve device; do
  expect 0 holdfast "$command" --help
  grep -q Example out || fail "$command --help shows no example"
done
expect 2 holdfast
expect 2 holdfast frobnicate
expect 2 holdfast put only-a-key
expect 2 holdfast get
expect 2 env -u HOLDFAST_DB "$BIN/holdfast" ls "${k[@]}"
expect 2 holdfast ls "${k[@]}" --passphrase-file key

# A store that is not there, then one that is.
expect 1 holdfast get a "${k[@]}"
expect_err "there is no store"
expect 0 holdfast init "${k[@]}" --name laptop
grep -qE '^([0-9A-Z]{5}-){5}[0-9A-Z]{5}$' out || fail "no recovery code: $(cat out)"
expect 1 holdfast init "${k[@]}"
expect 0 holdfast put ada '{"name": "Ada", "n": 1}' "${k[@]}"
[[ ! -s out ]] || fail "put prints something"
expect 0 holdfast "${k[@]}" get ada
expect_out '{"n":1,"name":"Ada"}'
expect 0 holdfast get ada --meta "${k[@]}"
jq -e '.created_at > 0 and .document.n == 1' out >/dev/null || fail "get --meta"
expect 1 holdfast get nobody "${k[@]}"
[[ ! -s out ]] || fail "an absent record prints something"
echo '{"from":"stdin"}' | expect 0 holdfast put piped - "${k[@]}" -c notes
expect 0 holdfast ls -c notes "${k[@]}"
expect_out piped
expect 0 holdfast ls --json "${k[@]}"
expect_out '["ada"]'
expect 0 holdfast rm piped -c notes "${k[@]}"
expect 1 holdfast rm piped -c notes "${k[@]}"

# Wrong keys, of every kind.
new_key other
printf 'secret\n' >pass
printf 'short' >short
expect 1 holdfast get ada --key-file other
expect_err "does not open"
expect 1 holdfast get ada --passphrase-file pass
expect 1 holdfast get ada --key-file short
expect 1 holdfast get ada --key-file nowhere
expect 1 holdfast get ada --key-file other --json
jq -e '.error == "wrong_key"' err >/dev/null || fail "no JSON error: $(cat err)"
printf 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n' >fernet
expect 0 holdfast init --db f.hf --key-file fernet --recovery-out code
grep -qE '^([0-9A-Z]{5}-){5}' code || fail "no recovery code in its file"
[[ ! -s out ]] || fail "the recovery code was printed, too"
expect 0 holdfast put a '{}' --db f.hf --key-file fernet
expect 0 holdfast init --db p.hf --passphrase-file pass
HOLDFAST_PASSPHRASE=secret expect 0 holdfast put a '{"x":1}' --db p.hf
HOLDFAST_PASSPHRASE=wrong expect 1 holdfast get a --db p.hf

# Hostile input.
expect 1 holdfast put bad '{"a":' "${k[@]}"
expect 1 holdfast put bad '[1,2]' "${k[@]}"
expect 1 holdfast put bad '{"a":"'$'\xff''"}' "${k[@]}"
head -c 1000000 /dev/zero | tr '\0' '[' | expect 1 holdfast put deep - "${k[@]}"
(head -c 400000 /dev/zero | tr '\0' '['; echo) | expect 1 holdfast put deep - "${k[@]}"
expect_err "100 levels"
(printf '{"v":"'; head -c 100000000 /dev/zero | tr '\0' x; printf '"}') >huge
expect 1 holdfast put huge - "${k[@]}" <huge
expect_err "512 KiB"
expect 1 holdfast import huge "${k[@]}"
expect_err "512 KiB"
rm huge
expect 1 holdfast put "$(head -c 10000 /dev/zero | tr '\0' i)" '{}' "${k[@]}"
expect_err "1024 bytes"
expect 1 holdfast put '' '{}' "${k[@]}"
expect 0 holdfast put 'emoji 😀 id' '{"ok":true}' "${k[@]}"
expect 0 holdfast get 'emoji 😀 id' "${k[@]}"
expect_out '{"ok":true}'
expect 1 holdfast put x '{}' -c _policy "${k[@]}"
echo '{"id":"nul\u0000id"}' | expect 1 holdfast import - "${k[@]}"
expect_err "without NUL"
expect 0 holdfast put esc '{"t":"\u001b[31mred"}' "${k[@]}"
printf '{"id":"\\u001b[2Jx"}' | expect 0 holdfast import - -c escapes "${k[@]}"
expect 0 holdfast ls -c escapes "${k[@]}"
grep -q $'\x1b' out && fail "an escape sequence reached the terminal"
expect 0 holdfast put c1 $'{"t":"\xc2\x9b31mred\x7f"}' "${k[@]}"
expect 0 holdfast get c1 "${k[@]}"
expect_out '{"t":"\u009b31mred\u007f"}'

# Import: both forms, all or nothing.
printf '{"id":"1","v":1}\n\n{"id":2,"v":2}' >two.ndjson
expect 0 holdfast import two.ndjson -c imp "${k[@]}" --json
jq -e '.imported == 2' out >/dev/null || fail "import --json: $(cat out)"
echo ' [ {"k":"a,]}","v":[1,{"x":"\"]"}]}, {"k":"b"} ] ' >array.json
expect 0 holdfast import array.json -c arr --id k "${k[@]}"
expect 0 holdfast ls -c arr "${k[@]}"
expect_out $'a,]}\nb'
echo '[]' | expect 0 holdfast import - -c none "${k[@]}"
for bad in '[{"id":"1"},{"id":"2"}' '[{"id":"1"},]' '[{"id":"1"}] x' $'{"id":"1"}\n{"id":' \
  $'{"id":"1"}\n{"noid":1}' $'{"id":"1"}\n7'; do
  expect 1 holdfast import - -c bad "${k[@]}" < <(printf '%s' "$bad")
  expect_err "record"
done
expect 0 holdfast ls -c bad "${k[@]}"
expect_out ''
expect 1 holdfast import no-such-file "${k[@]}"

# Policies.
expect 2 holdfast policy set arr '$' sometimes "${k[@]}"
expect 2 holdfast policy set arr 'title' merge "${k[@]}"
expect 0 holdfast policy set arr '$.title' merge "${k[@]}"
expect 0 holdfast policy "${k[@]}"
expect_out 'arr $.title merge'

# No relay, no vault, no network.
expect 1 holdfast sync "${k[@]}"
expect 2 holdfast relay http://relay.example "${k[@]}"
expect 2 holdfast relay nonsense "${k[@]}"
expect 4 holdfast relay http://127.0.0.1:1 "${k[@]}"
expect 1 holdfast resolve 1 --pick 1 "${k[@]}"
expect 2 holdfast resolve 1 "${k[@]}"
expect 0 holdfast status "${k[@]}" --json
jq -e 'keys == ["conflicts_pending","conflicts_resolved","devices","error_message","items_pending",
  "items_synced","last_sync_timestamp","network_type","relay","revoked","state","sync_duration_ms"]' out \
  >/dev/null || fail "status --json: $(cat out)"

# Not a store; a store in use.
cp "$BIN/holdfast" binary
for file in key binary /dev/null; do expect 1 holdfast get a --db "$file" "${k[@]}"; done
head -c 20000 a.hf >cut.hf
expect 1 holdfast get ada --db cut.hf "${k[@]}"
(echo '{"id":"slow"}'; read -rt 7 <> <(:) || true) | holdfast import - "${k[@]}" >/dev/null 2>&1 &
holder=$!
until holdfast get slow "${k[@]}" >/dev/null 2>err; grep -q "in use" err; do
  kill -0 $holder 2>/dev/null || { fail "a second process was never refused"; break; }
done
wait $holder
expect 0 holdfast get slow "${k[@]}"
finish
