#!/usr/bin/env bash
# SIGKILL at random moments: every store opens again, and holds all that was acknowledged.
source "$(dirname "$0")/lib.sh"
rounds=${1:-60}

new_key key-a
new_key key-b
a() { holdfast "$@" --db a.hf --key-file key-a; }
b() { holdfast "$@" --db b.hf --key-file key-b; }
# shortly COMMAND…: runs it and kills it within 1 to 40 ms.
shortly() {
  local within
  printf -v within '0.%03d' "$((RANDOM % 40 + 1))"
  (timeout -s KILL "$within" "$BIN/holdfast" "$@" >/dev/null 2>&1; exit $?) 2>/dev/null
}

# init: whenever it dies, the next one finishes the work or finds it done.
for n in $(seq "$((rounds / 4))"); do
  shortly init --db "i$n.hf" --key-file key-a --name x
  holdfast init --db "i$n.hf" --key-file key-a --name x >/dev/null 2>err || grep -q "already" err ||
    fail "init does not recover: $(cat err)"
  holdfast put k '{"n":1}' --db "i$n.hf" --key-file key-a || fail "no store after init"
  rm -f "i$n.hf"*
done

start_relay
expect 0 a init --name a
expect 0 a relay "$relay_url"
a device invite --ticket >ticket 2>/dev/null
expect 0 b device join - --name b <ticket

seq 3000 | jq -c '{id: "bulk-\(.)", text: ("x" * 300)}' >bulk.ndjson
declare -A acknowledged=()
killed=0
for n in $(seq "$rounds"); do
  db=$([[ $((RANDOM % 2)) == 0 ]] && echo a || echo b)
  on=(--db "$db.hf" --key-file "key-$db")
  if shortly put "$db-$n" "{\"n\":$n}" "${on[@]}"; then acknowledged[$db-$n]=$db; else killed=$((killed + 1)); fi
  case $((RANDOM % 6)) in
    0) shortly import bulk.ndjson -c "bulk$n" "${on[@]}" || killed=$((killed + 1)) ;;
    1 | 2) shortly sync "${on[@]}" || killed=$((killed + 1)) ;;
    3) stop_relay KILL; start_relay "$relay_port" ;;
  esac
  count=$(holdfast ls -c "bulk$n" "${on[@]}" | wc -l)
  [[ $count == 0 || $count == 3000 ]] || fail "an import was stored in part: $count"
done
for id in "${!acknowledged[@]}"; do
  holdfast get "$id" --db "${acknowledged[$id]}.hf" --key-file "key-${acknowledged[$id]}" >/dev/null ||
    fail "$id was acknowledged and is gone"
done
for _ in 1 2 3; do
  a sync >/dev/null 2>err || fail "a does not sync: $(cat err)"
  b sync >/dev/null 2>err || fail "b does not sync: $(cat err)"
done
for id in "${!acknowledged[@]}"; do
  a get "$id" >left && b get "$id" >right && cmp -s left right || fail "$id is not on both"
done
a ls >left
b ls >right
cmp -s left right || fail "the devices differ"
echo "$rounds rounds, $killed commands killed, ${#acknowledged[@]} acknowledged writes found"
((killed > rounds / 4)) || fail "hardly anything was killed: the test proves little"
finish
