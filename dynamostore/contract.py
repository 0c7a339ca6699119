"""The contract of a store: `Record`, and the protocols `Store` and `AsyncStore`.

A store keeps *records*: bytes under a token, with an expiry. `DynamoStore` and `MemoryStore` implement `Store`;
`AsyncDynamoStore` and `AsyncMemoryStore` implement `AsyncStore`. ``dynamostore.testing`` tests other stores against the
contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from .client import AttributeValue
from .digests import digest
from .instants import from_ns, to_ns

__all__ = ["AsyncStore", "Record", "Store"]


# A frozen dataclass can only set its own fields this way.
_set = object.__setattr__


@dataclass(frozen=True, slots=True, init=False)
class Record:
    """A record as it was read or written. Immutable.

    - *token* (str): the key.
    - *data* (bytes): the payload.
    - *expiry* (datetime): an aware UTC datetime, with microsecond precision.
    - *version* (int): an opaque tag that changes with every write of the data; 0 if SCS for Go wrote the item.

    Three more fields are for implementations of stores:

    - *expiry_ns* (int): the exact expiry in Unix nanoseconds. If it disagrees with *expiry*, *expiry* wins.
    - *beside*: the item's other attributes, which `rename <Store.rename>` copies.
    - *recent* (bytes): the versions before this one, 8 bytes each.

    Raises `TypeError` for an expiry that is not a datetime, and `ValueError` if it is naive or outside 1677 to 2262.
    The repr shows neither the token nor the data.

    >>> Record("token", b"data", datetime(2030, 1, 1, tzinfo=UTC), version=7)
    <Record 3c469e9d6c58 4 bytes, expires 2030-01-01T00:00:00+00:00, version 7>
    """

    token: str
    data: bytes
    expiry: datetime
    version: int
    expiry_ns: int = field(default=0, kw_only=True)
    beside: Mapping[str, AttributeValue] = field(default_factory=dict, kw_only=True, compare=False)
    recent: bytes = field(default=b"", kw_only=True, compare=False)

    # Written by hand: when the generated __init__ raises, its frame still holds the arguments, which are secret.
    def __init__(
        self,
        token: str,
        data: bytes,
        expiry: datetime,
        version: int,
        *,
        expiry_ns: int = 0,
        beside: Mapping[str, AttributeValue] | None = None,
        recent: bytes = b"",
    ) -> None:
        _set(self, "token", token)
        _set(self, "data", data)
        _set(self, "expiry", expiry)
        _set(self, "version", version)
        _set(self, "expiry_ns", expiry_ns)
        _set(self, "beside", {} if beside is None else beside)
        _set(self, "recent", recent)
        del token, data, beside, recent
        ns = to_ns(expiry)
        if self.expiry_ns // 1000 != ns // 1000:
            object.__setattr__(self, "expiry_ns", ns)
        if self.expiry.tzinfo is not UTC:
            object.__setattr__(self, "expiry", self.expiry.astimezone(UTC))

    @classmethod
    def at(
        cls,
        token: str,
        data: bytes,
        expiry_ns: int,
        version: int,
        *,
        beside: Mapping[str, AttributeValue] | None = None,
        recent: bytes = b"",
        expiry: datetime | None = None,
    ) -> Record:
        """Return a record whose expiry is given in Unix nanoseconds, and also as *expiry*, if that is known."""
        # Fast path for reads: the values are known to be valid, so skip the checks and conversions of __init__.
        record = object.__new__(cls)
        _set(record, "token", token)
        _set(record, "data", data)
        _set(record, "expiry", expiry if expiry is not None and expiry.tzinfo is UTC else from_ns(expiry_ns))
        _set(record, "version", version)
        _set(record, "expiry_ns", expiry_ns)
        _set(record, "beside", beside or {})
        _set(record, "recent", recent)
        return record

    def __repr__(self) -> str:
        try:
            return (
                f"<Record {digest(self.token)} {len(self.data)} bytes, "
                f"expires {self.expiry.isoformat()}, version {self.version}>"
            )
        except (AttributeError, TypeError):
            # __init__ refused the values, so some fields are missing or have the wrong type.
            return "<Record>"


class Store(Protocol):
    """The contract of a store.

    **Tokens** are non-empty strings of at most 2048 bytes in UTF-8. Other tokens (empty, too long, or with a lone surrogate)
    cannot be stored. `find` and `delete`, which take tokens from clients, treat them as missing. The methods that write
    raise `ValueError` before they send anything.

    **Data** is bytes. With the token it must fit into DynamoDB's limit of 400 KB for an item; otherwise methods raise
    `ItemTooLargeError`.

    **Expiry** is an aware datetime from 1677 to 2262 (64-bit nanoseconds). A record whose expiry has passed counts as
    missing for every method, even if it has not been deleted yet. An expiry in the past is allowed.

    **Versions** are opaque tags that change with every write of data. ``replace``, ``touch``, ``rename`` and ``remove`` take
    the record that was read, and act only if it is still current. Otherwise they change nothing and raise `Conflict`. Its
    ``current`` is the live record now, or None; its ``renamed`` is True if the record was renamed.

    **Markers**: ``rename`` leaves a marker under the old token, for 15 minutes or for the grace, whichever is longer. A
    marker is not a record. It points to the new token. ``find`` and ``current`` follow it until the grace is over, through at
    most two markers. ``delete`` follows it as long as it exists, through any number of markers. A new record may replace a
    marker whose grace is over or that leads to no live record.

    **Errors** are `StoreError` and its subclasses for system failures and conflicts. `TypeError` and `ValueError` report
    mistakes of the caller, before any call. A missing record is not an error but None.

    Threads may share a store.
    """

    def find(self, token: str) -> Record | None:
        """Return the live record under *token*; None if it is missing or expired, or if *token* is malformed.

        Raises `CorruptRecordError` if the stored item is not a record.
        """

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create or overwrite the record under *token*, unconditionally."""

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create a record. Raise `Conflict` if a live record has this token."""

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Replace the data and the expiry of *record*, if it is unchanged.

        Raises `Conflict` if the data has changed since it was read, or if the record is gone. Also raises it if another caller
        has moved the expiry beyond *expiry*.
        """

    def touch(self, record: Record, expiry: datetime) -> Record:
        """Change only the expiry; the data and the version stay.

        Returns *record* with the expiry that is now stored. If another caller wrote or touched the record since it was read,
        the expiry only moves forward. Raises `Conflict` if the record is gone.
        """

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Move *record* to a new *token*, with new data and expiry, and leave a marker under the old token. Atomic.

        For the length of *grace*, the old token leads to the new record, for `find` and for the ``current`` of a `Conflict`.
        For at least 15 minutes, `delete` of the old token deletes the new record.

        Raises `Conflict` as `replace` does, or if *token* is taken; ``current`` is then the record under *token*. Raises
        `ValueError` if *token* is the record's own or *grace* is negative.
        """

    def remove(self, record: Record) -> None:
        """Delete *record*, expired or not, unless its data has changed.

        Raises `Conflict` if the data has changed since it was read, or if the record is gone. A changed expiry alone does not
        matter. If a reply was lost and the call was sent again, a record that is gone counts as removed.
        """

    def delete(self, token: str) -> None:
        """Delete the record under *token* and, if it was renamed within 15 minutes, the record that it was renamed to.

        Do nothing if there is no such record.
        """

    def ping(self) -> None:
        """Check that the store can be read. Raise a `StoreError` if not."""


class AsyncStore(Protocol):
    """The contract of an async store: that of `Store`, with methods that are awaited.

    Tasks of one event loop may share a store. A call that is cancelled is applied completely or not at all.
    """

    async def find(self, token: str) -> Record | None:
        """See `Store.find`."""

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.save`."""
        ...

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.create`."""
        ...

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """See `Store.replace`."""
        ...

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """See `Store.touch`."""
        ...

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """See `Store.rename`."""
        ...

    async def remove(self, record: Record) -> None:
        """See `Store.remove`."""

    async def delete(self, token: str) -> None:
        """See `Store.delete`."""

    async def ping(self) -> None:
        """See `Store.ping`."""
