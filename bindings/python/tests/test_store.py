import copy
import gc
import pathlib
import sys
import threading
import typing

import pytest
from conftest import KEY
from cryptography.fernet import Fernet as PlainFernet

import holdfast
from holdfast import _native as native
from holdfast import EncryptedLocalStore, Fernet, Migration, Passphrase, UserKey


def test_records(store: EncryptedLocalStore) -> None:
    store.store("a", {"n": 1, "text": "ü\0\n", "deep": {"x": [None, True, 1.5]}})
    assert store.retrieve("a") == {"n": 1, "text": "ü\0\n", "deep": {"x": [None, True, 1.5]}}
    assert store.patch("a", {"n": None, "m": 2}) and not store.patch("none", {})
    assert store.update("a", lambda document: document.update(m=3))
    assert store.update("a", lambda document: {**document, "k": 4})
    found = store.retrieve_versioned("a")
    assert found is not None and found.document["m"] == 3 and found.document["k"] == 4
    assert found.updated_ms >= found.created_ms > 1_600_000_000_000
    store.patch("a", {"m": 9})
    store.store("a", {**found.document, "k": 5}, version=found.version)
    assert store.retrieve("a") == {**found.document, "k": 5, "m": 9}
    store.store("b", {}, collection="notes", priority=3)
    assert store.collections() == ["notes", "records"]
    assert store.list("notes") == ["b"] and dict(store.items()).keys() == {"a"}
    assert store.remove("a") and not store.remove("a")
    store.store("a", {"most": 2**64 - 1, "least": -(2**63), "text": "1" * 30})
    assert store.retrieve("a") == {"most": 2**64 - 1, "least": -(2**63), "text": "1" * 30}


def test_what_cannot_be_stored(store: EncryptedLocalStore) -> None:
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a", {"x": float("nan")})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a", {"x": object()})
    with pytest.raises(holdfast.InvalidArgumentError, match="an integer must"):
        store.store("a", {"x": [1, {"y": 2**64}]})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a", {"x": [{1: "not a text", "1": 2}]})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.query("SELECT ?", typing.cast(typing.Any, {"a": 1}))
    with pytest.raises(TypeError):
        copy.copy(store)
    for path in (None, b"bytes"):
        with pytest.raises(TypeError):
            EncryptedLocalStore(typing.cast(typing.Any, path), KEY)
    with pytest.raises(holdfast.InvalidArgumentError):
        EncryptedLocalStore("", KEY)
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a", {"x": "\ud800"})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a\0b", {})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("", {})
    with pytest.raises(holdfast.TooLargeError):
        store.store("a", {"x": "y" * 600_000})
    with pytest.raises(holdfast.InvalidArgumentError):
        store.store("a", typing.cast(typing.Any, [1]))
    assert store.list() == []


def test_errors_keep_their_class_and_message(tmp_path: pathlib.Path) -> None:
    with EncryptedLocalStore(tmp_path / "a.hf", KEY):
        pass
    with pytest.raises(holdfast.WrongKeyError) as caught:
        EncryptedLocalStore(tmp_path / "a.hf", bytes(32))
    assert caught.value.code == "wrong_key" and str(caught.value)
    with pytest.raises(holdfast.NotFoundError):
        EncryptedLocalStore(tmp_path / "none.hf", KEY, mode="existing")
    with pytest.raises(holdfast.InvalidArgumentError, match="Passphrase"):
        EncryptedLocalStore(tmp_path / "b.hf", "a passphrase")
    with pytest.raises(holdfast.InvalidArgumentError):
        EncryptedLocalStore(tmp_path / "b.hf", KEY, mode="sometimes")
    assert not (tmp_path / "b.hf").exists()
    assert all(kind.__doc__ for kind in holdfast.errors.BY_CODE.values())


def test_what_a_callback_raises_is_raised(store: EncryptedLocalStore) -> None:
    class Mine(Exception):
        pass

    def edit(document: dict[str, typing.Any]) -> None:
        raise Mine

    store.store("a", {"n": 1})
    with pytest.raises(Mine):
        store.update("a", edit)
    with pytest.raises(Mine), store.transaction():
        store.store("b", {})
        raise Mine
    with pytest.raises(Mine):
        store.visit("SELECT id FROM records", [], lambda row: edit(row))
    assert store.list() == ["a"] and store.retrieve("a") == {"n": 1}


def test_transactions(store: EncryptedLocalStore) -> None:
    with store.transaction():
        store.store("a", {})
        with store.transaction():
            store.store("b", {})
    assert store.list() == ["a", "b"]


def test_queries(store: EncryptedLocalStore) -> None:
    for n in range(5):
        store.store(f"k{n}", {"n": n}, collection="notes")
    rows = store.query("SELECT id FROM notes WHERE doc ->> '$.n' >= ? ORDER BY id", [3])
    assert next(rows) == {"id": "k3"} and list(rows) == [{"id": "k4"}]
    seen = []

    def two(row: dict[str, typing.Any]) -> bool:
        seen.append(row)
        return len(seen) < 2

    store.visit("SELECT id FROM notes ORDER BY id", [], two)
    assert len(seen) == 2
    assert store.create_index("notes", "$.n") and not store.create_index("notes", "$.n")
    assert store.indexes() == [{"collection": "notes", "path": "$.n"}]
    assert not store.explain("SELECT id FROM notes WHERE doc ->> '$.n' >= ?", [3])["scans"]
    assert store.drop_index("notes", "$.n")
    with pytest.raises(holdfast.InvalidArgumentError):
        store.query("SELECT * FROM sqlite_schema")
    with pytest.raises(holdfast.InvalidArgumentError):
        store.query("SELECT 1", "no list")
    changes: list[dict[str, typing.Any]] = []
    with store.watch("SELECT id FROM notes", changes.append):
        store.remove("k0", collection="notes")
    store.remove("k1", collection="notes")
    assert [change["rows"] for change in changes] == [5, 4]


def test_fields_history_and_migrations(store: EncryptedLocalStore) -> None:
    resolver = holdfast.ConflictResolver(store)
    for path, kind in (("$.n", "counter"), ("$.s", "set"), ("$.l", "list"), ("$.t", "text")):
        resolver.set_policy("records", path, type=kind)
    assert len(resolver.policies()) == 4
    store.store("a", {"n": 1, "s": [], "l": ["x"], "t": "held"})
    assert store.add("a", "$.n", 2) and store.insert_member("a", "$.s", 1)
    assert store.insert("a", "$.l", 1, "y") and store.move("a", "$.l", 1, 0) and store.erase("a", "$.l", 1)
    assert store.edit_text("a", "$.t", 4, 0, " fast") and store.remove_member("a", "$.s", 1)
    assert store.retrieve("a") == {"n": 3, "s": [], "l": ["y"], "t": "held fast"}
    store.patch("a", {"v": 1})
    store.patch("a", {"v": 2})
    assert store.undo(store.history("a")[0]["change"])["records"] == 1
    found = store.retrieve("a")
    assert found is not None and found["v"] == 1

    def first(within: EncryptedLocalStore) -> None:
        within.store("migrated", {})

    def fails(within: EncryptedLocalStore) -> None:
        within.store("half", {})
        raise RuntimeError("a bug")

    assert store.migrate([Migration(1, "first", first)])["steps"] == ["first"]
    with pytest.raises(RuntimeError):
        store.migrate([Migration(1, "first", first), Migration(2, "fails", fails)])
    assert store.retrieve("half") is None and store.retrieve("migrated") == {}


def test_keys(tmp_path: pathlib.Path, store: EncryptedLocalStore) -> None:
    secrets: dict[bytes, bytes] = {}

    def lookup(slot: bytes) -> bytes | None:
        return secrets.setdefault(slot, slot + slot)

    number = store.add_key(UserKey.callback(lookup))
    assert [slot["kind"] for slot in store.key_slots()] == ["raw", "callback"]
    code = holdfast.generate_recovery_code()
    store.add_key(UserKey.recovery_code(code))
    exported = store.export_key_for_backup("pass")
    for key in (UserKey.callback(lookup), UserKey.recovery_code(code), UserKey.exported(exported, "pass")):
        store.lock()
        assert store.is_locked
        with pytest.raises(holdfast.LockedError):
            store.list()
        store.unlock(key)
    store.remove_key(number)
    phases: list[str] = []
    store.rekey(lambda phase, done, total: phases.append(phase))
    assert phases and not store.is_locked
    with pytest.raises(holdfast.CancelledError):
        store.rekey(lambda phase, done, total: False)
    store.verify()
    passphrase = Passphrase("correct horse")
    assert "horse" not in repr(passphrase)
    with EncryptedLocalStore(tmp_path / "p.hf", passphrase, passphrase_memory_mib=64) as other:
        other.store("a", {})
    with EncryptedLocalStore(tmp_path / "p.hf", Passphrase(b"correct horse")) as other:
        assert other.list() == ["a"]


def test_moving(tmp_path: pathlib.Path, store: EncryptedLocalStore) -> None:
    store.store("a", {"n": 1})
    assert store.backup(tmp_path / "a.backup", Passphrase("paper"))["records"] == 1
    with pytest.raises(holdfast.ExistsError):
        store.backup(tmp_path / "a.backup", Passphrase("paper"))
    assert holdfast.restore(tmp_path / "a.backup", Passphrase("paper"), tmp_path / "b.hf", KEY)["records"] == 1
    with EncryptedLocalStore(tmp_path / "b.hf", KEY) as restored:
        assert restored.retrieve("a") == {"n": 1}
    key = holdfast.generate_fernet_key()
    assert store.export_fernet(tmp_path / "plain.db", key) == 1
    assert store.import_fernet(tmp_path / "plain.db", key, collection="imported") == 1


def test_fernet_tokens_are_those_of_other_libraries() -> None:
    key = holdfast.generate_fernet_key()
    with Fernet(key) as ours:
        theirs = PlainFernet(key)
        assert theirs.decrypt(ours.encrypt(b"a\0b")) == b"a\0b"
        token = theirs.encrypt(b"hello")
        assert ours.decrypt(token) == b"hello" and ours.timestamp(token) == theirs.extract_timestamp(token)
        assert ours.decrypt(ours.rotate(token)) == b"hello"
        with pytest.raises(holdfast.ExpiredError):
            ours.decrypt(theirs.encrypt_at_time(b"old", 1), ttl=10)
        with pytest.raises(holdfast.MalformedError):
            ours.decrypt("no token")


def test_closing(tmp_path: pathlib.Path) -> None:
    store = EncryptedLocalStore(tmp_path / "a.hf", KEY)
    store.store("a", {})
    live = store.watch("SELECT id FROM records", lambda change: None)
    found = store.retrieve_versioned("a")
    sync = holdfast.IncrementalSync(store)
    store.close()
    store.close()
    assert found is not None
    version = found.version
    used: list[typing.Callable[[], object]] = [store.list, sync.count_pending, lambda: version._pointer]
    for use in used:
        with pytest.raises(holdfast.MisuseError, match="closed"):
            use()
    live.close()
    del live, found, version, sync, used, use
    gc.collect()
    EncryptedLocalStore(tmp_path / "a.hf", KEY).close()
    dropped = EncryptedLocalStore(tmp_path / "a.hf", KEY)
    del dropped
    gc.collect()
    with EncryptedLocalStore(tmp_path / "a.hf", KEY) as again:
        with pytest.raises(holdfast.MisuseError):
            again.visit("SELECT id FROM records", [], lambda row: again.close())
        assert again.list() == ["a"]


def test_objects_that_are_collected_where_they_cannot_be_closed(tmp_path: pathlib.Path) -> None:
    told: list[typing.Any] = []
    store = EncryptedLocalStore(tmp_path / "a.hf", KEY)
    store.store("a", {"n": 1})

    def observe(change: typing.Any) -> None:
        told.append(store.retrieve_versioned("a"))  # its version is collected within the callback
        told.clear()
        gc.collect()

    live = store.watch("SELECT id, doc FROM records", observe)

    def edit(document: dict[str, typing.Any]) -> None:
        engine = holdfast.SyncEngine(store)
        engine.on_due(lambda: told.append("due"))
        engine.subscribe(lambda event: None)
        del engine
        gc.collect()

    for n in range(20):
        store.update("a", edit)
        store.patch("a", {"n": n})
    with store.transaction():
        version = store.retrieve_versioned("a")
        del version
        gc.collect()  # it is closed after
        store.patch("a", {"n": 100})
    assert store.list() == ["a"] and not native._abandoned
    del live, observe, edit, store
    gc.collect()
    EncryptedLocalStore(tmp_path / "a.hf", KEY).close()


def test_nothing_is_kept_of_what_was_closed(store: EncryptedLocalStore) -> None:
    store.store("a", {})
    for _ in range(50):
        store.watch("SELECT id FROM records", lambda change: None).close()
        holdfast.ConflictResolver(store).subscribe(lambda conflicts: None).close()
    assert len(store._family._open) == 1


def test_a_store_and_its_engine_collected_in_a_callback(tmp_path: pathlib.Path) -> None:
    def open_and_drop() -> None:
        dropped = EncryptedLocalStore(tmp_path / "dropped.hf", KEY)
        engine = holdfast.SyncEngine(dropped)
        engine.on_due(lambda: engine.closed)  # a cycle
        dropped.watch("SELECT 1", lambda change: dropped.closed)

    def edit(document: dict[str, typing.Any]) -> None:
        open_and_drop()
        gc.collect()

    with EncryptedLocalStore(tmp_path / "a.hf", KEY) as store:
        store.store("a", {})
        store.update("a", edit)
        assert store.list() == ["a"]
        EncryptedLocalStore(tmp_path / "dropped.hf", KEY).close()


def test_closing_what_was_made_from_a_store_that_is_being_closed(tmp_path: pathlib.Path) -> None:
    store = EncryptedLocalStore(tmp_path / "a.hf", KEY)
    store.store("a", {"n": 0})
    within, go_on = threading.Event(), threading.Event()

    def observe(change: typing.Any) -> None:
        if change["removed"]:
            within.set()
            go_on.wait(20)

    store.watch("SELECT doc FROM records", observe)
    second = store.watch("SELECT doc FROM records", lambda change: None)
    writer = threading.Thread(target=store.patch, args=("a", {"n": 1}))
    writer.start()
    assert within.wait(20)
    closer = threading.Thread(target=store.close)
    closer.start()
    while not store.closed:
        pass
    second.close()
    del second
    gc.collect()
    go_on.set()
    writer.join()
    closer.join()
    EncryptedLocalStore(tmp_path / "a.hf", KEY).close()


def test_a_slot_of_another_key_store_does_not_matter(tmp_path: pathlib.Path) -> None:
    slots: dict[bytes, bytes] = {}
    with EncryptedLocalStore(tmp_path / "a.hf", UserKey.callback(lambda slot: bytes(32))) as store:
        store.add_key(UserKey.callback(lambda slot: slots.setdefault(slot, b"x" * 32)))
    reported: list[typing.Any] = []
    failed: list[bytes] = []

    def lookup(slot: bytes) -> bytes:
        if slot not in slots:
            failed.append(slot)
        return slots[slot]

    hook, sys.unraisablehook = sys.unraisablehook, reported.append
    try:
        with EncryptedLocalStore(tmp_path / "a.hf", UserKey.callback(lookup)) as store:
            assert store.list() == []
    finally:
        sys.unraisablehook = hook
    assert len(reported) == min(len(failed), 1)
    with pytest.raises(KeyError):
        EncryptedLocalStore(tmp_path / "a.hf", UserKey.callback(lambda slot: typing.cast(dict[bytes, bytes], {})[slot]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_callback_that_cannot_be_entered_fails(tmp_path: pathlib.Path) -> None:
    codes: list[str] = []

    def deep(store: EncryptedLocalStore, depth: int) -> None:
        if depth > 0:
            deep(store, depth - 1)
        else:
            holdfast.Vault(store).create("deep", codes.append)

    refused = 0
    for depth in range(sys.getrecursionlimit() - 60, sys.getrecursionlimit()):
        with EncryptedLocalStore(tmp_path / f"{depth}.hf", KEY) as store:
            try:
                deep(store, depth)
            except (RecursionError, holdfast.CancelledError):
                refused += 1
            assert holdfast.Vault(store).exists() == bool(codes)  # no vault without its code
            codes.clear()
    assert refused > 0


def test_versions_belong_to_their_record(store: EncryptedLocalStore) -> None:
    store.store("a", {"n": 1})
    found = store.retrieve_versioned("a")
    assert found is not None
    with pytest.raises(holdfast.MisuseError):
        store.store("b", {"n": 1}, version=found.version)


def test_what_rekey_would_lose_is_refused(store: EncryptedLocalStore) -> None:
    store.store("a", {"n": 1})
    errors: list[str] = []

    def progress(phase: str, done: int, total: int) -> None:
        try:
            store.store("b", {})
        except holdfast.InvalidArgumentError as error:
            errors.append(str(error))

    store.rekey(progress)
    assert errors and store.list() == ["a"]


def test_closing_inside_a_transaction(tmp_path: pathlib.Path, store: EncryptedLocalStore) -> None:
    other = EncryptedLocalStore(tmp_path / "other.hf", KEY)
    with pytest.raises(holdfast.MisuseError, match="inside the transaction"), other.transaction():
        other.store("a", {})
        other.close()
    with EncryptedLocalStore(tmp_path / "other.hf", KEY) as other:
        assert other.list() == []
    store.store("a", {})
    live = store.watch("SELECT id FROM records", lambda change: None)
    with store.transaction():
        with pytest.raises(holdfast.MisuseError, match="transaction"):
            live.close()
    live.close()


def test_anchor_and_upgrade(tmp_path: pathlib.Path) -> None:
    class Anchor:
        position: tuple[int, bytes] | None = None

        def load(self) -> tuple[int, bytes] | None:
            return self.position

        def save(self, commits: int, root: bytes) -> None:
            self.position = (commits, root)

    anchor = Anchor()
    path = tmp_path / "a.hf"
    with EncryptedLocalStore(path, KEY, anchor=anchor) as store:
        store.store("a", {})
    assert anchor.position is not None and len(anchor.position[1]) == 16
    assert EncryptedLocalStore.check_upgrade(path, KEY)["steps"] == []
    anchor.position = (anchor.position[0] + 9, bytes(16))
    with pytest.raises(holdfast.RolledBackError):
        EncryptedLocalStore(path, KEY, anchor=anchor)
    with EncryptedLocalStore(path, bytearray(KEY)) as store:
        assert store.list() == ["a"]


def test_closing_once_from_many_threads() -> None:
    for _ in range(50):
        flag = holdfast.CancelFlag()
        failures: list[BaseException] = []

        def close() -> None:
            try:
                flag.close()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


def test_threads(store: EncryptedLocalStore) -> None:
    store.store("k0", {})
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(100):
                with store.transaction():
                    store.store(f"k{n % 10}", {"n": n, "thread": thread})
                assert store.retrieve("k0") is not None
        except BaseException as error:
            failures.append(error)

    seen: list[typing.Any] = []
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        store.watch("SELECT id FROM records", seen.append).close()
    for thread in threads:
        thread.join()
    assert not failures and len(seen) >= 20
