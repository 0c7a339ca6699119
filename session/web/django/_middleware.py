"""`SessionMiddleware` for Django: it saves the session, runs a stale request again or refuses it, and answers an outage."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import TypeAlias

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django import conf
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from session import _state
from session.cookies import values_of
from session.errors import SessionConflict, SessionTypeError
from session.web._conflicts import find_conflict, report_conflict
from session.web._exchange import cookies, find_outage, is_outage, report

from ._manager import get_conflict_view, get_rerun
from ._page import Page, begin_anew, refusal, unavailable
from ._runs import Runs, close_stale, described, route_of
from ._store import BaseSessionStore

__all__ = ["SessionMiddleware"]

GetResponse: TypeAlias = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

_OUTAGE = "_dynamostore_outage"
_CONFLICT = "_dynamostore_conflict"
_RUNS = "_dynamostore_runs"
_SESSION = "_dynamostore_session"
# What Django answers by itself, with a 400, 403 or 404, is the app's own answer.
_ANSWERS = (BadRequest, Http404, PermissionDenied, SuspiciousOperation)


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, to be named instead of it: it also runs stale requests again, and answers stale requests and outages.

    A request is stale if it read what another request changed meanwhile. GET, HEAD and OPTIONS without a body are run again,
    up to three times within 5 s, as SESSION_RERUN has it; otherwise the answer is a 409, or that of SESSION_CONFLICT_VIEW
    or `conflict`, and nothing is stored. Where the store fails, in a view, in another middleware or when the session is
    saved, the answer is a 503 with ``Retry-After``; the client keeps its cookie. What is a request's own fault (a session too
    large, say) stays what it is.

    A mapping that a view puts into ``request.session`` replaces the session's data, None flushes it, and another
    ``SessionStore`` takes its place; anything else is a `SessionTypeError <session.SessionTypeError>`.

    With Django's own middleware both are a 500, and a request whose session has ended meanwhile is a 400. With a
    ``renewal_grace`` this one is needed: Django's would hand out the old key again.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        self._get_response: Callable[[HttpRequest], HttpResponse] = get_response  # type: ignore[assignment]  # unless it is async
        self._aget_response: Callable[[HttpRequest], Awaitable[HttpResponse]] = get_response  # type: ignore[assignment]  # if it is
        # A wrong setting shows when the server starts.
        get_rerun()
        get_conflict_view()
        got_request_exception.connect(_note)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Run the request, and again while it ends stale and may be run again."""
        if self._is_async:
            return self.__acall__(request)
        runs = Runs(request, get_rerun())
        while True:
            setattr(request, _RUNS, runs)
            early: HttpResponse | None = self.process_request(request)  # type: ignore[func-returns-value]  # a subclass's may
            response = self.process_response(request, early or self._get_response(request))
            if not runs.again:
                return response
            close_stale(response)
            time.sleep(runs.course.pause())
            runs.restore()

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
        """As `__call__`, under ASGI; what may wait for the store does so in a thread."""
        rerun = get_rerun()
        # A function of the project's may wait for something.
        runs = await sync_to_async(Runs)(request, rerun) if callable(rerun) else Runs(request, rerun)
        process_request = sync_to_async(self.process_request, thread_sensitive=True)
        process_response = sync_to_async(self.process_response, thread_sensitive=True)
        while True:
            setattr(request, _RUNS, runs)
            early: HttpResponse | None = await process_request(request)  # type: ignore[func-returns-value]  # a subclass's may
            response = await process_response(request, early or await self._aget_response(request))
            if not runs.again:
                return response
            await sync_to_async(close_stale, thread_sensitive=True)(response)
            await asyncio.sleep(runs.course.pause())
            runs.restore()

    def process_request(self, request: HttpRequest) -> None:
        """Begin the session of the first cookie of its name that leads to one, as browsers send the nearest first."""
        if issubclass(self.SessionStore, BaseSessionStore):
            _set_cookie(request)
        super().process_request(request)
        session = request.session
        runs = _runs_of(request)
        if isinstance(session, BaseSessionStore):
            setattr(request, _SESSION, session)
            rerunnable = runs is not None and runs.may_rerun
            policy = session._site.checked if rerunnable else session._site.unchecked
            session._enter(policy, attempt=runs.course.attempt if runs else 1, route=described(request))
            if runs is not None and runs.last is not None:
                # Were it to begin a session now, its cookie could replace that of a new login.
                session._core._state.only_if_there = True
                _state.keep_to(session._core._state, runs.last)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the answer to an outage, or to a conflict, that a view let pass."""
        if is_outage(exception):
            return self._answer_outage(request, exception)
        conflict = None if isinstance(exception, _ANSWERS) else find_conflict(exception)
        if conflict is None:
            return None
        # The answer is made when all other middleware is done with this one.
        setattr(request, _CONFLICT, conflict)
        return HttpResponse(status=409)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session and set its cookie, as Django's does; answer an outage; have a stale request run again, or refuse it."""
        noted = getattr(request, _OUTAGE, None)
        if noted is not None and response.status_code >= 500:
            # Made here, by `process_exception`; or by Django, of what another middleware let pass.
            return response if response.status_code == 503 else self._answer_outage(request, noted)
        conflict = getattr(request, _CONFLICT, None)
        if conflict is not None and (response.status_code == 409 or response.status_code >= 500):
            _take(request)
            return self._end_stale(request, response, conflict)
        put = Hidden(_take(request))
        session = getattr(request, "session", None)
        shown = isinstance(session, BaseSessionStore) and session._refused
        try:
            _adopt(session, put, response.status_code)
            return self._save(request, response)
        except SessionConflict as error:
            if shown:
                # The view caught it, and this is its answer.
                outcome = f"answered with {response.status_code} by the view, and nothing stored"
                report_conflict(error, request.method or "", route_of(request), outcome=outcome)
                patch_vary_headers(response, ("Cookie",))
                return response
            return self._end_stale(request, response, error)
        except StoreError as error:
            if not is_outage(error):
                raise
            return self._answer_outage(request, error)

    def unavailable(self, request: HttpRequest, error: StoreError) -> HttpResponse:  # noqa: ARG002 (for who overrides it)
        """Return the 503, which says why if DEBUG is on; override it for a page of your own."""
        return unavailable(error)

    def conflict(self, request: HttpRequest, error: SessionConflict) -> HttpResponse:
        """Return the answer to a stale request: that of SESSION_CONFLICT_VIEW, or a 409. Override it for a page of your own.

        ``request.session`` begins anew in it; what it puts there is kept, and the messages that it adds.
        """
        view = get_conflict_view()
        if view is None:
            return refusal(request)
        if iscoroutinefunction(view):
            view = async_to_sync(view)
        response = view(request, error)
        if not isinstance(response, HttpResponseBase):
            raise TypeError(f"SESSION_CONFLICT_VIEW must return a response, not {type(response).__name__}")
        answer: HttpResponse = response
        return answer

    def _save(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        session = getattr(request, "session", None)
        if not isinstance(session, BaseSessionStore):
            return super().process_response(request, response)
        name = conf.settings.SESSION_COOKIE_NAME
        state = session._core._state
        if not state.ended:
            session._closing = True
            try:
                response = super().process_response(request, response)
            except SessionInterrupted:
                if not session._core._state.ended:
                    raise
                patch_vary_headers(response, ("Cookie",))
            finally:
                session._closing = False
            if session._core._state.ended or session._is_outdated():
                # The request that ended or renewed the session has said so to the client; a cookie from here could take that
                # of a new login away.
                response.cookies.pop(name, None)
        elif session.accessed:
            patch_vary_headers(response, ("Cookie",))
        return response

    def _end_stale(self, request: HttpRequest, response: HttpResponse, error: SessionConflict) -> HttpResponse:
        session, runs = getattr(request, "session", None), _runs_of(request)
        if not isinstance(session, BaseSessionStore):
            raise error
        if runs is not None and runs.goes_on(session._core._state):
            return response
        close_stale(response)
        report_conflict(error, request.method or "", route_of(request))
        request.session = anew = begin_anew(session)
        setattr(request, _SESSION, anew)
        try:
            answer = (
                self._page.make(request, partial(self.conflict, request, error)) if self._has_page else refusal(request)
            )
            _adopt(anew, Hidden(_take(request)), answer.status_code)
            if anew.modified or request.session is not anew:
                return self._save(request, answer)
            patch_vary_headers(answer, ("Cookie",))
            return answer
        except SessionConflict:
            # What the page put rests on what it read, and that was changed again: nothing is stored.
            return refusal(request)
        except StoreError as failure:
            if not is_outage(failure):
                raise
            return self._answer_outage(request, failure)

    @property
    def _has_page(self) -> bool:
        return get_conflict_view() is not None or type(self).conflict is not SessionMiddleware.conflict

    @cached_property
    def _page(self) -> Page:
        return Page()

    def _answer_outage(self, request: HttpRequest, error: BaseException) -> HttpResponse:
        outage = find_outage(error)
        assert outage is not None
        report(error)
        setattr(request, _OUTAGE, error)
        return self.unavailable(request, outage)


def _set_cookie(request: HttpRequest) -> None:
    """Have the session's cookie be what the client sent under exactly that name, and the first that could be ours.

    Django takes white space of all kinds off a cookie's name, and takes the last of several.
    """
    scope = getattr(request, "scope", None)
    # As it came: in ASGI Django joins several headers by commas.
    header = request.META.get("HTTP_COOKIE") if scope is None else cookies(scope)
    if not header:
        return  # what there is, a test or another middleware has put there
    name = conf.settings.SESSION_COOKIE_NAME
    token = _state.choose_token(values_of(name, header))
    if token is None:
        request.COOKIES.pop(name, None)
    else:
        request.COOKIES[name] = token


def _runs_of(request: HttpRequest) -> Runs | None:
    # None where only `process_request` is called, as tests of views do.
    runs: Runs | None = getattr(request, _RUNS, None)
    return runs


def _take(request: HttpRequest) -> object:
    """Return what the view put in the session's place, and put the session back; another session of Django's stays there."""
    put, session = getattr(request, "session", None), getattr(request, _SESSION, None)
    if session is not None and hasattr(request, "session") and not _is_session(put):
        request.session = session
    return put


def _is_session(value: object) -> bool:
    # As Django's own middleware sees it.
    return hasattr(value, "accessed")


def _adopt(session: object, put: Hidden[object], status: int) -> None:
    """Have *session* be what the view put in its place: the data of a mapping; None flushes it."""
    if not isinstance(session, BaseSessionStore) or _is_session(put.reveal()):
        return
    kind = type(put.reveal()).__name__
    if put.reveal() is None:
        session.flush()
    elif not isinstance(put.reveal(), Mapping):
        raise SessionTypeError(
            f"request.session was replaced by a {kind}: replace it by a SessionStore, by a dict (the session's new "
            "data), or by None, which flushes it",
            wanted="Mapping",
            found=kind,
        )
    elif status < 500:
        # As Django saves: not beside a 500.
        data = Hidden(_copied(put))
        session.clear()
        session.update(data.reveal())


def _copied(put: Hidden[object]) -> dict[str, object]:
    given = put.reveal()
    assert isinstance(given, Mapping)
    return dict(given)


def _note(request: HttpRequest | None = None, **_: object) -> None:
    """Keep the outage or conflict that Django makes a 500 of, for the middleware that is given that."""
    error = sys.exc_info()[1]
    if request is None:
        return
    if is_outage(error):
        setattr(request, _OUTAGE, error)
    elif (conflict := find_conflict(error)) is not None:
        setattr(request, _CONFLICT, conflict)
