"""A store that is awaited, over one in memory, whose every await can be looked at; and what is driven through it by hand."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dynamostore import Record, Store

__all__ = ["AwaitedStore", "busy_executor", "finish", "steps"]

R = TypeVar("R")


class AwaitedStore:
    """An `AsyncStore` in front of a store: each verb waits, does what it does, and waits again for its reply.

    *wait* is told what for, and is awaited: if not given, by hand.
    """

    def __init__(self, store: Store, wait: Callable[[str], Awaitable[object]] | None = None) -> None:
        self._store = store
        self._wait = wait or _by_hand

    async def find(self, token: str) -> Record | None:
        await self._wait("find")
        found = self._store.find(token)
        await self._wait("found")
        return found

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        await self._wait("save")
        record = self._store.save(token, data, expiry)
        await self._wait("saved")
        return record

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        await self._wait("create")
        record = self._store.create(token, data, expiry)
        await self._wait("created")
        return record

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        await self._wait("replace")
        new = self._store.replace(record, data, expiry)
        await self._wait("replaced")
        return new

    async def touch(self, record: Record, expiry: datetime) -> Record:
        await self._wait("touch")
        new = self._store.touch(record, expiry)
        await self._wait("touched")
        return new

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        await self._wait("rename")
        new = self._store.rename(record, token, data, expiry, grace=grace)
        await self._wait("renamed")
        return new

    async def remove(self, record: Record) -> None:
        await self._wait("remove")
        self._store.remove(record)
        await self._wait("removed")

    async def delete(self, token: str) -> None:
        await self._wait("delete")
        self._store.delete(token)
        await self._wait("deleted")

    async def ping(self) -> None:
        await self._wait("ping")


async def _by_hand(what: str) -> None:
    await _say(what)


@types.coroutine
def _say(what: str) -> Generator[str, None, None]:
    yield what


def steps(coroutine: Coroutine[Any, Any, object]) -> list[str]:
    """What *coroutine* waited for, one after the other, until it ended."""
    waits: list[str] = []
    try:
        while True:
            waits.append(coroutine.send(None))
    except StopIteration:
        return waits


def finish(coroutine: Coroutine[Any, Any, R]) -> R:
    """What *coroutine* returns, once it has waited for all that it waits for."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result


@asynccontextmanager
async def busy_executor(jobs: int = 40) -> AsyncIterator[None]:
    """Asyncio's default executor, which is the app's, with more blocking jobs in it than it has threads."""
    over = threading.Event()
    blocked = [asyncio.get_running_loop().run_in_executor(None, over.wait, 30) for _ in range(jobs)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*blocked)
