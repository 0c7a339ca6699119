"""`Pauses`: a pause that ends when nobody waits for what comes after it, also inside a client's retries."""

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
    """Nobody waits for what this thread does any more."""


class Pauses:
    """The pauses of a thread that is to end once *stopping* is set. *wait* waits for seconds."""

    def __init__(self, stopping: threading.Event, wait: Callable[[float], None] = time.sleep) -> None:
        self._stopping = stopping
        self._wait = wait

    def check(self) -> None:
        """Raise `GivenUpError` once the thread is to end."""
        if self._stopping.is_set():
            raise GivenUpError

    def sleep(self, seconds: float) -> None:
        """Wait for *seconds*, a little at a time; `GivenUpError` as soon as the thread is to end."""
        while seconds > 0:
            self.check()
            self._wait(min(seconds, _LOOK))
            seconds -= _LOOK
        self.check()

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Have `sleep` keep to these pauses for the length of the block."""
        before = _of_this_thread.set(self)
        try:
            yield
        finally:
            _of_this_thread.reset(before)


def sleep(seconds: float) -> None:
    """Wait as `time.sleep` does; in a thread that is to end, raise `GivenUpError`. A client waits so before it tries again."""
    pauses = _of_this_thread.get()
    if pauses is None:
        time.sleep(seconds)
    else:
        Pauses(pauses._stopping).sleep(seconds)
