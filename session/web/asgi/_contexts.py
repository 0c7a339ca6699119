"""Run a coroutine in its own context, so that the context variables of a stale run can be dropped."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

__all__ = ["in_context", "keep"]

T = TypeVar("T")


@types.coroutine
def in_context(context: Context, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await *coroutine*, running each of its steps in *context*."""
    resume: Callable[[], Any] = partial(context.run, coroutine.send, None)
    while True:
        try:
            yielded = resume()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            sent = yield yielded
        except BaseException as error:  # noqa: BLE001 (the coroutine must see cancellations, too)
            resume = partial(context.run, coroutine.throw, error)
        else:
            resume = partial(context.run, coroutine.send, sent)


def keep(context: Context) -> None:
    """Apply the changes made in *context*, a copy of the current context, to the current context."""
    current = copy_context()
    for variable, value in context.items():
        if variable not in current or current[variable] is not value:
            _set(variable, value)


def _set(variable: ContextVar[T], value: T) -> None:
    variable.set(value)
