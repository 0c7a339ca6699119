"""Running several iterators in parallel, in threads or tasks, and yielding their results as they arrive."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import Final, TypeVar

from dynamostore.errors import UnavailableError
from dynamostore.workers import outcome_of

__all__ = ["MAX_AT_ONCE", "in_tasks", "in_thread", "in_threads"]

T = TypeVar("T")

MAX_AT_ONCE: Final = 32
"""The most iterators that run at a time. More threads cost memory and gain no speed."""

_LOOK: Final = 0.1
_GRACE: Final = 0.5
"""Seconds to wait for the threads to end. A thread that waits for the network cannot be told to stop."""


class _Over:
    """The end of an iterator, or its failure with *error*."""

    def __init__(self, key: int, error: BaseException | None) -> None:
        self.key = key
        self.error = error


def in_threads(
    iterators: Mapping[int, Iterator[T]], failed: Callable[[int, Exception], None], stopping: threading.Event
) -> Iterator[T]:
    """Yield the results of all *iterators*, which run in at most 32 threads. Call *failed* for each iterator that raises.

    When this generator is closed or interrupted, it sets *stopping*, and each iterator ends at its next step. It does not
    wait for a thread that waits for a reply: such a thread is a daemon, and its result is discarded.
    """
    pending = deque(iterators.items())
    number = min(len(iterators), MAX_AT_ONCE)
    results: queue.Queue[T | _Over] = queue.Queue(number)

    def put(result: T | _Over) -> bool:
        while not stopping.is_set():
            try:
                results.put(result, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        while not stopping.is_set():
            try:
                key, iterator = pending.popleft()
            except IndexError:
                return
            error: BaseException | None = None
            try:
                for result in iterator:
                    if not put(result):
                        return
                    # A frame in a traceback must not hold results, which are secret.
                    del result
            except BaseException as raised:  # noqa: BLE001 (raised again by the consumer of the results)
                error = raised
            put(_Over(key, error))

    threads: list[threading.Thread] = []
    try:
        threads.extend(_started(work, number))
        left = len(iterators)
        while left:
            result = results.get()
            if not isinstance(result, _Over):
                yield result
                del result
                continue
            left -= 1
            _tell(result, failed)
    finally:
        stopping.set()
        until = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))


def _started(work: Callable[[], None], number: int) -> Iterator[threading.Thread]:
    """Start up to *number* threads, and yield those that could be started."""
    for started in range(number):
        # Daemons, so that a program can exit without closing a half-read iterator.
        thread = threading.Thread(target=work, name=f"dynamostore-segment-{started}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not started:
                raise UnavailableError(f"could not start a thread to read a segment: {error}") from error
            return
        yield thread


async def in_tasks(
    iterators: Mapping[int, AsyncIterator[T]], failed: Callable[[int, Exception], None]
) -> AsyncGenerator[T, None]:
    """Yield the results of all *iterators*, as `in_threads` does, but in tasks. Closing or cancelling cancels the tasks."""
    pending = deque(iterators.items())
    number = min(len(iterators), MAX_AT_ONCE)
    results: asyncio.Queue[T | _Over] = asyncio.Queue(number)

    async def work() -> None:
        while pending:
            key, iterator = pending.popleft()
            error: BaseException | None = None
            try:
                async for result in iterator:
                    await results.put(result)
                    del result
            except asyncio.CancelledError:
                raise
            except BaseException as raised:  # noqa: BLE001
                error = raised
            await results.put(_Over(key, error))

    tasks = [asyncio.create_task(work()) for _ in range(number)]
    try:
        left = len(iterators)
        while left:
            result = await results.get()
            if not isinstance(result, _Over):
                yield result
                del result
                continue
            left -= 1
            _tell(result, failed)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell(over: _Over, failed: Callable[[int, Exception], None]) -> None:
    if isinstance(over.error, Exception):
        failed(over.key, over.error)
    elif over.error is not None:
        raise over.error


async def in_thread(work: Callable[[], T]) -> T:
    """Run *work* in its own daemon thread and return its result. A slow file blocks neither the loop nor the exit."""
    return await outcome_of(work, _begin)


def _begin(job: Callable[[], None]) -> None:
    try:
        threading.Thread(target=job, name="dynamostore-file", daemon=True).start()
    except RuntimeError as error:
        raise UnavailableError(f"could not start a thread to work on a file: {error}") from error
