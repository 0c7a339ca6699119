"""Run blocking work outside an event loop, in threads of the library. The app may keep asyncio's default executor busy."""

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
"""The maximum number of threads, for all event loops of a process together. Further work waits for a free thread."""

KEEP_IDLE: Final = 10.0
"""The number of seconds that a thread waits for more work."""


class Workers:
    """At most *most* threads. Each ends after *keep_idle* seconds without work. They are daemons: a program can end while they work."""

    def __init__(self, most: int = MOST, keep_idle: float = KEEP_IDLE) -> None:
        self._most = most
        self._keep_idle = keep_idle
        # The lock is reentrant, because a signal handler may interrupt a thread that holds it.
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self.threads: int = 0
        """The number of running threads."""

    def do(self, job: Callable[[], None]) -> None:
        """Run *job*, which must not raise, in a thread. Raise `UnavailableError` if no thread is running and none can be started."""
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
                # The system's limit is reached, or (since Python 3.12) the interpreter is shutting down.
                self.threads -= 1
                if self.threads:
                    return
                self._jobs.remove(job)
                raise UnavailableError(f"cannot start a thread for a call of the store: {error}") from error

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
            # Release the objects that the job holds: the next job may be a long time coming.
            del job


async def in_worker(work: Callable[[], T]) -> T:
    """Run *work* in a thread, with the caller's context variables, and return its result.

    Cancelling this coroutine ends the wait, but not work that has begun.

    >>> import asyncio
    >>> asyncio.run(in_worker(lambda: threading.current_thread().name))
    'dynamostore-worker'
    """
    return await outcome_of(work, _of_this_process.do)


async def outcome_of(work: Callable[[], T], do: Callable[[Callable[[], None]], None]) -> T:
    """Return the result of *work*, which *do* runs in another thread."""
    import asyncio  # imported here because a synchronous program does not need it

    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(settled: Callable[[], None]) -> None:
        if not done.done():
            settled()

    def run() -> None:
        if done.cancelled():
            # The caller no longer waits.
            return
        try:
            result = context.run(work)
        except StopIteration as error:
            # As in a coroutine (PEP 479). A future does not accept StopIteration.
            stopped = RuntimeError("a function that ran in a thread raised StopIteration")
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
    """Start without threads, in the child after a fork: it does not have the threads of its parent."""
    global _of_this_process  # noqa: PLW0603 (there is one for each process)
    _of_this_process = Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
