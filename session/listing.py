"""`records_of`: list all live records of a store, for `iterate <session.SessionManager.iterate>`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Protocol, runtime_checkable

from dynamostore import AsyncDynamoStore, AsyncStore, DynamoStore, Record, Store

__all__ = ["AsyncLists", "Lists", "arecords_of", "records_of"]


@runtime_checkable
class Lists(Protocol):
    """A store that can list its live records, such as `MemoryStore`."""

    def records(self) -> Iterable[Record]:
        """Return the live records, without markers, in any order."""


@runtime_checkable
class AsyncLists(Protocol):
    """An async store that can list its live records."""

    def records(self) -> AsyncIterable[Record]:
        """Return the live records, without markers, in any order."""


def records_of(store: Store) -> Iterable[Record]:
    """Return an iterable over the live records of *store*. Raise `TypeError` if the store cannot list them."""
    if isinstance(store, Lists):
        return store.records()
    if isinstance(store, DynamoStore):
        # Imported here, since few programs list their sessions.
        from dynamostore.batch import Batch

        return Batch(store).scan()
    raise _cannot_list(store)


def arecords_of(store: AsyncStore) -> AsyncIterable[Record]:
    """Return an async iterable over the live records of *store*, as `records_of` does."""
    if isinstance(store, AsyncLists):
        return store.records()
    if isinstance(store, AsyncDynamoStore):
        from dynamostore.batch import AsyncBatch

        return AsyncBatch(store).scan()
    raise _cannot_list(store)


def _cannot_list(store: object) -> TypeError:
    return TypeError(
        f"a {type(store).__name__} cannot list its records; add a records() method to it, or pass records= to iterate"
    )
