"""Conflicts: what they are, how they are shown, and how a user settles them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Callable, Mapping, Optional

from holdfast import _native as native
from holdfast._native import NULL, Handle, Subscription, ffi, lib
from holdfast.encrypted_storage import EncryptedLocalStore
from holdfast.errors import InvalidArgumentError

__all__ = ["Conflict", "ConflictResolver", "Resolution"]

_DECIDE = "int(void*, const char*, hf_reply*)"
Decide = Callable[[dict[str, Any]], Any]


class _List(Handle):
    _close = "hf_conflicts_close"


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A field with several concurrent values, as it was when it was listed. `candidates` are dicts
    with "value" (missing: deleted), "device", "time_ms", "priority" and "automatic", the oldest
    first."""

    collection: str
    id: str
    path: str
    type: str
    candidates: list[dict[str, Any]]
    visible: int
    shown: Any
    merged: bool
    pending: bool
    suggested: int
    deadline_ms: int | None
    _list: _List | None = dataclasses.field(default=None, repr=False, compare=False)
    _index: int = dataclasses.field(default=0, repr=False, compare=False)


def _conflict(value: dict[str, Any], of: _List | None = None, index: int = 0) -> Conflict:
    names = [field.name for field in dataclasses.fields(Conflict) if not field.name.startswith("_")]
    members: dict[str, Any] = {name: value.get(name) for name in names}
    return Conflict(**members, _list=of, _index=index)


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What comes of two plain documents: `value` is None where it is deleted or there is no common
    record; with `needs_user` it is provisional."""

    type: str
    value: Any
    needs_user: bool
    lineage: list[dict[str, Any]]


def _decide(function: Decide) -> Callable[[Any, Any, Any], int]:
    def decide(_: Any, conflict: Any, reply: Any) -> int:
        value = function(json.loads(native.decode(conflict)))
        if value is not None:
            native.reply(reply, value)
        return 0

    return decide


class ConflictResolver:
    """Without a store: compares and resolves plain documents. With one: lists and settles its
    conflicts, and sets how they are shown."""

    def __init__(self, store: EncryptedLocalStore | None = None) -> None:
        self._store = store
        self._custom: dict[str, Any] = {}

    @property
    def _pointer(self) -> Any:
        if self._store is None:
            raise InvalidArgumentError("this needs a store: ConflictResolver(store)")
        return self._store._pointer

    def resolve_conflict(
        self,
        local_data: Optional[Mapping[str, Any]],
        remote_data: Optional[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
    ) -> Resolution:
        """Of two documents, by their fields `id`, `version`, `updated_at` and `priority`; None stands
        for a deleted one. `context` has "resolution_strategy" (timestamp, priority, merge,
        user_choice or custom), "critical_paths" (where these differ, the user decides) and
        "custom", a function of the conflict that gives the value, or None to leave it."""
        known = {"resolution_strategy", "critical_paths", "custom"}
        given = dict(context or {})
        if not set(given) <= known:
            raise InvalidArgumentError(f"a context has {sorted(known)}, not {sorted(set(given) - known)}")
        how: dict[str, Any] = {"strategy": given.get("resolution_strategy", "timestamp")}
        if "critical_paths" in given:
            how["critical_paths"] = list(given["critical_paths"])
        callbacks, out = native.Callbacks(), ffi.new("char**")
        custom = given.get("custom")
        decide = callbacks.make(_DECIDE, _decide(custom), 1) if custom else NULL
        documents = (native.dump(local_data), native.dump(remote_data), native.dump(how))
        try:
            callbacks.call(lib.hf_resolve_conflict, *documents, decide, NULL, out)
            value = native.loads_out(out)
        finally:
            lib.hf_free(out[0])
        return Resolution(value["type"], value.get("value"), value["needs_user"], value["lineage"])

    def conflicts(self, pending_only: bool = False) -> list[Conflict]:
        """All fields with concurrent values; with `pending_only`, those that wait for the user."""
        made, text = ffi.new("hf_conflicts**"), ffi.new("char**")
        native.check(lib.hf_conflicts_list(self._pointer, pending_only, made, text))
        of = _List(made[0], self._store)
        return [_conflict(value, of, i) for i, value in enumerate(json.loads(native.take(text[0])))]

    def count_pending(self) -> int:
        return int(native.value_out("uint64_t*", lib.hf_conflicts_count_pending, self._pointer))

    def pick(self, conflict: Conflict, candidate: int) -> None:
        """Settles it by one of its candidates. What has come since it was listed stays."""
        of = self._list_of(conflict)
        native.check(lib.hf_conflicts_pick(of._pointer, conflict._index, candidate))

    def resolve(self, conflict: Conflict, value: Any) -> None:
        """Settles it by another value."""
        of = self._list_of(conflict)
        native.check(lib.hf_conflicts_resolve(of._pointer, conflict._index, native.dump(value)))

    def settle(self) -> int:
        """Writes what is due now: fallbacks, and what custom functions decide. How many it wrote."""
        return int(native.value_out("uint64_t*", lib.hf_conflicts_settle, self._pointer))

    def set_custom(self, collection: str, decide: Decide | None) -> None:
        """The app's function for the strategy "custom": gets the conflict as a dict, gives the value,
        or None to leave it. Called on any thread that uses the store; must not use it."""
        made = NULL if decide is None else native.lasting(_DECIDE, _decide(decide), 1)
        native.check(lib.hf_conflicts_set_custom(self._pointer, native.text(collection), made, NULL))
        assert self._store is not None
        if decide is not None:
            self._store._keep(made)  # until the store is closed: another resolver may be gone then

    def subscribe(self, observer: Callable[[list[Conflict]], Any]) -> Subscription:
        """Tells of conflicts that have become pending, on the thread that committed. They cannot be
        settled by pick() and resolve(): list them for that."""

        def tell(_: Any, conflicts: Any) -> None:
            observer([_conflict(value) for value in json.loads(native.decode(conflicts))])

        made = native.lasting("void(void*, const char*)", tell)
        pointer = native.value_out(
            "hf_subscription**", lib.hf_conflicts_subscribe, self._pointer, made, NULL
        )
        subscription = Subscription(pointer, self._store)
        subscription._keep(made)
        return subscription

    def set_policy(self, collection: str, path: str, strategy: str = "timestamp", **rest: Any) -> None:
        """How concurrent values of a field, and of all below it, are treated; `rest`: type, critical,
        deadline_ms, fallback, whole_records, delete_wins."""
        policy = {"collection": collection, "path": path, "strategy": strategy, **rest}
        native.check(lib.hf_policy_set(self._pointer, native.dump(policy)))

    def policies(self) -> list[dict[str, Any]]:
        all_: list[dict[str, Any]] = native.json_out(lib.hf_policies, self._pointer)
        return all_

    def _list_of(self, conflict: Conflict) -> _List:
        if conflict._list is None:
            raise InvalidArgumentError("list the conflict first: this one came from an observer")
        return conflict._list
