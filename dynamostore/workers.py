"""Blocking work off an event loop, in a few threads of the library's own: asyncio's default executor is the app's, and may be busy."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from .errors import UnavailableError

__all__ = ["MOST", "Workers", "in_worker", "outcome_of"]

T = TypeVar("T")

MOST: Final = 32
"""How many threads there are at most, for all event loops of a process together; more work waits for one to be free."""

KEEP_IDLE: Final = 10.0
"""For how many seconds a thread waits for more work."""


class Workers:
    """At most *most* threads that end after *keep_idle* seconds without work. They are daemons: a program may end while they work."""

    def __init__(self, most: int = MOST, keep_idle: float = KEEP_IDLE) -> None:
        self._most = most
        self._keep_idle = keep_idle
        # Its lock is reentrant: a signal handler may come by where this one stands.
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self.threads = 0
        """How many are running."""

    def do(self, job: Callable[[], None]) -> None:
        """Have *job* done, which must not raise. Raise `UnavailableError` if no thread could be started, and none is running."""
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
            if self.threads >= self._most:
                return
            self.threads += 1
            try:
                threading.Thread(target=self._work, name="dynamostore-worker", daemon=True).start()
            except RuntimeError as error:
                # At the limit of the system, or (since Python 3.12) when the interpreter is about to end.
                self.threads -= 1
                if self.threads:
                    return
                self._jobs.remove(job)
                raise UnavailableError(f"no thread could be started to wait for the store in: {error}") from error

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._idle += 1
                    told = self._changed.wait(self._keep_idle)
                    self._idle -= 1
                    if not told and not self._jobs:
                        self.threads -= 1
                        return
                job = self._jobs.popleft()
            job()
            # It holds what it was about, and the next may be long in coming.
            del job


async def in_worker(work: Callable[[], T]) -> T:
    """Return what *work* returns, or raise what it raises; it is done in a thread, with the caller's context variables.

    To cancel this ends the wait. Work that has begun goes on.

    >>> import asyncio
    >>> asyncio.run(in_worker(lambda: threading.current_thread().name))
    'dynamostore-worker'
    """
    return await outcome_of(work, _of_this_process.do)


async def outcome_of(work: Callable[[], T], do: Callable[[Callable[[], None]], None]) -> T:
    """Return what *work* returns, or raise what it raises. *do* has it done in another thread."""
    import asyncio  # a synchronous program has no use for it

    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(settled: Callable[[], None]) -> None:
        if not done.done():
            settled()

    def run() -> None:
        if done.cancelled():
            # Nobody waits for it any more.
            return
        try:
            result = context.run(work)
        except StopIteration as error:
            # As from a coroutine (PEP 479): a future takes none.
            stopped = RuntimeError("what was done in a thread raised StopIteration")
            stopped.__cause__ = error
            outcome = lambda: done.set_exception(stopped)  # noqa: E731
        except BaseException as error:  # noqa: BLE001 (it is raised where it is awaited)
            raised = error
            outcome = lambda: done.set_exception(raised)  # noqa: E731
        else:
            outcome = lambda: done.set_result(result)  # noqa: E731
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    do(run)
    return await done


_of_this_process = Workers()


def forget() -> None:
    """Begin anew: in the child after a fork, whose parent's threads and lock it has not."""
    global _of_this_process  # noqa: PLW0603 (there is one for each process)
    _of_this_process = Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
