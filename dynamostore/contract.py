"""What any store promises: `Record`, and the `Store` protocol; `AsyncStore` is the same, awaited.

A store keeps *records*: bytes under a token, with an expiry. `DynamoStore` and `MemoryStore` are stores,
`AsyncDynamoStore` and `AsyncMemoryStore` are async ones; ``dynamostore.testing`` checks anybody else's against the contract below.
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


# How a frozen dataclass sets its own fields.
_set = object.__setattr__


@dataclass(frozen=True, slots=True, init=False)
class Record:
    """One record as it was read or written; a value, never updated in place.

    *token* is its key, *data* the payload, *expiry* an aware UTC datetime, *version* an opaque tag that is
    new with every write of the data (0: the item has none, SCS for Go wrote it). Three more are for stores:
    *expiry_ns*, the exact expiry in Unix nanoseconds (`expiry` is its view, cut off to the microsecond; where
    the two disagree `expiry` wins); *beside*, whatever else the item bears, which `rename <Store.rename>`
    carries along; and *recent*, the versions before this one, 8 bytes each.

    Raises `TypeError` or `ValueError` for an expiry that is not an aware datetime within 64-bit nanoseconds. Its
    repr shows neither the token nor the data.

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

    # Not a dataclass's own: a frame of that would show the arguments when they are refused.
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
        """A record whose expiry is given in Unix nanoseconds, within signed 64 bits; and as *expiry*, if that is known."""
        # Each read makes one: what __post_init__ would check and convert is known to be good, so it is left out.
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
            # Some of it is none of that, and was refused.
            return "<Record>"


class Store(Protocol):
    """What any store promises.

    *Tokens* are non-empty strings of at most 2048 bytes in UTF-8. A token that could not be stored (empty,
    too long, with a lone surrogate) is simply not found by `find` and `delete`, which take tokens from
    outside; the verbs that write refuse it with `ValueError` before anything is sent.

    *Data* is bytes, and must fit into an item of DynamoDB's 400 KB with its token: `ItemTooLargeError`.

    *Expiry* is an aware datetime from 1677 to 2262 (64-bit nanoseconds). A record whose expiry is before
    now is gone, for every verb, whether or not something has swept it up. An expiry in the past may be
    written: the record is gone at once.

    *Versions* are opaque tags, new with every write of data. ``replace``, ``touch``, ``rename`` and ``remove`` take
    the record that was read and act only if that is still what is there; otherwise they raise `Conflict`, whose
    ``current`` is the live record there now, or None, and whose ``renamed`` tells if it was renamed; and change nothing.

    *Markers*: ``rename`` leaves one under the old token, for 15 minutes or for the grace, whichever is longer. It is no
    record. It leads to the new token: for ``find`` and for ``current`` until the grace is over, and over at most two
    markers; for ``delete`` as long as it is there, over any number. A new record may take its place once its grace is
    over, or if it leads to no live record.

    *Errors* are `StoreError` and its subclasses, for system failures and conflicts; `TypeError` and
    `ValueError` for mistakes of the caller's, before any call. "Not there" is None.

    A store may be shared between threads.
    """

    def find(self, token: str) -> Record | None:
        """The live record under *token*; None if it is missing, expired, or *token* is malformed.

        Raises `CorruptRecordError` if something is there that is not a record.
        """

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add or overwrite the record under *token*, whatever is there (as in SCS)."""

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add a record; raises `Conflict` if a live one has that token."""

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Write new data and expiry where *record* was read.

        Raises `Conflict` if the data changed since, the record is gone, or somebody else has meanwhile moved
        its expiry beyond *expiry*.
        """

    def touch(self, record: Record, expiry: datetime) -> Record:
        """Move the expiry and nothing else; the data is neither sent nor changed, nor is the version.

        Returns *record* with the expiry that now holds. Where somebody else wrote or touched the record since it
        was read, its expiry is only ever moved forward. Raises `Conflict` if the record is gone.
        """

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Put a new record under *token* and a marker in the place of *record*, both or neither.

        For the length of *grace* after it, the old token leads to the new record, for `find` and for the
        ``current`` of a `Conflict`. For 15 minutes `delete` of the old token removes the new record.

        Raises `Conflict` as `replace` does, or if *token* is taken (``current`` then is the record under *token*);
        `ValueError` if *token* is the record's own or *grace* is negative.
        """

    def remove(self, record: Record) -> None:
        """Delete *record* if it is still what was read, expired or not.

        Raises `Conflict` as `replace` does if the data changed since (not if only its expiry was moved), or if it is gone.
        Where a reply was lost, and the call was sent again, a record that is gone counts as removed.
        """

    def delete(self, token: str) -> None:
        """Remove the record under *token* and, if that was renamed within 15 minutes, the one that it was renamed to.

        Nothing happens if there is none.
        """

    def ping(self) -> None:
        """Return if the store can be read; raise the `StoreError` that says why not."""


class AsyncStore(Protocol):
    """What any async store promises: what `Store` does, awaited, to any number of tasks of one event loop.

    A verb that is cancelled has been done or not, and never in half.
    """

    async def find(self, token: str) -> Record | None:
        """As `Store.find`."""

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.save`."""
        ...

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.create`."""
        ...

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """As `Store.replace`."""
        ...

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """As `Store.touch`."""
        ...

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """As `Store.rename`."""
        ...

    async def remove(self, record: Record) -> None:
        """As `Store.remove`."""

    async def delete(self, token: str) -> None:
        """As `Store.delete`."""

    async def ping(self) -> None:
        """As `Store.ping`."""
