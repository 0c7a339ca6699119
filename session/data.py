"""`SessionData`: a session's data as a mapping with typed getters; the part that sessions and atomic steps have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, MutableMapping

from dynamostore.process_bound import ProcessBound

from . import values
from .changes import Draft
from .errors import SessionClosedError
from .typed import MISSING, Missing, TypedAccess
from .types import JSONValue

__all__ = ["SessionData", "StepData"]


class SessionData(ProcessBound, TypedAccess, MutableMapping[str, JSONValue], instead="dict(session) copies its data"):
    """A session's data: a mapping of JSON-native values in the order of its keys, with typed getters (`TypedAccess`).

    A value that is put is copied. A list or dict that is handed out is the session's own, and a change within it counts.

    What a request reads may be compared with the stored session when the request commits. ``[]``, ``get``, ``pop``, ``del``,
    ``setdefault`` and the typed getters read a key's value, ``in`` its presence, iteration and ``len`` the set of keys, ``bool``
    only if there are any. `peek` reads nothing. A key that this request has put, removed or cleared before is its own.
    """

    __slots__ = ()

    @abstractmethod
    def _reading(self) -> Draft:
        """Return the draft, with the data in it."""

    @abstractmethod
    def _changing(self) -> Draft:
        """Return the draft if it may be changed; raise otherwise."""

    def __getitem__(self, key: str) -> JSONValue:
        """Return the value of *key*; KeyError if there is none. A list or dict may be changed in place."""
        return self._reading().get(key)

    def __setitem__(self, key: str, value: JSONValue) -> None:
        """Set *key* to a copy of a JSON-native value (a tuple becomes a list).

        Raises `SessionTypeError` for a value that JSON cannot express, `ValueError` for a NaN, an infinity, an int
        beyond signed 64 bits, a lone surrogate, or nesting deeper than 100; the session then stays as it was.
        """
        self._put(key, values.native(key, value))

    def __delitem__(self, key: str) -> None:
        """Remove *key*; KeyError if it is missing (`remove` accepts that)."""
        draft = self._changing()
        draft.seen.add(key)
        if key not in draft.data:
            raise KeyError(key)
        draft.remove(key)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, sorted."""
        return iter(self._reading().keys())

    def __len__(self) -> int:
        return len(self._reading().keys())

    def __bool__(self) -> bool:
        """Return True if there are any keys."""
        return self._reading().any()

    def __contains__(self, key: object) -> bool:
        return self._reading().has(key)

    # typeshed gives None only to mappings whose values may be None, which here they may.
    def setdefault(self, key: str, default: JSONValue = None) -> JSONValue:  # type: ignore[override]
        """Return the value of *key*, set to a copy of *default* first if it is missing; the session's own, to change."""
        draft = self._reading()
        if key not in draft.data:
            copy = values.native(key, default)
            self._changing().setdefault(values.checked_key(key), copy)
        return draft.get(key)

    def clear(self) -> None:
        """Remove all data; token, deadline, `remember` and `set_idle_timeout` stay."""
        self._changing().clear()

    def remove(self, key: str) -> None:
        """Remove *key*; nothing happens if it is missing."""
        self._changing().remove(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add *by* to the int under *key* (0 if it is missing).

        Two requests that increment at once both count, so there is no sum to return; to read the key afterwards is a read
        like any other. Raises `SessionTypeError` if another type is there, `ValueError` beyond signed 64 bits.
        """
        by = values.from_int(key, by)
        self._changing().increment(values.checked_key(key), by)

    def peek(self, key: str, default: JSONValue = None) -> JSONValue:
        """Return a copy of the value of *key*, or *default*, without reading it: for hooks and logs.

        A decision must not rest on it: it is not compared with the stored session when the request commits.
        """
        data = self._reading().data
        return values.native(key, data[key]) if key in data else default

    # The primitives of TypedAccess.

    def _peek(self, key: str) -> JSONValue | Missing:
        draft = self._reading()
        draft.seen.add(key)
        return draft.data.get(key, MISSING)

    def _put(self, key: str, value: JSONValue) -> None:
        self._changing().put(values.checked_key(key), value)

    def _drop(self, key: str) -> None:
        self._changing().remove(key)

    __hash__ = None  # type: ignore[assignment]  # as every mutable mapping; slots and bases would lose it


class StepData(SessionData):
    """The stored session within `atomic <session.Session.atomic>`: its data, to be read and changed."""

    __slots__ = ("_draft", "closed")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.closed = False

    def _reading(self) -> Draft:
        return self._draft

    def _changing(self) -> Draft:
        if self.closed:
            raise SessionClosedError("the atomic step is over: a change now would be lost")
        return self._draft

    def __repr__(self) -> str:
        return "<StepData>"
