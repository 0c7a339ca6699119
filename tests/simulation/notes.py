"""What a session showed to one request, and what the request did to it, as events for `history`. Pure notes: no I/O."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any as AnyValue
from typing import TypeAlias

from session import JSONValue, SessionData

from .history import ABSENT, DEADLINE, Add, Any, Append, Clear, Event, Has, Keys, Level, Read, Remove, Write

__all__ = ["Data", "Notes", "carried", "change", "counted", "reads_of", "relevant", "replay", "stale", "still_counting"]

Data: TypeAlias = dict[str, AnyValue]

_MISSING = "(missing)"


class Notes:
    """The events of a request since it read or last stored its session. *base*: the session as it was then.

    *popped*: keys that it read and removed, or set by ``setdefault``. *mergeable*: keys whose in-place changes are merged.
    """

    def __init__(self, base: Mapping[str, object], mergeable: AbstractSet[str] = frozenset()) -> None:
        self.base: Data = dict(base)
        self.mergeable = mergeable
        self.events: list[Event] = []
        self.popped: set[str] = set()
        self.landed = 0
        """How many events a write has stored whose reply was lost."""
        self.tried: list[int] = []
        """How many events there were when a write's outcome stayed unknown."""
        self.unsure = False
        """The base may never have been stored: a write before it had no reply, and nothing was stored since."""
        self.overlay: Data = {}
        """The keys that an atomic step has changed whose reply was lost, as it stored them."""
        self.listed: frozenset[str] | None = None
        """The keys that were its own already when it first saw a list of the keys."""
        self._seen: set[str] = set()
        self._blind: set[str] = set()
        self._present: set[str] = set()
        self._cleared = False

    def start_from(self, reads: Iterable[Event], *, listed: bool) -> None:
        """Begin with the reads of before."""
        self.listed = frozenset() if listed else None
        for read in reads:
            self.events.append(read)
            if isinstance(read, Read | Has):
                self._seen.add(read.key)

    def again(self, event: Event) -> None:
        """Note a change that is still to be stored once more."""
        if isinstance(event, Write | Remove):
            self._written(event, event.key)
        else:
            self.events.append(event)
            self._cleared = self._cleared or isinstance(event, Clear)

    # What a request does

    def get(self, s: SessionData, key: str) -> JSONValue:
        """Read *key*; return `None` if it is missing."""
        there = copy.deepcopy(s.get(key, _MISSING))
        self._read(key, there)
        return None if there == _MISSING else there

    def put(self, s: SessionData, key: str, value: JSONValue) -> None:
        s[key] = value
        self._written(Write(key, value), key)

    def remove(self, s: SessionData, key: str) -> None:
        s.remove(key)
        self._written(Remove(key), key, takes=True)

    def pop(self, s: SessionData, key: str) -> None:
        there = copy.deepcopy(s.pop(key, _MISSING))
        self._read(key, there)
        if there != _MISSING:
            self._written(Remove(key), key, takes=True)

    def has(self, s: SessionData, key: str) -> bool:
        there = key in s
        self._shown(Has(key, there), key)
        return there

    def setdefault(self, s: SessionData, key: str, value: JSONValue) -> None:
        missing = s.peek(key, _MISSING) == _MISSING
        there = copy.deepcopy(s.setdefault(key, value))
        if missing:
            self._read(key, _MISSING)
            self._written(Write(key, value), key, takes=True)
        else:
            self._read(key, there)

    def increment(self, s: SessionData, key: str, by: int) -> None:
        s.increment(key, by)
        self.events.append(Add(key, by))

    def append(self, s: SessionData, key: str, value: JSONValue) -> None:
        """Append to the list under *key* in place; where there is none, put one."""
        there = self.get(s, key)
        if there is None:
            s[key] = [value]
            self._present.add(key)
        else:
            items = s[key]
            assert isinstance(items, list)
            items.append(value)
        if key in self.mergeable:
            self.events.append(Append(key, value))
        else:
            self._written(Write(key, [*(there if isinstance(there, list) else ()), value]), key)

    def add(self, s: SessionData, key: str, by: int) -> None:
        """Read the number under *key* and put one that is greater by *by*."""
        there = self.get(s, key)
        total = (there if isinstance(there, int) else 0) + by
        s[key] = total
        self._present.add(key)
        if key in self.mergeable:
            self.events.append(Add(key, by))
        else:
            self._written(Write(key, total), key)

    def iterate(self, s: SessionData) -> None:
        self.events.append(Keys(frozenset(s)))
        if self.listed is None and not self._cleared:
            self.listed = frozenset(self._blind)

    def empty(self, s: SessionData) -> None:
        there = bool(s)
        if not self._present:
            # What it has put itself tells nothing of others.
            self.events.append(Any(there))

    def clear(self, s: SessionData) -> None:
        s.clear()
        self.events.append(Clear())
        self._cleared = True

    def note(self, event: Event) -> None:
        """Note something that was done elsewhere: a deadline that was read, or set."""
        self.events.append(event)

    # What is still to be stored

    def outstanding(self, upto: int, universe: Iterable[str]) -> tuple[Data, list[Event]]:
        """Return the data that the first *upto* events rest on, and those events; less what was stored, its reply lost."""
        base = {key: value for key, value in {**self.base, **self.overlay}.items() if value is not ABSENT}
        if self.landed:
            head, tail = self.events[: self.landed], self.events[self.landed : upto]
            base = replay(head, base)
            cleared = any(isinstance(event, Clear) for event in head)
            # Puts are put once more. Increments and appended values count once.
            again = [event for event in head if change(event) and (cleared or not isinstance(event, Add | Append))]
            return base, [*reads_of(head, base, universe), *again, *tail]
        events = self.events[:upto]
        if self.overlay:
            events = [*reads_of(events, base, universe), *(event for event in events if change(event))]
        return base, events

    # Parts

    def _read(self, key: str, there: JSONValue) -> None:
        self._shown(Read(key, ABSENT if there == _MISSING else there), key)

    def _shown(self, event: Event, key: str) -> None:
        self.events.append(event)
        if key not in self._blind and not self._cleared:
            self._seen.add(key)

    def _written(self, event: Event, key: str, *, takes: bool = False) -> None:
        self.events.append(event)
        if isinstance(event, Write):
            self._present.add(key)
        else:
            self._present.discard(key)
        listed = isinstance(event, Remove) and self.listed is not None and key not in self.listed
        if key not in self._seen:
            self._blind.add(key)
        if takes and (listed or key not in self._blind) and not self._cleared:
            self.popped.add(key)


def change(event: Event) -> bool:
    """Return True if *event* is no read."""
    return not isinstance(event, Read | Has | Keys | Any)


def replay(events: Iterable[Event], state: Mapping[str, object]) -> Data:
    """Return *state* with the changes among *events* made there."""
    data: Data = dict(state)
    for event in events:
        match event:
            case Write(key, value):
                data[key] = value
            case Remove(key):
                data.pop(key, None)
            case Clear():
                data = {DEADLINE: data[DEADLINE]} if DEADLINE in data else {}
            case Add(key, by):
                data[key] = data.get(key, 0) + by
            case Append(key, value):
                data[key] = [*data.get(key, ()), value]
    return data


def reads_of(events: Iterable[Event], stored: Mapping[str, object], universe: Iterable[str]) -> list[Event]:
    """Return the reads of what others had stored, with the values in *stored*."""
    own: set[str] = set()
    present: set[str] = set()
    values: dict[str, None] = {}
    presence: dict[str, None] = {}
    emptiness: dict[frozenset[str], None] = {}
    cleared = False
    for event in events:
        match event:
            case Read(key) if key not in own and (not cleared or key == DEADLINE):
                values[key] = None
            case Has(key) if key not in own and not cleared:
                presence[key] = None
            case Keys() if not cleared:
                presence |= {key: None for key in universe if key not in own}
            case Any(_, gone) if not cleared and not present:
                emptiness[gone | own] = None
            case Write(key):
                own.add(key)
                if key != DEADLINE:
                    present.add(key)
            case Remove(key):
                own.add(key)
                present.discard(key)
            case Clear():
                cleared = True
    found: list[Event] = [Read(key, stored.get(key, ABSENT)) for key in values]
    found += [Has(key, key in stored) for key in presence]
    return [*found, *(Any(bool(stored.keys() - gone - {DEADLINE}), gone) for gone in emptiness)]


def carried(
    notes: Notes, events: Iterable[Event], stored: Mapping[str, object], universe: Iterable[str]
) -> list[Event]:
    """Return the reads as they go on once *stored* is stored: others may change from now on what was the request's own."""
    found = [
        Any(bool(stored.keys() - {DEADLINE})) if isinstance(e, Any) else e for e in reads_of(events, stored, universe)
    ]
    return [*found, *(Has(key, key in stored) for key in universe if notes.listed is not None)]


def _free_of_mergeable(
    events: Sequence[Event], changes: bool, level: Level, mergeable: AbstractSet[str], exclusive: bool
) -> AbstractSet[str]:
    """Return the mergeable keys whose reads do not count."""
    if not mergeable:
        return frozenset()
    changed = {event.key for event in events if isinstance(event, Write | Remove | Add | Append)}
    cleared = any(isinstance(event, Clear) for event in events)
    if not changes:
        changed, cleared = set(), False
    if not exclusive and not cleared and changed <= mergeable:
        return mergeable
    return mergeable & changed if level == "merge" else frozenset()


def relevant(
    events: Sequence[Event],
    popped: AbstractSet[str],
    base: Mapping[str, object],
    level: Level,
    mergeable: AbstractSet[str],
    universe: Iterable[str],
    *,
    exclusive: bool = False,
    again: bool = False,
) -> list[Event]:
    """Return *events* without the reads of mergeable keys that do not count.

    In "merge", nor does it count that a list of keys did or did not show a key that had been removed before, unread.
    """
    changes = exclusive or again or replay(events, base) != base
    free = _free_of_mergeable(events, changes, level, mergeable, exclusive)
    removed = {event.key for event in events if isinstance(event, Remove)} - popped if level == "merge" else set()
    if not (free or (removed and any(isinstance(event, Keys) for event in events))):
        return [*events]
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Read | Has) and event.key in free:
            continue
        if isinstance(event, Keys):
            kept += [Has(key, key in event.keys) for key in universe if key not in free | removed]
        else:
            kept.append(event)
    return kept


def counted(
    events: Sequence[Event],
    popped: AbstractSet[str],
    base: Mapping[str, object],
    level: Level,
    mergeable: AbstractSet[str],
    universe: Iterable[str],
    *,
    exclusive: bool = False,
    again: bool = False,
) -> list[Event]:
    """Return the reads that must still hold when the changes among *events* are stored, with the values in *base*.

    *again*: they are changes, also if *base* has them already, as a write whose reply was lost may have stored it.
    """
    events = relevant(events, popped, base, level, mergeable, universe, exclusive=exclusive, again=again)
    reads = reads_of(events, base, universe)
    if level == "serialize" or not (exclusive or again or replay(events, base) != base):
        return reads
    cleared = any(isinstance(event, Clear) for event in events)
    written = {event.key for event in events if isinstance(event, Write | Remove)}

    def holds(read: Event) -> bool:
        if isinstance(read, Any):
            return not cleared
        assert isinstance(read, Read | Has)
        if read.key == DEADLINE:
            return read.key not in written
        return read.key in popped or not (cleared or read.key in written)

    return [read for read in reads if holds(read)]


def still_counting(
    outdated: Iterable[str],
    events: Sequence[Event],
    popped: AbstractSet[str],
    base: Mapping[str, object],
    level: Level,
    mergeable: AbstractSet[str],
    *,
    exclusive: bool = False,
    again: bool = False,
) -> set[str]:
    """Return those keys, which others had changed before an earlier commit, whose reads count with these changes."""
    changes = exclusive or again or replay(events, base) != base
    if not changes and not any(change(event) for event in events):
        return set()
    free = _free_of_mergeable(events, changes, level, mergeable, exclusive)
    cleared = any(isinstance(event, Clear) for event in events)
    written = {event.key for event in events if isinstance(event, Write | Remove)}

    def counts(key: str) -> bool:
        if level == "serialize" or key in popped:
            return True
        return key not in written and not (cleared and key != DEADLINE)

    return {key for key in outdated if key not in free and counts(key)}


def stale(reads: Iterable[Event], state: Mapping[str, object]) -> list[str]:
    """Return the keys of *reads* that are otherwise in *state*, sorted, as a `SessionConflict` names them."""
    keys: set[str] = set()
    for read in reads:
        match read:
            case Read(key, value) if state.get(key, ABSENT) != value:
                keys.add(key)
            case Has(key, present) if (key in state) != present:
                keys.add(key)
            case Any(nonempty, own) if bool(state.keys() - own - {DEADLINE}) != nonempty:
                keys.add("(any key)")
    return sorted(keys)
