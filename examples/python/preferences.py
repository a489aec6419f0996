"""The preferences of an on-device model follow their user: what is set on the phone is there on the laptop, and
both can set different ones at the same time. Usage: preferences.py FOLDER RELAY-URL"""

import json
import sys

from holdfast import ConflictResolver, EncryptedLocalStore, IncrementalSync, Vault, generate_fernet_key


def show(where: str, store: EncryptedLocalStore) -> None:
    found = store.retrieve("assistant", collection="preferences")
    print(f"{where}:", json.dumps(found, separators=(",", ":"), sort_keys=True))


def main(folder: str, relay: str) -> None:
    key = generate_fernet_key()  # in real apps the platform's key store's
    paths = f"{folder}/phone.hf", f"{folder}/laptop.hf"
    with EncryptedLocalStore(paths[0], key) as phone, EncryptedLocalStore(paths[1], key) as laptop:
        vault = Vault(phone)
        vault.create("phone", lambda code: None, kind="phone")  # show it, to be written down
        vault.use_relay(relay)
        # Lists of words are united; of the rest the latest write is shown.
        ConflictResolver(phone).set_policy("preferences", "$.avoid", "merge")
        first = {"tone": "brief", "language": "de", "avoid": ["jargon"]}
        phone.store("assistant", first, collection="preferences")
        on_phone = IncrementalSync(phone)
        on_phone.sync()

        Vault(laptop).join(vault.invite_ticket(), "laptop", "laptop")
        on_laptop = IncrementalSync(laptop)
        on_laptop.sync()
        show("laptop", laptop)

        phone.patch("assistant", {"tone": "warm", "avoid": ["jargon", "emoji"]}, collection="preferences")
        laptop.patch("assistant", {"language": "en", "avoid": ["jargon", "puns"]}, collection="preferences")
        on_phone.sync()
        on_laptop.sync()
        on_phone.sync()
        show("phone", phone)
        show("laptop", laptop)
        print(on_phone.states.current_state)


if len(sys.argv) != 3:
    sys.exit("usage: preferences.py FOLDER RELAY-URL")
main(sys.argv[1], sys.argv[2])
