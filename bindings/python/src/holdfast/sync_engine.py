"""Keeps a store in sync while an app runs; and its events, and those of live queries, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import Any, AsyncIterator, Callable, Sequence

from holdfast import _native as native
from holdfast._native import NULL, Handle, Subscription, ffi, lib
from holdfast.encrypted_storage import EncryptedLocalStore
from holdfast.incremental_sync import IncrementalSync

__all__ = ["Events", "SyncEngine", "changes"]


class Events(AsyncIterator[dict[str, Any]]):
    """What is told on other threads, for `async for` in the loop that was running when this was made.
    Ends with its `async with`, or with what it observes."""

    def __init__(self, subscribe: Callable[[Callable[[dict[str, Any]], Any]], Handle]) -> None:
        loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def put(event: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._queue.put_nowait, event)

        self._subscription = subscribe(put)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._queue.get()

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(self, *error: object) -> None:
        # Waits for an event that is being told: not on the loop's own thread.
        await asyncio.to_thread(self._subscription.close)


class SyncEngine(Handle):
    """Sends edits a little after they were made, takes what others send, tries again when the network
    is back. Call run() on a thread of yours, or use `async with engine.running()`.

    An event is a dict: "kind" is "state", "progress", "conflicts" or "warning", and what it tells is
    under that name.
    """

    _close = "hf_engine_close"

    def __init__(
        self,
        store: EncryptedLocalStore,
        *,
        coalesce_ms: int = 3000,
        interval_ms: int = 15 * 60 * 1000,
        watch: bool = True,
    ) -> None:
        options = ffi.new("hf_engine_options*")
        options.size = ffi.sizeof("hf_engine_options")
        options.coalesce_ms, options.interval_ms, options.watch = coalesce_ms, interval_ms, watch
        super().__init__(native.value_out("hf_engine**", lib.hf_engine_open, store._pointer, options), store)
        self._store = store
        self._sync: IncrementalSync | None = None

    def run(self) -> None:
        """Syncs when it is time to, until stop() or close() on another thread."""
        native.check(lib.hf_engine_run(self._pointer))

    def step(self) -> int:
        """Does what is due, and returns after how many milliseconds to call again, at the latest."""
        return int(native.value_out("int64_t*", lib.hf_engine_step, self._pointer))

    def on_due(self, due: Callable[[], Any] | None) -> None:
        """Called on any thread when step() should be called sooner than it said."""
        made = NULL if due is None else native.lasting("void(void*)", lambda _: due and due())
        if due is not None:
            self._keep(made)
        native.check(lib.hf_engine_on_due(self._pointer, made, NULL))

    def sync_now(self) -> None:
        native.check(lib.hf_engine_sync_now(self._pointer))

    def set_conditions(self, network: str, *, metered: bool = False, saves_power: bool = False) -> None:
        """ "wifi", "cellular", …; "none": nothing is tried."""
        native.check(lib.hf_engine_set_conditions(self._pointer, native.text(network), metered, saves_power))

    def stop(self) -> None:
        native.check(lib.hf_engine_stop(self._pointer))

    def subscribe(self, observer: Callable[[dict[str, Any]], Any]) -> Subscription:
        """Tells of each event, on the thread that caused it."""

        def tell(_: Any, event: Any) -> None:
            observer(json.loads(native.decode(event)))

        made = native.lasting("void(void*, const char*)", tell)
        pointer = native.value_out("hf_subscription**", lib.hf_engine_subscribe, self._pointer, made, NULL)
        subscription = Subscription(pointer, self)
        subscription._keep(made)
        return subscription

    @property
    def sync(self) -> IncrementalSync:
        """The engine's own, with its states."""
        if self._sync is None:
            pointer = native.value_out("hf_sync**", lib.hf_engine_sync, self._pointer)
            self._sync = IncrementalSync(self._store, pointer, self)
        return self._sync

    def events(self) -> Events:
        """Each event from now on, for this task's loop: `async with engine.events() as events`."""
        return Events(self.subscribe)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SyncEngine]:
        """Runs on a thread of its own while the `with` lasts. Where the engine fails, what is in the
        `with` is cancelled, and the error is raised from it. Once for each engine."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        ended: asyncio.Future[BaseException | None] = loop.create_future()
        leaving = False

        def end(error: BaseException | None) -> None:
            ended.set_result(error)
            if error is not None and not leaving and task is not None:
                task.cancel()  # what is in the `with` would wait for nothing

        def run() -> None:
            error: BaseException | None = None
            try:
                self.run()
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(end, error)

        threading.Thread(target=run, name="holdfast-engine").start()
        try:
            yield self
        except asyncio.CancelledError:
            if ended.done() and (error := ended.result()) is not None:
                raise error from None
            raise
        finally:
            leaving = True
            self.stop()
            error = await ended
        if error is not None:
            raise error


def changes(store: EncryptedLocalStore, sql: str, parameters: Sequence[Any] = ()) -> Events:
    """A live query for asyncio: {"added", "removed", "rows"} now and after each commit that changed the
    result: `async with changes(store, "SELECT …") as found`."""
    return Events(lambda put: store.watch(sql, put, parameters))
