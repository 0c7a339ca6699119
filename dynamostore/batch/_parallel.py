"""Several iterators at once, in threads or in tasks, and what they yield as it comes: never more than a few ahead."""

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
"""How many are run at the same time, however many there are: more bring nothing, and each thread costs."""

_LOOK: Final = 0.1
_GRACE: Final = 0.5
"""How many seconds threads have to end. One that waits for the network does not know that it is to end."""


class _Over:
    """An iterator is through, or failed with *error*."""

    def __init__(self, key: int, error: BaseException | None) -> None:
        self.key = key
        self.error = error


def in_threads(
    iterators: Mapping[int, Iterator[T]], failed: Callable[[int, Exception], None], stopping: threading.Event
) -> Iterator[T]:
    """What all *iterators* yield, run in 32 threads at most; *failed* is told of one that raises, by its key.

    When this is closed or interrupted, *stopping* is set, and each of them is to end at its next step. Who waits for a reply just
    then is not waited for: its thread is a daemon, and what it still brings goes nowhere.
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
                    # No frame that raises is to hold what was read.
                    del result
            except BaseException as raised:  # noqa: BLE001 (it is raised where the results are taken)
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
    """So many threads, or as many of them as can be had."""
    for started in range(number):
        # Daemons: a program that ends with an iterator half read, and never closed, is not to wait for them forever.
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
    """`in_threads`, in tasks; when this is closed or cancelled, so are they, and what they wait for."""
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
    """What *work* returns, done in a daemon thread of its own: a file may be slow for as long as it likes."""
    return await outcome_of(work, _begin)


def _begin(job: Callable[[], None]) -> None:
    try:
        threading.Thread(target=job, name="dynamostore-file", daemon=True).start()
    except RuntimeError as error:
        raise UnavailableError(f"could not start a thread to work on a file: {error}") from error
