"""The write that is measured: `DynamoStore.replace`'s UpdateItem, in the words of each client.

Five attributes are set, on condition that the item has not expired, that its expiry is not taken back, and that it is
the version that was read.
"""

from __future__ import annotations

import time
from secrets import randbits
from typing import TYPE_CHECKING

from benchmarks.speed.stored import DEADLINE_NS, FIRST_VERSION, RECENT, TTL

if TYPE_CHECKING:
    from dynamostore.client import AttributeValue

__all__ = ["CONDITION", "NAMES", "UPDATE", "Versions", "attributes", "plain"]

UPDATE = "SET #data = :data, #expiry = :expiry, #ttl = :ttl, #version = :version, #recent = :recent"
CONDITION = "#expiry >= :now AND #expiry <= :expiry AND #version = :was"
NAMES = {"#data": "data", "#expiry": "expiry", "#ttl": "ttl", "#version": "version", "#recent": "recent"}


class Versions:
    """The version that an item has and the one it gets, write by write."""

    def __init__(self) -> None:
        self.was = self.next = FIRST_VERSION

    def advance(self) -> None:
        self.was, self.next = self.next, randbits(63) or 1


def attributes(data: bytes, versions: Versions) -> dict[str, AttributeValue]:
    """The values of the next write in DynamoDB's own form."""
    versions.advance()
    return {
        ":data": {"B": data},
        ":expiry": {"N": str(DEADLINE_NS)},
        ":ttl": {"N": str(TTL)},
        ":version": {"N": str(versions.next)},
        ":recent": {"B": RECENT},
        ":now": {"N": str(time.time_ns())},
        ":was": {"N": str(versions.was)},
    }


def plain(data: bytes, versions: Versions) -> dict[str, bytes | int]:
    """The values of the next write as Python has them, for clients that convert."""
    versions.advance()
    return {
        ":data": data,
        ":expiry": DEADLINE_NS,
        ":ttl": TTL,
        ":version": versions.next,
        ":recent": RECENT,
        ":now": time.time_ns(),
        ":was": versions.was,
    }
