"""`SessionData`: a session's data as a mapping with typed getters, shared by sessions and atomic steps."""

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
    """A session's data: a mutable mapping of JSON values, sorted by key, with typed getters (`TypedAccess`).

    As in a dict, lists and dicts are kept by reference: the session returns the object that you put, and stores its state at
    the commit. A list or dict that is not plain JSON, such as a defaultdict or a list of tuples, is converted. Until the
    commit, the session picks up later changes to the original.

    At the commit, this request's reads may be compared with the stored session. These operations count as reads:

    - of a key's value: ``[]``, ``get``, ``pop``, ``del``, ``setdefault`` and the typed getters;
    - of a key's presence: ``in``;
    - of the set of keys: iteration and ``len``; ``bool`` reads only if there are any keys;
    - of everything: ``copy``, ``|`` and ``dict(...)``.

    `peek` does not count as a read. Nor does reading a key that this request put, removed or cleared before.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> with SessionManager(MemoryStore()).session(None) as s:
    ...     s["cart"] = ["apple"]
    ...     s["cart"].append("pear")
    ...     s.increment("visits")
    ...     "cart" in s, dict(s)
    (True, {'cart': ['apple', 'pear'], 'visits': 1})
    """

    __slots__ = ()

    @abstractmethod
    def _reading(self) -> Draft:
        """Return the draft, loaded."""

    @abstractmethod
    def _changing(self) -> Draft:
        """Return the draft, loaded, for changes. Raise `SessionError` if it must not be changed now."""

    def __getitem__(self, key: str) -> JSONValue:
        """Return the value of *key*. Raise `KeyError` if it is missing. You may change a returned list or dict in place."""
        return self._reading().get(key if type(key) is str else _exact(key))

    def __setitem__(self, key: str, value: JSONInput) -> None:
        """Set *key* to a JSON value. Tuples and other sequences become lists; other mappings become dicts.

        An instance of a subclass of str, int or float, or a proxy of one, becomes the plain value. Raises `SessionTypeError`
        for a value that JSON cannot express. Raises `ValueError` for a NaN, an infinity, an int beyond signed 64 bits, a lone
        surrogate, or more than 100 levels of nesting. The session is then unchanged.

        You may still change a list or dict after this. Its state at the commit is stored; the commit raises the errors above
        if that state is not valid JSON.
        """
        held = Hidden(value)
        del value
        accepted = values.converted(values.accepted, key, held)
        self._changing().put(values.checked_key(key), *accepted.reveal())

    def __delitem__(self, key: str) -> None:
        """Remove *key*. Raise `KeyError` if it is missing; `remove` does not."""
        draft = self._changing()
        if self._peek(key) is MISSING:
            raise KeyError(key)
        draft.remove(_exact(key))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, sorted."""
        return iter(self._reading().keys())

    def __reversed__(self) -> Iterator[str]:
        """Iterate over the keys in reverse order."""
        return reversed(self._reading().keys())

    def __len__(self) -> int:
        return len(self._reading().keys())

    def __bool__(self) -> bool:
        """Return True if the session has any keys."""
        return self._reading().any()

    def __contains__(self, key: object) -> bool:
        return self._reading().has(values.exact_key(key))

    def __or__(self, other: Mapping[str, V]) -> dict[str, JSONValue | V]:
        """Return a plain dict of this session's data updated with *other*. Reads everything."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self, **other}

    def __ror__(self, other: Mapping[str, V]) -> dict[str, JSONValue | V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self}

    # As with dict, |= accepts more types than |.
    def __ior__(  # type: ignore[misc]
        self, other: Mapping[str, JSONInput] | Iterable[tuple[str, JSONInput]]
    ) -> Self:
        self.update(other)
        return self

    def copy(self) -> dict[str, JSONValue]:
        """Return a plain dict of the data, a shallow copy: nested lists and dicts are the session's own. Reads everything."""
        return dict(self)

    # typeshed gives None only to mappings whose values may be None, which here they may.
    def setdefault(self, key: str, default: JSONInput = None) -> JSONValue:  # type: ignore[override]
        """Return the value of *key*, after setting it to *default* if it is missing. You may change a list or dict in place."""
        held = Hidden(default)
        del default
        draft = self._reading()
        key = values.checked_key(key)
        if key not in draft.data:
            accepted = values.converted(values.accepted, key, held)
            self._changing().setdefault(key, *accepted.reveal())
        return draft.get(key)

    def popitem(self) -> tuple[str, JSONValue]:
        """Remove and return the last key, in sorted order, and its value. Raise `KeyError` if the session is empty."""
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
        """Set several keys as ``[]`` does. If one value is refused, no key is set."""
        given = Hidden((other, more))
        del other, more
        entries = _accept_all(given)
        draft = self._changing()
        for entry in map(Hidden, entries.reveal()):
            draft.put(*entry.reveal())

    def clear(self) -> None:
        """Remove all keys. The token, the deadline and the settings of `remember` and `set_idle_timeout` stay."""
        self._changing().clear()

    def remove(self, key: str) -> None:
        """Remove *key*. Do nothing if it is missing."""
        self._drop(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add *by* to the int under *key*; a missing key counts as 0.

        If two requests increment a key at once, both increments count and neither conflicts. So the method does not return
        the sum; reading the key afterwards counts as a read. Raises `SessionTypeError` if the value is not an int, and
        `ValueError` if the sum exceeds signed 64 bits.
        """
        by = values.from_int(key, by)
        self._changing().increment(values.checked_key(key), by)

    def peek(self, key: str, default: JSONValue = None) -> JSONValue:
        """Return a copy of the value of *key*, or *default*, without counting it as a read. For hooks and logs.

        Do not base a decision on it: the commit does not check whether another request changed the value.
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
        # Sentry iterates over mappings in stack frames, which would read the session and report its data.
        return repr(self)

    __hash__ = None  # type: ignore[assignment]  # as for every mutable mapping; subclasses would not inherit it otherwise


class StepData(SessionData):
    """The stored session's data, passed to the function that `atomic <session.Session.atomic>` runs."""

    __slots__ = ("_draft", "closed")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.closed: bool = False

    def _reading(self) -> Draft:
        return self._draft

    def _changing(self) -> Draft:
        if self.closed:
            raise SessionClosedError(
                "the atomic step is over, so a change would be lost; change it inside the function"
            )
        return self._draft

    def __repr__(self) -> str:
        return "<StepData>"


def _accept_all(
    given: Hidden[tuple[JSONItems | Iterable[tuple[str, JSONInput]], dict[str, JSONInput]]],
) -> Hidden[list[tuple[str, JSONValue, object]]]:
    """Convert and check the keys and values passed to `update`."""
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
    """Return *key* as a plain str. A StrEnum member, for example, equals its value but has another ``str()``."""
    found = values.exact_key(key)
    return found if isinstance(found, str) else key
