"""A store that is awaited, over one in memory, whose every await can be looked at; and what is driven through it by hand."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dynamostore import Record, Store

__all__ = ["AwaitedStore", "finish", "steps"]

R = TypeVar("R")


class AwaitedStore:
    """An `AsyncStore` in front of a store: each verb waits, does what it does, and waits again for its reply."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, token: str) -> Record | None:
        await _wait("find")
        found = self._store.find(token)
        await _wait("found")
        return found

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        await _wait("save")
        record = self._store.save(token, data, expiry)
        await _wait("saved")
        return record

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        await _wait("create")
        record = self._store.create(token, data, expiry)
        await _wait("created")
        return record

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        await _wait("replace")
        new = self._store.replace(record, data, expiry)
        await _wait("replaced")
        return new

    async def touch(self, record: Record, expiry: datetime) -> Record:
        await _wait("touch")
        new = self._store.touch(record, expiry)
        await _wait("touched")
        return new

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        await _wait("rename")
        new = self._store.rename(record, token, data, expiry, grace=grace)
        await _wait("renamed")
        return new

    async def delete(self, token: str) -> None:
        await _wait("delete")
        self._store.delete(token)
        await _wait("deleted")

    async def ping(self) -> None:
        await _wait("ping")


@types.coroutine
def _wait(what: str) -> Generator[str, None, None]:
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
