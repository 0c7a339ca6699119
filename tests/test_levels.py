"""What the levels of `on_conflict` promise, on any programs: for what was committed there is an order that explains it.

Requests run interleaved, step by step, on a `MemoryStore`. What each was shown and did is written down, and
`tests.simulation.history` searches for the order. The simulation does the same under faults, with renewals and logouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from dynamostore import MemoryStore
from session import JSONValue, OnConflict, Session, SessionConflict, SessionData, SessionManager, SessionStateError

from .simulation.history import (
    ABSENT,
    Add,
    Any,
    Append,
    Clear,
    Event,
    Has,
    Keys,
    Level,
    Read,
    Remove,
    TooLarge,
    Transaction,
    Write,
    explain,
)

Step: TypeAlias = tuple[str, str, int]
Data: TypeAlias = dict[str, JSONValue]

MISSING = "missing"
LOG = "log"
INITIAL: Data = {"a": 0, "n": 0, "here": 1, LOG: []}
ALL = ("a", "b", "here", "n", LOG)

keys = st.sampled_from("abn")
values = st.integers(0, 2)
plain = st.tuples(
    st.sampled_from(["get", "put", "pop", "in", "setdefault", "branch", "copy", "update", "remove"]), keys, values
)
adds = st.tuples(st.just("increment"), st.just("n"), st.integers(1, 9))
# A list that is appended to is mergeable. It is always there: two kinds of programs, with appends or with what removes it.
appends = st.tuples(st.just("append"), st.just(LOG), st.just(0))
whole = st.tuples(st.sampled_from(["iterate", "clear", "empty"]), st.just(""), st.just(0))
commits = st.tuples(st.sampled_from(["save", "atomic"]), keys, values)
kinds = [st.one_of(plain, plain, adds, appends, commits), st.one_of(plain, plain, adds, whole, commits)]
runs = st.sampled_from(kinds).flatmap(
    lambda steps: st.lists(st.lists(steps, min_size=1, max_size=5), min_size=2, max_size=3)
)
schedules = st.lists(st.integers(0, 2), max_size=20)


class Notes:
    """What a session showed and what was done to it since it was last stored."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.popped: set[str] = set()

    def do(self, s: SessionData, step: Step) -> None:
        verb, key, value = step
        match verb:
            case "get":
                self._get(s, key)
            case "put":
                self._put(s, key, value)
            case "remove":
                s.remove(key)
                self.events.append(Remove(key))
            case "pop":
                if (there := s.pop(key, MISSING)) == MISSING:
                    self.events.append(Read(key, ABSENT))
                else:
                    self._take(key)
                    self.events += [Read(key, there), Remove(key)]
            case "in":
                self.events.append(Has(key, key in s))
            case "setdefault":
                if (there := s.peek(key, MISSING)) == MISSING:
                    s.setdefault(key, value)
                    self._take(key)
                    self.events += [Has(key, False), Write(key, value)]
                else:
                    self.events.append(Read(key, s.setdefault(key, value)))
            case "branch":
                if self._get(s, key) in (0, MISSING):
                    self._put(s, "b" if key == "a" else "a", value)
            case "copy":
                there = self._get(s, key)
                self._put(s, "b" if key == "a" else "a", there if isinstance(there, int) else -1)
            case "update":
                there = self._get(s, key)
                self._put(s, key, there + 1 if isinstance(there, int) else 7)
            case "increment":
                s.increment(key, value)
                self.events.append(Add(key, value))
            case "append":
                log = s[LOG]
                assert isinstance(log, list)
                log.append(value)
                self.events.append(Append(LOG, value))
            case "iterate":
                self.events.append(Keys(frozenset(s)))
            case "empty":
                self.events.append(Any(bool(s)))
            case "clear":
                s.clear()
                self.events.append(Clear())

    def _get(self, s: SessionData, key: str) -> JSONValue:
        there = s.get(key, MISSING)
        self.events.append(Read(key, ABSENT if there == MISSING else there))
        return there

    def _take(self, key: str) -> None:
        if not any(isinstance(e, Clear) or (isinstance(e, Write | Remove) and e.key == key) for e in self.events):
            self.popped.add(key)

    def _put(self, s: SessionData, key: str, value: JSONValue) -> None:
        s[key] = value
        self.events.append(Write(key, value))

    @property
    def changes(self) -> list[Event]:
        return [event for event in self.events if not isinstance(event, Read | Has | Keys | Any)]

    def reads(self, stored: Data) -> list[Event]:
        """The reads of what others had stored, with what is stored now."""
        own: set[str] = set()
        values: dict[str, None] = {}
        presence: dict[str, None] = {}
        emptiness = False
        for event in self.events:
            match event:
                case Read(key) if key not in own:
                    values[key] = None
                case Has(key) if key not in own:
                    presence[key] = None
                case Keys():
                    presence |= {key: None for key in ALL if key not in own}
                case Any():
                    emptiness = emptiness or not own
                case Write(key) | Remove(key):
                    own.add(key)
                case Clear():
                    break
        events: list[Event] = [Read(key, stored.get(key, ABSENT)) for key in values]
        events += [Has(key, key in stored) for key in presence]
        return [*events, Any(bool(stored))] if emptiness else events


class Request:
    """One request: its program, step by step, and the transactions that it committed."""

    def __init__(self, name: str, program: list[Step], world: World) -> None:
        self.name = name
        self.program = program
        self.world = world
        self.notes = Notes()
        self.session: Session | None = None
        self.begun = 0
        self.over = False

    def go_on(self) -> None:
        if self.over:
            return
        if self.session is None:
            self.begun = self.world.tick()
            self.session = self.world.manager.load(self.world.token)
            # Reads it now, so that the steps are of one snapshot.
            self.session.peek("a")
            return
        try:
            if not self.program:
                self.world.manager.commit(self.session)
                self._committed(self.notes.events, self.notes.popped)
                self.over = True
                return
            step = self.program.pop(0)
            if step[0] == "save":
                before = self.session._state.record
                self.session.save()
                if self.session._state.record is before:
                    # Nothing to store: it still reads the session as it was when it was read.
                    assert before is not None
                    self._start_from(self.notes.reads(self.world.manager._policy.codec.decode(before.data)[0]))
                    return
                self._committed(self.notes.events, self.notes.popped)
                self._start_from(self.notes.reads(self.world.stored()))
            elif step[0] == "atomic":
                self._atomic(step)
            else:
                self.notes.do(self.session, step)
        except (SessionConflict, TypeError):
            # Stale; or an increment of something else. Nothing of it is stored.
            self.world.manager.discard(self.session)
            self.over = True

    def _atomic(self, step: Step) -> None:
        assert self.session is not None
        inner = Notes()

        def change(s: SessionData) -> None:
            inner.__init__()  # type: ignore[misc]  # each run begins anew
            inner.do(s, ("branch", step[1], step[2]))
            inner.do(s, ("pop", "b", 0))

        before = self.world.stored()
        try:
            self.session.atomic(change)
        except SessionStateError:
            return
        pending = self.notes.changes
        outer = [read for read in self.notes.reads(before) if self._counts(read, pending)]
        self._committed([*outer, *inner.events], self.notes.popped | inner.popped)
        stored = self.world.stored()
        changed = [Read(event.key, 0) for event in inner.changes if isinstance(event, Write | Remove)]
        inner.events = [*(event for event in inner.events if event not in inner.changes), *changed]
        self._start_from([*self.notes.reads(stored), *inner.reads(stored), *pending])

    def _counts(self, read: Event, pending: list[Event]) -> bool:
        """True if a read is compared, though there are pending changes."""
        if self.world.level == "serialize" or isinstance(read, Any):
            return True
        assert isinstance(read, Read | Has)
        free = any(isinstance(e, Clear) or (isinstance(e, Write | Append) and e.key == read.key) for e in pending)
        return read.key in self.notes.popped or not free

    def _committed(self, events: Iterable[Event], popped: set[str]) -> None:
        self.world.commit(self.name, self.begun, tuple(events), frozenset(popped))
        self.begun = self.world.tick()

    def _start_from(self, events: list[Event]) -> None:
        self.notes = Notes()
        self.notes.events = events


class World:
    """A session, and the requests on it."""

    def __init__(self, on_conflict: OnConflict, programs: list[list[Step]]) -> None:
        self.level: Level = "serialize" if on_conflict == "serialize" else "merge"
        self.manager = SessionManager(
            MemoryStore(), on_conflict=on_conflict, mergeable={LOG: "merge"}, hash_tokens=False
        )
        self.time = 0
        self.transactions: list[Transaction] = []
        with self.manager.session(None) as s:
            s.update(INITIAL)
        assert s.token is not None
        self.token = s.token
        self.requests = [Request(f"r{i}", list(program), self) for i, program in enumerate(programs)]

    def tick(self) -> int:
        self.time += 1
        return self.time

    def stored(self) -> Data:
        with self.manager.session(self.token) as s:
            return dict(s)

    def commit(self, name: str, begun: int, events: tuple[Event, ...], popped: frozenset[str]) -> None:
        name = f"{name}.{len(self.transactions)}"
        self.transactions.append(Transaction(name, begun, self.tick(), events, popped=popped))

    def run(self, schedule: list[int]) -> list[str] | None:
        """Run all requests to their end; return an order that explains it, or None."""
        for i in schedule:
            self.requests[i % len(self.requests)].go_on()
        for request in self.requests:
            while not request.over:
                request.go_on()
        return explain(INITIAL, self.transactions, self.stored(), self.level)


@pytest.mark.parametrize("on_conflict", ["serialize", "merge"])
@settings(max_examples=1000)
@given(programs=runs, schedule=schedules)
def test_there_is_an_order_that_explains_what_was_committed(
    on_conflict: OnConflict, programs: list[list[Step]], schedule: list[int]
) -> None:
    world = World(on_conflict, programs)
    try:
        order = world.run(schedule)
    except TooLarge:
        assume(False)
    assert order is not None, world.transactions


@pytest.mark.parametrize("on_conflict", ["merge_unchecked", "overwrite"])
def test_without_the_checks_there_is_none(on_conflict: OnConflict) -> None:
    def has_no_order(run: tuple[list[list[Step]], list[int]]) -> bool:
        return World(on_conflict, run[0]).run(run[1]) is None

    without_shrinking = settings(max_examples=3000, phases=[Phase.generate], deadline=None)
    find(st.tuples(runs, schedules), has_no_order, settings=without_shrinking)
