"""`BaseSessionStore`: the life of a session as Django has it, on the core's: saved, renewed, deleted, expired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn, TypeVar

from django import conf
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.utils import timezone

from dynamostore import DynamoStore
from dynamostore.hidden import Hidden
from dynamostore.instants import INT64_MAX, from_ns, to_ns
from session import _state
from session._policy import Policy
from session._state import Status
from session.data import SessionData
from session.errors import SessionConflict
from session.plans import atomic, lifecycle
from session.types import JSONValue

from ._corrupt import CORRUPT, report_replaced
from ._data import BaseSessionData, waits_for_the_store
from ._manager import get_site

__all__ = ["BaseSessionStore"]

T = TypeVar("T")

# No deadline is later: it is kept in 64 bits of nanoseconds.
_LATEST = from_ns(INT64_MAX)
_EXPIRY = "_session_expiry"
_PASSWORD_HASH = "_auth_user_hash"  # noqa: S105 (the key, not what is under it)


class BaseSessionStore(BaseSessionData):
    """Django's API of a session, and its typed getters; `SessionStore <session.web.django.SessionStore>` has the async methods."""

    accessed: bool

    def __init__(self, session_key: str | None = None) -> None:
        """Begin with the session of a client's *session_key*; a key that is not well-formed counts as none."""
        held = Hidden(session_key)
        del session_key
        self._site = get_site()
        self._manager = self._site.manager
        self._core = self._manager._begin(Hidden(None), self._site.unchecked)
        # True if the app was shown a conflict, by `save` or `atomic`.
        self._refused = False
        # Whether the middleware is to save in any case, and whether that is to be written in any case; and whether it
        # was told not to.
        self._modified = self._insisted = self._dismissed = False
        # True while our middleware saves what the app left.
        self._closing = False
        super().__init__(held.reveal())
        self._dismissed = False

    def _begin(self, session_key: str | None) -> None:
        held = Hidden(session_key)
        del session_key
        before = self._core._state
        self._core = self._manager._begin(held, self._core._policy)
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
        """The key to hand the client; after `cycle_key` at once the new one. Reads nothing, but is access: ``Vary: Cookie``."""
        self.accessed = True
        return self._session_key

    @property
    def _session_key(self) -> str | None:
        state = self._core._state
        # Django's own middleware would send "None" as the key of a session that ended meanwhile.
        return state.coming or (state.presented if state.ended else self._core.token)

    @_session_key.setter
    def _session_key(self, value: str | None) -> None:
        held = Hidden(value)
        del value
        self._begin(held.reveal())

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
        if state.record is None or not state.looked:
            return False
        # To have looked is activity, too; only a save writes it down.
        return policy.touch_is_due(state.record.expiry_ns, state.deadline_ns, state.settings)

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

    @waits_for_the_store
    def save(self, must_create: bool = False) -> None:
        """Store what was changed, on top of what others changed meanwhile; a new session even if it is empty.

        The session then lives on for `get_expiry_age`, even if nothing was changed. (With the manager's ``idle_timeout`` only
        a change begins the lifetime anew, or ``modified = True``.) Raises `SessionConflict <session.SessionConflict>` if this
        request read what another one changed meanwhile; as the last line of a database transaction it rolls that back. Raises
        ``UpdateError`` if the session was deleted meanwhile. In both cases nothing is stored. With *must_create* raises
        ``CreateError`` if it is stored already.
        """
        known = self._core._state.loaded or must_create
        try:
            core = self._get_session()
        except CORRUPT:
            if not self._closing or self._insisted:
                raise
            # With SESSION_SAVE_EVERY_REQUEST. What cannot be read was not changed either.
            return
        state = core._state
        if must_create and state.record is not None:
            raise CreateError
        if state.record is None and not state.ended:
            if not known:
                self._begin(None)
                self._lost()
            lifecycle.insist(state)
        insisted = self._insisted or self._moves_the_expiry()
        modified, before = self.modified, Hidden(state.token)
        changing = insisted or state.changed or (bool(state.draft.pending()) if state.ended else state.record is None)
        if changing:
            # Django moves the expiry with each change: that is not the app's doing, and conflicts with nothing.
            lifecycle.prolong(state, self._deadline_ns())
        self._storing(core.save)
        if state.ended and changing:
            self._lost()
        # The cookie is still to be set, for a new key in any case.
        self._modified, self._insisted = modified or state.token != before.reveal(), False

    def _moves_the_expiry(self) -> bool:
        """Return True if a save of what nobody changed begins the lifetime anew, as one of Django's does."""
        if conf.settings.SESSION_SAVE_EVERY_REQUEST:
            return not (self._closing and self._core._state.written)
        # With an idle timeout, to have looked is to be saved; and Django's own middleware calls `save` for that.
        own = self._core._state.settings
        return not self._closing and self._manager._policy.effective_idle_ns(own) is None

    def _storing(self, store: Callable[[], T]) -> T:
        self._refused = False
        try:
            return store()
        except SessionConflict:
            self._refused = True
            raise

    def _lost(self) -> NoReturn:
        raise UpdateError("the session was deleted or renewed by another request, or has expired: nothing was stored")

    @waits_for_the_store
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

    @waits_for_the_store
    def create(self) -> None:
        """Store a new session with a key of its own and this one's data, if that was read; it is this one from now on."""
        state = self._core._state
        data = Hidden(dict(state.draft.data) if state.loaded else {})
        settings = state.own_settings
        self._begin(None)
        self._core.update(data.reveal())
        self._core._state.told = settings
        self.save(must_create=True)

    @waits_for_the_store
    def load(self) -> dict[str, JSONValue]:
        """The data as it is stored now; ``{}`` if there is none."""
        if not self._core._state.loaded:
            # Django's does not count as access.
            self._read()
            return dict(self._core)
        return dict(self._manager.load(self._core.token))

    @waits_for_the_store
    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session of that key. A key that `cycle_key` replaced is none, though still to be renewed."""
        state = self._core._state
        if state.coming is not None and session_key in (state.coming, state.token):
            return session_key == state.coming
        there = self._manager.load(session_key)
        del session_key
        try:
            there._reading()
        except CORRUPT:
            return True
        return there.token is not None

    @waits_for_the_store
    def delete(self, session_key: str | None = None) -> None:
        """Delete the session of a key, now; without one, this one, whose data stays here, but is not stored again."""
        state = self._core._state
        state.rerun = False
        if session_key is None or session_key == self._session_key:
            del session_key
            for key in self._keys():
                self._manager.store.delete(key.reveal())
        elif _state.is_well_formed_token(session_key) and not (state.coming and session_key == state.token):
            other = Hidden(self._manager._policy.key(session_key))
            del session_key
            self._manager.store.delete(other.reveal())

    def _keys(self) -> set[Hidden[str]]:
        """Return the keys of the session in the table, and of all that the client sent: none of them may log it in again."""
        state = self._core._state
        # A session that was renewed meanwhile is reached by the key that the client sent.
        token = state.presented if state.ended else state.token
        tokens = {token, *state.sent} if state.sent else {token}
        keys = {Hidden(self._manager._policy.key(token)) for token in tokens if _state.is_well_formed_token(token)}
        if state.record is not None:
            # Within a renewal's grace that is another.
            keys.add(Hidden(state.record.token))
        return keys

    @waits_for_the_store
    def flush(self) -> None:
        """Delete the session, now, and begin a new one, which gets a key if something is put. What ``logout`` calls."""
        # If the store fails, nobody is logged out, and the cookie stays.
        self.delete()
        self._begin(None)
        self.accessed, self._modified, self._insisted, self._dismissed = True, True, False, False

    def cycle_key(self, *, grace: bool = False) -> None:
        """Give the session a new key and keep its data: what ``login`` calls, against session fixation.

        The new key is in ``session_key`` at once; it is stored, and the old one stops working, in the one write of the save. (In
        a logged-in session that is now: ``update_session_auth_hash`` calls this after a change of password.)
        If another request renewed the session first, a login gets a session of its own, under yet another key, with what it
        put; a request that read anything but messages and what logins keep is a conflict. *grace*: for the manager's
        ``renewal_grace`` the old key still works; not for logins, since whoever planted it would read the session.
        A corrupt session is deleted at once, and the new key is that of an empty one.
        """
        try:
            self._get_session()
        except CORRUPT as error:
            self.flush()
            report_replaced(error)
        core = self._core
        state = core._state
        if state.record is not None:
            core.renew_token(grace=grace)
        elif not state.ended:
            lifecycle.insist(state)
            state.coming = _state.new_token(core._policy)
        self.modified = True
        if state.record is not None and core.peek(_PASSWORD_HASH) is not None:
            # A password was changed. Another request by the old key would find that the hash no longer fits, and flush the session.
            self.save()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the sessions that have expired: what ``clearsessions`` calls. It reads the whole table, and is billed for that.

        DynamoDB's TTL does so by itself and free of charge, so with that on there is no need to call it. Raises a `StoreError
        <dynamostore.StoreError>` that is also a ``CommandError``, so that ``manage.py`` prints a line.
        """
        store = get_site().manager.store
        if isinstance(store, DynamoStore):
            from ._clearing import clear_expired

            clear_expired(store)

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

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """End the session when no request has accessed it for this long; None: only when it expires.

        It takes precedence over the manager's ``idle_timeout``, for this session. Call it beside `set_expiry` at a "remember
        me" login.
        """
        self._get_session().set_idle_timeout(idle_timeout)
        self.modified = True

    def _with_expiry(self, kwargs: dict[str, object]) -> dict[str, object]:
        # Django promises that the session is not read if the expiry is given.
        return kwargs if "expiry" in kwargs else {**kwargs, "expiry": self._custom_expiry()}

    def _custom_expiry(self) -> JSONValue:
        core = self._holder(_EXPIRY)
        return None if core is None else core.peek(_EXPIRY)
