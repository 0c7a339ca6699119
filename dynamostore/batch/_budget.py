"""`Budget`: a rate limit in capacity units per second, and the units consumed. A job's threads share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from dynamostore import items
from dynamostore.client import Item

__all__ = ["Budget", "Share", "page_units", "read_units", "units", "write_units"]

_PAGE: Final = 2**20
"""The bytes that DynamoDB reads for one page at most."""
_UNSEEN: Final = 1024


class Budget:
    """A rate limit in capacity units per second. An expensive call delays the next one.

    The cost of a call is known only afterwards. Until then it is booked at the cost of the previous call, so that other
    threads wait for it too.

    >>> now = 0.0
    >>> budget = Budget(10, lambda: now)
    >>> budget.wait(), budget.spend(25), budget.wait()
    (0.0, None, 2.5)
    """

    def __init__(self, rate: float | None, monotonic: Callable[[], float]) -> None:
        if rate is not None and not rate > 0:
            raise ValueError("rate must be more than 0 capacity units per second, or None for no limit")
        self._rate = rate
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._free_at = monotonic()
        # Until the first reply, assume the cost of a 1 MB page.
        self._last = 128.0
        self._booked: list[float] = []
        self.consumed = 0.0

    def spend(self, consumed: float) -> None:
        """Record that a call consumed so many units."""
        with self._lock:
            self.consumed += consumed
            if self._rate is not None:
                booked = self._booked.pop() if self._booked else 0.0
                # Unused capacity does not add up for a later burst.
                self._free_at = max(self._free_at - booked / self._rate, self._monotonic()) + consumed / self._rate
                self._last = consumed

    def wait(self) -> float:
        """Return the seconds to wait before asking again. If 0, make the call, then report it to `spend` or `forgo`."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._monotonic()
            if self._free_at > now:
                return self._free_at - now
            self._booked.append(self._last)
            self._free_at = now + self._last / self._rate
            return 0.0

    def share(self) -> Share:
        """Return a share of this budget for one job."""
        return Share(self)

    def forgo(self) -> None:
        """Record that a call failed, so its cost is not known and counts as 0."""
        with self._lock:
            if self._rate is not None and self._booked:
                self._free_at -= self._booked.pop() / self._rate


class Share:
    """One job's view of a `Budget`: it shares the rate limit, and counts the units that this job *consumed*."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.consumed = 0.0
        self.wait: Callable[[], float] = budget.wait
        self.forgo: Callable[[], None] = budget.forgo

    def spend(self, consumed: float) -> None:
        """Record that a call of this job consumed so many units."""
        with self._lock:
            self.consumed += consumed
        self._budget.spend(consumed)


def units(reply: Mapping[str, object]) -> float | None:
    """Return the capacity units that a reply reports, or None if the server does not report them."""
    said = reply.get("ConsumedCapacity")
    parts = said if isinstance(said, list | tuple) else [said]
    found = [part["CapacityUnits"] for part in parts if isinstance(part, Mapping) and "CapacityUnits" in part]
    return float(sum(found)) if found else None


# Estimates of DynamoDB's price, for servers that do not report it.


def read_units(size: int, *, consistent: bool) -> float:
    """Return the read units for *size* bytes in one call.

    >>> read_units(4096, consistent=True), read_units(4097, consistent=True), read_units(0, consistent=False)
    (1.0, 2.0, 0.5)
    """
    return max(-(-size // 4096), 1) / (1 if consistent else 2)


def page_units(read: Sequence[Item], scanned: int, *, whole: bool, full: bool, consistent: bool) -> float:
    """Return the read units of a page of a Scan, which also charges for items that a filter or a projection removed.

    *whole* is True if the items in *read* have all their attributes. Each scanned item that is missing or not whole counts
    as 1 KB. *full* is True if the page ended at DynamoDB's limit of 1 MB.
    """
    seen = sum(items.item_size(item) for item in read) if whole else 0
    unseen = scanned - len(read) if whole else scanned
    size = _PAGE if full else min(seen + max(unseen, 0) * _UNSEEN, _PAGE)
    return read_units(size, consistent=consistent)


def write_units(item: Item | None) -> float:
    """Return the write units to put *item*, or (None) to delete an item of unknown size."""
    return 1.0 if item is None else float(max(-(-items.item_size(item) // 1024), 1))
