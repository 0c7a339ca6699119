"""Virtual time: an event loop that jumps to its next timer, and greenlets for synchronous code that waits in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

__all__ = ["VirtualLoop", "in_strand", "wait_here"]

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where nothing else is to be done, its time jumps to the next timer."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jump(self._advance))

    def time(self) -> float:
        """Return the virtual time in seconds; it begins at 0."""
        return self._now

    def time_ns(self) -> int:
        """Return the virtual time as Unix nanoseconds."""
        return _EPOCH_NS + int(self._now * 1e9)

    def _advance(self, seconds: float) -> None:
        self._now += seconds


_EPOCH_NS = 1_900_000_000_000_000_000


class _Jump(selectors.SelectSelector):
    """A selector without any I/O: it lets the time pass."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits and no timer is set: nothing would ever happen again")
        if timeout > 0:
            self._advance(timeout)
        return []


class _Strand(greenlet):
    """The greenlet of synchronous code that may wait."""


async def in_strand(work: Callable[[], T]) -> T:
    """Run synchronous *work*; where it calls `wait_here`, others go on."""
    strand = _Strand(work)
    strand.gr_context = copy_context()
    # A delay in seconds from `wait_here`; in the end the result.
    reply: Any = strand.switch()
    while not strand.dead:
        await asyncio.sleep(reply)
        reply = strand.switch()
    result: T = reply
    return result


def wait_here(seconds: float) -> None:
    """Wait in virtual time, in synchronous code that `in_strand` runs."""
    current = getcurrent()
    if not isinstance(current, _Strand) or current.parent is None:
        raise RuntimeError("synchronous code waits outside of a strand: it would hold up the event loop")
    current.parent.switch(seconds)
