"""`BaseSessionStore`: the part of Django's session API that saves, renews, deletes and expires sessions."""

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

# The latest deadline that fits into 64 bits of nanoseconds.
_LATEST = from_ns(INT64_MAX)
_EXPIRY = "_session_expiry"
_PASSWORD_HASH = "_auth_user_hash"  # noqa: S105 (the name of the key, not a hash)


class BaseSessionStore(BaseSessionData):
    """Django's synchronous session API, with typed getters. `SessionStore <session.web.django.SessionStore>` adds the rest."""

    accessed: bool

    def __init__(self, session_key: str | None = None) -> None:
        """Open the session of a client's *session_key*. A malformed key counts as None: a new session."""
        held = Hidden(session_key)
        del session_key
        self._site = get_site()
        self._manager = self._site.manager
        self._core = self._manager._begin(Hidden(None), self._site.unchecked)
        # True if `save` or `atomic` raised a conflict to the app.
        self._refused = False
        # modified: the middleware must call save. forced: save must write, even without a change. dismissed: the app set
        # modified to False.
        self._modified = self._forced = self._dismissed = False
        # True while our middleware saves at the end of the request.
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
        """Use *policy*, in run number *attempt* of the request."""
        self._core._policy = policy
        self._core._state.attempt, self._core._state.route = attempt, route

    def _begin_ended(self) -> None:
        """Begin like a session that another request has ended. Nothing is stored, and no cookie is sent."""
        self._begin(None)
        self._core._state.gone = self._core._state.ended = True

    @property
    def session_key(self) -> str | None:
        """The key to send to the client, or None. After `cycle_key`, it is the new key.

        Does not read the session, but counts as access, so the response has ``Vary: Cookie``.
        """
        self.accessed = True
        return self._session_key

    @property
    def _session_key(self) -> str | None:
        state = self._core._state
        # If it were None for an ended session, Django's own middleware would send the string "None".
        return state.coming or (state.presented if state.ended else self._core.token)

    @_session_key.setter
    def _session_key(self, value: str | None) -> None:
        held = Hidden(value)
        del value
        self._begin(held.reveal())

    @property
    def modified(self) -> bool:
        """True if there is something to save: a change, also within a list or dict, or an expiry to extend.

        Set it to True to store the session and start its lifetime again, even without a change. Set it to False to save
        nothing, unless there is a later change.
        """
        return self._modified or (not self._dismissed and self._pending())

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = self._forced = value
        self._dismissed = not value

    def _pending(self) -> bool:
        state = self._core._state
        if state.changed or state.create_even_if_empty:
            return True
        policy = self._manager._policy
        if state.record is None or not state.looked:
            return False
        # A read counts as activity, too, and a save must store the new expiry.
        return policy.touch_is_due(state.record.expiry_ns, state.deadline_ns, state.settings)

    @property
    def status(self) -> Status:
        """The session's status so far in this request. DESTROYED if another request ended it in the meantime."""
        return self._core.status

    @property
    def attempt(self) -> int:
        """The number of the current run of the request: 1, or more if the middleware re-runs a stale request."""
        return self._core.attempt

    def forbid_rerun(self) -> None:
        """Refuse this request if it is stale, instead of running it again.

        Call it before the view does something outside the session that must not happen twice. Examples: an OAuth callback,
        or a link that works once.
        """
        self._core.forbid_rerun()

    def is_empty(self) -> bool:
        """Return True if there is no key and no data, and no empty session is to be stored."""
        state = self._core._state
        return state.token is None and not state.create_even_if_empty and not state.draft.data

    def _is_outdated(self) -> bool:
        """Return True if the session was renewed and this request read it with its old key, within the grace period."""
        state = self._core._state
        if state.record is None or state.token is None:
            return False
        return state.record.token != self._manager._policy.key(state.token)

    @waits_for_the_store
    def save(self, must_create: bool = False) -> None:
        """Store the changes, merged with those of other requests. Create a new session even if it is empty.

        The lifetime starts again, with `get_expiry_age` seconds, even if nothing was changed. If the manager has an
        ``idle_timeout``, that requires a change or ``modified = True``. As the last line inside a database transaction, it
        lets a conflict roll the transaction back.

        Raises, with nothing stored:

        - `SessionConflict <session.SessionConflict>` if this request read a value that another request changed;
        - ``UpdateError`` if the session was deleted, was renewed or expired in the meantime;
        - ``CreateError`` if *must_create* is True and the session is already stored.
        """
        known = self._core._state.loaded or must_create
        try:
            core = self._get_session()
        except CORRUPT:
            if not self._closing or self._forced:
                raise
            # SESSION_SAVE_EVERY_REQUEST saves every session. A corrupt session was not changed, so skip it.
            return
        state = core._state
        if must_create and state.record is not None:
            raise CreateError
        if state.record is None and not state.ended:
            if not known:
                self._begin(None)
                self._raise_update_error()
            lifecycle.create_even_if_empty(state)
        forced = self._forced or self._moves_the_expiry()
        modified, before = self.modified, Hidden(state.token)
        changing = forced or state.changed or (bool(state.draft.pending()) if state.ended else state.record is None)
        if changing:
            # In Django, each change extends the expiry. The app did not ask for that, so it causes no conflict.
            lifecycle.prolong(state, self._deadline_ns())
        self._track_conflict(core.save)
        if state.ended and changing:
            self._raise_update_error()
        # Keep modified, so that the middleware sets the cookie. A new key always needs one.
        self._modified, self._forced = modified or state.token != before.reveal(), False

    def _moves_the_expiry(self) -> bool:
        """Return True if saving an unchanged session starts its lifetime again, as Django's back ends do."""
        if conf.settings.SESSION_SAVE_EVERY_REQUEST:
            return not (self._closing and self._core._state.written)
        # With an idle timeout, each access leads to a save, also by Django's own middleware. Such a save must not start the
        # lifetime again.
        own = self._core._state.settings
        return not self._closing and self._manager._policy.effective_idle_ns(own) is None

    def _track_conflict(self, store: Callable[[], T]) -> T:
        self._refused = False
        try:
            return store()
        except SessionConflict:
            self._refused = True
            raise

    def _raise_update_error(self) -> NoReturn:
        raise UpdateError("another request deleted or renewed the session, or it has expired; nothing was stored")

    @waits_for_the_store
    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on the stored data, store the result immediately, and return the result of *change*.

        Use it for a decision that must be exact, such as spending a nonce or counting up to a limit. Raises the same errors
        as `Session.atomic <session.Session.atomic>`.

        ::

            if not request.session.atomic(lambda s: s.pop_string("nonce")):
                raise PermissionDenied
        """
        core = self._get_session()
        core._open()
        state = core._state
        step = atomic.atomic(state, core._policy, change, deadline_ns=self._deadline_ns())
        result = self._track_conflict(lambda: core._drive(step))
        # The middleware must set the cookie.
        self._modified |= state.written
        return result

    def _deadline_ns(self) -> int:
        date = self.get_expiry_date(modification=from_ns(self._manager._policy.clock()))
        if timezone.is_naive(date):
            date = timezone.make_aware(date, timezone.get_default_timezone())
        return to_ns(min(date, _LATEST))

    @waits_for_the_store
    def create(self) -> None:
        """Store a new session with a new key, and continue with it. It gets the data of this session, if that is loaded."""
        state = self._core._state
        data = Hidden(dict(state.draft.data) if state.loaded else {})
        settings = state.own_settings
        self._begin(None)
        self._core.update(data.reveal())
        self._core._state.told = settings
        self.save(must_create=True)

    @waits_for_the_store
    def load(self) -> dict[str, JSONValue]:
        """Return the data that is stored now, or ``{}`` if there is no session."""
        if not self._core._state.loaded:
            # In Django, load does not count as access.
            self._read()
            return dict(self._core)
        return dict(self._manager.load(self._core.token))

    @waits_for_the_store
    def exists(self, session_key: str | None) -> bool:
        """Return True if there is a session with this key. A key that `cycle_key` replaced counts as missing at once."""
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
        """Delete the session with *session_key* immediately. Default: this session.

        This object then keeps its data, but does not store it again.
        """
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
        """Return the table keys of this session and of all keys that the client sent, so that none of them works again."""
        state = self._core._state
        # If another request renewed the session, use the key that the client sent.
        token = state.presented if state.ended else state.token
        tokens = {token, *state.sent} if state.sent else {token}
        keys = {Hidden(self._manager._policy.key(token)) for token in tokens if _state.is_well_formed_token(token)}
        if state.record is not None:
            # Within the grace period of a renewal, the record's key differs from the token's.
            keys.add(Hidden(state.record.token))
        return keys

    @waits_for_the_store
    def flush(self) -> None:
        """Delete the session immediately, and begin a new one without a key. ``logout`` calls this."""
        # If the store fails, this raises: the user stays logged in and the client keeps its cookie.
        self.delete()
        self._begin(None)
        self.accessed, self._modified, self._forced, self._dismissed = True, True, False, False

    def cycle_key(self, *, grace: bool = False) -> None:
        """Give the session a new key and keep its data. ``login`` calls this, as protection against session fixation.

        ``session_key`` is the new key immediately. The next save replaces the old key in one write, and the old key stops
        working. In a logged-in session, this method saves by itself, because ``update_session_auth_hash`` calls it after a
        change of password. If the request then fails, our middleware sends the new key with the error.

        *grace*: for the manager's ``renewal_grace``, the old key still works. Do not use it at a login: an attacker who planted
        the old key could read the session.

        If another request renewed the session first, a login gets its own session, under another key, with the values that it
        put. That is possible only if the request read nothing but messages and login keys; otherwise the save raises
        `SessionConflict <session.SessionConflict>`. A corrupt session is deleted immediately, and a new one begins.
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
            lifecycle.create_even_if_empty(state)
            state.coming = _state.new_token(core._policy)
        self.modified = True
        if state.record is not None and core.peek(_PASSWORD_HASH) is not None:
            # The password was changed. Until the save, another request with the old key finds that the hash in the session is
            # outdated, and flushes the session.
            self.save()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the expired sessions. ``manage.py clearsessions`` calls this.

        It reads the whole table, and AWS bills those reads. If DynamoDB's TTL is on, you do not have to call it: TTL deletes
        expired sessions free of charge. Raises a `StoreError <dynamostore.StoreError>` that is also a ``CommandError``, so
        that ``manage.py`` prints one line instead of a traceback.
        """
        store = get_site().manager.store
        if isinstance(store, DynamoStore):
            from ._clearing import clear_expired

            clear_expired(store)

    # Django's middleware calls these, too, so they do not count as reads.

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
        """Set when the session expires.

        *value* is a datetime, a timedelta, or a number of seconds. 0: when the browser closes. None: as the settings say.
        """
        if value is None:
            self.remove(_EXPIRY)
        else:
            super().set_expiry(value)

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """End the session when no request has accessed it for this long. None: it ends only at its expiry.

        It overrides the manager's ``idle_timeout`` for this session. At a "remember me" login, call it together with
        `set_expiry`.
        """
        self._get_session().set_idle_timeout(idle_timeout)
        self.modified = True

    def _with_expiry(self, kwargs: dict[str, object]) -> dict[str, object]:
        # Django promises not to read the session if the caller passes the expiry.
        return kwargs if "expiry" in kwargs else {**kwargs, "expiry": self._custom_expiry()}

    def _custom_expiry(self) -> JSONValue:
        core = self._holder(_EXPIRY)
        return None if core is None else core.peek(_EXPIRY)
