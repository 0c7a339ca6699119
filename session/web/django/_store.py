"""`BaseSessionStore`: Django's API of a session on the core's, without the awaited methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NoReturn, TypeAlias, TypeVar, overload

from django import conf
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.utils import timezone
from django.utils.asyncio import async_unsafe

from dynamostore import DynamoStore
from dynamostore.instants import INT64_MAX, from_ns, to_ns
from session import _state, values
from session._policy import Policy
from session._state import Status
from session.data import SessionData
from session.errors import SessionConflict
from session.plans import atomic, lifecycle
from session.session import Session
from session.typed import MISSING, Missing, TypedAccess
from session.types import JSONInput, JSONValue

from ._manager import get_site

__all__ = ["BaseSessionStore"]

D = TypeVar("D")
T = TypeVar("T")

Updates: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]]

# No deadline is later: it is kept in 64 bits of nanoseconds.
_LATEST = from_ns(INT64_MAX)
_EXPIRY = "_session_expiry"
_waits_for_the_store = async_unsafe(
    "This waits for the session store, which would hold up the event loop: await the async method instead (aget, aset, "
    "asave, aflush, ...). Once a session was read, all that only looks at it or changes it may be called as it is."
)


class BaseSessionStore(TypedAccess, SessionBase):
    """Django's API of a session, and its typed getters; `SessionStore <session.web.django.SessionStore>` has the async methods."""

    def __init__(self, session_key: str | None = None) -> None:
        """Begin with the session of a client's *session_key*; a key that is not well-formed counts as none."""
        self._site = get_site()
        self._manager = self._site.manager
        self._core = self._manager._begin(None, self._site.unchecked)
        # True if the app was shown a conflict, by `save` or `atomic`.
        self._refused = False
        # Whether the middleware is to save in any case, and whether that is to be written in any case; and whether it
        # was told not to.
        self._modified = self._insisted = self._dismissed = False
        super().__init__(session_key)
        self._dismissed = False

    def _begin(self, session_key: str | None) -> None:
        before = self._core._state
        self._core = self._manager._begin(session_key, self._core._policy)
        state = self._core._state
        state.attempt, state.route, state.only_if_there = before.attempt, before.route, before.only_if_there
        state.rerun = before.rerun and not before.stored

    def _enter(self, policy: Policy, *, attempt: int = 1, route: Callable[[], str] | None = None) -> None:
        """Have the session follow *policy*, in that run of a request."""
        self._core._policy = policy
        self._core._state.attempt, self._core._state.route = attempt, route

    def _begin_ended(self) -> None:
        """Begin as a session that another request has ended: none is stored, and no cookie is sent."""
        self._begin(None)
        self._core._state.gone = self._core._state.ended = True

    # What Django's middleware asks

    @property
    def session_key(self) -> str | None:
        """The key to hand the client; after `cycle_key` at once the new one."""
        state = self._core._state
        # Django's own middleware would send "None" as the key of a session that ended meanwhile.
        return state.coming or (state.presented if state.ended else self._core.token)

    @property
    def _session_key(self) -> str | None:
        return self.session_key

    @_session_key.setter
    def _session_key(self, value: str | None) -> None:
        self._begin(value)

    @property
    def modified(self) -> bool:
        """Whether there is something to save, a change within a list or dict or an expiry to be moved included.

        Set it to True to have the session stored, and its lifetime begin anew, though nothing was changed; to False to
        have what was changed so far not stored, unless something else is changed.
        """
        return self._modified or (not self._dismissed and self._pending())

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = self._insisted = value
        self._dismissed = not value

    def _pending(self) -> bool:
        state = self._core._state
        if state.changed or state.insisting:
            return True
        policy = self._manager._policy
        if state.record is None or not state.looked or policy.idle_ns is None:
            return False
        # To have looked is activity, too; only a save writes it down.
        return policy.expiry_ns(state.deadline_ns) - state.record.expiry_ns >= policy.touch_after_ns

    @property
    def status(self) -> Status:
        """The fate of the session in this request so far: DESTROYED if another request ended it meanwhile."""
        return self._core.status

    @property
    def attempt(self) -> int:
        """The number of this run of the request: 1, or more if the middleware runs a stale request again."""
        return self._core.attempt

    def forbid_rerun(self) -> None:
        """Have a stale request refused, and not run again: for a view that does something elsewhere that must not happen twice.

        Call it before that: in an OAuth callback, or for a link that can be used once.
        """
        self._core.forbid_rerun()

    def is_empty(self) -> bool:
        """Return True if there is nothing: no key, no data, and nobody asked for an empty session to be stored."""
        state = self._core._state
        return state.token is None and not state.insisting and not state.draft.data

    def _is_outdated(self) -> bool:
        """Whether it was read by the old key of a session that was renewed, within the grace."""
        state = self._core._state
        if state.record is None or state.token is None:
            return False
        return state.record.token != self._manager._policy.key(state.token)

    # The data

    def _get_session(self, no_load: bool = False) -> Session:  # noqa: ARG002 (Django's signature)
        self.accessed = True
        if not self._core._state.loaded:
            self._read()
        return self._core

    _session = property(_get_session)

    async def _aget_session(self, no_load: bool = False) -> Session:  # noqa: ARG002 (Django's signature)
        self.accessed = True
        if not self._core._state.loaded:
            await asyncio.to_thread(self._read)
        return self._core

    @_waits_for_the_store
    def _read(self) -> None:
        self._core._reading()

    def _changing(self) -> Session:
        core = self._get_session()
        self._dismissed = False
        return core

    def __setitem__(self, key: str, value: JSONInput) -> None:
        """Set *key* to a value that JSON can express; see `Session.__setitem__ <session.Session.__setitem__>`."""
        self._changing()[key] = value

    def __delitem__(self, key: str) -> None:
        """Remove *key*; KeyError if it is not there."""
        del self._changing()[key]

    @overload
    def pop(self, key: str) -> JSONValue: ...
    @overload
    def pop(self, key: str, default: D) -> JSONValue | D: ...
    def pop(self, key: str, default: object = MISSING) -> object:
        """Remove *key* and return its value, or *default* if there is none; KeyError if neither."""
        core = self._changing() if self._has(key) else self._get_session()
        return core.pop(key) if default is MISSING else core.pop(key, default)

    def setdefault(self, key: str, value: JSONInput = None) -> JSONValue:
        """Return the value of *key*, set to *value* first if there is none; the session's own, to change."""
        core = self._get_session() if self._has(key) else self._changing()
        return core.setdefault(key, value)

    def update(self, dict_: Updates) -> None:  # type: ignore[override]  # a dict's, which it only is in the stubs
        """Set keys as ``[]`` does, or none of them if one is refused."""
        entries = dict(dict_)
        for key, value in entries.items():
            values.native(key, value)
        self._changing().update(entries)  # type: ignore[arg-type]  # they were looked at

    def clear(self) -> None:
        """Remove all data; the key stays. (To log out: `flush`.)"""
        self._changing().clear()

    def remove(self, key: str) -> None:
        """Remove *key*; nothing happens if it is not there."""
        self._drop(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add *by* to the int under *key*, without reading it; two requests that increment at once both count."""
        self._changing().increment(key, by)

    def peek(self, key: str, default: JSONValue = None) -> JSONValue:
        """Return a copy of the value of *key*, or *default*, without reading it: for hooks and logs.

        A decision must not rest on it: it is not compared with the stored session when that is saved.
        """
        return self._get_session().peek(key, default)

    def _has(self, key: str) -> bool:
        """Return True if *key* is there; that does not count as a read."""
        return key in self._get_session()._reading().data

    def _peek(self, key: str) -> JSONValue | Missing:
        return self._get_session()._peek(key)

    def _followed(self, key: str, value: JSONValue) -> JSONValue:
        return self._get_session()._followed(key, value)

    def _put(self, key: str, value: JSONValue) -> None:
        self._changing()._put(key, value)

    def _drop(self, key: str) -> None:
        core = self._changing() if self._has(key) else self._get_session()
        core.remove(key)

    # Its life

    @_waits_for_the_store
    def save(self, must_create: bool = False) -> None:
        """Store what was changed, on top of what others changed meanwhile; a new session even if it is empty.

        The session then lives on for `get_expiry_age`. Nothing is written if nothing was changed, unless ``modified`` was
        set or SESSION_SAVE_EVERY_REQUEST is. Raises `SessionConflict <session.SessionConflict>` if this request read what
        another one changed meanwhile; as the last line of a database transaction it rolls that back. Raises ``UpdateError``
        if the session was deleted meanwhile. In both cases nothing is stored. With *must_create* raises ``CreateError`` if it
        is stored already.
        """
        known = self._core._state.loaded or must_create
        core = self._get_session()
        state = core._state
        if must_create and state.record is not None:
            raise CreateError
        if state.record is None and not state.ended:
            if not known:
                self._begin(None)
                self._lost()
            lifecycle.insist(state)
        insisted = self._insisted or (conf.settings.SESSION_SAVE_EVERY_REQUEST and not state.written)
        changing = insisted or state.changed or (bool(state.draft.pending()) if state.ended else state.record is None)
        if changing:
            # Django moves the expiry with each change: that is not the app's doing, and conflicts with nothing.
            lifecycle.prolong(state, self._deadline_ns())
        self._storing(core.save)
        if state.ended and changing:
            self._lost()
        # The cookie is still to be set.
        self._modified, self._insisted = True, False

    def _storing(self, store: Callable[[], T]) -> T:
        self._refused = False
        try:
            return store()
        except SessionConflict:
            self._refused = True
            raise

    def _lost(self) -> NoReturn:
        raise UpdateError("the session was deleted or renewed by another request, or has expired: nothing was stored")

    @_waits_for_the_store
    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on what is stored now, store it at once, and return what it returned.

        For a decision that must be exact: spending a nonce, counting up to a limit. See `Session.atomic
        <session.Session.atomic>`.

        ``if not request.session.atomic(lambda s: s.pop_string("nonce")): raise PermissionDenied``
        """
        core = self._get_session()
        core._open()
        state = core._state
        step = atomic.atomic(state, core._policy, change, deadline_ns=self._deadline_ns())
        result = self._storing(lambda: core._drive(step))
        # The cookie is still to be set.
        self._modified |= state.written
        return result

    def _deadline_ns(self) -> int:
        date = self.get_expiry_date(modification=from_ns(self._manager._policy.clock()))
        if timezone.is_naive(date):
            date = timezone.make_aware(date, timezone.get_default_timezone())
        return to_ns(min(date, _LATEST))

    @_waits_for_the_store
    def create(self) -> None:
        """Store a new session with a key of its own and this one's data, if that was read; it is this one from now on."""
        state = self._core._state
        data = dict(state.draft.data) if state.loaded else {}
        self._begin(None)
        self._core.update(data)
        self.save(must_create=True)

    @_waits_for_the_store
    def load(self) -> dict[str, JSONValue]:
        """The data as it is stored now; ``{}`` if there is none."""
        if not self._core._state.loaded:
            return dict(self._get_session())
        return dict(self._manager.load(self._core.token))

    @_waits_for_the_store
    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session of that key. A key that `cycle_key` replaced is none, though still to be renewed."""
        state = self._core._state
        if state.coming is not None and session_key in (state.coming, state.token):
            return session_key == state.coming
        there = self._manager.load(session_key)
        there._reading()
        return there.token is not None

    @_waits_for_the_store
    def delete(self, session_key: str | None = None) -> None:
        """Delete the session of a key, now; without one, this one, whose data stays here, but is not stored again."""
        state = self._core._state
        state.rerun = False
        if session_key is None or session_key == self.session_key:
            # A session that was renewed meanwhile is reached by the key that the client sent.
            token = state.presented if state.ended else state.token
            keys = {self._manager._policy.key(token)} if _state.is_well_formed_token(token) else set()
            if state.record is not None:
                # Within a renewal's grace that is another.
                keys.add(state.record.token)
            for key in keys:
                self._manager.store.delete(key)
        elif _state.is_well_formed_token(session_key) and not (state.coming and session_key == state.token):
            self._manager.store.delete(self._manager._policy.key(session_key))

    @_waits_for_the_store
    def flush(self) -> None:
        """Delete the session, now, and begin a new one, which gets a key if something is put. What ``logout`` calls."""
        # If the store fails, nobody is logged out, and the cookie stays.
        self.delete()
        self._begin(None)
        self.accessed, self._modified, self._insisted, self._dismissed = True, True, False, False

    def cycle_key(self, *, grace: bool = False) -> None:
        """Give the session a new key and keep its data: what ``login`` calls, against session fixation.

        The new key is in ``session_key`` at once; it is stored, and the old one stops working, in the one write of the save.
        If another request renewed the session first, a login gets a session of its own, under yet another key, with what it
        put; a request that read anything but messages and what logins keep is a conflict. *grace*: for the manager's
        ``renewal_grace`` the old key still works; not for logins, since whoever planted it would read the session.
        """
        core = self._changing()
        state = core._state
        if state.record is not None:
            core.renew_token(grace=grace)
        elif not state.ended:
            lifecycle.insist(state)
            state.coming = _state.new_token()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the sessions that have expired: what ``clearsessions`` calls. It reads the whole table, and is billed for that.

        DynamoDB's TTL does so by itself and free of charge, so with that on there is no need to call it.
        """
        store = get_site().manager.store
        if isinstance(store, DynamoStore):
            from dynamostore.batch import Batch

            Batch(store).purge_expired()

    # Django's middleware asks for these as well, so they do not count as reads

    def get_expiry_age(self, **kwargs: object) -> int:
        """Return the number of seconds until the session expires. Does not count as a read."""
        return super().get_expiry_age(**self._with_expiry(kwargs))

    def get_expiry_date(self, **kwargs: object) -> datetime:
        """Return the time when the session expires. Does not count as a read."""
        return super().get_expiry_date(**self._with_expiry(kwargs))

    def get_expire_at_browser_close(self) -> bool:
        """Return True if the session ends with the browser. Does not count as a read."""
        expiry = self._custom_expiry()
        return bool(conf.settings.SESSION_EXPIRE_AT_BROWSER_CLOSE) if expiry is None else expiry == 0

    def set_expiry(self, value: datetime | timedelta | int | None) -> None:
        """Have the session expire at *value*, or in so many seconds; with the browser (0); or as the settings say (None)."""
        if value is None:
            self.remove(_EXPIRY)
        else:
            super().set_expiry(value)

    def _with_expiry(self, kwargs: dict[str, object]) -> dict[str, object]:
        # Django promises that the session is not read if the expiry is given.
        return kwargs if "expiry" in kwargs else {**kwargs, "expiry": self._custom_expiry()}

    def _custom_expiry(self) -> JSONValue:
        return self._get_session().peek(_EXPIRY)
