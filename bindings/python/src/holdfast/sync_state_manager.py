"""The state of sync, for a user interface."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Callable

from holdfast import _native as native
from holdfast._native import NULL, Handle, Subscription, lib
from holdfast.conflict_resolution import Conflict, ConflictResolver
from holdfast.encrypted_storage import EncryptedLocalStore

__all__ = ["SyncMetadata", "SyncStateManager"]


@dataclasses.dataclass(frozen=True)
class SyncMetadata:
    """What is known of the last sync; kept across restarts. Times are in milliseconds."""

    state: str
    last_sync_timestamp: int
    items_synced: int
    conflicts_resolved: int
    sync_duration_ms: int
    error_message: str
    network_type: str


class SyncStateManager(Handle):
    """offline, syncing, conflict, up_to_date or error; legal transitions only. The one of a sync
    (IncrementalSync.states) moves with it; one made of a store sees what was kept when it was
    made."""

    _close = "hf_states_close"

    def __init__(self, store: EncryptedLocalStore, _pointer: Any = None, _parent: Handle | None = None) -> None:
        pointer = _pointer or native.value_out("hf_states**", lib.hf_states_open, store._pointer)
        super().__init__(pointer, _parent or store)
        self._store = store

    @property
    def metadata(self) -> SyncMetadata:
        return SyncMetadata(**native.json_out(lib.hf_states_metadata, self._pointer))

    @property
    def current_state(self) -> str:
        return self.metadata.state

    def update_state(self, new_state: str, **metadata: Any) -> None:
        """Moves on, and keeps the members of SyncMetadata that are given. Raises IllegalStateError for
        a transition that does not exist."""
        given = native.dump(metadata)
        native.check(lib.hf_states_transition(self._pointer, native.text(new_state), given))

    @staticmethod
    def is_legal(start: str, to: str) -> bool:
        given = (native.text(start), native.text(to))
        return bool(native.value_out("bool*", lib.hf_states_is_legal, *given))

    def get_pending_conflicts(self) -> list[Conflict]:
        """Those that wait for the user."""
        return ConflictResolver(self._store).conflicts(pending_only=True)

    def set_network_type(self, network: str) -> None:
        """ "wifi", "cellular", "ethernet", …"""
        native.check(lib.hf_states_set_network(self._pointer, native.text(network)))

    def count_resolved(self) -> None:
        """The user has settled a conflict."""
        native.check(lib.hf_states_count_resolved(self._pointer))

    def subscribe(self, observer: Callable[[SyncMetadata], Any]) -> Subscription:
        """Tells of each change, on the thread that caused it."""

        def tell(_: Any, state: Any) -> None:
            observer(SyncMetadata(**json.loads(native.decode(state))))

        made = native.lasting("void(void*, const char*)", tell)
        pointer = native.value_out("hf_subscription**", lib.hf_states_subscribe, self._pointer, made, NULL)
        subscription = Subscription(pointer, self)
        subscription._keep(made)
        return subscription
