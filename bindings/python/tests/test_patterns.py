"""The system as its user wrote it, line by line."""

import json
import pathlib
import sqlite3
import typing

import pytest
from conftest import Collector
from cryptography.fernet import Fernet as PlainFernet

import holdfast
from holdfast import EncryptedLocalStore as Store
from holdfast.conflict_resolution import ConflictResolver
from holdfast.encrypted_storage import EncryptedLocalStore
from holdfast.incremental_sync import IncrementalSync
from holdfast.privacy_sync import DataAnonymizer, PrivacyFirstSync
from holdfast.sync_state_manager import SyncStateManager


def test_encrypted_storage(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    user_provided_key = PlainFernet.generate_key()
    store = EncryptedLocalStore(db_path="./app_data.db", user_key=user_provided_key)
    store.store("user_preferences", {"theme": "dark", "größe": 12})
    assert store.retrieve("user_preferences") == {"theme": "dark", "größe": 12}
    store.close()
    assert b"dark" not in (tmp_path / "app_data.db").read_bytes()
    with EncryptedLocalStore(db_path="./app_data.db", user_key=user_provided_key.decode()) as again:
        assert again.retrieve("user_preferences") == {"theme": "dark", "größe": 12}
        assert again.retrieve("nothing") is None


def test_incremental_sync(pair: tuple[Store, Store]) -> None:
    store, other = pair
    store.store("a", {"n": 1})
    sync_manager = IncrementalSync(local_store=store)
    package = sync_manager.prepare_sync_package()
    there = IncrementalSync(local_store=other)
    assert there.apply_remote_changes(package) == (1, [])
    assert other.retrieve("a") == {"n": 1}
    other.store("b", {"n": 2})
    server_response = json.loads(json.dumps(there.prepare_sync_package()))
    applied, conflicts = sync_manager.apply_remote_changes(server_response["changes"])
    assert applied >= 1 and conflicts == []
    assert store.retrieve("b") == {"n": 2}


def policy(collector: Collector) -> dict[str, typing.Any]:
    return {
        "holdfast_policy": 1,
        "version": 1,
        "destinations": [
            {
                "id": "model_improvement_server", "controller": "Example Models",
                "contact": "privacy@models.example", "jurisdiction": "DE", "url": collector.url + "/v1",
                "keys": [{"id": "k1", "public_key": collector.public_key,
                          "not_before": "2020-01-01", "not_after": "2099-12-31"}],
            }
        ],
        "purposes": [{"id": "improve_model_quality", "text": "Make the model better",
                      "term": "dpv:ServiceOptimisation"}],
        "data_types": [{"id": "model_usage_stats", "text": "How the model was used", "linked": False,
                        "fields": {"/model": {"action": "keep"}, "/note": {"action": "keep"}}}],
        "uses": [{"data_type": "model_usage_stats", "purpose": "improve_model_quality",
                  "destination": "model_improvement_server"}],
    }


def test_privacy_first_sync(store: Store, collector: Collector) -> None:
    asked = []

    def prompt(request: dict[str, typing.Any]) -> bool:
        asked.append(request)
        return True

    usage_stats = {"model": "small", "note": "mail ada@example.org", "email": "ada@example.org"}
    privacy_sync = PrivacyFirstSync(store, policy(collector), prompt)
    assert not privacy_sync.sync_with_privacy(data=usage_stats, destination="model_improvement_server")
    if privacy_sync.request_sync_permission(data_type="model_usage_stats", purpose="improve_model_quality"):
        privacy_sync.sync_with_privacy(data=usage_stats, destination="model_improvement_server")
    assert [request["purpose_text"] for request in asked] == ["Make the model better"]
    received = json.dumps(collector.received())
    assert "small" in received and "ada@example.org" not in received
    privacy_sync.close()


def test_the_smaller_classes(store: Store) -> None:
    resolved = ConflictResolver().resolve_conflict(
        local_data={"id": 1, "tags": ["a"], "updated_at": 1},
        remote_data={"id": 1, "tags": ["b"], "updated_at": 2},
        context={"resolution_strategy": "merge"},
    )
    assert resolved.value["tags"] == ["a", "b"] and not resolved.needs_user
    assert DataAnonymizer().anonymize({"email": "ada@example.org", "n": 1}) == {"n": 1}
    states = SyncStateManager(store)
    assert states.current_state == "offline"
    states.update_state("syncing")
    states.update_state("up_to_date", items_synced=3)
    assert states.metadata.items_synced == 3
    assert states.get_pending_conflicts() == []
    with pytest.raises(holdfast.IllegalStateError):
        states.update_state("error")


def plain_database(path: pathlib.Path, key: bytes) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE encrypted_data (id TEXT PRIMARY KEY, data BLOB, updated_at TEXT)")
        token = PlainFernet(key).encrypt(json.dumps({"theme": "dark"}).encode())
        database.execute("INSERT INTO encrypted_data VALUES ('user_preferences', ?, 'x')", [token])
    database.close()


def test_a_database_of_the_plain_layout_is_imported(tmp_path: pathlib.Path) -> None:
    key = PlainFernet.generate_key()
    path = tmp_path / "app_data.db"
    plain_database(path, key)
    before = path.read_bytes()
    with pytest.raises(holdfast.NotAStoreError, match="import_fernet"):
        EncryptedLocalStore(path, key)
    (tmp_path / "link.db").symlink_to(path)
    with EncryptedLocalStore(tmp_path / "app_data.hf", key) as store:
        with pytest.raises(holdfast.MalformedError):
            store.import_fernet(path, PlainFernet.generate_key())
        with pytest.raises(holdfast.CancelledError):
            many = [json.dumps({"n": n}).encode() for n in range(600)]
            with sqlite3.connect(tmp_path / "many.db") as database:
                database.execute("CREATE TABLE encrypted_data (id, data)")
                tokens = [(n, PlainFernet(key).encrypt(data)) for n, data in enumerate(many)]
                database.executemany("INSERT INTO encrypted_data VALUES (?, ?)", tokens)
            database.close()
            store.import_fernet(tmp_path / "many.db", key, progress=lambda *report: False)
        assert store.list() == []
        assert store.import_fernet(path, key) == 1
        assert store.retrieve("user_preferences") == {"theme": "dark"}
        # What another program has committed to its log is there, too, by whatever name.
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("INSERT INTO encrypted_data SELECT 'late', data, 'x' FROM encrypted_data")
            database.commit()
            assert store.import_fernet(tmp_path / "link.db", key) == 2
        database.close()
        path.write_bytes(before)
        with sqlite3.connect(tmp_path / "twice.db") as database:
            database.execute("CREATE TABLE encrypted_data (id, data)")
            for _ in range(2):
                database.execute("INSERT INTO encrypted_data VALUES ('a', ?)", [PlainFernet(key).encrypt(b"{}")])
        database.close()
        with pytest.raises(holdfast.MalformedError, match="two rows"):
            store.import_fernet(tmp_path / "twice.db", key)
