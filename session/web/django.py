"""The session engine for Django: `SessionStore` is ``request.session``, `SessionMiddleware` answers an outage with 503.

::

    SESSION_ENGINE = "session.web.django"
    SESSION_MANAGER = "mysite.sessions.manager"  # a SessionManager; or SESSION_TABLE = "scs_session"
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import NoReturn, TypeAlias, TypeVar, overload

from django import conf
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.asyncio import async_unsafe

from dynamostore import DynamoStore, StoreError
from dynamostore._instants import INT64_MAX, from_ns
from session import _lifecycle, _state, values
from session.cookies import Cookie
from session.session import Session
from session.typed import MISSING, Missing, TypedAccess
from session.values import JSONValue

from ._django_manager import get_manager
from ._exchange import OUTAGE, is_outage, outage_headers, report

__all__ = ["SessionMiddleware", "SessionStore", "get_manager"]

D = TypeVar("D")

Updates: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]]

# No deadline is later: it is kept in 64 bits of nanoseconds.
_LATEST = from_ns(INT64_MAX)
_OUTAGE = "_dynamostore_outage"
_waits_for_the_store = async_unsafe(
    "This waits for the session store, which would hold up the event loop: await the async method instead (aget, aset, "
    "asave, aflush, ...). Once a session was read, all that only looks at it or changes it may be called as it is."
)


class SessionStore(TypedAccess, SessionBase):
    """``request.session``: Django's API, and beside it the typed getters of `TypedAccess <session.typed.TypedAccess>`.

    It is read when it is first looked at, and stored by the middleware if it was changed, within a list or dict too. What
    two requests change at once is kept of both. Data is what JSON can say: `SessionTypeError <session.SessionTypeError>`
    or `ValueError` when something else is put. Raises what the store raises, where it is read or stored; and
    ``SynchronousOnlyOperation`` where that would hold up an event loop.
    """

    def __init__(self, session_key: str | None = None) -> None:
        """The session of a client's *session_key*; one that could not be ours is none."""
        self._manager = get_manager()
        # Whether the middleware is to save in any case, and whether that is to be written in any case; and whether it
        # was told not to.
        self._modified = self._insisted = self._dismissed = False
        super().__init__(session_key)
        self._dismissed = False

    def _begin(self, session_key: str | None) -> None:
        self._core = self._manager.load(session_key)

    # What Django's middleware asks

    @property
    def session_key(self) -> str | None:
        """The key to hand the client; after `cycle_key` at once the new one."""
        return self._core._state.coming or self._core.token

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

    def is_empty(self) -> bool:
        """Whether there is nothing: no key, no data, and nobody asked for an empty session to be stored."""
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

    def __setitem__(self, key: str, value: JSONValue) -> None:
        """Set *key* to a copy of a JSON-native value; see `Session.__setitem__ <session.Session.__setitem__>`."""
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
        if key in self._get_session():
            return self._changing().pop(key)
        if default is MISSING:
            raise KeyError(key)
        return default

    def setdefault(self, key: str, value: JSONValue = None) -> JSONValue:
        """The value of *key*, set to a copy of *value* first if there is none; the session's own, to change."""
        if key not in self._get_session():
            self._changing()[key] = value
        return self._core[key]

    def update(self, dict_: Updates) -> None:  # type: ignore[override]  # a dict's, which it only is in the stubs
        """Set keys to copies of values, or none of them if one is refused."""
        copies = {key: values.native(key, value) for key, value in dict(dict_).items()}
        self._changing().update(copies)

    def clear(self) -> None:
        """Remove all data; the key stays. (To log out: `flush`.)"""
        self._changing().clear()

    def remove(self, key: str) -> None:
        """Remove *key*; nothing happens if it is not there."""
        self._drop(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add *by* to the int under *key*; two requests that increment at once both count."""
        self._changing().increment(key, by)

    def _peek(self, key: str) -> JSONValue | Missing:
        return self._get_session()._peek(key)

    def _put(self, key: str, value: JSONValue) -> None:
        self._changing()._put(key, value)

    def _drop(self, key: str) -> None:
        if key in self._get_session():
            self._changing().remove(key)

    # Its life

    @_waits_for_the_store
    def save(self, must_create: bool = False) -> None:
        """Store what was changed, on top of what others changed meanwhile; a new session even if it is empty.

        The session then lives on for `get_expiry_age`. Nothing is written if nothing was changed, unless ``modified`` was
        set or SESSION_SAVE_EVERY_REQUEST is. Raises ``UpdateError`` if it was deleted meanwhile: nothing is stored then, and
        this one is empty. With *must_create* raises ``CreateError`` if it is stored already.
        """
        known = self._core._state.loaded or must_create
        core = self._get_session()
        state = core._state
        if must_create and state.record is not None:
            raise CreateError
        if state.record is None:
            if not known:
                self._lost()
            _lifecycle.insist(state)
        insisted = self._insisted or (conf.settings.SESSION_SAVE_EVERY_REQUEST and not state.written)
        changing = insisted or state.changed or state.record is None
        if changing:
            core.set_deadline(self._deadline())
        key = core.token
        core.save()
        if state.gone:
            if changing:
                self._lost()
            # It was only looked at, and that it ended meanwhile is for the next request to see.
            self._begin(key)
        # The cookie is still to be set.
        self._modified, self._insisted = True, False

    def _lost(self) -> NoReturn:
        self._begin(None)
        raise UpdateError("the session was deleted or renewed by another request, or has expired: nothing was stored")

    def _deadline(self) -> datetime:
        date = self.get_expiry_date(modification=from_ns(self._manager._policy.clock()))
        if timezone.is_naive(date):
            date = timezone.make_aware(date, timezone.get_default_timezone())
        return min(date, _LATEST)

    @_waits_for_the_store
    def create(self) -> None:
        """Store a new session with a key of its own and this one's data, if that was read; it is this one from now on."""
        data = dict(self._core) if self._core._state.loaded else {}
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
        if session_key is None or session_key == self.session_key:
            keys = {self._manager._policy.key(state.token)} if state.token else set()
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

    def cycle_key(self) -> None:
        """Give the session a new key and keep its data: what ``login`` calls, against session fixation.

        The new key is in ``session_key`` at once; it is stored, and the old one stops working, in the one write of the save.
        """
        core = self._changing()
        state = core._state
        if state.record is not None:
            core.renew_token()
        else:
            _lifecycle.insist(state)
            state.coming = _state.new_token()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the sessions that have expired: what ``clearsessions`` calls. It reads the whole table, and is billed for that.

        DynamoDB's TTL does so by itself and free of charge, so with that on there is no need to call it.
        """
        store = get_manager().store
        if isinstance(store, DynamoStore):
            from dynamostore.batch import Batch

            Batch(store).purge_expired()

    # The same, awaited: in a thread where it waits for the store, and not in Django's one for what is not thread-safe

    async def aset(self, key: str, value: JSONValue) -> None:
        """As ``session[key] = value``."""
        await self._aget_session()
        self[key] = value

    @overload
    async def apop(self, key: str) -> JSONValue: ...
    @overload
    async def apop(self, key: str, default: D) -> JSONValue | D: ...
    async def apop(self, key: str, default: object = MISSING) -> object:
        """As `pop`."""
        await self._aget_session()
        return self.pop(key, default)

    async def asetdefault(self, key: str, value: JSONValue = None) -> JSONValue:
        """As `setdefault`."""
        await self._aget_session()
        return self.setdefault(key, value)

    async def aupdate(self, dict_: Updates) -> None:  # type: ignore[override]  # as update
        """As `update`."""
        await self._aget_session()
        self.update(dict_)

    async def asave(self, must_create: bool = False) -> None:
        """As `save`."""
        await asyncio.to_thread(self.save, must_create)

    async def acreate(self) -> None:
        """As `create`."""
        await asyncio.to_thread(self.create)

    async def aload(self) -> dict[str, JSONValue]:
        """As `load`."""
        return await asyncio.to_thread(self.load)

    async def aexists(self, session_key: str | None) -> bool:
        """As `exists`."""
        return await asyncio.to_thread(self.exists, session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        """As `delete`."""
        await asyncio.to_thread(self.delete, session_key)

    async def aflush(self) -> None:
        """As `flush`."""
        await asyncio.to_thread(self.flush)

    async def acycle_key(self) -> None:
        """As `cycle_key`."""
        await self._aget_session()
        self.cycle_key()

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`."""
        await asyncio.to_thread(cls.clear_expired)


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, to be named instead of it, which answers with 503 and ``Retry-After`` where the store fails.

    Whether it fails in a view, in another middleware or when the session is saved: the client keeps its cookie. What is a
    request's own fault (a session too large, say) stays what it is. With Django's own middleware an outage is a 500. With a
    ``renewal_grace`` this one is needed: Django's would hand out the old key again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        super().__init__(get_response)
        got_request_exception.connect(_note)

    def process_request(self, request: HttpRequest) -> None:
        """Begin the session; of several cookies of its name by the first that could be ours, as browsers send the nearest first."""
        name = conf.settings.SESSION_COOKIE_NAME
        header = request.META.get("HTTP_COOKIE", "")
        # Almost always there is one, and Django has it.
        if header.count(f"{name}=") > 1:
            for value in Cookie(name=name).values(header):
                if _state.is_well_formed_token(value):
                    request.COOKIES[name] = value
                    break
        super().process_request(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to an outage that a view let pass."""
        return self._answer(request, exception) if is_outage(exception) else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session and set its cookie, as Django's does."""
        outage = getattr(request, _OUTAGE, None)
        if outage is not None and response.status_code >= 500:
            # Made here, by `process_exception`; or by Django, of what another middleware let pass.
            return response if response.status_code == 503 else self._answer(request, outage)
        try:
            response = super().process_response(request, response)
        except StoreError as error:
            if not is_outage(error):
                raise
            return self._answer(request, error)
        session = getattr(request, "session", None)
        if isinstance(session, SessionStore) and session._is_outdated():
            # The request that renewed the session hands out the new key.
            response.cookies.pop(conf.settings.SESSION_COOKIE_NAME, None)
        return response

    def unavailable(self, request: HttpRequest, error: StoreError) -> HttpResponse:  # noqa: ARG002 (for who overrides it)
        """The 503; override it for a page of your own."""
        return HttpResponse(OUTAGE, status=503, headers=dict(outage_headers()))

    def _answer(self, request: HttpRequest, error: BaseException) -> HttpResponse:
        assert isinstance(error, StoreError)
        report(error)
        setattr(request, _OUTAGE, error)
        return self.unavailable(request, error)


def _note(request: HttpRequest | None = None, **_: object) -> None:
    """Keep the outage that Django makes a 500 of, for the middleware that is given that."""
    error = sys.exc_info()[1]
    if request is not None and is_outage(error):
        setattr(request, _OUTAGE, error)
