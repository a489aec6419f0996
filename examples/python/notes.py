"""Notes that work offline: each line of standard input becomes a note, and what sync does is shown as it
happens. Usage: notes.py FILE RELAY-URL   (the passphrase is in HOLDFAST_PASSPHRASE)"""

import asyncio
import os
import sys

from holdfast import EncryptedLocalStore, HoldfastError, Passphrase, SyncEngine, UnreachableError, Vault


def note_down(code: str) -> None:
    print("Write this recovery code down:", code, file=sys.stderr)


async def sync(store: EncryptedLocalStore) -> None:
    with SyncEngine(store) as engine:
        async with engine.events() as events, engine.running():
            async for event in events:
                if event["kind"] == "state" and event["state"]["state"] != "syncing":
                    print(f"[{event['state']['state']}]")
                    break
                if event["kind"] == "warning":
                    print(event["warning"], file=sys.stderr)
        print(engine.sync.count_pending(), "changes wait")


def main(path: str, relay: str) -> None:
    with EncryptedLocalStore(path, Passphrase(os.environ["HOLDFAST_PASSPHRASE"])) as store:
        vault = Vault(store)
        if not vault.exists():
            vault.create("notes", note_down)
        if vault.relay is None:
            try:
                vault.use_relay(relay)
            except UnreachableError:  # works without; the next start tries again
                print("[offline]")

        for line in sys.stdin:
            store.store(f"note-{len(store.list('notes')) + 1}", {"text": line.rstrip("\n")}, collection="notes")
        for row in store.query("SELECT id, doc ->> '$.text' AS text FROM notes ORDER BY id"):
            print(f"{row['id']}: {row['text']}")
        if vault.relay is not None:
            asyncio.run(sync(store))


if len(sys.argv) != 3 or "HOLDFAST_PASSPHRASE" not in os.environ:
    sys.exit("usage: HOLDFAST_PASSPHRASE=… notes.py FILE RELAY-URL")
try:
    main(sys.argv[1], sys.argv[2])
except HoldfastError as error:  # says what to do
    sys.exit(str(error))
