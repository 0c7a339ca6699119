"""`Budget`: how fast a job may go, in capacity units a second, and what it has consumed; shared by its threads."""

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
    """A rate in capacity units a second, for what is really consumed: a call that was dear makes the next one wait.

    A call that is let go is booked at what the last one cost until its own price is known, so that others who ask
    meanwhile wait for it, too.

    >>> now = 0.0
    >>> budget = Budget(10, lambda: now)
    >>> budget.wait(), budget.spend(25), budget.wait()
    (0.0, None, 2.5)
    """

    def __init__(self, rate: float | None, monotonic: Callable[[], float]) -> None:
        if rate is not None and not rate > 0:
            raise ValueError("rate must be more than 0 capacity units a second, or None: as fast as it goes")
        self._rate = rate
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._free_at = monotonic()
        # A page of 1 MB, before anything is known.
        self._last = 128.0
        self._booked: list[float] = []
        self.consumed = 0.0

    def spend(self, consumed: float) -> None:
        """So many units were consumed just now."""
        with self._lock:
            self.consumed += consumed
            if self._rate is not None:
                booked = self._booked.pop() if self._booked else 0.0
                # What was not used is not saved up for a burst.
                self._free_at = max(self._free_at - booked / self._rate, self._monotonic()) + consumed / self._rate
                self._last = consumed

    def wait(self) -> float:
        """The seconds to wait before the next call may be asked for again; 0: it may be made, and is to be paid by `spend`."""
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
        """Return the part of it that one job has."""
        return Share(self)

    def forgo(self) -> None:
        """A call that was let go has failed, and cost nothing that is known."""
        with self._lock:
            if self._rate is not None and self._booked:
                self._free_at -= self._booked.pop() / self._rate


class Share:
    """One job's part of a `Budget`: it waits as all do, and counts what that job has *consumed*."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.consumed = 0.0
        self.wait = budget.wait
        self.forgo = budget.forgo

    def spend(self, consumed: float) -> None:
        """So many units were consumed by this job just now."""
        with self._lock:
            self.consumed += consumed
        self._budget.spend(consumed)


def units(reply: Mapping[str, object]) -> float | None:
    """What a reply says that its call consumed; None if the server does not say."""
    said = reply.get("ConsumedCapacity")
    parts = said if isinstance(said, list | tuple) else [said]
    found = [part["CapacityUnits"] for part in parts if isinstance(part, Mapping) and "CapacityUnits" in part]
    return float(sum(found)) if found else None


# Where the server does not say: what DynamoDB would ask.


def read_units(size: int, *, consistent: bool) -> float:
    """Return what it costs to read *size* bytes at once.

    >>> read_units(4096, consistent=True), read_units(4097, consistent=True), read_units(0, consistent=False)
    (1.0, 2.0, 0.5)
    """
    return max(-(-size // 4096), 1) / (1 if consistent else 2)


def page_units(read: Sequence[Item], scanned: int, *, whole: bool, full: bool, consistent: bool) -> float:
    """Return what a page of a Scan costs: all that was *scanned* for it, also what a filter or a projection kept back.

    *whole*: the items that were *read* are there with all their attributes. What is not there counts as 1 kB each. *full*: the page
    ended for its size, so it is 1 MB.
    """
    seen = sum(items.item_size(item) for item in read) if whole else 0
    unseen = scanned - len(read) if whole else scanned
    size = _PAGE if full else min(seen + max(unseen, 0) * _UNSEEN, _PAGE)
    return read_units(size, consistent=consistent)


def write_units(item: Item | None) -> float:
    """Return what it costs to put *item*, or to delete one of which nothing is known (None)."""
    return 1.0 if item is None else float(max(-(-items.item_size(item) // 1024), 1))
