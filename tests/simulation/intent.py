"""What a request means to store at once, noted by the simulation itself: no code of the packages decides on it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from .history import ABSENT, DEADLINE, Add, Any, Append, Clear, Event, Has, Keys, Level, Read, Remove, Write
from .notes import Data, Notes, change, counted, relevant, replay

__all__ = ["UNIVERSE", "Commit", "Data", "Promises", "describe_events"]

UNIVERSE: Final = ("a", "b", "id", "list", "n", "sum", "user")
"""All keys that a session of the simulation may have."""


@dataclass(frozen=True, slots=True)
class Promises:
    """The settings that decide which reads count. *checks*: stale requests are refused."""

    level: Level = "merge"
    checks: bool = True
    mergeable: AbstractSet[str] = frozenset()
    login_keys: AbstractSet[str] = frozenset()


@dataclass(slots=True, eq=False)
class Commit:
    """One commit of a request, or one atomic step: what is to be stored, and what became of it."""

    request: str
    number: int
    promises: Promises
    notes: Notes
    upto: int
    """How many of the events of the notes are to be stored."""
    key: str | None
    """The session's key in the table when the commit began; None for a new session."""
    destroys: str | None
    """The key that is to be deleted first."""
    renews: bool
    begun_ns: int
    begun: int = 0
    """When what it shows was read, on the clock of the histories."""
    atomic: bool = False
    outer: list[Event] = field(default_factory=list)
    """What the request had read before the atomic step, as far as it counts."""
    before: list[Event] = field(default_factory=list)
    """What the request had read before it destroyed the session, as far as it counts."""
    read_before: bool = False
    """It had read anything before it destroyed the session, counted or not."""
    outer_notes: Notes | None = None
    had_ended: bool = False
    """Somebody had ended the session before, and the request was told."""
    applied: int = 0
    applied_at: int = 0
    """When it was applied, on the clock of the histories."""
    acknowledged: bool = False
    result: Data | None = None
    conflicts: int = 0
    keys: list[str] = field(default_factory=list)
    """The keys under which it stored something."""
    deleted: set[str] = field(default_factory=set)

    def base(self) -> Data:
        """Return the data that it rests on."""
        return self._outstanding()[0]

    def events(self) -> list[Event]:
        """Return what it was shown and is to store."""
        return self._outstanding()[1]

    def _outstanding(self) -> tuple[Data, list[Event]]:
        # An atomic step notes each of its runs anew.
        return self.notes.outstanding(len(self.notes.events) if self.atomic else self.upto, UNIVERSE)

    def all_events(self) -> list[Event]:
        """Return all that was shown and done since the session was read or stored."""
        return self.notes.events if self.atomic else self.notes.events[: self.upto]

    def changes(self) -> bool:
        """Return True if there is anything to store: values put again as they were are no change."""
        base = self.notes.base
        after = replay(self.all_events(), base)
        if DEADLINE not in base:
            # A deadline alone begins no session.
            after.pop(DEADLINE, None)
        return after != base

    def apply(self, state: Data) -> Data:
        """Return *state* with its changes made."""
        return replay(self.events(), state) if self.changes() or self.renews else state

    def whole(self) -> Data:
        """Return a session with nothing but what it put."""
        data = replay(self.all_events(), {})
        data.pop(DEADLINE, None)
        return data

    def ops(self) -> list[Event]:
        """Return its events as a transaction of the history."""
        promises = self.promises
        base, events = self._outstanding()
        if self.atomic:
            return [*self.outer, *events]
        popped = self.notes.popped
        return relevant(events, popped, base, promises.level, promises.mergeable, UNIVERSE, exclusive=self.renews)

    def counted(self) -> list[Event]:
        """Return the reads that must hold when it stores its changes, with the values that they must have."""
        promises = self.promises
        if self.atomic:
            return self.outer
        base, events = self._outstanding()
        popped = self.notes.popped
        return counted(events, popped, base, promises.level, promises.mergeable, UNIVERSE, exclusive=self.renews)

    def __str__(self) -> str:
        return f"{self.request} commit {self.number}"


def describe_events(events: Iterable[Event], *, reads: bool = False) -> str:
    """Return the changes among *events* in a few words, with the *reads* or without."""
    return " ".join(_describe(event) for event in events if reads or change(event)) or "nothing"


def _describe(event: Event) -> str:
    match event:
        case Write(key, value):
            return f"{key}={value!r}"
        case Remove(key):
            return f"-{key}"
        case Add(key, by):
            return f"{key}+={by}"
        case Append(key, value):
            return f"{key}+=[{value!r}]"
        case Clear():
            return "clear"
        case Read(key, value):
            return f"({key} is {'missing' if value is ABSENT else repr(value)})"
        case Has(key, present):
            return f"({key} is {'there' if present else 'missing'})"
        case Keys(keys):
            return f"(keys are {', '.join(sorted(keys))})"
        case Any(nonempty):
            return "(something is there)" if nonempty else "(nothing is there)"
