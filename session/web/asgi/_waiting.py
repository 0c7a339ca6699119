"""Let synchronous code inside a coroutine wait for another coroutine.

`waiting` drives an app's coroutine on its own greenlet. Synchronous code in it calls `wait`, which switches to the driver. The
driver awaits the other coroutine in the same task, and switches back. SQLAlchemy's asyncio extension does the same for a
synchronous function; here it is a whole coroutine.
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
class _WaitRequest:
    """A coroutine that the greenlet *by* waits for."""

    by: greenlet
    coroutine: Coroutine[Any, Any, object]


class _DrivenGreenlet(greenlet):
    """The greenlet that runs a coroutine for `waiting`, in *task*."""

    task: asyncio.Task[Any] | None = None


@types.coroutine
def waiting(coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> Generator[Any, Any, T]:
    """Await *coroutine*, in *context* if given. Synchronous code in it may call `wait`."""
    driven = _DrivenGreenlet(_steps)
    driven.task = asyncio.current_task()
    # Without a context, the variables that the coroutine sets are the task's, as in a plain await.
    driven.gr_context = getcurrent().gr_context if context is None else context
    reply: Any = driven.switch(coroutine)
    while not driven.dead:
        turn: greenlet = driven
        try:
            if isinstance(reply, _WaitRequest):
                turn = reply.by
                if context is None:
                    sent = yield from reply.coroutine.__await__()
                else:
                    sent = yield from in_context(context, reply.coroutine)
            else:
                sent = yield reply
        except BaseException as error:  # noqa: BLE001 (the coroutine must see cancellations, too)
            # Pass the traceback: greenlet would start a new one.
            reply = turn.throw(type(error), error, error.__traceback__)
        else:
            reply = turn.switch(sent)
    result: T = reply
    return result


def _steps(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine*. Pass each value that it yields to the driver, and the driver's reply back."""
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
    """Wait for the coroutine that *make* returns. Return False if no `waiting` drives the current code."""
    current = getcurrent()
    driven: greenlet | None = current
    # Other libraries may run greenlets inside ours.
    while driven is not None and not isinstance(driven, _DrivenGreenlet):
        driven = driven.parent
    if driven is None or driven.parent is None or driven.task is not asyncio.current_task():
        # An eagerly started task runs its first steps on this greenlet, but the driver would wait in another task.
        return False
    driven.parent.switch(_WaitRequest(current, make()))
    return True
