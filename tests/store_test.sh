#!/usr/bin/env bash
# The commands on one store, as a person and a script use them: queries, keys, backups, Fernet, doctor.
source "$(dirname "$0")/lib.sh"

new_key key
h() { holdfast "$@" --db a.hf --key-file key; }
expect 0 h init --name a --recovery-out vault-code
seq 500 | jq -c '{id: "p\(.)", age: (. % 90), name: "Person \(.)"}' >people.ndjson
expect 0 h import people.ndjson -c people

# query and index
expect 0 h query "SELECT id, doc ->> '\$.age' AS age FROM people WHERE doc ->> '\$.age' = ? ORDER BY id LIMIT 2" 7
expect_out '{"age":7,"id":"p187"}
{"age":7,"id":"p277"}'
expect 0 h query "SELECT doc FROM people WHERE id = ?" p1
expect_out '{"doc":{"age":1,"id":"p1","name":"Person 1"}}'
expect 0 h query --explain --json "SELECT id FROM people WHERE doc ->> '\$.age' = 7"
[[ $(jq .scans out) == true ]] || fail "a scan is not named"
expect 0 h index people '$.age'
expect 0 h query --explain --json "SELECT id FROM people WHERE doc ->> '\$.age' = 7"
[[ $(jq .scans out) == false ]] || fail "the index is not used"
expect 0 h index
expect_out 'people $.age'
expect 2 h index people
expect 2 h index people 'age'
expect 0 h index people '$.age' --drop
for sql in "SELECT * FROM meta" "DELETE FROM people" "PRAGMA user_version" "SELECT 1; SELECT 2" "no sql" \
  "SELECT * FROM people WHERE id = ?"; do
  expect 1 h query "$sql"
done

# keys
echo 'correct horse' >words
expect 0 h key add-passphrase --new-passphrase-file words
expect 0 holdfast get p1 -c people --db a.hf --passphrase-file words
expect 0 h key add-recovery --out code
expect 0 holdfast get p1 -c people --db a.hf --key-file code
expect 1 h key add-recovery --out code
expect 0 h key export exported --new-passphrase-file words
expect 0 holdfast get p1 -c people --db a.hf --key-file exported --passphrase-file words
expect 0 h key ls --json
[[ $(jq -c '[.[].kind]' out) == '["raw","passphrase","recovery_code"]' ]] || fail "kinds: $(cat out)"
expect 0 h key rekey
expect 1 holdfast ls --db a.hf --key-file exported --passphrase-file words
expect_err 'does not open'
expect 0 holdfast get p1 -c people --db a.hf --key-file code
expect 0 holdfast get p1 -c people --db a.hf --passphrase-file words
echo 'battery staple' >other-words
expect 0 h key change 2 --new-passphrase-file other-words
expect 1 holdfast ls --db a.hf --passphrase-file words
expect 0 h key rm 2
expect 1 holdfast ls --db a.hf --passphrase-file other-words
expect 0 h key rm 3
expect 1 h key rm 1
expect_err 'last key'
expect 1 h key rm 9
[[ $(stat -c %a code exported | sort -u) == 600 ]] || fail "a secret's file can be read by others"

# backup and restore
h put late '{"n": 1}' 2>/dev/null
expect 0 h backup saved
expect 1 h backup saved
expect 1 holdfast restore saved --db b.hf --passphrase-file words
expect 0 holdfast restore saved --db b.hf --passphrase-file words --backup-key-file key
expect 0 holdfast get late --db b.hf --passphrase-file words
expect_out '{"n":1}'
expect 1 h restore saved
expect_err 'exists already'
h put later '{"n": 2}' 2>/dev/null
expect 0 h restore saved --replace
expect 1 h get later
expect 0 h get late
head -c 20000 saved >cut
expect 1 h restore cut --replace
expect_err 'cut short'
expect 1 h restore people.ndjson --replace
expect_err 'not a Holdfast backup'
expect 0 h get late
expect 1 holdfast ls --db saved --key-file key
expect_err 'not a Holdfast store'
expect 0 h backup other-saved --backup-passphrase-file words
expect 0 holdfast restore other-saved --db c.hf --passphrase-file words
# A restored store is a new device that can make a vault of its own, with all it holds.
start_relay
c() { holdfast "$@" --db c.hf --passphrase-file words; }
d() { holdfast "$@" --db d.hf --key-file key; }
expect 0 c init --name c --recovery-out c-code
expect 0 c relay "$relay_url"
expect 0 c sync
c device invite --ticket >ticket 2>/dev/null
expect 0 d device join - --name d <ticket
expect 0 d sync
expect 0 d get p1 -c people
expect_out '{"age":1,"id":"p1","name":"Person 1"}'
stop_relay

# files that are no store
: >empty
head -c 3000 /dev/urandom >noise
printf 'SQLite format 3\0 and more' >plain
head -c 50000 a.hf >short
for file in empty noise plain short; do
  sum=$(sha256sum "$file")
  expect 1 holdfast ls --db "$file" --key-file key
  [[ $(sha256sum "$file") == "$sum" ]] || fail "$file was changed"
done

# Fernet and plain text
if /usr/bin/python3 -c 'import cryptography' 2>/dev/null; then
  /usr/bin/python3 - <<'PYTHON'
from cryptography.fernet import Fernet
import json, sqlite3
key = Fernet.generate_key()
open('fernet-key', 'wb').write(key + b'\n')
db = sqlite3.connect('old.db')
db.execute('create table encrypted_data(id text primary key, data blob)')
for i in range(40):
    db.execute('insert into encrypted_data values(?, ?)', ('r%d' % i, Fernet(key).encrypt(json.dumps({'n': i}).encode())))
db.commit()
PYTHON
  expect 0 h import-fernet old.db --fernet-key-file fernet-key -c old
  expect 0 h get r7 -c old
  expect_out '{"n":7}'
  expect 0 h export new.db --fernet --fernet-key-file fernet-key -c old
  [[ $(/usr/bin/python3 -c "
from cryptography.fernet import Fernet
import sqlite3
token = sqlite3.connect('new.db').execute('select data from encrypted_data where id = \"r7\"').fetchone()[0]
print(Fernet(open('fernet-key').read().strip()).decrypt(token).decode())") == '{"n":7}' ]] || fail "Python does not read the export"
  expect 1 h import-fernet people.ndjson --fernet-key-file fernet-key
  expect 1 h import-fernet old.db --fernet-key-file words
fi
expect 2 h export
expect_err '--plaintext'
expect 0 h export --plaintext -c people
[[ $(wc -l <out) == 500 && $(head -1 out | jq -c .document) == '{"age":1,"id":"p1","name":"Person 1"}' ]] ||
  fail "the plain export is wrong"

# doctor
expect 0 h doctor
h key add-recovery --out code2 2>/dev/null >/dev/null
expect 0 h doctor
chmod 644 a.hf
expect 1 h doctor
expect_err_or_out() { grep -q -- "$1" out err || fail "no '$1'"; }
expect_err_or_out 'chmod 600'
chmod 600 a.hf
printf '\x55' | dd of=a.hf bs=1 seek=40000 conv=notrunc 2>/dev/null
"$BIN/holdfast" doctor --db a.hf --key-file key --json >out 2>err && fail "doctor sees no damage"
expect_err_or_out 'restore a backup'
expect 0 h restore saved --replace
expect 0 h doctor
finish
