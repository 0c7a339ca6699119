"""`SessionData`: a session's data as a mapping with typed getters; the part that sessions and atomic steps have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Self, TypeVar

from dynamostore.hidden import Hidden, clear_frames, clears_frames
from dynamostore.process_bound import ProcessBound

from . import values
from .draft import Draft
from .errors import SessionClosedError
from .typed import MISSING, Missing, TypedAccess
from .types import JSONInput, JSONItems, JSONValue

__all__ = ["SessionData", "StepData"]


V = TypeVar("V")


@clears_frames("__or__", "__ror__", "__ior__", "copy", "popitem", "increment", "peek")
class SessionData(ProcessBound, TypedAccess, MutableMapping[str, JSONValue], instead="dict(session) copies its data"):
    """A session's data: a mapping of JSON-native values in the order of its keys, with typed getters (`TypedAccess`).

    As in a dict, a list or dict is kept by reference: the one that is put is the one that is handed out, and what is stored is
    its state at the commit. A list or dict that JSON cannot express as it is (a defaultdict, say, or a list of tuples) is
    converted; until the commit the session follows its changes.

    What a request reads may be compared with the stored session when the request commits. ``[]``, ``get``, ``pop``, ``del``,
    ``setdefault`` and the typed getters read a key's value, ``in`` its presence, iteration and ``len`` the set of keys, ``bool``
    only if there are any; ``copy``, ``|`` and ``dict(...)`` everything. `peek` reads nothing. A key that this request has put, removed or cleared before is its own.
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
        return self._reading().get(key if type(key) is str else _exact(key))

    def __setitem__(self, key: str, value: JSONInput) -> None:
        """Set *key* to a value that JSON can express. Other sequences become lists, other mappings dicts.

        An instance of a subclass of str, int or float, and a proxy of one, becomes the value that it holds. Raises
        `SessionTypeError` for a value that JSON cannot express, `ValueError` for a NaN, an infinity, an int beyond signed 64
        bits, a lone surrogate, or nesting deeper than 100; the session then stays as it was.

        A list or dict may still be changed: what is stored is its state when the session is committed, which raises as above if
        it then holds what JSON cannot express.
        """
        held = Hidden(value)
        del value
        accepted = values.converted(values.accepted, key, held)
        self._changing().put(values.checked_key(key), *accepted.reveal())

    def __delitem__(self, key: str) -> None:
        """Remove *key*; KeyError if it is missing (`remove` accepts that)."""
        draft = self._changing()
        if self._peek(key) is MISSING:
            raise KeyError(key)
        draft.remove(_exact(key))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, sorted."""
        return iter(self._reading().keys())

    def __reversed__(self) -> Iterator[str]:
        """Iterate over the keys, the last first."""
        return reversed(self._reading().keys())

    def __len__(self) -> int:
        return len(self._reading().keys())

    def __bool__(self) -> bool:
        """Return True if there are any keys."""
        return self._reading().any()

    def __contains__(self, key: object) -> bool:
        return self._reading().has(values.exact_key(key))

    def __or__(self, other: Mapping[str, V]) -> dict[str, JSONValue | V]:
        """Return a plain dict of this one's data and *other*'s; reads everything."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self, **other}

    def __ror__(self, other: Mapping[str, V]) -> dict[str, JSONValue | V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self}

    # As of a dict: more goes in place than beside.
    def __ior__(  # type: ignore[misc]
        self, other: Mapping[str, JSONInput] | Iterable[tuple[str, JSONInput]]
    ) -> Self:
        self.update(other)
        return self

    def copy(self) -> dict[str, JSONValue]:
        """Return a plain dict of the data, as a dict's ``copy`` does: lists and dicts in it are the session's own. Reads everything."""
        return dict(self)

    # typeshed gives None only to mappings whose values may be None, which here they may.
    def setdefault(self, key: str, default: JSONInput = None) -> JSONValue:  # type: ignore[override]
        """Return the value of *key*, set to *default* first if it is missing; the session's own, to change."""
        held = Hidden(default)
        del default
        draft = self._reading()
        key = values.checked_key(key)
        if key not in draft.data:
            accepted = values.converted(values.accepted, key, held)
            self._changing().setdefault(key, *accepted.reveal())
        return draft.get(key)

    def popitem(self) -> tuple[str, JSONValue]:
        """Remove the last key in the order of the keys, and return it with its value; KeyError if there is none."""
        draft = self._changing()
        if not (keys := draft.keys()):
            raise KeyError("popitem(): the session is empty")
        return keys[-1], self.pop(keys[-1])

    def update(
        self,
        other: JSONItems | Iterable[tuple[str, JSONInput]] = (),
        /,
        **more: JSONInput,
    ) -> None:
        """Set keys as ``[]`` does, or none of them if one is refused."""
        given = Hidden((other, more))
        del other, more
        entries = _accept_all(given)
        draft = self._changing()
        for entry in map(Hidden, entries.reveal()):
            draft.put(*entry.reveal())

    def clear(self) -> None:
        """Remove all data; token, deadline, `remember` and `set_idle_timeout` stay."""
        self._changing().clear()

    def remove(self, key: str) -> None:
        """Remove *key*; nothing happens if it is missing."""
        self._drop(key)

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
        draft = self._reading()
        draft.follow(key)
        return values.native(key, draft.data[key]) if key in draft.data else default

    # The primitives of TypedAccess.

    def _peek(self, key: str) -> JSONValue | Missing:
        draft = self._reading()
        draft.seen.add(key)
        return draft.data.get(key, MISSING)

    def _followed(self, key: str, value: JSONValue) -> JSONValue:
        draft = self._reading()
        draft.follow(key)
        return draft.data.get(key, value)

    def _put(self, key: str, value: Hidden[JSONValue]) -> None:
        self._changing().put(values.checked_key(key), value.reveal())

    def _drop(self, key: str) -> None:
        self._changing().remove(_exact(key))

    def __sentry_repr__(self) -> str:
        # Sentry would go over a mapping that is in a frame: that reads the session, and shows it.
        return repr(self)

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


def _accept_all(
    given: Hidden[tuple[JSONItems | Iterable[tuple[str, JSONInput]], dict[str, JSONInput]]],
) -> Hidden[list[tuple[str, JSONValue, object]]]:
    """Return what a session keeps of what `update` is given."""
    try:
        return Hidden(_accepted(*given.reveal()))
    except BaseException as error:
        clear_frames(error)
        raise


def _accepted(
    other: JSONItems | Iterable[tuple[str, JSONInput]], more: dict[str, JSONInput]
) -> list[tuple[str, JSONValue, object]]:
    entries: list[tuple[str, JSONValue, object]] = []
    for key, value in {**dict(other), **more}.items():
        put, made_from = values.accepted(key, value)
        entries.append((values.checked_key(key), put, made_from))
    return entries


def _exact(key: str) -> str:
    """Return *key* as exactly a str: a member of a StrEnum, say, is equal to its value, but is not shown as that."""
    found = values.exact_key(key)
    return found if isinstance(found, str) else key
