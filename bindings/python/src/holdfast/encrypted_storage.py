"""The encrypted store of JSON documents."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from typing import Any, Callable, Iterator, Mapping, Protocol, Sequence

from holdfast import _native as native
from holdfast._native import NULL, CancelFlag, Handle, Progress, Subscription, ffi, lib
from holdfast.errors import InvalidArgumentError, MisuseError, NotAStoreError
from holdfast.keys import Fernet, KeyLike, Passphrase, UserKey, generate_fernet_key, key_of

__all__ = [
    "Anchor",
    "CancelFlag",
    "EncryptedLocalStore",
    "Fernet",
    "LiveQuery",
    "Migration",
    "Passphrase",
    "RecordVersion",
    "Subscription",
    "UserKey",
    "VersionedDocument",
    "generate_fernet_key",
    "restore",
]

Document = Mapping[str, Any]
Strings = list[str]  # within the class, `list` is its method
Objects = list[dict[str, Any]]
Pairs = list[tuple[str, str]]
RECORDS = "records"
_OPEN = {"or_create": 0, "existing": 1, "create": 2}
_DURABILITY = {"full": 0, "relaxed": 1}
_SQLITE = b"SQLite format 3\0"


class RecordVersion(Handle):
    """A record as it was read: see EncryptedLocalStore.store."""

    _close = "hf_version_close"


@dataclasses.dataclass(frozen=True)
class VersionedDocument:
    """A document, when it was first and last written (UTC milliseconds), and its version."""

    document: dict[str, Any]
    version: RecordVersion
    created_ms: int
    updated_ms: int


class Anchor(Protocol):
    """A place outside of the store's file, such as the platform's key store: see StoreAnchor in C++."""

    def load(self) -> tuple[int, bytes] | None:
        """What was saved last: a count and 16 bytes. None: nothing yet."""

    def save(self, commits: int, root: bytes) -> None:
        """Durable when it returns; called after each transaction, before it is acknowledged."""


class LiveQuery(Handle):
    """A query that runs again whenever its result changes, until it is closed, or its store."""

    _close = "hf_live_query_close"
    _lasts = True


@dataclasses.dataclass(frozen=True)
class Migration:
    """One step of the app's own schema; `version` is 1, 2, …"""

    version: int
    name: str
    run: Callable[["EncryptedLocalStore"], Any]


class EncryptedLocalStore(Handle):
    """An encrypted store of JSON documents in one file. All of it is sealed. The file belongs to one
    object of one process at a time, for which another waits up to five seconds; the object may be
    used from many threads. A document is a dict of at most
    512 KiB as JSON.

    `user_key` is a Fernet key, 32 raw bytes, or Passphrase("…"). Any key of the store opens it.
    """

    _close = "hf_store_close"

    def __init__(
        self,
        db_path: str | pathlib.PurePath,
        user_key: KeyLike,
        *,
        mode: str = "or_create",
        durability: str = "full",
        cache_mib: int = 0,
        passphrase_memory_mib: int = 0,
        history_days: int = 30,
        checkpoint_bytes: int = 8 << 20,
        anchor: Anchor | None = None,
    ) -> None:
        """Opens the store, or makes it. `mode` is "or_create", "existing" or "create"; with the
        `durability` "relaxed" a power cut may take the last moments; `anchor` keeps the store's
        position elsewhere, so that an old copy of the file is noticed."""
        options = _options(mode, durability, cache_mib, passphrase_memory_mib, history_days)
        options.checkpoint_bytes = checkpoint_bytes
        kept = [] if anchor is None else _set_anchor(options, anchor)
        with _opened(user_key) as key:
            arguments = (native.path_text(db_path), key._pointer, options)
            try:
                pointer = native.value_out("hf_store**", lib.hf_store_open, *arguments)
            except NotAStoreError:
                if _is_sqlite(db_path):
                    raise NotAStoreError(
                        f"{db_path} is a plain SQLite database: open a store of another name, import it "
                        f'there with store.import_fernet("{db_path}", key), and use that store from then on'
                    ) from None
                raise
        super().__init__(pointer)
        for made in kept:
            self._keep(made)
        self.path = str(db_path)

    # Records

    def store(
        self,
        key: str,
        data: Document,
        *,
        collection: str = RECORDS,
        priority: int | None = None,
        version: RecordVersion | None = None,
    ) -> None:
        """Overwrites the record field by field: one that is equal is not touched. With the `version`
        that was read earlier, only what differs from that is changed, and what landed in between
        stays beside it as a conflict."""
        where = (native.text(collection), native.text(key), native.dump(data))
        rank = _rank(priority)
        if version is None:
            native.check(lib.hf_store_put(self._pointer, *where, rank))
        else:
            native.check(lib.hf_store_put_version(self._pointer, *where, version._pointer, rank))

    def retrieve(self, key: str, *, collection: str = RECORDS) -> dict[str, Any] | None:
        """The document, or None."""
        found: dict[str, Any] | None = native.json_out(
            lib.hf_store_get, self._pointer, native.text(collection), native.text(key)
        )
        return found

    def retrieve_versioned(self, key: str, *, collection: str = RECORDS) -> VersionedDocument | None:
        """The document with its times and its version, or None."""
        document, version = ffi.new("char**"), ffi.new("hf_version**")
        created, updated = ffi.new("int64_t*"), ffi.new("int64_t*")
        native.check(
            lib.hf_store_get_version(
                self._pointer, native.text(collection), native.text(key), document, version, created, updated
            )
        )
        if document[0] == NULL:
            return None
        return VersionedDocument(
            json.loads(native.take(document[0])), RecordVersion(version[0], self), created[0], updated[0]
        )

    def update(
        self,
        key: str,
        edit: Callable[[dict[str, Any]], Any],
        *,
        collection: str = RECORDS,
        priority: int | None = None,
    ) -> bool:
        """Reads, lets `edit` change the dict (or return another), and writes, in one transaction.
        False where there is none."""

        def change(_: Any, document: Any, reply: Any) -> int:
            value = json.loads(native.decode(document))
            returned = edit(value)
            native.reply(reply, value if returned is None else returned)
            return 0

        callbacks = native.Callbacks()
        found = ffi.new("bool*")
        edit_c = callbacks.make("int(void*, const char*, hf_reply*)", change, 1)
        where = (native.text(collection), native.text(key))
        callbacks.call(lib.hf_store_update, self._pointer, *where, edit_c, NULL, _rank(priority), found)
        return bool(found[0])

    def patch(
        self, key: str, merge_patch: Document, *, collection: str = RECORDS, priority: int | None = None
    ) -> bool:
        """Changes the fields that `merge_patch` names (RFC 7396; None deletes). False where there is
        no record."""
        where = (native.text(collection), native.text(key), native.dump(merge_patch))
        return bool(native.value_out("bool*", lib.hf_store_patch, self._pointer, *where, _rank(priority)))

    def remove(self, key: str, *, collection: str = RECORDS) -> bool:
        """False where there was none."""
        where = (native.text(collection), native.text(key))
        return bool(native.value_out("bool*", lib.hf_store_remove, self._pointer, *where))

    def list(self, collection: str = RECORDS) -> Strings:
        """The keys in a collection, sorted."""
        keys: Strings = native.json_out(lib.hf_store_list, self._pointer, native.text(collection))
        return keys

    def items(self, collection: str = RECORDS) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each key and document of a collection, sorted, as of one moment: now. They are read now, as
        text, and decoded one by one."""
        texts: Pairs = []

        def visit(_: Any, key: Any, document: Any) -> int:
            texts.append((native.decode(key), native.decode(document)))
            return 0

        callbacks = native.Callbacks()
        visit_c = callbacks.make("int(void*, const char*, const char*)", visit, 1)
        callbacks.call(lib.hf_store_for_each, self._pointer, native.text(collection), visit_c, NULL)
        return ((key, json.loads(document)) for key, document in texts)

    def collections(self) -> Strings:
        """The collections that hold a record, sorted."""
        names: Strings = native.json_out(lib.hf_store_collections, self._pointer)
        return names

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All calls of this thread on the store in the `with` happen together, or, where it raises,
        none. Other threads wait meanwhile: nothing may be awaited in it."""
        with native.in_transaction():
            pointer = native.value_out("hf_transaction**", lib.hf_transaction_begin, self._pointer)
            try:
                yield
            except BaseException:
                if not self.closed:
                    native.check(lib.hf_transaction_rollback(pointer))
                raise
            if self.closed:
                raise MisuseError("the store was closed inside the transaction: nothing of it was kept")
            native.check(lib.hf_transaction_commit(pointer))

    # Queries

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        """Rows of one SELECT over collections, each a view with the columns id, doc, created_at and
        updated_at; `?` stand for `parameters`. Rows are as of now: read now, as text, and decoded one
        by one.

            store.query("SELECT id FROM notes WHERE doc ->> '$.due' < ?", [today])
        """
        texts: Strings = []

        def visit(_: Any, row: Any) -> int:
            texts.append(native.decode(row))
            return 0

        callbacks = native.Callbacks()
        visit_c = callbacks.make("int(void*, const char*)", visit, 1)
        given = (native.text(sql), native.dump(list_of(parameters)))
        callbacks.call(lib.hf_store_query, self._pointer, *given, visit_c, NULL)
        return (json.loads(row) for row in texts)

    def visit(self, sql: str, parameters: Sequence[Any], each: Callable[[dict[str, Any]], Any]) -> None:
        """Calls `each` with one row after the other, until it returns False: for results that are
        larger than memory."""

        def visit_row(_: Any, row: Any) -> int:
            return 1 if each(json.loads(native.decode(row))) is False else 0

        callbacks = native.Callbacks()
        visit_c = callbacks.make("int(void*, const char*)", visit_row, 1)
        given = (native.text(sql), native.dump(list_of(parameters)))
        callbacks.call(lib.hf_store_query, self._pointer, *given, visit_c, NULL)

    def explain(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """How it would be run: {"scans", "steps"}."""
        given = (native.text(sql), native.dump(list_of(parameters)))
        plan: dict[str, Any] = native.json_out(lib.hf_store_explain, self._pointer, *given)
        return plan

    def watch(
        self, sql: str, changed: Callable[[dict[str, Any]], Any], parameters: Sequence[Any] = ()
    ) -> LiveQuery:
        """Calls `changed` now, and after each commit that changed the result, on the thread that
        committed, with {"added", "removed", "rows"}, until the LiveQuery is closed: not within a
        transaction."""

        def tell(_: Any, change: Any) -> None:
            changed(json.loads(native.decode(change)))

        made = native.lasting("void(void*, const char*)", tell)
        given = (native.text(sql), native.dump(list_of(parameters)))
        live = LiveQuery(
            native.value_out("hf_live_query**", lib.hf_store_watch, self._pointer, *given, made, NULL), self
        )
        live._keep(made)
        return live

    def create_index(self, collection: str, path: str) -> bool:
        """Over a path such as "$.due". False where there is one already."""
        given = (native.text(collection), native.text(path))
        return bool(native.value_out("bool*", lib.hf_store_create_index, self._pointer, *given))

    def drop_index(self, collection: str, path: str) -> bool:
        given = (native.text(collection), native.text(path))
        return bool(native.value_out("bool*", lib.hf_store_drop_index, self._pointer, *given))

    def indexes(self) -> Objects:
        all_: Objects = native.json_out(lib.hf_store_indexes, self._pointer)
        return all_

    # Edits of fields whose type a policy declares, and what records said before

    def _field(self, function: Any, key: str, collection: str, path: str, *rest: Any) -> bool:
        where = (native.text(collection), native.text(key), native.text(path))
        return bool(native.value_out("bool*", function, self._pointer, *where, *rest))

    def add(self, key: str, path: str, by: int, *, collection: str = RECORDS) -> bool:
        """To a counter, such as "$.count". False where there is no record, as below."""
        return self._field(lib.hf_field_add, key, collection, path, by)

    def insert_member(self, key: str, path: str, member: Any, *, collection: str = RECORDS) -> bool:
        """Into a set."""
        return self._field(lib.hf_field_insert_member, key, collection, path, native.dump(member))

    def remove_member(self, key: str, path: str, member: Any, *, collection: str = RECORDS) -> bool:
        return self._field(lib.hf_field_remove_member, key, collection, path, native.dump(member))

    def insert(self, key: str, path: str, at: int, value: Any, *, collection: str = RECORDS) -> bool:
        """Into a list, before the element that is at `at` now."""
        return self._field(lib.hf_field_insert, key, collection, path, at, native.dump(value))

    def move(self, key: str, path: str, start: int, to: int, *, collection: str = RECORDS) -> bool:
        """Within a list; `to` is where the element is after it."""
        return self._field(lib.hf_field_move, key, collection, path, start, to)

    def erase(self, key: str, path: str, at: int, *, collection: str = RECORDS) -> bool:
        """From a list."""
        return self._field(lib.hf_field_erase, key, collection, path, at)

    def edit_text(
        self, key: str, path: str, at: int, erase: int, insert: str, *, collection: str = RECORDS
    ) -> bool:
        """In a text: `erase` characters at `at` go, and `insert` comes."""
        return self._field(lib.hf_field_edit_text, key, collection, path, at, erase, native.text(insert))

    def history(self, key: str, *, collection: str = RECORDS) -> Objects:
        """What the record said before, the last change first: see hf_history_changes."""
        where = (native.text(collection), native.text(key))
        changes: Objects = native.json_out(lib.hf_history_changes, self._pointer, *where)
        return changes

    def undo(self, change: str) -> dict[str, Any]:
        """Puts back what a change (the "change" of a history's entry) replaced: {"records",
        "skipped"}."""
        report: dict[str, Any] = native.json_out(lib.hf_history_undo, self._pointer, native.text(change))
        return report

    def migrate(self, steps: Sequence[Migration], dry_run: bool = False) -> dict[str, Any]:
        """Runs the steps that this store has not had, in one transaction: {"from", "to", "steps"}."""
        callbacks = native.Callbacks()
        names = [ffi.new("char[]", native.text(step.name)) for step in steps]
        array = ffi.new("hf_migration[]", len(steps))
        for i, step in enumerate(steps):

            def run(_: Any, store: Any, step: Migration = step) -> int:
                step.run(self)
                return 0

            array[i].version, array[i].name = step.version, names[i]
            array[i].run = callbacks.make("int(void*, hf_store*)", run, 1)
        out = ffi.new("char**")
        callbacks.call(lib.hf_store_migrate, self._pointer, array, len(steps), dry_run, out)
        report: dict[str, Any] = json.loads(native.take(out[0]))
        return report

    # Keys

    def key_slots(self) -> Objects:
        """[{"number", "kind", "created_ms"}]"""
        slots: Objects = native.json_out(lib.hf_store_key_slots, self._pointer)
        return slots

    def add_key(self, key: KeyLike) -> int:
        """Returns the slot's number; a store has up to 8 keys."""
        with _opened(key) as opened:
            return int(native.value_out("uint8_t*", lib.hf_store_add_key, self._pointer, opened._pointer))

    def change_key(self, number: int, key: KeyLike) -> None:
        with _opened(key) as opened:
            native.check(lib.hf_store_change_key(self._pointer, number, opened._pointer))

    def remove_key(self, number: int) -> None:
        native.check(lib.hf_store_remove_key(self._pointer, number))

    def rekey(self, progress: Progress | None = None) -> None:
        """Encrypts everything under a new key of its own; every slot opens it."""
        callbacks = native.Callbacks()
        callbacks.call(lib.hf_store_rekey, self._pointer, native.progress_of(callbacks, progress), NULL)

    def export_key_for_backup(self, password: str | bytes) -> str:
        """The key that encrypts the data, under a password: see UserKey.exported."""
        given = password.encode() if isinstance(password, str) else password
        return native.text_of(lib.hf_store_export_key, self._pointer, given, len(given))

    def lock(self) -> None:
        """Closes the file and wipes every key from memory, until unlock()."""
        native.check(lib.hf_store_lock(self._pointer))

    def unlock(self, user_key: KeyLike) -> None:
        with _opened(user_key) as key:
            native.check(lib.hf_store_unlock(self._pointer, key._pointer))

    @property
    def is_locked(self) -> bool:
        return bool(native.value_out("bool*", lib.hf_store_is_locked, self._pointer))

    def verify(self, progress: Progress | None = None) -> None:
        """Reads every page of the file. Raises CorruptError."""
        callbacks = native.Callbacks()
        callbacks.call(lib.hf_store_verify, self._pointer, native.progress_of(callbacks, progress), NULL)

    # Moving

    def backup(
        self, path: str | pathlib.PurePath, key: KeyLike, progress: Progress | None = None
    ) -> dict[str, int]:
        """All records, sealed by `key`, in a new file: {"records", "bytes"}. See restore()."""
        callbacks, records, size = native.Callbacks(), ffi.new("uint64_t*"), ffi.new("uint64_t*")
        with _opened(key) as opened:
            report = native.progress_of(callbacks, progress)
            given = (native.path_text(path), opened._pointer, report, NULL, records, size)
            callbacks.call(lib.hf_backup, self._pointer, *given)
        return {"records": records[0], "bytes": size[0]}

    def import_fernet(
        self, sqlite_path: str | pathlib.PurePath, *keys: str | bytes, collection: str = RECORDS, progress: Progress | None = None
    ) -> int:
        """A plain SQLite database of Fernet tokens, in one transaction. How many records."""
        return self._move(lib.hf_import_fernet, sqlite_path, keys, collection, progress)

    def export_fernet(
        self, sqlite_path: str | pathlib.PurePath, *keys: str | bytes, collection: str = RECORDS, progress: Progress | None = None
    ) -> int:
        """One collection in a new database of that kind; ids and times are in plain text there."""
        return self._move(lib.hf_export_fernet, sqlite_path, keys, collection, progress)

    def _move(self, function: Any, path: Any, keys: Any, collection: str, progress: Progress | None) -> int:
        callbacks, records = native.Callbacks(), ffi.new("uint64_t*")
        with Fernet(*keys) as fernet:
            report = native.progress_of(callbacks, progress)
            where = (native.path_text(path), fernet._pointer, native.text(collection))
            callbacks.call(function, self._pointer, *where, report, NULL, records)
        return int(records[0])

    @staticmethod
    def check_upgrade(db_path: str | pathlib.PurePath, user_key: KeyLike) -> dict[str, Any]:
        """What opening it with this version will do to its tables: {"from", "to", "steps"}."""
        with _opened(user_key) as key:
            given = (native.path_text(db_path), key._pointer, NULL)
            report: dict[str, Any] = native.json_out(lib.hf_store_check_upgrade, *given)
        return report


def restore(
    backup_path: str | pathlib.PurePath,
    backup_key: KeyLike,
    db_path: str | pathlib.PurePath,
    user_key: KeyLike,
    *,
    replace: bool = False,
    progress: Progress | None = None,
    durability: str = "full",
    passphrase_memory_mib: int = 0,
    history_days: int = 30,
) -> dict[str, int]:
    """Makes a store at `db_path` of a backup's records, a new device in no vault: {"records",
    "bytes"}. With `replace`, in the place of a store that is not open."""
    callbacks, records, size = native.Callbacks(), ffi.new("uint64_t*"), ffi.new("uint64_t*")
    with _opened(backup_key) as opens, _opened(user_key) as key:
        source = (native.path_text(backup_path), opens._pointer)
        options = _options("create", durability, 0, passphrase_memory_mib, history_days)
        target = (native.path_text(db_path), key._pointer, replace, options)
        report = native.progress_of(callbacks, progress)
        callbacks.call(lib.hf_restore, *source, *target, report, NULL, records, size)
    return {"records": records[0], "bytes": size[0]}


def _rank(priority: int | None) -> Any:
    return NULL if priority is None else ffi.new("int64_t*", priority)


def list_of(parameters: Sequence[Any]) -> list[Any]:
    if not isinstance(parameters, (list, tuple)):
        raise InvalidArgumentError("parameters are a list or a tuple: one for each ? of the query")
    return list(parameters)


@contextlib.contextmanager
def _opened(key: KeyLike) -> Iterator[UserKey]:
    """The key, closed after use where it was made here."""
    opened = key_of(key)
    try:
        yield opened
    finally:
        if opened is not key:
            opened.close()


def _options(mode: str, durability: str, cache_mib: int, memory_mib: int, history_days: int) -> Any:
    if mode not in _OPEN or durability not in _DURABILITY:
        raise InvalidArgumentError(f"mode is one of {list(_OPEN)}, durability one of {list(_DURABILITY)}")
    options = ffi.new("hf_store_options*")
    options.size = ffi.sizeof("hf_store_options")
    options.open, options.durability = _OPEN[mode], _DURABILITY[durability]
    options.cache_mib, options.passphrase_memory_mib = cache_mib, memory_mib
    options.history_days, options.checkpoint_bytes = history_days, 8 << 20
    return options


def _is_sqlite(path: str | pathlib.PurePath) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _set_anchor(options: Any, anchor: Anchor) -> list[Any]:
    def load(_: Any, commits: Any, root: Any) -> int:
        position = anchor.load()
        if position is None:
            return 1
        commits[0] = position[0]
        ffi.memmove(root, position[1], 16)
        return 0

    def save(_: Any, commits: int, root: Any) -> int:
        anchor.save(commits, bytes(ffi.buffer(root, 16)))
        return 0

    kept = [
        native.lasting("int(void*, uint64_t*, uint8_t*)", load, 2, raises=True),
        native.lasting("int(void*, uint64_t, const uint8_t*)", save, 1, raises=True),
    ]
    options.anchor_load, options.anchor_save = kept
    return kept
