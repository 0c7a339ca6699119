"""`Draft`: a session's data and the changes made to it; `Changes`: those changes, to be made elsewhere.

A session records what was *done*, not only what came of it: so when another request was faster, the changes
can be made again on its data, and both are kept. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from . import values
from .values import JSONValue

__all__ = ["Changes", "Draft"]

# In one order, so that equal values have equal encodings; and 1, 1.0 and True have different ones.
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Changes:
    """What one request did to a session: put, removed, incremented, perhaps after clearing it all."""

    put: Mapping[str, JSONValue] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    incremented: Mapping[str, int] = field(default_factory=dict)
    cleared: bool = False

    def apply(self, base: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
        """*base* with these changes made; `SessionTypeError` or `ValueError` where an increment cannot be.

        >>> Changes(put={"a": 1}, removed=frozenset("b"), incremented={"n": 2}).apply({"b": 0, "n": 40})
        {'n': 42, 'a': 1}
        """
        result = {} if self.cleared else {key: value for key, value in base.items() if key not in self.removed}
        result.update(self.put)
        for key, by in self.incremented.items():
            result[key] = _add(key, result.get(key, 0), by)
        return result


def _add(key: str, value: JSONValue, by: int) -> int:
    return values.from_int(key, values.to_int(key, value) + values.from_int(key, by))


class Draft:
    """A session's data, and what was changed in it since it was read.

    What counts as a change is the difference: for each key that was changed or whose list or dict was handed
    out, the encoding of its value as it was read is kept and compared in the end.

    >>> draft = Draft({"cart": [1], "n": 1})
    >>> draft.get("cart").append(2)
    >>> draft.increment("n", 1)
    2
    >>> draft.changes()
    Changes(put={'cart': [1, 2]}, removed=frozenset(), incremented={'n': 1}, cleared=False)
    """

    __slots__ = ("_cleared", "_increments", "_lent", "_original", "data")

    def __init__(self, data: dict[str, JSONValue]) -> None:
        self.data = data
        self._original: dict[str, bytes | None] = {}
        self._increments: dict[str, int] = {}
        self._lent: set[str] = set()
        self._cleared = False

    def get(self, key: str) -> JSONValue:
        """The value of *key*, to keep and to change; KeyError if there is none."""
        value = self.data[key]
        if isinstance(value, list | dict):
            self._keep(key)
            self._lent.add(key)
        return value

    def put(self, key: str, value: JSONValue) -> None:
        """Set *key* to a value that is the session's own from now on."""
        self._keep(key)
        self._increments.pop(key, None)
        self.data[key] = value

    def remove(self, key: str) -> None:
        """Remove *key*, if it is there."""
        if key in self.data:
            self._keep(key)
            self._increments.pop(key, None)
            del self.data[key]

    def clear(self) -> None:
        """Remove all keys."""
        for key in self.data:
            self._keep(key)
        self._increments.clear()
        self._cleared = True
        self.data.clear()

    def increment(self, key: str, by: int) -> int:
        """Add *by* to the int under *key* (0 if there is none), and return the sum."""
        total = _add(key, self.data.get(key, 0), by)
        alone = not self._cleared and (key not in self._original or key in self._increments)
        self._keep(key)
        if alone:
            self._increments[key] = self._increments.get(key, 0) + by
        self.data[key] = total
        return total

    def changes(self) -> Changes | None:
        """What was changed; None if everything is as it was read.

        Raises what `values.native <session.values.native>` raises for a list or dict that was handed out and
        now holds what JSON cannot.
        """
        put: dict[str, JSONValue] = {}
        removed: set[str] = set()
        incremented: dict[str, int] = {}
        for key, original in self._original.items():
            if key not in self.data:
                if original is not None:
                    removed.add(key)
                continue
            value = self.data[key]
            if not self._changed(key, value, original):
                continue
            if key in self._increments:
                incremented[key] = self._increments[key]
            else:
                put[key] = value
        if not (put or removed or incremented):
            return None
        if self._cleared:
            return Changes(put=dict(self.data), cleared=True)
        return Changes(put=put, removed=frozenset(removed), incremented=incremented)

    def rebase(self, base: dict[str, JSONValue], changes: Changes | None = None) -> None:
        """Make the same changes on *base* instead; raises what `Changes.apply` raises, and then did nothing.

        *changes*: those to make, if what is a change now is not all that was meant.
        """
        changes = changes or self.changes()
        data = changes.apply(base) if changes else base
        touched = self._original.keys() | base.keys() if self._cleared else self._original.keys()
        self._original = {key: _encode(base[key]) if key in base else None for key in touched}
        self.data = data

    def settle(self) -> None:
        """Take what is there now as what was read: it has been stored."""
        self._original = {key: _encode(self.data[key]) for key in self._lent if key in self.data}
        self._increments.clear()
        self._cleared = False

    def sizes(self) -> list[tuple[str, int]]:
        """The keys with the sizes of their values in bytes of JSON, the largest first."""
        return sorted(((key, len(_encode(value))) for key, value in self.data.items()), key=lambda pair: -pair[1])

    def _changed(self, key: str, value: JSONValue, original: bytes | None) -> bool:
        try:
            encoded = _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            encoded = b""
        if encoded == original:
            return False
        if key in self._lent:
            # Its owner may have put anything into it since.
            values.native(key, value)
        return True

    def _keep(self, key: str) -> None:
        """Keep how the value of *key* was read, before it changes for the first time."""
        if key not in self._original:
            self._original[key] = _encode(self.data[key]) if key in self.data else None
