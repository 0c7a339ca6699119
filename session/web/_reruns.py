"""Decide which stale requests an adapter runs again, how often, and after which pause."""

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
    "Rerun",
    "RerunBudget",
    "begin_answer",
    "begin_run",
    "check_rerun",
    "is_safe",
    "may_rerun",
]

R = TypeVar("R")

Rerun: TypeAlias = Literal["safe", "never"] | Callable[[R], bool]
"""Which stale requests run again.

- "safe": GET, HEAD and OPTIONS without a body, except OAuth callbacks.
- "never": none.
- A function of the request: those for which it returns True. It is called before the first run.
"""

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
MOST_RERUNS = 3
WITHIN_S = 5.0
_FIRST_PAUSE_S = 0.01


def check_rerun(rerun: object) -> None:
    """Raise `ValueError` if *rerun* is not a valid setting."""
    if rerun not in ("safe", "never") and not callable(rerun):
        raise ValueError(f'rerun must be "safe", "never" or a function of the request, not {rerun!r}')


def is_safe(method: str, *, has_body: bool) -> bool:
    """Return True if the method is safe (RFC 9110, 9.2.1), so that the request may run twice, and there is no body."""
    return method in SAFE_METHODS and not has_body


def is_oauth_callback(query: str | bytes) -> bool:
    """Return True for the query of an OAuth redirect. Its code works only once (RFC 6749, 4.1.2)."""
    if not query:
        return False
    parameters = query.encode("latin-1", "replace") if isinstance(query, str) else query
    names = {parameter.partition(b"=")[0] for parameter in parameters.split(b"&")}
    return names >= {b"code", b"state"}


def may_rerun(rerun: Rerun[R], request: Hidden[R], method: str, query: str | bytes, *, has_body: bool) -> bool:
    """Return True if the setting *rerun* allows *request* to run again. OAuth callbacks are not "safe"."""
    if callable(rerun):
        return rerun(request.reveal())
    return rerun == "safe" and is_safe(method, has_body=has_body) and not is_oauth_callback(query)


@dataclass(slots=True)
class RerunBudget:
    """Counts the runs of one request, and limits their number and their total time."""

    allowed: bool
    clock: Callable[[], float] = time.monotonic
    attempt: int = 1
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @classmethod
    def since(cls, begun: float, clock: Callable[[], float]) -> RerunBudget:
        """Return the budget of a re-runnable request whose first run began at *begun* and was stale."""
        budget = cls(True, clock)
        budget.begun = begun
        return budget

    def allows_rerun(self, state: State) -> bool:
        """Return True if another run may follow the stale one. The caller must not have sent any byte of the response."""
        return (
            self.allowed
            and state.rerun
            and not state.stored
            and self.attempt <= MOST_RERUNS
            and self.clock() - self.begun < WITHIN_S
        )

    def pause(self) -> float:
        """Count the next run, and return the pause before it, in seconds. The pause is random, to avoid a second collision."""
        self.attempt += 1
        return uniform(0, _FIRST_PAUSE_S * 2**self.attempt)


# Session states for the next run


def begin_run(last: State, policy: Policy, attempt: int) -> State:
    """Return the session state for the run after *last*. *last* was stale and stored nothing.

    If the session has ended in the meantime, the new run has no session and cannot create one. Its cookie could replace that
    of the request that ended the session, which may have been a new login.
    """
    state = begin_again(last, policy)
    state.attempt, state.only_if_there = attempt, True
    return state


def begin_answer(last: State, policy: Policy) -> State:
    """Return the session state for the app that answers the conflict or outage of *last*. What *last* saved stays stored."""
    state = begin_run(last, policy, last.attempt)
    state.rerun = False
    # The answer depends on the cookie, so it needs Vary: Cookie.
    state.looked = True
    if last.stored:
        state.token, state.loaded = last.token, last.token is None
        state.destroyed = last.destroyed
        state.ended = last.ended or (last.token is None and not last.destroyed)
        state.gone = last.gone or state.ended
    return state
