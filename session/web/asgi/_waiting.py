"""Synchronous code waits for a coroutine, within another one: `waiting` drives that one, and `wait` is called in it.

The coroutine is run on a greenlet of its own. Synchronous code that it calls can leave it for the driver, which awaits what
is asked for in the task's own name, and come back. As in SQLAlchemy's asyncio extension, but for a whole coroutine.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from ._contexts import in_context

__all__ = ["wait", "waiting"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A coroutine that *by* is waiting for."""

    by: greenlet
    coroutine: Coroutine[Any, Any, object]


class _Strand(greenlet):
    """The greenlet of a coroutine that `waiting` drives, in a *task*."""

    task: asyncio.Task[Any] | None = None


@types.coroutine
def waiting(coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> Generator[Any, Any, T]:
    """Await *coroutine*, in *context* if one is given; synchronous code in it may `wait`."""
    strand = _Strand(_steps)
    strand.task = asyncio.current_task()
    # Without a context of its own, the variables that it sets are the task's, as if it were awaited plainly.
    strand.gr_context = getcurrent().gr_context if context is None else context
    reply: Any = strand.switch(coroutine)
    while not strand.dead:
        turn: greenlet = strand
        try:
            if isinstance(reply, _Wanted):
                turn = reply.by
                if context is None:
                    sent = yield from reply.coroutine.__await__()
                else:
                    sent = yield from in_context(context, reply.coroutine)
            else:
                sent = yield reply
        except BaseException as error:  # noqa: BLE001 (a cancellation, too, is its own to see)
            # With what led to it: greenlet begins its traceback anew.
            reply = turn.throw(type(error), error, error.__traceback__)
        else:
            reply = turn.switch(sent)
    result: T = reply
    return result


def _steps(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end; what it yields goes to the driver, and the answer back."""
    driver = getcurrent().parent
    assert driver is not None
    resume: Callable[[], Any] = partial(coroutine.send, None)
    while True:
        try:
            yielded = resume()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            sent = driver.switch(yielded)
        except BaseException as error:  # noqa: BLE001
            resume = partial(coroutine.throw, error)
        else:
            resume = partial(coroutine.send, sent)


def wait(make: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Wait for the coroutine that *make* makes; False if this is not in a coroutine that `waiting` drives."""
    current = getcurrent()
    strand: greenlet | None = current
    # Others put greenlets of theirs on top.
    while strand is not None and not isinstance(strand, _Strand):
        strand = strand.parent
    if strand is None or strand.parent is None or strand.task is not asyncio.current_task():
        # A task that is begun eagerly takes its first steps here, too, and the driver waits in another's name.
        return False
    strand.parent.switch(_Wanted(current, make()))
    return True
