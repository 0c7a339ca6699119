"""What a request means to store at once, noted by the simulation itself: no code of the packages decides on it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from .history import ABSENT, DEADLINE, Add, Any, Append, Clear, Event, Has, Keys, Level, Read, Remove, Write
from .notes import Data, Notes, change, counted, relevant, replay, still_counting

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
    """What the request had read before the atomic step, as far as it counts if the step changes only mergeable keys."""
    outer_strict: list[Event] = field(default_factory=list)
    """The same, as far as it counts if the step changes others, or nothing."""
    outdated: AbstractSet[str] = frozenset()
    """What others had changed before an earlier commit of this request, when that did not count."""
    outer_outdated: tuple[AbstractSet[str], AbstractSet[str]] = (frozenset(), frozenset())
    """Those of them that count for an atomic step that changes only mergeable keys, and for any other."""
    unknown: bool = False
    """The outcome of an earlier commit of this request is not known."""
    found_outdated: AbstractSet[str] = frozenset()
    """What others had changed of all that was read, when this commit was applied."""
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
        if after != base:
            return True
        # What was undone after a write that may be stored is a change, too.
        touched = {event.key for event in self.all_events() if isinstance(event, Write | Remove | Add | Append)}
        tried = [] if self.atomic else [replay(self.notes.events[:upto], base) for upto in self.notes.tried]
        return any(data.get(key, ABSENT) != after.get(key, ABSENT) for data in tried for key in touched)

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
            return [*self.counted(), *events]
        popped = self.notes.popped
        return relevant(events, popped, base, promises.level, promises.mergeable, UNIVERSE, exclusive=self.renews)

    def counted(self) -> list[Event]:
        """Return the reads that must hold when it stores its changes, with the values that they must have."""
        if self.atomic:
            return self.outer_strict if self._is_exclusive() else self.outer
        return self.counted_for(exclusive=self.renews)

    def counted_for(self, *, exclusive: bool) -> list[Event]:
        """Return the reads of the request that must hold, if what it does is *exclusive*."""
        promises = self.promises
        base, events = self._outstanding()
        popped = self.notes.popped
        level, mergeable = promises.level, promises.mergeable
        again = self._stores_again(events)
        return counted(events, popped, base, level, mergeable, UNIVERSE, exclusive=exclusive, again=again)

    def _stores_again(self, events: Iterable[Event]) -> bool:
        """Return True if a write whose reply was lost has stored changes that are now to be stored once more."""
        return bool(self.notes.landed) and any(change(event) for event in events)

    def outdated_for(self, *, exclusive: bool) -> AbstractSet[str]:
        """Return what had changed earlier and counts, if what the request does is *exclusive*."""
        promises = self.promises
        base, events = self._outstanding()
        popped = self.notes.popped
        level, mergeable = promises.level, promises.mergeable
        again = self._stores_again(events)
        return still_counting(self.outdated, events, popped, base, level, mergeable, exclusive=exclusive, again=again)

    def still_outdated(self) -> AbstractSet[str]:
        """Return what had changed earlier, and counts now."""
        if self.atomic:
            return self.outer_outdated[self._is_exclusive()]
        return self.outdated_for(exclusive=self.renews)

    def _is_exclusive(self) -> bool:
        """Return True if an atomic step changes a key that is not mergeable, or nothing."""
        events = self.notes.events
        changed = {event.key for event in events if isinstance(event, Write | Remove | Add | Append)}
        cleared = any(isinstance(event, Clear) for event in events)
        return not self.changes() or cleared or not changed <= self.promises.mergeable

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
