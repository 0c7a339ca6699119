"""`Pauses`: pauses that end early if the work was given up, also between the retries of a client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["GivenUpError", "Pauses", "sleep"]

_LOOK: Final = 0.2

_of_this_thread: ContextVar[Pauses | None] = ContextVar("dynamostore.pauses", default=None)


class GivenUpError(Exception):
    """The work of this thread was given up."""


class Pauses:
    """The pauses of a thread that must end once *stopping* is set. *wait* sleeps for a number of seconds."""

    def __init__(self, stopping: threading.Event, wait: Callable[[float], None] = time.sleep) -> None:
        self._stopping = stopping
        self._wait = wait

    def check(self) -> None:
        """Raise `GivenUpError` if the thread must end."""
        if self._stopping.is_set():
            raise GivenUpError

    def sleep(self, seconds: float) -> None:
        """Sleep for *seconds*, a little at a time. Raise `GivenUpError` as soon as the thread must end."""
        while seconds > 0:
            self.check()
            self._wait(min(seconds, _LOOK))
            seconds -= _LOOK
        self.check()

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Make `sleep` use these pauses inside the block."""
        before = _of_this_thread.set(self)
        try:
            yield
        finally:
            _of_this_thread.reset(before)


def sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does, but raise `GivenUpError` if the thread must end. Clients sleep with it between attempts."""
    pauses = _of_this_thread.get()
    if pauses is None:
        time.sleep(seconds)
    else:
        Pauses(pauses._stopping).sleep(seconds)
