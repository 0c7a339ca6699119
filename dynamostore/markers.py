"""Markers: the items that a renaming leaves under the old token.

A marker has no data. Its ``moved`` is the new token, its ``expiry`` the end of the grace, and its ``ttl`` the second
until which it is kept. `Store.find <dynamostore.Store.find>` follows it until its expiry, ``delete`` until its TTL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from . import items
from .client import Item
from .instants import INT64_MAX, NS_PER_S, duration_ns
from .table import Table

__all__ = ["MARKER", "MAX_HOPS", "has_ended", "is_kept", "is_marker", "lifespan"]

MARKER: Final = timedelta(minutes=15)
"""How long a marker is kept: the maximum duration of a Lambda function, and so of a request."""

MAX_HOPS: Final = 2
"""The maximum number of markers that `find` follows in a row."""

_MARKER_NS: Final = duration_ns(MARKER)


def lifespan(now_ns: int, grace: timedelta) -> tuple[int, int]:
    """Return the expiry (Unix nanoseconds) and the ttl (Unix seconds) of a marker that is created now.

    Without a grace, the expiry is 15 minutes in the past, so that the marker has expired by every client's clock. A client
    whose clock is more than five minutes off cannot use DynamoDB, which refuses its signatures.

    >>> lifespan(3_600 * 10**9, timedelta(seconds=5)), lifespan(3_600 * 10**9, timedelta(0))
    ((3605000000000, 4501), (2700000000000, 4501))
    """
    expiry_ns = min(now_ns + duration_ns(grace), INT64_MAX) if grace else now_ns - _MARKER_NS
    return expiry_ns, items.ttl(min(max(expiry_ns, now_ns + _MARKER_NS), INT64_MAX))


def has_ended(ttl: int, now_ns: int) -> bool:
    """Return True if the *ttl* of a marker has passed, so that it no longer counts and TTL may delete it."""
    return ttl < now_ns // NS_PER_S


def is_marker(table: Table, item: Item) -> bool:
    """Return True if *item* is a marker, even if it has ended."""
    return table.moved in item


def is_kept(table: Table, item: Item, now_ns: int) -> bool:
    """Return True if *item* is a marker whose ttl has not passed. Never raises.

    A ttl that is missing, invalid or earlier than the expiry counts as the second after the expiry.
    """
    if not is_marker(table, item):
        return False
    ttl, expiry_ns = _integer(item.get(table.ttl)), _integer(item.get(table.expiry))
    return not (has_ended(ttl, now_ns) and has_ended(items.ttl(expiry_ns), now_ns))


def _integer(value: object) -> int:
    number = items.parse_number(value.get("N")) if isinstance(value, Mapping) else None
    return 0 if number is None else int(number)
