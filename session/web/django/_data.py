"""`BaseSessionData`: the part of Django's session API that reads and changes data, with typed getters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

from django.contrib.sessions.backends.base import SessionBase
from django.utils.asyncio import async_unsafe

from dynamostore.hidden import Hidden, clear_frames, clears_frames
from dynamostore.process_bound import ProcessBound
from dynamostore.workers import in_worker
from session import values
from session.session import Session
from session.typed import MISSING, Missing, TypedAccess
from session.types import JSONInput, JSONValue

from ._corrupt import CORRUPT, is_missing

__all__ = ["BaseSessionData", "Updates", "waits_for_the_store"]

D = TypeVar("D")
T = TypeVar("T")

Updates: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]]

waits_for_the_store = async_unsafe(
    "This method waits for the session store, which would block the event loop; await the async method instead (aget, aset, "
    "asave, aflush, ...). After the session is loaded, you can call the synchronous methods that only read or change its data."
)


@clears_frames("get", "pop", "increment", "peek")
class BaseSessionData(ProcessBound, TypedAccess, SessionBase, instead="dict(session.items()) copies its data"):
    """Django's API for a session's data, plus typed getters, on top of a core `Session`."""

    _core: Session
    accessed: bool
    modified: bool

    def _get_session(self, no_load: bool = False) -> Session:  # noqa: ARG002 (Django's signature)
        self.accessed = True
        if not self._core._state.loaded:
            self._read()
        return self._core

    _session = property(_get_session)

    async def _aget_session(self, no_load: bool = False) -> Session:  # noqa: ARG002 (Django's signature)
        self.accessed = True
        if not self._core._state.loaded:
            await in_worker(self._read)
        return self._core

    @waits_for_the_store
    def _read(self) -> None:
        self._core._reading()

    def _holder(self, key: str) -> Session | None:
        """Return the session to look up *key* in, or None if it is corrupt and *key* is one of Django's own."""
        try:
            return self._get_session()
        except CORRUPT as error:
            if not is_missing(key, error):
                raise
            return None

    def __contains__(self, key: object) -> bool:
        """Return True if the session has *key*."""
        core = self._holder(key) if isinstance(key, str) else self._get_session()
        return core is not None and key in core

    # Typed as loosely as Django's own, because projects rely on that.
    def __getitem__(self, key: str) -> Any:
        """Return the value of *key*. Raises `KeyError` if it is missing."""
        core = self._holder(key)
        if core is None:
            raise KeyError(key)
        return core[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, or *default* if it is missing."""
        core = self._holder(key)
        return default if core is None else core.get(key, default)

    async def aget(self, key: str, default: Any = None) -> Any:
        """Async version of `get`."""
        otherwise = Hidden(default)
        del default
        return await self._when_read(lambda: self.get(key, otherwise.reveal()))

    async def _when_read(self, do: Callable[[], T]) -> T:
        """Return the result of *do*. It runs in a thread if it must load the session first."""
        return do() if self._core._state.loaded else await in_worker(do)

    def has_key(self, key: str) -> bool:
        """Return True if the session has *key*."""
        return key in self

    def __setitem__(self, key: str, value: JSONInput) -> None:
        """Set *key* to a JSON value. See `Session.__setitem__ <session.Session.__setitem__>`."""
        held = Hidden(value)
        del value
        self._get_session()[key] = held.reveal()
        self.modified = True

    def __delitem__(self, key: str) -> None:
        """Remove *key*. Raises `KeyError` if it is missing."""
        del self._get_session()[key]
        self.modified = True

    @overload
    def pop(self, key: str) -> JSONValue: ...
    @overload
    def pop(self, key: str, default: D) -> JSONValue | D: ...
    def pop(self, key: str, default: object = MISSING) -> object:
        """Remove *key* and return its value. If it is missing, return *default*, or raise `KeyError` without one."""
        core = self._holder(key)
        if core is None:
            if default is MISSING:
                raise KeyError(key)
            return default
        if self._has(key):
            self.modified = True
        return core.pop(key) if default is MISSING else core.pop(key, default)

    def setdefault(self, key: str, value: JSONInput = None) -> JSONValue:
        """Return the value of *key*. If it is missing, set it to *value* first.

        The session notices changes to a list or dict that this returns.
        """
        held = Hidden(value)
        del value
        missing = not self._has(key)
        there = self._get_session().setdefault(key, held.reveal())
        if missing:
            self.modified = True
        return there

    def update(self, dict_: Updates) -> None:  # type: ignore[override]  # the stubs declare dict.update
        """Set several keys. If one of the values is invalid, raise its error and set none."""
        given = Hidden(dict_)
        del dict_
        entries = _checked(given)
        self._get_session().update(entries.reveal())  # type: ignore[arg-type]  # _checked has checked them
        self.modified = True

    def clear(self) -> None:
        """Remove all data, but keep the session and its key. To log out, call `flush`."""
        self._get_session().clear()
        self.modified = True

    def remove(self, key: str) -> None:
        """Remove *key*. Do nothing if it is missing."""
        self._drop(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add *by* to the int under *key*, without reading it. Concurrent increments of two requests both count."""
        self._get_session().increment(key, by)
        self.modified = True

    def peek(self, key: str, default: JSONValue = None) -> JSONValue:
        """Return a copy of the value of *key*, or *default* if it is missing. Does not count as a read.

        Use it in hooks and logs. Do not base a decision on it: the save does not check if another request changed the value.
        """
        return self._get_session().peek(key, default)

    def _has(self, key: str) -> bool:
        """Return True if the session has *key*. Does not count as a read."""
        return key in self._get_session()._reading().data

    def _peek(self, key: str) -> JSONValue | Missing:
        return self._get_session()._peek(key)

    def _followed(self, key: str, value: JSONValue) -> JSONValue:
        return self._get_session()._followed(key, value)

    def _put(self, key: str, value: Hidden[JSONValue]) -> None:
        self._get_session()._put(key, value)
        self.modified = True

    def _drop(self, key: str) -> None:
        core = self._get_session()
        if self._has(key):
            self.modified = True
        core.remove(key)


def _checked(given: Hidden[Updates]) -> Hidden[dict[str, object]]:
    """Return the entries of *given* as a dict. Raises the same errors as putting them."""
    try:
        entries = Hidden(dict(given.reveal()))
        for key in entries.reveal():
            values.native(key, entries.reveal()[key])
    except BaseException as error:
        clear_frames(error)
        raise
    return entries
