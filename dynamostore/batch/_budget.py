"""`Budget`: how fast a job may go, in capacity units a second, and what it has consumed; shared by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from dynamostore import items
from dynamostore.client import Item

__all__ = ["Budget", "units"]


class Budget:
    """A rate in capacity units a second, for what is really consumed: a call that was dear makes the next one wait.

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
        self.consumed = 0.0

    def spend(self, consumed: float) -> None:
        """So many units were consumed just now."""
        with self._lock:
            self.consumed += consumed
            if self._rate is not None:
                # What was not used is not saved up for a burst.
                self._free_at = max(self._free_at, self._monotonic()) + consumed / self._rate

    def wait(self) -> float:
        """The seconds to wait before the next call."""
        if self._rate is None:
            return 0.0
        with self._lock:
            return max(0.0, self._free_at - self._monotonic())


def units(reply: Mapping[str, object], *, read: Sequence[Item] = (), consistent: bool = False) -> float:
    """What a reply says that its call consumed; where the server does not say, what DynamoDB would ask for the items read."""
    said = reply.get("ConsumedCapacity")
    parts = said if isinstance(said, list | tuple) else [said]
    found = [part["CapacityUnits"] for part in parts if isinstance(part, Mapping) and "CapacityUnits" in part]
    if found:
        return float(sum(found))
    return sum(-(-items.item_size(item) // 4096) for item in read) / (1 if consistent else 2)
