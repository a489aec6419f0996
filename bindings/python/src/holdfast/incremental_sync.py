"""Sending and receiving what changed, by a relay or by packages that the app carries."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, NamedTuple, Sequence, Union

from holdfast import _native as native
from holdfast._native import NULL, CancelFlag, Handle, ffi, lib
from holdfast.conflict_resolution import Conflict, ConflictResolver
from holdfast.encrypted_storage import EncryptedLocalStore
from holdfast.errors import MalformedError
from holdfast.sync_state_manager import SyncStateManager

__all__ = ["Applied", "IncrementalSync", "SyncPackage", "SyncProgress", "SyncResult"]

# {"changes": [sealed batches, as text]}: JSON, to be carried as you like; opaque outside the vault.
SyncPackage = dict[str, list[str]]
Changes = Union[Sequence[str], Mapping[str, Sequence[str]]]


class Applied(NamedTuple):
    """How many change sets are in the store now, and the conflicts that wait for the user."""

    applied: int
    conflicts: list[Conflict]


@dataclasses.dataclass(frozen=True)
class SyncProgress:
    """`phase` is "connecting", "receiving", "applying" or "sending"; remaining_ms is -1 where it
    cannot be told."""

    phase: str
    items: int
    total: int
    bytes: int
    remaining_ms: int


@dataclasses.dataclass(frozen=True)
class SyncResult:
    """`state` is up_to_date, conflict, offline or error; of the last two, `error` is a code's name and
    `message` says what to do."""

    state: str
    applied: int
    sent: int
    conflicts_pending: int
    duration_ms: int
    error: str | None
    message: str
    waiting: int
    rejected: list[str]
    notices: list[str]


class IncrementalSync(Handle):
    """One store's sync. Its state is kept in the store: a sync that is cut anywhere goes on from
    there. The store is in a vault first: Vault(store).create(…) or join(…)."""

    _close = "hf_sync_close"

    def __init__(
        self, local_store: EncryptedLocalStore, _pointer: Any = None, _parent: Handle | None = None
    ) -> None:
        pointer = _pointer or native.value_out("hf_sync**", lib.hf_sync_open, local_store._pointer)
        super().__init__(pointer, _parent or local_store)
        self._store = local_store
        self._states: SyncStateManager | None = None
        # Of the last apply_remote_changes: change sets that wait for others, and batches that could
        # not be taken.
        self.waiting = 0
        self.rejected: list[str] = []

    def sync(self, progress: Callable[[SyncProgress], Any] | None = None) -> SyncResult:
        """One sync with the vault's relay. Being offline is a result, not an exception."""
        callbacks, out = native.Callbacks(), ffi.new("char**")
        observe = NULL
        if progress is not None:

            def report(_: Any, phase: Any, *rest: int) -> None:
                assert progress is not None
                try:
                    progress(SyncProgress(native.decode(phase), *rest))
                except BaseException:
                    lib.hf_sync_cancel(self._pointer)
                    raise

            observe = callbacks.make(
                "void(void*, const char*, uint64_t, uint64_t, uint64_t, int64_t)", report
            )
        try:
            callbacks.call(lib.hf_sync_run, self._pointer, observe, NULL, out)
            return SyncResult(**native.loads_out(out))
        finally:
            lib.hf_free(out[0])

    def cancel(self) -> None:
        """Makes a sync that runs on another thread stop soon: its result's error is "cancelled"."""
        native.check(lib.hf_sync_cancel(self._pointer))

    def progress(self) -> SyncProgress:
        """How far a running sync is, or the last one was."""
        return SyncProgress(**native.json_out(lib.hf_sync_progress, self._pointer))

    def wait_for_news(self, ms: int, cancel: CancelFlag | None = None) -> str:
        """Waits at the relay, for `ms` at most: "some", "none", or "unknown", which a sync finds
        out."""
        given = (ms, native.flag_of(cancel))
        return native.decode(
            native.value_out("const char**", lib.hf_sync_wait_for_news, self._pointer, *given)
        )

    def prepare_sync_package(self) -> SyncPackage:
        """Seals what has changed: all that is not delivered yet. The same again until
        mark_delivered(), or a relay, confirms it."""
        return {"changes": native.json_out(lib.hf_sync_prepare_package, self._pointer)}

    def mark_delivered(self, package: Changes) -> None:
        native.check(lib.hf_sync_mark_delivered(self._pointer, _changes(package)))

    def apply_remote_changes(self, changes: Changes) -> Applied:
        """Takes another device's package, or its "changes"; one that was taken before, too. What
        cannot be taken is in `rejected`, and the rest is applied."""
        result = native.json_out(lib.hf_sync_apply_package, self._pointer, _changes(changes))
        self.waiting, self.rejected = result["waiting"], result["rejected"]
        pending = ConflictResolver(self._store).conflicts(pending_only=True)
        return Applied(result["applied"], pending)

    def get_local_changes(self, since: int = 0) -> list[dict[str, Any]]:
        """What this device changed after its change set `since` and no relay has: dicts with
        "sequence", "time_ms", "collection", "id", "path" and "kind"."""
        changes: list[dict[str, Any]] = native.json_out(lib.hf_sync_local_changes, self._pointer, since)
        return changes

    def count_pending(self) -> int:
        """How many change sets of this device no relay has confirmed."""
        return int(native.value_out("uint64_t*", lib.hf_sync_count_pending, self._pointer))

    def trust_relay_time(self) -> None:
        """The next time that the relay's time is another by more than a day, it is right."""
        native.check(lib.hf_sync_trust_relay_time(self._pointer))

    def problems(self) -> list[dict[str, Any]]:
        """Batches of the vault's log that this device could not take, or that do nothing."""
        all_: list[dict[str, Any]] = native.json_out(lib.hf_sync_problems, self._pointer)
        return all_

    @property
    def states(self) -> SyncStateManager:
        if self._states is None:
            pointer = native.value_out("hf_states**", lib.hf_sync_states, self._pointer)
            self._states = SyncStateManager(self._store, pointer, self)
        return self._states


def _changes(given: Changes) -> bytes:
    changes = given.get("changes") if isinstance(given, Mapping) else given
    if not isinstance(changes, (list, tuple)):
        raise MalformedError("this is no package of a sync, nor its changes")
    return native.dump(list(changes))
