"""Apply a slower request's changes to a faster request's data, and find the reads that no longer hold there.

"Base" is the data that the slower request read, "theirs" the data that the faster request stored. Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ._settings import Settings
from .changes import Changes, Reads, encoded
from .mergeable import Absent, Merge, merge_values
from .types import JSONValue

__all__ = ["DEADLINE", "Level", "Rules", "Snapshot", "merged", "outdated_keys", "own_part", "stale_keys"]

Data: TypeAlias = Mapping[str, JSONValue]
Level: TypeAlias = Literal["merge", "serialize"]
"""Which reads make a request stale: those that a change depends on ("merge"), or all ("serialize")."""

DEADLINE = "(deadline)"
"""The name under which a conflict lists the session's deadline, among the keys."""
ANY_KEY = "(any key)"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which reads count in a conflict, and how to merge the keys that two requests may both change.

    *checked*: mergeable keys whose reads count nevertheless, for requests that can be re-run. *unchecked*: keys whose reads
    never count.
    """

    level: Level = "merge"
    mergeable: Mapping[str, Merge] = field(default_factory=dict)
    checked: frozenset[str] = frozenset()
    unchecked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session's data, its deadline in Unix nanoseconds and its settings, as one write stored them."""

    data: Data = field(repr=False)
    deadline_ns: int
    settings: Settings = field(default_factory=dict, repr=False)


def stale_keys(
    reads: Reads,
    changes: Changes | None,
    base: Snapshot,
    theirs: Snapshot,
    rules: Rules,
    *,
    read_deadline: bool = False,
    wrote_deadline: bool = False,
    exclusive: bool = False,
    outdated: frozenset[str] = frozenset(),
) -> list[str]:
    """Return the keys that the request read and the other request changed, sorted; empty if the changes may be stored.

    In "serialize" every read counts. In "merge" a read does not count if the request overwrote the key itself, unless it
    took the value: popped it, or set it with ``setdefault``. Reads of mergeable keys count only if the request also changes
    another key, or does something *exclusive*, such as renewing the token. *outdated*: keys that had changed at an earlier
    commit, when the reads of them did not count.

    >>> rules = Rules()
    >>> base, theirs = Snapshot({"role": "user", "n": 1}, 0), Snapshot({"role": "admin", "n": 2}, 0)
    >>> stale_keys(Reads(values=frozenset({"role", "n"})), Changes(put={"n": 2}), base, theirs, rules)
    ['role']
    """
    changes = changes or Changes()
    serialize = rules.level == "serialize"
    merging = not (exclusive or wrote_deadline or changes.cleared or changes.keys - rules.mergeable.keys())

    def counts(key: str) -> bool:
        if key in rules.unchecked or (merging and key in rules.mergeable and key not in rules.checked):
            return False
        if serialize or key in reads.taken or key in rules.checked:
            return True
        return not (changes.cleared or key in changes.put or key in changes.removed)

    stale = {key for key in reads.values if _differs(key, base.data, theirs.data) and counts(key)}
    presence = {key for key in reads.presence if (key in base.data) != (key in theirs.data)}
    if reads.unlisted is not None:
        presence |= (base.data.keys() ^ theirs.data.keys()) - reads.unlisted
    stale |= {key for key in presence if counts(key)}
    if (serialize or not changes.cleared) and any(_is_emptier(own, base.data, theirs.data) for own in reads.emptiness):
        stale.add(ANY_KEY)
    if read_deadline and base.deadline_ns != theirs.deadline_ns and (serialize or not wrote_deadline):
        stale.add(DEADLINE)
    return sorted(stale | {key for key in outdated if counts(key)})


def outdated_keys(
    reads: Reads,
    changes: Changes | None,
    base: Snapshot,
    theirs: Snapshot,
    rules: Rules,
    *,
    read_deadline: bool = False,
) -> frozenset[str]:
    """Return the keys that the request read and the other request changed, if that counts now or may count later.

    >>> rules, reads = Rules(mergeable={"cart": "merge"}), Reads(values=frozenset({"cart"}))
    >>> base, theirs = Snapshot({"cart": [1]}, 0), Snapshot({"cart": [2]}, 0)
    >>> stale_keys(reads, None, base, theirs, rules), sorted(outdated_keys(reads, None, base, theirs, rules))
    ([], ['cart'])
    """
    return frozenset(stale_keys(reads, changes, base, theirs, rules, read_deadline=read_deadline, exclusive=True))


def merged(changes: Changes | None, base: Data, theirs: Data, mergeable: Mapping[str, Merge]) -> dict[str, JSONValue]:
    """Return a copy of *theirs* with *changes* applied, which were made on *base*.

    Raises `SessionTypeError` or `ValueError` if a change cannot be applied.

    >>> merged(Changes(put={"cart": ["a", "b"], "x": 1}), {"cart": ["a"]}, {"cart": ["a", "c"]}, {"cart": "merge"})
    {'cart': ['a', 'c', 'b'], 'x': 1}
    """
    if changes is None:
        return dict(theirs)
    data = changes.apply(theirs)
    if not mergeable or changes.cleared:
        return data
    for key, ours in _mergeable_changes(changes, mergeable):
        _set(
            data,
            key,
            merge_values(key, mergeable[key], base.get(key, Absent.ABSENT), ours, theirs.get(key, Absent.ABSENT)),
        )
    return data


def own_part(changes: Changes, base: Data, mergeable: Mapping[str, Merge]) -> dict[str, JSONValue]:
    """Return the data of a new session that has only *changes*, without anything from *base*.

    >>> own_part(Changes(put={"user": 7, "flashes": ["old", "hello"]}), {"flashes": ["old"]}, {"flashes": "merge"})
    {'user': 7, 'flashes': ['hello']}
    """
    data = Changes(put=changes.put, incremented=changes.incremented).apply({})
    for key, ours in _mergeable_changes(changes, mergeable):
        _set(data, key, merge_values(key, mergeable[key], base.get(key, Absent.ABSENT), ours, Absent.ABSENT))
    return data


def _mergeable_changes(changes: Changes, mergeable: Mapping[str, Merge]) -> Iterator[tuple[str, JSONValue | Absent]]:
    for key in mergeable:
        if key in changes.put:
            yield key, changes.put[key]
        elif key in changes.removed:
            yield key, Absent.ABSENT


def _set(data: dict[str, JSONValue], key: str, value: JSONValue | Absent) -> None:
    if isinstance(value, Absent):
        data.pop(key, None)
    else:
        data[key] = value


def _is_emptier(own: frozenset[str], base: Data, theirs: Data) -> bool:
    """Return True if exactly one of *base* and *theirs* has keys other than *own*."""
    return bool(base.keys() - own) != bool(theirs.keys() - own)


def _differs(key: str, base: Data, theirs: Data) -> bool:
    return encoded(base, key) != encoded(theirs, key)
