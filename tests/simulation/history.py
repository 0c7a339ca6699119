"""Explain a small history of transactions on one session: search for an order in which each could have run alone.

The idea is that of Knossos and Elle, which check histories of databases: record what each transaction was shown and
what it changed, then look for a serial order that would have shown the same. The search is exhaustive, so None means
that there is no such order. Pure: nothing here knows of sessions or stores.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, TypeAlias


class Absent(Enum):
    """The value of a key that is not there."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

DEADLINE: Final = "(deadline)"
"""A key that is no part of the data: `Clear` leaves it, `Keys` and `Any` do not show it."""

Level: TypeAlias = Literal["serialize", "merge"]


@dataclass(frozen=True, slots=True)
class Read:
    """The transaction was shown *value* under *key*, or `ABSENT`."""

    key: str
    value: object


@dataclass(frozen=True, slots=True)
class Has:
    """The transaction was shown that *key* is there, or is not."""

    key: str
    present: bool


@dataclass(frozen=True, slots=True)
class Keys:
    """The transaction was shown exactly these keys."""

    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Any:
    """The transaction was shown that there are keys beside *own*, or that there are none."""

    nonempty: bool
    own: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Write:
    """The transaction set *key* to *value*."""

    key: str
    value: object


@dataclass(frozen=True, slots=True)
class Remove:
    """The transaction removed *key*, if it was there."""

    key: str


@dataclass(frozen=True, slots=True)
class Clear:
    """The transaction removed all keys."""


@dataclass(frozen=True, slots=True)
class Add:
    """The transaction added *by* to the number under *key*. A key that is not there counts as 0."""

    key: str
    by: int | float


@dataclass(frozen=True, slots=True)
class Append:
    """The transaction appended *value* to the list under *key*. A key that is not there counts as an empty list."""

    key: str
    value: object


Event: TypeAlias = Read | Has | Keys | Any | Write | Remove | Clear | Add | Append

# In "merge", the changes that make earlier reads of the same key free. A transaction that removes what it read
# acted on the value, as one that pops it does.
_OVERWRITES = (Write,)


@dataclass(frozen=True)
class Transaction:
    """One transaction: its events in the order of its program, and when it ran.

    *begun* and *ended* are points in real time; *ended* is None if nobody saw it end, so it may have happened any time
    after *begun*. *certain*: it was acknowledged, so it did happen; otherwise it may never have happened. *result* is
    the state right after it, where that is known. *popped* are the keys whose reads count even if the transaction
    overwrote them: those that it popped, or set by ``setdefault``.
    """

    name: str
    begun: int
    ended: int | None
    ops: tuple[Event, ...]
    certain: bool = True
    result: Mapping[str, object] | None = None
    popped: frozenset[str] = field(default_factory=frozenset)


class TooLarge(Exception):
    """The search exceeded its budget: the history is neither explained nor refuted."""


def explain(
    initial: Mapping[str, object],
    transactions: Sequence[Transaction],
    final: Mapping[str, object] | None,
    level: Level,
    *,
    order: Sequence[str] | None = None,
    budget: int = 200_000,
) -> list[str] | None:
    """Return the names of *transactions* in an order that explains the history, or None if there is none.

    The order holds every certain transaction once and every other one at most once. It respects real time: what ended
    before another began comes first. Each transaction, run alone on the state that its predecessors left, sees what it
    was shown, and leaves its *result* if that is known. The last one leaves *final*, unless that is None.

    *level*: in "serialize" all that a transaction was shown counts. In "merge", a read of a key that the transaction
    itself wrote or cleared later is free, unless the key is in *popped*.

    *order*: the names in which changes are known to have been applied. It is tried first; if it explains the history,
    there is no search. *budget*: how many transactions the search may run before it raises `TooLarge`.

    >>> first = Transaction("first", 0, 9, (Read("n", 1), Write("n", 2)))
    >>> second = Transaction("second", 0, 9, (Read("n", 2), Write("n", 3)))
    >>> explain({"n": 1}, [second, first], {"n": 3}, "serialize")
    ['first', 'second']
    >>> lost = Transaction("lost", 0, 9, (Read("n", 1), Write("n", 2)))
    >>> explain({"n": 1}, [first, lost], {"n": 2}, "serialize") is None
    True
    >>> explain({"n": 1}, [first, lost], {"n": 2}, "merge")
    ['first', 'lost']
    """
    names = [transaction.name for transaction in transactions]
    if len({*names}) < len(names):
        raise ValueError("two transactions have the same name; give each its own")
    if order is not None and not ({*order} <= {*names} and len({*order}) == len(order)):
        raise ValueError("order names a transaction twice, or one that is not in the history; name each once")
    # One that may never have happened and changes nothing explains nothing.
    programs = [_Program(t, level) for t in transactions if t.certain or not _is_read_only(t)]
    start = _freeze_state(initial)
    end = None if final is None else _freeze_state(final)
    count = _Budget(budget)
    if order is not None:
        applied = [program for program in programs if program.certain or program.name in order]
        found = _Search(applied, end, count, order).run(start)
        if found is not None:
            return found
    return _Search(programs, end, count).run(start)


# Values are compared with their types, so that 1, 1.0 and True differ; and states must be hashable.
_Frozen: TypeAlias = tuple[str, Hashable]
_State: TypeAlias = dict[str, _Frozen]


def _freeze(value: object) -> _Frozen:
    if isinstance(value, Mapping):
        return "dict", frozenset((key, _freeze(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(_freeze, value))
    assert isinstance(value, Hashable)
    return type(value).__name__, value


def _freeze_state(state: Mapping[str, object]) -> _State:
    return {key: _freeze(value) for key, value in state.items()}


def _is_read_only(transaction: Transaction) -> bool:
    return all(isinstance(op, Read | Has | Keys | Any) for op in transaction.ops)


class _Budget:
    def __init__(self, nodes: int) -> None:
        self._nodes = self._left = nodes

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooLarge(f"not explained within {self._nodes} runs of a transaction; record a smaller history")


@dataclass(frozen=True, slots=True)
class _Free:
    """The keys of which a read is free: *keys*, or all *but* some."""

    keys: frozenset[str] = frozenset()
    but: frozenset[str] | None = None

    def __contains__(self, key: str) -> bool:
        return key in self.keys or (self.but is not None and key not in self.but)

    def __bool__(self) -> bool:
        return bool(self.keys) or self.but is not None


class _Program:
    """A transaction, prepared for being run many times at one level."""

    def __init__(self, transaction: Transaction, level: Level) -> None:
        self.name = transaction.name
        self.begun = transaction.begun
        self.ended = transaction.ended
        self.certain = transaction.certain
        self.is_read_only = _is_read_only(transaction)
        self.result = None if transaction.result is None else _freeze_state(transaction.result)
        # Frozen once, not each time that it runs.
        self._frozen = [_freeze(op.value) if isinstance(op, Read | Write | Append) else None for op in transaction.ops]
        self._steps = [*zip(transaction.ops, self._frozen, _free_reads(transaction, level), strict=True)]
        self.clears = any(isinstance(op, Clear) for op in transaction.ops)
        self.appends = {op.key for op in transaction.ops if isinstance(op, Append)}
        self.changes = {op.key for op in transaction.ops if isinstance(op, Write | Remove | Add)}

    def precedes(self, other: _Program) -> bool:
        """Return True if it ended before *other* began."""
        return self.ended is not None and self.ended < other.begun

    def run(self, before: _State) -> _State | None:
        """Return the state that it leaves, or None if it would not have seen what it was shown."""
        state = before if self.is_read_only else dict(before)
        for op, frozen, free in self._steps:
            if not (_fits(op, frozen, free, state) and _change(op, frozen, state)):
                return None
        return state if self.result is None or state == self.result else None


def _free_reads(transaction: Transaction, level: Level) -> Iterator[_Free]:
    """For each event, yield the keys that it may have shown otherwise than they were in the order."""
    for i, op in enumerate(transaction.ops):
        if level == "serialize" or not isinstance(op, Read | Has | Keys | Any):
            yield _Free()
            continue
        earlier, later = transaction.ops[:i], transaction.ops[i + 1 :]
        if any(isinstance(each, Clear) for each in earlier) and not (isinstance(op, Read) and op.key == DEADLINE):
            yield _Free()
            continue
        # What it changed before, it does not read from the session; it must see its own value.
        bound = transaction.popped.union(each.key for each in earlier if isinstance(each, Write | Remove))
        if any(isinstance(each, Clear) for each in later) and not (isinstance(op, Read) and op.key == DEADLINE):
            yield _Free(but=bound)
        else:
            yield _Free(frozenset(each.key for each in later if isinstance(each, _OVERWRITES)) - bound)


def _fits(op: Event, frozen: _Frozen | None, free: _Free, state: _State) -> bool:
    """Return True if *op* shows what is there in *state*, or shows nothing."""
    match op:
        case Read(key, value):
            return key in free or (key not in state if value is ABSENT else state.get(key) == frozen)
        case Has(key, present):
            return key in free or (key in state) == present
        case Keys(keys):
            return all(key in free for key in keys ^ (state.keys() - {DEADLINE}))
        case Any(nonempty, own):
            rest = any(key not in free for key in state if key != DEADLINE and key not in own)
            return rest or bool(free) if nonempty else not rest
    return True


def _change(op: Event, frozen: _Frozen | None, state: _State) -> bool:
    """Make the change of *op* in *state*. Return False if it cannot be made there."""
    match op:
        case Write(key):
            assert frozen is not None
            state[key] = frozen
        case Remove(key):
            state.pop(key, None)
        case Clear():
            for key in [key for key in state if key != DEADLINE]:
                del state[key]
        case Add(key, by):
            kind, number = state.get(key, ("int", 0))
            if kind not in ("int", "float") or not isinstance(number, int | float):
                return False
            state[key] = _freeze(number + by)
        case Append(key):
            kind, elements = state.get(key, ("list", ()))
            if kind != "list" or not isinstance(elements, tuple):
                return False
            state[key] = (kind, (*elements, frozen))
    return True


class _Search:
    """A depth-first search for an order, which never looks twice at one state after the same transactions.

    Sets of programs are bit masks. *order*: the names of those programs that may only run in this order.
    """

    def __init__(
        self, programs: Iterable[_Program], final: _State | None, budget: _Budget, order: Sequence[str] = ()
    ) -> None:
        # Those that ended early are likely to have been early.
        self._programs = sorted(programs, key=lambda p: (p.begun if p.ended is None else p.ended, p.begun))
        self._final = final
        self._budget = budget
        self._seen: set[tuple[int, frozenset[tuple[str, _Frozen]]]] = set()
        self._found: list[str] = []
        self._certain = self._mask(p for p in self._programs if p.certain)
        self._predecessors = [self._mask(p for p in self._programs if p.precedes(q)) for q in self._programs]
        self._successors = [self._mask(q for q in self._programs if p.precedes(q)) for p in self._programs]
        self._hinted = [0] * len(self._programs)
        positions = {name: position for position, name in enumerate(order)}
        for i, program in enumerate(self._programs):
            if program.name in positions:
                earlier = {*order[: positions[program.name]]}
                self._hinted[i] = self._mask(p for p in self._programs if p.name in earlier)
        clears = self._mask(p for p in self._programs if p.clears)
        keys = {key for p in self._programs for key in (*p.changes, *p.appends)} | (final or {}).keys()
        self._changers = {key: clears | self._mask(p for p in self._programs if key in p.changes) for key in keys}
        self._appenders = {key: self._mask(p for p in self._programs if key in p.appends) for key in keys}
        self._clears = clears

    def _mask(self, chosen: Iterable[_Program]) -> int:
        names = {program.name for program in chosen}
        return sum(1 << i for i, program in enumerate(self._programs) if program.name in names)

    def run(self, start: _State) -> list[str] | None:
        return self._found if self._reaches_the_end(0, start) else None

    def _reaches_the_end(self, done: int, state: _State) -> bool:
        if done & self._certain == self._certain and (self._final is None or state == self._final):
            return True
        node = (done, frozenset(state.items()))
        if node in self._seen or not self._can_become_final(done, state):
            return False
        self._seen.add(node)
        nexts = []
        for i, program in enumerate(self._programs):
            if not self._may_run(i, done):
                continue
            self._budget.spend()
            if (after := program.run(state)) is None:
                continue
            if program.is_read_only and not self._predecessors[i] & ~done:
                # It fits, changes nothing and keeps nothing from coming later: no other choice can be better.
                nexts = [(i, after)]
                break
            nexts.append((i, after))
        for i, after in nexts:
            self._found.append(self._programs[i].name)
            if self._reaches_the_end(done | 1 << i, after):
                return True
            self._found.pop()
        return False

    def _may_run(self, i: int, done: int) -> bool:
        """Return True if program *i* has not run, nothing ran that began after its end, and what must precede it ran."""
        return not (
            done >> i & 1
            or done & self._successors[i]
            or self._predecessors[i] & self._certain & ~done
            or self._hinted[i] & ~done
        )

    def _can_become_final(self, done: int, state: _State) -> bool:
        """Return False if *state* has a value that is not the final one and that nothing left to run will change."""
        if self._final is None:
            return True
        left = (1 << len(self._programs)) - 1 & ~done
        for key in state.keys() | self._final.keys():
            if left & self._changers.get(key, self._clears):
                continue
            here, there = state.get(key), self._final.get(key)
            if here != there and not (left & self._appenders.get(key, 0) and _is_prefix(here, there)):
                return False
        return True


def _is_prefix(here: _Frozen | None, there: _Frozen | None) -> bool:
    """Return True if appending to the list *here* can make it *there*."""
    elements = here[1] if here else ()
    wanted = there[1] if there else None
    # Of all values, only lists are frozen as tuples.
    return isinstance(elements, tuple) and isinstance(wanted, tuple) and wanted[: len(elements)] == elements
