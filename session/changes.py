"""`Changes` that a request made to a session, to be made again on other data, and its `Reads`, to be compared with other data.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from . import values
from .types import JSONValue

__all__ = ["NOTHING_READ", "Changes", "Reads", "add", "encode", "encoded", "try_to_encode"]

# Exact: 1, 1.0 and True have different encodings, and so have two dicts in different orders.
encode = msgspec.json.Encoder().encode


def encoded(data: Mapping[str, JSONValue], key: str) -> bytes | None:
    """Return the encoding of a key's value, to compare values by; None if the key is missing."""
    return encode(data[key]) if key in data else None


def try_to_encode(value: JSONValue) -> bytes | None:
    """Return the encoding of a value that the app may have changed; None if it holds what cannot be encoded."""
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Reads:
    """The parts of a session that a request was shown.

    *values*: keys whose value it saw. *presence*: keys that it asked for by ``in``. *unlisted*: it saw the list of keys, in
    which these were its own already; None if it never saw the list. *emptiness*: it asked if there are any keys beside these,
    which it had removed; once for each such question. *taken*: keys that it read and then removed, or set by ``setdefault``.
    """

    values: frozenset[str] = frozenset()
    presence: frozenset[str] = frozenset()
    unlisted: frozenset[str] | None = None
    emptiness: frozenset[frozenset[str]] = frozenset()
    taken: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.values or self.presence or self.unlisted is not None or self.emptiness)

    def since(self, earlier: Reads) -> Reads:
        """Return these reads without *earlier* ones."""
        return Reads(
            values=self.values - earlier.values,
            presence=self.presence - earlier.presence,
            unlisted=self.unlisted if earlier.unlisted is None else None,
            emptiness=self.emptiness - earlier.emptiness,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Changes:
    """The changes that one request made to a session: put, removed, incremented, perhaps after clearing everything."""

    put: Mapping[str, JSONValue] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    incremented: Mapping[str, int] = field(default_factory=dict)
    cleared: bool = False

    def apply(self, base: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
        """Return *base* with these changes made; `SessionTypeError` or `ValueError` where an increment is impossible.

        >>> Changes(put={"a": 1}, removed=frozenset("b"), incremented={"n": 2}).apply({"b": 0, "n": 40})
        {'n': 42, 'a': 1}
        """
        result = {} if self.cleared else {key: value for key, value in base.items() if key not in self.removed}
        result.update(self.put)
        for key, by in self.incremented.items():
            result[key] = add(key, result.get(key, 0), by)
        return result

    def __bool__(self) -> bool:
        return self.cleared or bool(self.put or self.removed or self.incremented)

    def __repr__(self) -> str:
        # Without a value: it stands in frames that raise.
        cleared = ["clear"] if self.cleared else []
        named = (
            f"{verb} {', '.join(map(repr, keys))}"
            for verb, keys in (("put", self.put), ("remove", sorted(self.removed)), ("increment", self.incremented))
            if keys
        )
        return f"<Changes: {'; '.join((*cleared, *named)) or 'none'}>"

    @property
    def keys(self) -> frozenset[str]:
        """The keys that were changed by name."""
        return self.removed | self.put.keys() | self.incremented.keys()


NOTHING_READ = Reads()
"""The reads of a request that has read nothing."""


def add(key: str, value: JSONValue, by: int) -> int:
    """Return *value* + *by*; `SessionTypeError` or `ValueError` where there is no such int."""
    return values.from_int(key, values.to_int(key, value) + values.from_int(key, by))
