"""A handler is run: in synchronous code by `handle`, in async code by `ahandle`. And the hooks that run before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from session.data import SessionData

from .handlers import HANDLERS, Data, Save, Visit, Work
from .traces import Answer

__all__ = ["HOOKS", "ahandle", "handle"]

Change: TypeAlias = Callable[[SessionData], bool]


def handle(name: str, visit: Visit, *, save: Callable[[], object], atomic: Callable[[Change], bool]) -> Answer:
    """Return the answer of the route *name*."""
    trace = visit.trace
    handling = HANDLERS[name](visit)
    reply = False
    try:
        step = next(handling)
        while True:
            if isinstance(step, Work):
                trace.wait(_duration(visit, step))
            elif isinstance(step, Save):
                _plan(visit, step)
                save()
                trace.do(step.effect, planned=True)
            else:
                reply = atomic(step.change)
            step = handling.send(reply)
    except StopIteration as end:
        return _answered(visit, end)


async def ahandle(
    name: str,
    visit: Visit,
    *,
    save: Callable[[], Awaitable[object]],
    atomic: Callable[[Change], Awaitable[bool]],
) -> Answer:
    """Return the answer of the route *name*."""
    trace = visit.trace
    handling = HANDLERS[name](visit)
    reply = False
    try:
        step = next(handling)
        while True:
            if isinstance(step, Work):
                await trace.pause(_duration(visit, step))
            elif isinstance(step, Save):
                _plan(visit, step)
                await save()
                trace.do(step.effect, planned=True)
            else:
                reply = await atomic(step.change)
            step = handling.send(reply)
    except StopIteration as end:
        return _answered(visit, end)


def _duration(visit: Visit, work: Work) -> float:
    return 0.0 if visit.trace.instant else visit.trace.random.uniform(work.shortest, work.longest)


def _plan(visit: Visit, save: Save) -> None:
    run = visit.trace.run
    run.answer = save.answer
    run.effects.append(save.effect)


def _answered(visit: Visit, end: StopIteration) -> Answer:
    answer: Answer = end.value
    visit.trace.run.answer = answer
    return answer


# Hooks, which run before each request's handler


def _none(session: Data, now: float) -> None:
    pass


def _activity(session: Data, now: float) -> None:
    session.get_float("last_activity")
    session.put_float("last_activity", now)


def _throttled(session: Data, now: float) -> None:
    if now - session.get_float("last_activity") >= 60:
        session.put_float("last_activity", now)


def _everything(session: Data, now: float) -> None:  # noqa: ARG001 (a hook)
    list(session.items())


HOOKS: Mapping[str, Callable[[Data, float], None]] = {
    "none": _none,
    "last_activity": _activity,
    "throttled": _throttled,
    "dict": _everything,
}
"""What may be asked of every request."""
