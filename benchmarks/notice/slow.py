"""`SlowStore` and `SlowAsyncStore`: the shelf of the current request, as if it were behind a network.

A read is old by the whole call when it arrives, and a write is made at the end of its call: requests meet as often as they can.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dynamostore import Record

from .traces import Trace, current

__all__ = ["SlowAsyncStore", "SlowStore"]

LATENCY = (0.002, 0.008)
"""The shortest and the longest call, in seconds."""


def _latency(trace: Trace) -> float:
    return 0.0 if trace.instant else trace.random.uniform(*LATENCY)


def _written(trace: Trace, record: Record) -> Record:
    trace.note_written(record)
    return record


class SlowStore:
    """A `dynamostore.Store`."""

    def find(self, token: str) -> Record | None:
        trace = current()
        record = trace.shelf.find(token)
        trace.wait(_latency(trace))
        return record

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        return self._begin_write().shelf.save(token, data, expiry)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        trace = self._begin_write()
        return _written(trace, trace.shelf.create(token, data, expiry))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        trace = self._begin_write()
        return _written(trace, trace.shelf.replace(record, data, expiry))

    def touch(self, record: Record, expiry: datetime) -> Record:
        return self._begin_write().shelf.touch(record, expiry)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        trace = self._begin_write()
        return _written(trace, trace.shelf.rename(record, token, data, expiry, grace=grace))

    def remove(self, record: Record) -> None:
        self._begin_write().shelf.remove(record)

    def delete(self, token: str) -> None:
        self._begin_write().shelf.delete(token)

    def ping(self) -> None:
        """Return: memory is always there."""

    def _begin_write(self) -> Trace:
        trace = current()
        trace.run.note_changes()
        trace.wait(_latency(trace))
        return trace


class SlowAsyncStore:
    """A `dynamostore.AsyncStore`."""

    async def find(self, token: str) -> Record | None:
        trace = current()
        record = trace.shelf.find(token)
        await trace.pause(_latency(trace))
        return record

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        return (await self._begin_write()).shelf.save(token, data, expiry)

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        trace = await self._begin_write()
        return _written(trace, trace.shelf.create(token, data, expiry))

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        trace = await self._begin_write()
        return _written(trace, trace.shelf.replace(record, data, expiry))

    async def touch(self, record: Record, expiry: datetime) -> Record:
        return (await self._begin_write()).shelf.touch(record, expiry)

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        trace = await self._begin_write()
        return _written(trace, trace.shelf.rename(record, token, data, expiry, grace=grace))

    async def remove(self, record: Record) -> None:
        (await self._begin_write()).shelf.remove(record)

    async def delete(self, token: str) -> None:
        (await self._begin_write()).shelf.delete(token)

    async def ping(self) -> None:
        """Return: memory is always there."""

    async def _begin_write(self) -> Trace:
        trace = current()
        trace.run.note_changes()
        await trace.pause(_latency(trace))
        return trace
