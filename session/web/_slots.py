"""The sessions of a request in its environ or scope, and objects that the app puts in their place."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamostore.hidden import Hidden, clears_frames
from session import _state
from session.errors import SessionClosedError, SessionTypeError
from session.plans import lifecycle
from session.session import BaseSession

__all__ = ["SLOTS", "Request", "Slot", "begin_slot", "find_slot", "forbid_reruns", "open_slots", "replace_data"]

# An environ or a scope. Servers and frameworks put values of many types into them.
Request: TypeAlias = MutableMapping[str, Any]

SLOTS = "dynamostore.sessions"
"""The key of a request's slots. PEP 3333 asks servers and middleware to prefix their keys."""

# The modules of Litestar's Empty, which `clear_session` puts into the scope: a class, or an enum member in newer versions.
_EMPTY = ("litestar.types.empty", "starlite.types.empty")


@clears_frames("take")
@dataclass(frozen=True, slots=True)
class Slot:
    """A session, and its keys in the environ or scope.

    An app may put another object under a key. A mapping replaces the session's data; None (or Litestar's ``Empty``) destroys
    the session. Two things have no effect: deleting the key, and a mapping with a ``modified`` attribute. That mapping is
    the session of another middleware inside this one.
    """

    session: BaseSession
    keys: tuple[str, ...]

    def is_touched(self, request: Request) -> bool:
        """Return True if the session may have something to commit."""
        return not _state.is_untouched(self.session._state) or bool(self._others(request))

    def take(self, request: Request) -> dict[str, object] | None:
        """Put the session back in its place. Return a copy of the mapping that the app put there, or None.

        If the app put None there, destroy the session. Raises `SessionTypeError` for any other object, and
        `SessionClosedError` if the session is closed.
        """
        others = self._others(request)
        if not others:
            return None
        if self.session._state.closed:
            raise SessionClosedError(
                f"{self.keys[0]!r} was replaced after the session was closed; replace it before the response starts"
            )
        if self._end(others):
            self._restore(request)
            return None
        first, *more = others
        if any(other is not first for other in more):
            names = " and ".join(map(repr, self.keys))
            raise SessionTypeError(f"{names} were replaced by two different objects; replace only one of them")
        if not isinstance(first, Mapping) or isinstance(first, BaseSession):
            kind = type(first).__name__
            raise SessionTypeError(
                f"{self.keys[0]!r} was replaced by a {kind}; replace it by a dict (the session's new data), or by None to "
                "destroy the session",
                wanted="Mapping",
                found=kind,
            )
        # Copy now: the mapping may be a view of the session, which is cleared later.
        data = dict(first)
        self._restore(request)
        return data

    def forget(self, request: Request) -> None:
        """Put the session back in its place, and ignore the object that the app put there.

        If the app put None there, destroy the session: a logout takes effect even if the request fails.
        """
        self._end(self._others(request))
        self._restore(request)

    def drop(self, request: Request) -> None:
        """Discard all changes that the request made to the session, except for a `destroy`."""
        state = self.session._state
        self.forget(request)
        if not _state.is_untouched(state) and not state.destroying:
            _state.discard(state)

    def _end(self, others: list[object]) -> bool:
        """Destroy the session if *others* are all None or ``Empty``. Return True if so."""
        if not others or not all(_is_end(other) for other in others):
            return False
        # Session.destroy could raise, and another error may be propagating.
        lifecycle.destroy(self.session._state, self.session._policy)
        return True

    def _others(self, request: Request) -> list[object]:
        """Return the objects that the app put in the session's place."""
        found = [request.get(key, self.session) for key in self.keys]
        return [other for other in found if other is not self.session and not _is_of_another(other)]

    def _restore(self, request: Request) -> None:
        for key in self.keys:
            if key in request and not _is_of_another(request[key]):
                request[key] = self.session


def begin_slot(request: Request, session: BaseSession, keys: tuple[str, ...]) -> Slot:
    """Put *session* into the request under *keys*, and return its slot."""
    slot = Slot(session, keys)
    for key in keys:
        request[key] = session
    request[SLOTS] = (*request.get(SLOTS, ()), slot)
    return slot


def find_slot(request: Request, keys: tuple[str, ...]) -> Slot | None:
    """Return the slot of an open session under one of *keys*, or None.

    A closed session does not count: it is from an earlier dispatch of the same request.
    """
    for slot in open_slots(request):
        if not set(keys).isdisjoint(slot.keys):
            return slot
    return None


def open_slots(request: Request) -> list[Slot]:
    """Return the slots of the request's sessions that are neither committed nor discarded yet."""
    slots: tuple[Slot, ...] = request.get(SLOTS, ())
    return [slot for slot in slots if not slot.session._state.closed]


def forbid_reruns(request: Request) -> None:
    """Forbid re-runs for all sessions of the request, because one of them has stored something."""
    for slot in open_slots(request):
        slot.session._state.rerun = False


def replace_data(session: BaseSession, data: Hidden[Mapping[str, object]]) -> None:
    """Replace the data of *session*, which must be loaded or able to load.

    This does not count as a read, and equal values are not a change. Raises the same errors as putting the values. The caller
    must then not commit the session.
    """
    session.clear()
    for key in data.reveal():
        # __setitem__ checks the key and the value.
        session[key] = data.reveal()[key]  # type: ignore[assignment]


def _is_end(value: object) -> bool:
    return value is None or getattr(value, "__module__", None) in _EMPTY


def _is_of_another(value: object) -> bool:
    """Return True for a session of another middleware. Starlette's and Werkzeug's have a ``modified`` attribute."""
    return isinstance(value, Mapping) and hasattr(value, "modified")
