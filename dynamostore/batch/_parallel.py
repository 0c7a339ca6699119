"""Several iterators at once, in threads or in tasks, and what they yield as it comes: never more than a few ahead."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import TypeVar

__all__ = ["in_tasks", "in_threads"]

T = TypeVar("T")

_LOOK = 0.1


class _Over:
    """An iterator is through, or failed with *error*."""

    def __init__(self, key: int, error: BaseException | None) -> None:
        self.key = key
        self.error = error


def in_threads(
    iterators: Mapping[int, Iterator[T]], failed: Callable[[int, Exception], None], stopping: threading.Event
) -> Iterator[T]:
    """What all *iterators* yield, each run in a thread of its own; *failed* is told of one that raises, by its key.

    When this is closed, each of them ends with what it is doing, and is waited for; *stopping* is set then.
    """
    results: queue.Queue[T | _Over] = queue.Queue(len(iterators))

    def put(result: T | _Over) -> bool:
        while not stopping.is_set():
            try:
                results.put(result, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def work(key: int, iterator: Iterator[T]) -> None:
        error: BaseException | None = None
        try:
            for result in iterator:
                if not put(result):
                    return
        except BaseException as raised:  # noqa: BLE001 (it is raised where the results are taken)
            error = raised
        put(_Over(key, error))

    # Daemons: a program that ends with an iterator half read, and never closed, is not to wait for them forever.
    threads = [
        threading.Thread(target=work, args=pair, name=f"dynamostore-segment-{pair[0]}", daemon=True)
        for pair in iterators.items()
    ]
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            result = results.get()
            if not isinstance(result, _Over):
                yield result
                continue
            left -= 1
            _tell(result, failed)
    finally:
        stopping.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


async def in_tasks(
    iterators: Mapping[int, AsyncIterator[T]], failed: Callable[[int, Exception], None]
) -> AsyncGenerator[T, None]:
    """`in_threads`, in tasks."""
    results: asyncio.Queue[T | _Over] = asyncio.Queue(len(iterators))

    async def work(key: int, iterator: AsyncIterator[T]) -> None:
        error: BaseException | None = None
        try:
            async for result in iterator:
                await results.put(result)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001
            error = raised
        await results.put(_Over(key, error))

    tasks = [asyncio.create_task(work(key, iterator)) for key, iterator in iterators.items()]
    try:
        left = len(tasks)
        while left:
            result = await results.get()
            if not isinstance(result, _Over):
                yield result
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
