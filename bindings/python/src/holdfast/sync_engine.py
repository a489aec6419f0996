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

__all__ = ["SyncEngine", "changes"]


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
        native.check(lib.hf_engine_on_due(self._pointer, made, NULL))
        self._kept.append(made)

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
        subscription._kept.append(made)
        self._adopt(subscription)
        return subscription

    @property
    def sync(self) -> IncrementalSync:
        """The engine's own, with its states."""
        if self._sync is None:
            pointer = native.value_out("hf_sync**", lib.hf_engine_sync, self._pointer)
            self._sync = IncrementalSync(self._store, pointer, self)
        return self._sync

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Each event, in this task's loop, whatever thread caused it."""
        async with _queued(self.subscribe) as queue:
            while True:
                yield await queue.get()

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


@contextlib.asynccontextmanager
async def _queued(
    subscribe: Callable[[Callable[[dict[str, Any]], Any]], Handle],
) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def put(event: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(queue.put_nowait, event)

    subscription = subscribe(put)
    try:
        yield queue
    finally:
        # Waits for an event that is being told: not on the loop's own thread.
        await asyncio.to_thread(subscription.close)


async def changes(
    store: EncryptedLocalStore, sql: str, parameters: Sequence[Any] = ()
) -> AsyncIterator[dict[str, Any]]:
    """A live query in asyncio: {"added", "removed", "rows"} now and after each commit that changed the
    result."""
    async with _queued(lambda put: store.watch(sql, put, parameters)) as queue:
        while True:
            yield await queue.get()
