"""Plans, and what drives them: logic as generators, I/O at the rim.

A *plan* is a generator that yields what it wants done (a `Call` to some target, or a `Pause`) and is sent
the outcome; an exception is thrown in where the call stands. The plan knows no network, no thread and no
event loop, so one text of the logic serves every driver, and a test can answer a plan by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from .hidden import clear_frames

__all__ = ["Call", "Pause", "Plan", "Step", "arun", "asleep", "issue", "pause", "run", "to_its_end"]

R = TypeVar("R")


# Not frozen: one is made for every call, and that takes twice as long.
@dataclass(slots=True, repr=False)
class Call(Generic[R]):
    """A call of the method *operation* with keyword arguments; *R* is the type of its reply. A value, never changed."""

    operation: str
    arguments: Mapping[str, object]

    def __repr__(self) -> str:
        # Without a value: it stands in frames that raise.
        return f"<Call {self.operation}({', '.join(self.arguments)})>"


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait, in seconds."""

    seconds: float


# What a plan is sent depends on the step it yielded last, which a generator's type cannot say: hence Any,
# and `issue`, the one place that gives the reply its type back.
Step: TypeAlias = Call[Any] | Pause
"""A step of a plan: the driver runs it."""
Plan: TypeAlias = Generator[Step, Any, R]
"""A generator that yields steps, is sent their results, and returns a result of type R."""


def issue(call: Call[R]) -> Plan[R]:
    """Yield a call and return its reply with its exact type: ``reply = yield from issue(call)``."""
    # Not by a local: a reply holds what is stored.
    return (yield call)  # type: ignore[no-any-return]  # see Plan: this is where the reply gets its type


def pause(seconds: float) -> Plan[None]:
    """Wait."""
    yield Pause(seconds)


def run(
    plan: Plan[R],
    target: object,
    *,
    sleep: Callable[[float], None],
    explain: Callable[[Exception, str], Exception] | None = None,
    check: Callable[[object, str], None] | None = None,
) -> R:
    """Drive a plan to its end by calling the methods of *target*, and return its result.

    *explain* turns what a call of an operation raised into what the plan is to see; *check* may raise for a
    reply.
    """
    # At most one, and none while the plan runs: it holds what is stored.
    replies: list[object] = []
    try:
        step = next(plan)
        while True:
            try:
                if isinstance(step, Call):
                    replies.append(getattr(target, step.operation)(**step.arguments))
                    if check:
                        check(replies[0], step.operation)
                else:
                    sleep(step.seconds)
                    replies.append(None)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the plan's to handle)
                replies.clear()
                clear_frames(error)
                operation = step.operation if isinstance(step, Call) else ""
                step = plan.throw(explain(error, operation) if explain else error)
            else:
                step = plan.send(replies.pop())
    except StopIteration as end:
        result: R = end.value
        return result
    except BaseException as error:
        replies.clear()
        clear_frames(error)
        raise
    finally:
        # Where an interrupt ended it, it is not left hanging at its step.
        plan.close()


async def arun(
    plan: Plan[R],
    target: object,
    *,
    sleep: Callable[[float], Awaitable[object]],
    explain: Callable[[Exception, str], Exception] | None = None,
    check: Callable[[object, str], None] | None = None,
) -> R:
    """`run`, where the methods of *target*, and *sleep*, are awaited.

    A cancellation is no outcome of a call: it ends the plan where it stands, and goes on.
    """
    # At most one, and none while the plan runs: it holds what is stored.
    replies: list[object] = []
    try:
        step = next(plan)
        while True:
            try:
                if isinstance(step, Call):
                    replies.append(await getattr(target, step.operation)(**step.arguments))
                    if check:
                        check(replies[0], step.operation)
                else:
                    await sleep(step.seconds)
                    replies.append(None)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the plan's to handle)
                replies.clear()
                clear_frames(error)
                operation = step.operation if isinstance(step, Call) else ""
                step = plan.throw(explain(error, operation) if explain else error)
            else:
                step = plan.send(replies.pop())
    except StopIteration as end:
        result: R = end.value
        return result
    except BaseException as error:
        replies.clear()
        clear_frames(error)
        raise
    finally:
        plan.close()


async def asleep(seconds: float) -> None:
    """``asyncio.sleep``, imported when it is first needed: a synchronous program has no use for asyncio."""
    import asyncio

    await asyncio.sleep(seconds)


async def to_its_end(work: Awaitable[R]) -> R:
    """What *work*, which is done in a thread, comes to; a cancellation waits for it, as the thread goes on all the same."""
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
