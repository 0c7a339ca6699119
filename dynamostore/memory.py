"""`MemoryStore` and `AsyncMemoryStore`: stores that keep records in memory, for tests and experiments."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from threading import Lock
from types import TracebackType
from typing import Final, NamedTuple, Self

from . import items, markers
from .contract import Record
from .digests import digest
from .errors import Conflict
from .hidden import Hidden, clears_frames
from .instants import Clock, to_ns
from .plans.checks import check_record, check_rename, conflict, new_record
from .process_bound import ProcessBound
from .steps import asleep
from .table import Table

__all__ = ["AsyncMemoryStore", "MemoryStore"]


_ELSEWHERE: Final = (
    "its records are in this process's memory; to share records, use a table, for example of dynamostore.local"
)


@clears_frames("find", "save", "create", "replace", "touch", "rename", "remove", "delete")
class MemoryStore(ProcessBound, instead=_ELSEWHERE):
    """Store records in this process's memory, for tests and experiments. A `Store`; threads may share it.

    It implements the full contract of `Store`, including the size limits. Its records are lost with the object. *clock*
    returns Unix time in nanoseconds. An expired record is dropped at the next access to its token.

    >>> from datetime import UTC, datetime
    >>> store = MemoryStore()
    >>> record = store.create("token", b"data", datetime(2200, 1, 1, tzinfo=UTC))
    >>> store.find("token") == record
    True
    >>> store.delete("token")
    >>> store.find("token")
    """

    def __init__(self, *, clock: Clock = time.time_ns) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        # The markers by their old tokens, oldest first.
        self._markers: dict[str, _Marker] = {}
        self._lock = Lock()

    def find(self, token: str) -> Record | None:
        """Return the live record under *token*; None if it is missing or expired, or if *token* is malformed."""
        if not items.storable(token):
            return None
        with self._lock:
            return self._live(token)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create or overwrite the record under *token*, unconditionally."""
        new = new_record(_TABLE, token, data, expiry)
        with self._lock:
            self._markers.pop(token, None)
            self._records[token] = new
        return new

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create a record. Raise `Conflict` if a live record has this token."""
        new = new_record(_TABLE, token, data, expiry)
        with self._lock:
            if (there := self._live(token)) is not None:
                raise conflict(token, there, taken=True)
            self._markers.pop(token, None)
            self._records[token] = new
        return new

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Replace the data and the expiry of *record*. Raise `Conflict` as `Store.replace` does."""
        check_record(record)
        new = new_record(_TABLE, record.token, data, expiry, beside=record.beside, recent=items.recent(record))
        with self._lock:
            self._unchanged(record, new)
            self._records[record.token] = new
        return new

    def touch(self, record: Record, expiry: datetime) -> Record:
        """Change only the expiry. Raise `Conflict` if the record is gone."""
        check_record(record)
        expiry_ns = to_ns(expiry)
        with self._lock:
            there = self._live(record.token)
            if there is None or there.token != record.token:
                raise self._conflict(record, there)
            mine = _same(there, record) and there.expiry_ns == record.expiry_ns
            if there.expiry_ns > expiry_ns and not mine:
                return replace(record, expiry=there.expiry, expiry_ns=there.expiry_ns)
            self._records[record.token] = replace(there, expiry=expiry, expiry_ns=expiry_ns)
            return replace(record, expiry=expiry, expiry_ns=expiry_ns)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Move *record* to a new *token* and leave a marker. Raise `Conflict` as `Store.rename` does."""
        check_rename(record, token, grace)
        new = new_record(_TABLE, token, data, expiry, beside=record.beside, recent=items.recent(record))
        with self._lock:
            if (taken := self._live(token)) is not None:
                raise conflict(token, taken, taken=True)
            if self._is_followed(token):
                # A marker that leads to no live record may be replaced.
                del self._markers[token]
            self._unchanged(record, new)
            self._forget_ended()
            self._markers.pop(token, None)
            self._records[token] = new
            del self._records[record.token]
            self._markers[record.token] = _Marker(token, *markers.lifespan(self._clock(), grace))
        return new

    def remove(self, record: Record) -> None:
        """Delete *record* unless its data has changed. Raise `Conflict` if it has, or if the record is gone."""
        check_record(record)
        with self._lock:
            there = self._records.get(record.token)
            if there is None or not _same(there, record):
                raise self._conflict(record, self._live(record.token))
            del self._records[record.token]

    def delete(self, token: str) -> None:
        """Delete the record under *token*, or the record it was renamed to. Do nothing if it is missing."""
        if not items.storable(token):
            return
        with self._lock:
            there: str | None = token
            while there is not None:
                self._records.pop(there, None)
                marker = self._marker(there)
                self._markers.pop(there, None)
                there = marker and marker.token

    def records(self) -> Iterator[Record]:
        """Iterate over the live records, in any order. Records created or deleted meanwhile may be included or not."""
        with self._lock:
            listed = list(self._records.values())
        for each in listed:
            with self._lock:
                record = self._records.get(each.token)
            if record is not None and record.expiry_ns >= self._clock():
                yield record

    def ping(self) -> None:
        """Do nothing, since memory is always available."""

    def close(self) -> None:
        """Do nothing; the records stay. For apps that close their store or use it in a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._records)} records>"

    def _live(self, token: str) -> Record | None:
        """Return the live record under *token*, or the one to which its markers lead."""
        for _ in range(markers.MAX_HOPS):
            if not self._is_followed(token):
                break
            token = self._markers[token].token
        record = self._records.get(token)
        if record is not None and record.expiry_ns < self._clock():
            del self._records[token]
            return None
        return record

    def _marker(self, token: str) -> _Marker | None:
        """Return the marker under *token*, if it has not ended."""
        marker = self._markers.get(token)
        if marker is not None and markers.has_ended(marker.ttl, self._clock()):
            del self._markers[token]
            return None
        return marker

    def _is_followed(self, token: str) -> bool:
        marker = self._marker(token)
        return marker is not None and marker.expiry_ns >= self._clock()

    def _forget_ended(self) -> None:
        """Drop the two oldest markers if they have ended, so that markers do not pile up."""
        for token in [*islice(self._markers, 2)]:
            self._marker(token)

    def _conflict(self, record: Record, there: Record | None) -> Conflict:
        return conflict(record.token, there, renamed=self._marker(record.token) is not None)

    def _unchanged(self, record: Record, new: Record) -> None:
        """Raise `Conflict` if the data has changed since *record* was read, or if *new* would shorten a newer expiry."""
        there = self._live(record.token)
        if there is None or not _same(there, record) or new.expiry_ns < there.expiry_ns != record.expiry_ns:
            raise self._conflict(record, there)


class AsyncMemoryStore(ProcessBound, instead=_ELSEWHERE):
    """Store records in this process's memory, for tests of async apps. An `AsyncStore`; tasks may share it.

    Each method first lets other tasks run once, so that concurrent requests interleave as with a real table. *memory* is the
    `MemoryStore` that holds the records; a sync test can read and write the same sessions there. By default a new one is
    created, with *clock*, which returns Unix time in nanoseconds. It works on several event loops in turn. Closing it keeps
    the records.

    >>> import asyncio
    >>> from datetime import UTC, datetime
    >>> store = AsyncMemoryStore()
    >>> record = asyncio.run(store.create("token", b"data", datetime(2200, 1, 1, tzinfo=UTC)))
    >>> store.memory.find("token") == record
    True
    """

    def __init__(self, memory: MemoryStore | None = None, *, clock: Clock = time.time_ns) -> None:
        if memory is not None and not isinstance(memory, MemoryStore):
            raise TypeError(f"memory must be a MemoryStore, not {type(memory).__name__}")
        self.memory: MemoryStore = MemoryStore(clock=clock) if memory is None else memory

    async def find(self, token: str) -> Record | None:
        """See `MemoryStore.find`."""
        hidden = Hidden(token)
        del token
        await asleep(0)
        return self.memory.find(hidden.reveal())

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `MemoryStore.save`."""
        hidden = Hidden(token)
        hidden_data = Hidden(data)
        del token, data
        await asleep(0)
        return self.memory.save(hidden.reveal(), hidden_data.reveal(), expiry)

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `MemoryStore.create`."""
        hidden = Hidden(token)
        hidden_data = Hidden(data)
        del token, data
        await asleep(0)
        return self.memory.create(hidden.reveal(), hidden_data.reveal(), expiry)

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """See `MemoryStore.replace`."""
        hidden_data = Hidden(data)
        del data
        await asleep(0)
        return self.memory.replace(record, hidden_data.reveal(), expiry)

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """See `MemoryStore.touch`."""
        await asleep(0)
        return self.memory.touch(record, expiry)

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """See `MemoryStore.rename`."""
        hidden = Hidden(token)
        hidden_data = Hidden(data)
        del token, data
        await asleep(0)
        return self.memory.rename(record, hidden.reveal(), hidden_data.reveal(), expiry, grace=grace)

    async def remove(self, record: Record) -> None:
        """See `MemoryStore.remove`."""
        await asleep(0)
        self.memory.remove(record)

    async def delete(self, token: str) -> None:
        """See `MemoryStore.delete`."""
        hidden = Hidden(token)
        del token
        await asleep(0)
        self.memory.delete(hidden.reveal())

    async def ping(self) -> None:
        """See `MemoryStore.ping`."""
        await asleep(0)
        self.memory.ping()

    async def close(self) -> None:
        """Do nothing; the records stay."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        # __init__ may have refused its argument.
        return (
            f"<AsyncMemoryStore of {len(self.memory._records)} records>"
            if hasattr(self, "memory")
            else "<AsyncMemoryStore>"
        )


class _Marker(NamedTuple):
    """The new token of a renamed record. The expiry is in Unix nanoseconds, the ttl in Unix seconds."""

    token: str
    expiry_ns: int
    ttl: int

    def __repr__(self) -> str:
        return f"<_Marker {digest(self.token)}>"


def _same(there: Record, record: Record) -> bool:
    # Without a version (SCS for Go wrote the record), compare everything else.
    return there.version == record.version and there.token == record.token and (record.version != 0 or there == record)


_TABLE = Table()
