"""`Trace`: one request on its way through an app: its runs, what they answered and did elsewhere, and how they were refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

from dynamostore import Record
from session._state import State
from session.changes import Changes
from session.errors import SessionConflict
from session.merging import Data
from session.types import JSONValue

from .clock import wait_here
from .shelf import Shelf, decode

__all__ = ["Answer", "Effect", "Refusal", "Run", "Trace", "current", "enter", "sleep", "watch_conflicts"]

Effect = tuple[str, str]
"""Something that a request did elsewhere: what, and to whom or with which nonce."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's answer, before the adapter has a say."""

    status: int
    body: dict[str, JSONValue] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """One run of a handler; *answer* and *effects* are planned ones until its session is stored."""

    state: Callable[[], State] | None = None
    answer: Answer | None = None
    effects: list[Effect] = field(default_factory=list)
    changes: Changes | None = None
    base: Data = field(default_factory=dict)
    destroying: bool = False

    def note_changes(self) -> None:
        """Keep the changes, and what they were made from, as they are when they are first to be stored."""
        if self.state is not None and self.changes is None:
            state = self.state()
            self.changes = state.draft.meant()
            if state.record is not None:
                self.base = decode(state.record)
            self.destroying = state.destroying


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run that ended stale: what it would have done, what it was shown, and all that was stored at that moment."""

    run: Run
    stored: Shelf
    keys: tuple[str, ...]


@dataclass(slots=True)
class Trace:
    """One request. *instant*: it is a replay, on a copy of the store, in which nothing takes time."""

    name: str
    now: float
    """When the request was made, which every run of it takes for the time."""
    random: Random
    shelf: Shelf
    ledger: Callable[[Effect], None]
    hook: Callable[[object, float], None]
    instant: bool = False
    runs: list[Run] = field(default_factory=lambda: [Run()])
    refusals: list[Refusal] = field(default_factory=list)
    lineage: int | None = None
    """The session that this request has written; None if it wrote none."""

    @property
    def run(self) -> Run:
        """The latest run."""
        return self.runs[-1]

    def begin(self, state: Callable[[], State]) -> Run:
        """Begin a run: its session is in the state that *state* returns."""
        if self.run.state is not None:
            self.runs.append(Run())
        self.run.state = state
        return self.run

    def do(self, effect: Effect, *, planned: bool = False) -> None:
        """Do something elsewhere, at once."""
        if not planned:
            self.run.effects.append(effect)
        if not self.instant:
            self.ledger(effect)

    def wait(self, seconds: float) -> None:
        """Let time pass, in synchronous code."""
        if not self.instant:
            wait_here(seconds)

    async def pause(self, seconds: float) -> None:
        """Let time pass, in async code."""
        if not self.instant:
            await asyncio.sleep(seconds)

    def note_written(self, record: Record) -> None:
        """Keep which session was written."""
        self.lineage = self.shelf.lineages.get(record.token)

    def refused(self, conflict: SessionConflict) -> None:
        """Note that the latest run is stale."""
        run = self.run
        if self.instant or run.state is None:
            return
        run.note_changes()
        self.refusals.append(Refusal(run, self.shelf.copy(), conflict.keys))


_current: ContextVar[Trace] = ContextVar("benchmarks.notice")


def current() -> Trace:
    """Return the trace of the request that is being answered here."""
    return _current.get()


def enter(trace: Trace) -> None:
    """Have *trace* be the current one, in this context."""
    _current.set(trace)


def sleep(seconds: float) -> None:
    """Wait as ``time.sleep`` does, in virtual time."""
    current().wait(seconds)


def watch_conflicts() -> None:
    """Have the current trace note each `SessionConflict` at the moment when it is raised."""
    plain = SessionConflict.__init__

    # Only the constructor knows the moment: adapters catch the error, and wait before the next run.
    def noted(self: SessionConflict, *args: object, **kwargs: object) -> None:
        plain(self, *args, **kwargs)  # type: ignore[arg-type]  # whatever it was given
        trace = _current.get(None)
        if trace is not None:
            trace.refused(self)

    SessionConflict.__init__ = noted  # type: ignore[method-assign]  # for the length of this process
