"""`records_of`: all records of a store that can list them; what `iterate <session.SessionManager.iterate>` goes over."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Protocol, runtime_checkable

from dynamostore import AsyncDynamoStore, AsyncStore, DynamoStore, Record, Store

__all__ = ["AsyncLists", "Lists", "arecords_of", "records_of"]


@runtime_checkable
class Lists(Protocol):
    """A store that can list its live records, such as `MemoryStore`; without its markers."""

    def records(self) -> Iterable[Record]:
        """The live records, in no order."""


@runtime_checkable
class AsyncLists(Protocol):
    """An async store that can list its live records; without its markers."""

    def records(self) -> AsyncIterable[Record]:
        """The live records, in no order."""


def records_of(store: Store) -> Iterable[Record]:
    """Return the live records of *store*, as they are read; `TypeError` if it cannot list them."""
    if isinstance(store, Lists):
        return store.records()
    if isinstance(store, DynamoStore):
        # Here, since few programs go over their sessions.
        from dynamostore.batch import Batch

        return Batch(store).scan()
    raise _cannot_list(store)


def arecords_of(store: AsyncStore) -> AsyncIterable[Record]:
    """Return the live records of *store*, as `records_of` does."""
    if isinstance(store, AsyncLists):
        return store.records()
    if isinstance(store, AsyncDynamoStore):
        from dynamostore.batch import AsyncBatch

        return AsyncBatch(store).scan()
    raise _cannot_list(store)


def _cannot_list(store: object) -> TypeError:
    return TypeError(
        f"a {type(store).__name__} cannot list its records: give it a method records(), or pass records= to iterate"
    )
