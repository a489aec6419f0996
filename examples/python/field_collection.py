"""Field data from two devices that meet no network: both edit offline, packages are carried by hand, counters
add up, and what two people measured differently waits for somebody to decide.
Usage: field_collection.py FOLDER RELAY-URL   (the relay is needed once, for the second device to join)"""

import json
import sys

from holdfast import ConflictResolver, EncryptedLocalStore, IncrementalSync, Vault, generate_fernet_key


def text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def main(folder: str, relay: str) -> None:
    # Real apps: Passphrase(…), or UserKey.callback for the platform's key store.
    key = generate_fernet_key()
    with EncryptedLocalStore(f"{folder}/ana.hf", key) as ana, EncryptedLocalStore(f"{folder}/ben.hf", key) as ben:
        vault = Vault(ana)
        vault.create("ana", lambda code: None, kind="phone")  # show it, to be written down
        vault.use_relay(relay)
        Vault(ben).join(vault.invite_ticket(), "ben", "tablet")
        here, there = IncrementalSync(ana), IncrementalSync(ben)
        there.sync()  # the tablet gets the vault,
        here.sync()  # and the phone hears of it; from here on there is no network

        ConflictResolver(ana).set_policy("samples", "$.count", type="counter")
        ConflictResolver(ana).set_policy("samples", "$.ph", "user_choice")
        ana.store("plot-7", {"species": "Carex nigra", "count": 3}, collection="samples")
        there.apply_remote_changes(here.prepare_sync_package())  # on a memory stick, say

        ana.add("plot-7", "$.count", 4, collection="samples")
        ana.patch("plot-7", {"ph": 5.1}, collection="samples")
        ben.add("plot-7", "$.count", 2, collection="samples")
        ben.patch("plot-7", {"ph": 6.4}, collection="samples")
        applied, conflicts = there.apply_remote_changes(here.prepare_sync_package())

        sample = ben.retrieve("plot-7", collection="samples")
        assert sample is not None
        print("counted", sample["count"])
        for conflict in conflicts:
            print(f"{conflict.id} {conflict.path}:", *(side["value"] for side in conflict.candidates))
            ConflictResolver(ben).pick(conflict, 1)  # the later one
        here.apply_remote_changes(there.prepare_sync_package())
        both = [store.retrieve("plot-7", collection="samples") for store in (ana, ben)]
        print("both say", text(both[0]))
        print("equal" if both[0] == both[1] else "different", end=", ")
        print(ConflictResolver(ana).count_pending(), "conflicts wait")


if len(sys.argv) != 3:
    sys.exit("usage: field_collection.py FOLDER RELAY-URL")
main(sys.argv[1], sys.argv[2])
