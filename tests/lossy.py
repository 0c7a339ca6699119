"""A store that does what it is asked and loses the reply, and an async one that takes its time: for tests of unknown outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from dynamostore import AsyncStore, MemoryStore, Record, UnavailableError
from dynamostore.instants import Clock

R = TypeVar("R")


class LossyStore(MemoryStore):
    """A store that loses the reply to the next call of the verb that *lose* names."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.lose = ""
        self.calls: list[str] = []

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        return self._reply("create", super().create(token, data, expiry))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        return self._reply("replace", super().replace(record, data, expiry))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        return self._reply("rename", super().rename(record, token, data, expiry, grace=grace))

    def remove(self, record: Record) -> None:
        super().remove(record)
        self._reply("remove", record)

    def delete(self, token: str) -> None:
        super().delete(token)
        if self._is_lost("delete"):
            raise UnavailableError("no reply", operation="DeleteItem")

    def _reply(self, verb: str, record: Record) -> Record:
        if self._is_lost(verb):
            raise UnavailableError("no reply", version=0 if verb == "remove" else record.version)
        return record

    def _is_lost(self, verb: str) -> bool:
        self.calls.append(verb)
        lost = self.lose in (verb, "any")
        if lost:
            self.lose = ""
        return lost


class SlowStore(AsyncStore):
    """An async store in front of a `MemoryStore`, which waits before or after the verbs that *before* and *after* name.

    It waits until *go_on* is set, so that a test says when. *skip*: it does not wait before so many calls.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.before = self.after = ""
        self.skip = 0
        self.go_on = asyncio.Event()
        self.waits = asyncio.Event()

    async def find(self, token: str) -> Record | None:
        return await self._slowly("find", lambda: self.store.find(token))

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        return await self._slowly("save", lambda: self.store.save(token, data, expiry))

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        return await self._slowly("create", lambda: self.store.create(token, data, expiry))

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        return await self._slowly("replace", lambda: self.store.replace(record, data, expiry))

    async def touch(self, record: Record, expiry: datetime) -> Record:
        return await self._slowly("touch", lambda: self.store.touch(record, expiry))

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        return await self._slowly("rename", lambda: self.store.rename(record, token, data, expiry, grace=grace))

    async def remove(self, record: Record) -> None:
        await self._slowly("remove", lambda: self.store.remove(record))

    async def delete(self, token: str) -> None:
        await self._slowly("delete", lambda: self.store.delete(token))

    async def ping(self) -> None:
        self.store.ping()

    async def _slowly(self, verb: str, act: Callable[[], R]) -> R:
        if self.before == verb:
            self.skip -= 1
        if self.before == verb and self.skip < 0:
            await self._wait()
        result = act()
        if self.after == verb:
            await self._wait()
        return result

    async def _wait(self) -> None:
        self.before = self.after = ""
        self.waits.set()
        await self.go_on.wait()

    async def interrupted(self, work: Awaitable[object]) -> None:
        """Begin *work*, and cancel it where it waits."""
        task = asyncio.ensure_future(work)
        await self.waits.wait()
        self.waits.clear()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return
        raise AssertionError("it was not cancelled")
