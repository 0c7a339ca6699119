"""`Statistics`: counts of a table's items by state, expiry and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dynamostore import items, markers
from dynamostore.client import Item
from dynamostore.digests import digest
from dynamostore.errors import CorruptRecordError
from dynamostore.instants import NS_PER_S
from dynamostore.table import Table

from ._state import Document

__all__ = ["Statistics", "size"]

HOUR, DAY = 3600, 86_400

# Upper bounds in seconds from now, and the label of each bucket. A bucket begins at the bound before it.
EXPIRY: tuple[tuple[float, str], ...] = (
    (-2 * DAY, "over 2 days ago"),
    (-DAY, "1 to 2 days ago"),
    (-HOUR, "1 to 24 hours ago"),
    (0, "within the last hour"),
    (HOUR, "in an hour"),
    (DAY, "in 1 to 24 hours"),
    (7 * DAY, "in 1 to 7 days"),
    (30 * DAY, "in 7 to 30 days"),
    (float("inf"), "in over 30 days"),
)
EXPIRED = 4
"""The number of buckets in `EXPIRY` that lie in the past."""

SIZES: tuple[tuple[float, str], ...] = (
    (256, "under 256 B"),
    (1024, "256 B to 1 KB"),
    (4096, "1 to 4 KB"),
    (16_384, "4 to 16 KB"),
    (65_536, "16 to 64 KB"),
    (float("inf"), "over 64 KB"),
)


@dataclass
class Statistics:
    """Counts of a *table*'s items, as of *now* in Unix nanoseconds; *moved* are markers."""

    table: Table
    now: int
    expiry: list[int] = field(default_factory=lambda: [0] * len(EXPIRY))
    sizes: list[int] = field(default_factory=lambda: [0] * len(SIZES))
    live: int = 0
    expired: int = 0
    moved: int = 0
    corrupt: int = 0
    bytes: int = 0
    largest: int = 0
    largest_digest: str = ""

    @property
    def items(self) -> int:
        """The number of items counted."""
        return sum(self.sizes)

    def add(self, item: Item) -> None:
        """Count an item."""
        size = items.item_size(item)
        self.bytes += size
        self.sizes[_bucket(SIZES, size)] += 1
        if size > self.largest:
            self.largest, self.largest_digest = size, digest(items.key_of(self.table, item))
        try:
            left = items.decode_expiry(self.table, item) - self.now
            if markers.is_kept(self.table, item, self.now):
                items.moved(self.table, item)
                self.moved += 1
                return
            if not markers.is_marker(self.table, item) and items.decode_whole(self.table, item) is None:
                items.decode(self.table, item)
        except CorruptRecordError:
            self.corrupt += 1
            return
        self.expiry[_bucket(EXPIRY, left / NS_PER_S)] += 1
        if left < 0:
            self.expired += 1
        else:
            self.live += 1

    def document(self) -> Document:
        """Return all counts for JSON, with bounds in seconds from now and in bytes."""
        return {
            "items": self.items,
            "live": self.live,
            "expired": self.expired,
            "moved": self.moved,
            "corrupt": self.corrupt,
            "bytes": self.bytes,
            "largest": {"bytes": self.largest, "token": self.largest_digest},
            "by_expiry": _counts(EXPIRY, self.expiry),
            "by_size": _counts(SIZES, self.sizes),
        }


def _bucket(bounds: Sequence[tuple[float, str]], value: float) -> int:
    return next(number for number, (bound, _) in enumerate(bounds) if value < bound)


def _counts(bounds: Sequence[tuple[float, str]], counts: Sequence[int]) -> list[Document]:
    return [
        {"below": None if bound == float("inf") else bound, "name": name, "count": count}
        for (bound, name), count in zip(bounds, counts, strict=True)
    ]


def size(number: float) -> str:
    """Return a number of bytes with a unit.

    >>> size(900), size(1536), size(5_000_000)
    ('900 B', '1.5 KB', '4.8 MB')
    """
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            break
        number /= 1024
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
