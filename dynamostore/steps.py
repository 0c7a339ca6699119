"""Plans: logic as generators without I/O, and the drivers `run` and `arun` that perform their calls.

A *plan* is a generator. It yields a `Call` to some target, or a `Pause`, and receives the reply; an exception is thrown in
at the same place. A plan knows no network, thread or event loop. So sync and async code share the same plans, and a test
can answer a plan by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from .hidden import clear_frames

__all__ = ["Call", "Pause", "Plan", "Step", "arun", "asleep", "issue", "pause", "run", "run_to_completion"]

R = TypeVar("R")


# Not frozen: an instance is created for every call, and a frozen one takes twice as long to create.
@dataclass(slots=True, repr=False)
class Call(Generic[R]):
    """A call of the method *operation* with keyword arguments. *R* is the type of its reply. Never modified."""

    operation: str
    arguments: Mapping[str, object]

    def __repr__(self) -> str:
        # No values: error reports show the repr of variables in frames.
        return f"<Call {self.operation}({', '.join(self.arguments)})>"


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait, in seconds."""

    seconds: float


# The type of a reply depends on the step that the plan yielded last, which the type of a generator cannot express. So it is
# Any here, and only `issue` gives the reply its exact type.
Step: TypeAlias = Call[Any] | Pause
"""A step of a plan: the driver runs it."""
Plan: TypeAlias = Generator[Step, Any, R]
"""A generator that yields steps, is sent their results, and returns a result of type R."""


def issue(call: Call[R]) -> Plan[R]:
    """Yield a call and return its reply with its exact type: ``reply = yield from issue(call)``."""
    # No local variable: a reply contains the payload.
    return (yield call)  # type: ignore[no-any-return]  # see Plan: this is where the reply gets its type


def pause(seconds: float) -> Plan[None]:
    """Wait for this many seconds."""
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

    *explain* converts an exception of an operation before the plan sees it. *check* may raise an exception for a reply.
    """
    # Holds at most one reply, and is empty while the plan runs, since a reply contains the payload.
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
        # After an interrupt, the plan is still suspended at its step.
        plan.close()


async def arun(
    plan: Plan[R],
    target: object,
    *,
    sleep: Callable[[float], Awaitable[object]],
    explain: Callable[[Exception, str], Exception] | None = None,
    check: Callable[[object, str], None] | None = None,
) -> R:
    """Drive a plan as `run` does, but await the methods of *target* and *sleep*.

    A cancellation is not thrown into the plan as the outcome of a call. It closes the plan and propagates.
    """
    # Holds at most one reply, and is empty while the plan runs, since a reply contains the payload.
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
    """Call ``asyncio.sleep``. asyncio is imported here, as synchronous programs do not need it."""
    import asyncio

    await asyncio.sleep(seconds)


async def run_to_completion(work: Awaitable[R]) -> R:
    """Return the result of *work*, which runs in a thread. A cancellation waits for it, as the thread cannot be stopped."""
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
