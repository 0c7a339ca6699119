"""`BlockingStore`: use an async store as a sync one, so that the same tests cover both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar

from dynamostore.contract import AsyncStore, Record
from dynamostore.process_bound import ProcessBound

__all__ = ["BlockingStore", "LoopThread"]

R = TypeVar("R")


class LoopThread(ProcessBound):
    """Run an event loop in a separate thread for the length of a ``with`` block.

    *loop*: an event loop to use instead of asyncio's default, for example uvloop's ``new_event_loop()``. Tasks that are
    still running at the end of the block are cancelled.

    >>> async def answer() -> int:
    ...     return 42
    >>> with LoopThread() as loop:
    ...     loop.run(answer())
    42
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop: asyncio.AbstractEventLoop = loop or asyncio.new_event_loop()
        self._thread = Thread(target=self._serve, name="dynamostore-loop", daemon=True)

    def run(self, awaitable: Awaitable[R]) -> R:
        """Run *awaitable* on the loop, and return its result or raise its exception. Do not call it from the loop's thread."""

        async def outcome() -> R:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(outcome(), self.loop).result()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.get_loop().run_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


class BlockingStore(ProcessBound):
    """Use an `AsyncStore` as a `Store`: each method runs on *loop* and waits for the result.

    For tests such as `StoreContract <dynamostore.testing.StoreContract>`. Calls from several threads become several tasks.
    """

    def __init__(self, store: AsyncStore, loop: LoopThread) -> None:
        self.store: AsyncStore = store
        self._loop = loop

    def find(self, token: str) -> Record | None:
        """See `Store.find`."""
        return self._loop.run(self.store.find(token))

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.save`."""
        return self._loop.run(self.store.save(token, data, expiry))

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.create`."""
        return self._loop.run(self.store.create(token, data, expiry))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """See `Store.replace`."""
        return self._loop.run(self.store.replace(record, data, expiry))

    def touch(self, record: Record, expiry: datetime) -> Record:
        """See `Store.touch`."""
        return self._loop.run(self.store.touch(record, expiry))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """See `Store.rename`."""
        return self._loop.run(self.store.rename(record, token, data, expiry, grace=grace))

    def remove(self, record: Record) -> None:
        """See `Store.remove`."""
        self._loop.run(self.store.remove(record))

    def delete(self, token: str) -> None:
        """See `Store.delete`."""
        self._loop.run(self.store.delete(token))

    def ping(self) -> None:
        """See `Store.ping`."""
        self._loop.run(self.store.ping())
