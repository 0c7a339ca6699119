"""Where a request has its sessions, in an environ or scope; and what becomes of an object that the app puts there instead."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamostore.hidden import Hidden, clears_frames
from session import _state
from session.errors import SessionClosedError, SessionTypeError
from session.plans import lifecycle
from session.session import BaseSession

__all__ = ["SLOTS", "Request", "Slot", "adopt", "begin_slot", "find_slot", "forbid_reruns", "open_slots"]

# An environ or a scope; what servers and frameworks put into them has many types.
Request: TypeAlias = MutableMapping[str, Any]

SLOTS = "dynamostore.sessions"
"""The key of a request's slots; the name of what only the server knows has a dot in it (PEP 3333)."""

# Where Litestar has what `clear_session` puts into the scope: a class, in newer versions an enum's member.
_EMPTY = ("litestar.types.empty", "starlite.types.empty")


@clears_frames("take")
@dataclass(frozen=True, slots=True)
class Slot:
    """A session, and the keys under which its request has it.

    An app may put another object there: a mapping replaces the session's data, and None (or Litestar's ``Empty``) ends the
    session. Nothing happens if it takes the session out, or if another middleware within this one has its own session there: a
    mapping with a ``modified`` attribute.
    """

    session: BaseSession
    keys: tuple[str, ...]

    def is_touched(self, request: Request) -> bool:
        """Return True if there may be something to commit."""
        return not _state.is_untouched(self.session._state) or bool(self._others(request))

    def take(self, request: Request) -> dict[str, object] | None:
        """Return a copy of the mapping that the app put in the session's place, where the session is again; None if there is none.

        If the app put None there, destroy the session. Raises `SessionTypeError` for anything else, and `SessionClosedError` if
        the session is closed.
        """
        others = self._others(request)
        if not others:
            return None
        if self.session._state.closed:
            raise SessionClosedError(
                f"{self.keys[0]!r} was replaced when the session was closed already: replace it before the response starts"
            )
        if self._end(others):
            self._restore(request)
            return None
        first, *more = others
        if any(other is not first for other in more):
            names = " and ".join(map(repr, self.keys))
            raise SessionTypeError(f"{names} were replaced by two objects: replace one of them")
        if not isinstance(first, Mapping) or isinstance(first, BaseSession):
            kind = type(first).__name__
            raise SessionTypeError(
                f"{self.keys[0]!r} was replaced by a {kind}: replace it by a dict (the session's new data), or by None, which "
                "ends the session",
                wanted="Mapping",
                found=kind,
            )
        # Before the session is cleared: it may be a view of that.
        data = dict(first)
        self._restore(request)
        return data

    def forget(self, request: Request) -> None:
        """Forget what the app put in the session's place; but None destroys it: a logout counts also if the request fails."""
        self._end(self._others(request))
        self._restore(request)

    def drop(self, request: Request) -> None:
        """Forget all that the request has changed in the session, but for its end."""
        state = self.session._state
        self.forget(request)
        if not _state.is_untouched(state) and not state.destroying:
            _state.discard(state)

    def _end(self, others: list[object]) -> bool:
        if not others or not all(_is_end(other) for other in others):
            return False
        # Not its own `destroy`: this must not fail while another error is handled.
        lifecycle.destroy(self.session._state, self.session._policy)
        return True

    def _others(self, request: Request) -> list[object]:
        found = [request.get(key, self.session) for key in self.keys]
        return [other for other in found if other is not self.session and not _is_of_another(other)]

    def _restore(self, request: Request) -> None:
        for key in self.keys:
            if key in request and not _is_of_another(request[key]):
                request[key] = self.session


def begin_slot(request: Request, session: BaseSession, keys: tuple[str, ...]) -> Slot:
    """Put *session* under *keys* of the request, and return its slot."""
    slot = Slot(session, keys)
    for key in keys:
        request[key] = session
    request[SLOTS] = (*request.get(SLOTS, ()), slot)
    return slot


def find_slot(request: Request, keys: tuple[str, ...]) -> Slot | None:
    """Return the slot of an open session under one of *keys*; a closed one is of an earlier dispatch of the same request."""
    for slot in open_slots(request):
        if not set(keys).isdisjoint(slot.keys):
            return slot
    return None


def open_slots(request: Request) -> list[Slot]:
    """Return the slots of the sessions in an environ or scope that are not committed or discarded yet."""
    slots: tuple[Slot, ...] = request.get(SLOTS, ())
    return [slot for slot in slots if not slot.session._state.closed]


def forbid_reruns(request: Request) -> None:
    """Note that the request has stored something: for its other sessions, too, it must not be run again."""
    for slot in open_slots(request):
        slot.session._state.rerun = False


def adopt(session: BaseSession, data: Hidden[Mapping[str, object]]) -> None:
    """Replace the data of *session*, which must be there to be read; not a read, and the same values again are no change.

    Raises what putting them would; the session is then not to be committed.
    """
    session.clear()
    for key in data.reveal():
        # Checked there, as everything that is put.
        session[key] = data.reveal()[key]  # type: ignore[assignment]


def _is_end(value: object) -> bool:
    return value is None or getattr(value, "__module__", None) in _EMPTY


def _is_of_another(value: object) -> bool:
    """Return True for a session of another middleware: it notes its changes, as Starlette's and werkzeug's do."""
    return isinstance(value, Mapping) and hasattr(value, "modified")
