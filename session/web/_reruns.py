"""Which stale requests an adapter runs again, how often, and after how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import uniform
from typing import Literal, TypeAlias, TypeVar

from dynamostore.hidden import Hidden
from session._policy import Policy
from session._state import State, begin_again

__all__ = [
    "Course",
    "Rerun",
    "begin_answer",
    "begin_run",
    "check_rerun",
    "is_safe",
    "may_rerun",
]

R = TypeVar("R")

Rerun: TypeAlias = Literal["safe", "never"] | Callable[[R], bool]
"""Which stale requests are run again: those of GET, HEAD and OPTIONS without a body; none; or those that a function of the
request returns True for. The function is asked before the first run."""

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
MOST_RERUNS = 3
WITHIN_S = 5.0
_FIRST_PAUSE_S = 0.01


def check_rerun(rerun: object) -> None:
    """Raise `ValueError` if *rerun* is no setting."""
    if rerun not in ("safe", "never") and not callable(rerun):
        raise ValueError(f'rerun must be "safe", "never" or a function of the request, not {rerun!r}')


def is_safe(method: str, *, has_body: bool) -> bool:
    """Return True for a request that by its method changes nothing, so it may be made twice (RFC 9110, 9.2.1)."""
    return method in SAFE_METHODS and not has_body


def is_oauth_callback(query: str | bytes) -> bool:
    """Return True for the query of a redirect back from a login elsewhere: its code can be used once (RFC 6749, 4.1.2)."""
    if not query:
        return False
    parameters = query.encode("latin-1", "replace") if isinstance(query, str) else query
    names = {parameter.partition(b"=")[0] for parameter in parameters.split(b"&")}
    return names >= {b"code", b"state"}


def may_rerun(rerun: Rerun[R], request: Hidden[R], method: str, query: str | bytes, *, has_body: bool) -> bool:
    """Return True if the setting *rerun* allows *request*, with this *query*, to be run again."""
    if callable(rerun):
        return rerun(request.reveal())
    return rerun == "safe" and is_safe(method, has_body=has_body) and not is_oauth_callback(query)


@dataclass(slots=True)
class Course:
    """The runs of one request: how many there have been, and if there may be another one."""

    allowed: bool
    clock: Callable[[], float] = time.monotonic
    attempt: int = 1
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @classmethod
    def since(cls, begun: float, clock: Callable[[], float]) -> Course:
        """Return the course of a request that may be run again, made when its first run, begun at *begun*, was stale."""
        course = cls(True, clock)
        course.begun = begun
        return course

    def goes_on(self, state: State) -> bool:
        """Return True if a run that ended stale is to be followed by another one; no byte of its response may be out."""
        return (
            self.allowed
            and state.rerun
            and not state.stored
            and self.attempt <= MOST_RERUNS
            and self.clock() - self.begun < WITHIN_S
        )

    def pause(self) -> float:
        """Count the next run, and return how long to wait before it, in seconds: at random, so that two do not meet again."""
        self.attempt += 1
        return uniform(0, _FIRST_PAUSE_S * 2**self.attempt)


# Sessions of the next run


def begin_run(last: State, policy: Policy, attempt: int) -> State:
    """Return the state of the run after *last*, which was stale and stored nothing.

    If its session has ended by now, the request has none, and begins none: a cookie that it set would replace the one of the
    request that ended it, by a new login perhaps.
    """
    state = begin_again(last, policy)
    state.attempt, state.only_if_there = attempt, True
    return state


def begin_answer(last: State, policy: Policy) -> State:
    """Return the state of the app that answers the conflict of *last*; what that one has stored before stays."""
    state = begin_run(last, policy, last.attempt)
    state.rerun = False
    # Its answer depends on the cookie, in any case.
    state.looked = True
    if last.stored:
        state.token, state.loaded = last.token, last.token is None
        state.destroyed = last.destroyed
        state.ended = last.ended or (last.token is None and not last.destroyed)
        state.gone = last.gone or state.ended
    return state
