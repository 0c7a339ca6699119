"""`Changes`: a request's changes to a session, which can be applied to other data. `Reads`: the parts that it read.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from . import values
from .types import JSONValue

__all__ = ["NOTHING_READ", "Changes", "Reads", "add", "encode", "encoded", "try_to_encode"]

# An exact comparison: 1, 1.0 and True have different encodings, and so do two dicts in different orders.
encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def encoded(data: Mapping[str, JSONValue], key: str) -> bytes | None:
    """Return the encoding of a key's value, for comparisons; None if the key is missing."""
    return encode(data[key]) if key in data else None


def try_to_encode(value: JSONValue) -> bytes | None:
    """Return the encoding of a value that the app may have changed; None if it cannot be encoded."""
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Reads:
    """The parts of a session that a request read.

    - *values*: the keys whose value it read.
    - *presence*: the keys that it tested with ``in``.
    - *unlisted*: None if it never listed the keys. Otherwise, the keys that it had written, without reading them, before it did.
    - *emptiness*: one set for each time it tested whether the session is empty: the keys that it had removed before.
    - *taken*: the keys that it read and then removed, or set with ``setdefault``.
    """

    values: frozenset[str] = frozenset()
    presence: frozenset[str] = frozenset()
    unlisted: frozenset[str] | None = None
    emptiness: frozenset[frozenset[str]] = frozenset()
    taken: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.values or self.presence or self.unlisted is not None or self.emptiness)

    def since(self, earlier: Reads) -> Reads:
        """Return the reads that are not in *earlier*."""
        return Reads(
            values=self.values - earlier.values,
            presence=self.presence - earlier.presence,
            unlisted=self.unlisted if earlier.unlisted is None else None,
            emptiness=self.emptiness - earlier.emptiness,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Changes:
    """The changes that one request made to a session. If *cleared*, it removed all keys first."""

    put: Mapping[str, JSONValue] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    incremented: Mapping[str, int] = field(default_factory=dict)
    cleared: bool = False

    def apply(self, base: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
        """Return a copy of *base* with these changes. Raise `SessionTypeError` or `ValueError` for an impossible increment.

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
        # No values: error reports show the repr of variables in frames.
        cleared = ["clear"] if self.cleared else []
        named = (
            f"{verb} {', '.join(map(repr, keys))}"
            for verb, keys in (("put", self.put), ("remove", sorted(self.removed)), ("increment", self.incremented))
            if keys
        )
        return f"<Changes: {'; '.join((*cleared, *named)) or 'none'}>"

    @property
    def keys(self) -> frozenset[str]:
        """The keys that were put, removed or incremented."""
        return self.removed | self.put.keys() | self.incremented.keys()


NOTHING_READ = Reads()
"""The reads of a request that has read nothing."""


def add(key: str, value: JSONValue, by: int) -> int:
    """Return *value* + *by*. Raise `SessionTypeError` if *value* is not an int, `ValueError` beyond signed 64 bits."""
    return values.from_int(key, values.to_int(key, value) + values.from_int(key, by))
