"""`Budget`: how fast a job may go, in capacity units a second, and what it has consumed; shared by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from dynamostore import items
from dynamostore.client import Item

__all__ = ["Budget", "Share", "units"]


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


def units(reply: Mapping[str, object], *, read: Sequence[Item] = (), consistent: bool = False) -> float:
    """What a reply says that its call consumed; where the server does not say, what DynamoDB would ask for the items read."""
    said = reply.get("ConsumedCapacity")
    parts = said if isinstance(said, list | tuple) else [said]
    found = [part["CapacityUnits"] for part in parts if isinstance(part, Mapping) and "CapacityUnits" in part]
    if found:
        return float(sum(found))
    return sum(-(-items.item_size(item) // 4096) for item in read) / (1 if consistent else 2)
