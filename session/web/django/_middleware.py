"""`SessionMiddleware` for Django: saves the session, re-runs or refuses stale requests, and answers outages."""

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
from session.web._exchange import cookies, find_outage, is_outage, outage_headers, report

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
# Django answers these with 400, 403 or 404. They are the app's decision, even if raised from a conflict.
_ANSWERS = (BadRequest, Http404, PermissionDenied, SuspiciousOperation)


class SessionMiddleware(DjangoSessionMiddleware):
    """Replace Django's ``SessionMiddleware``: save the session, re-run or refuse stale requests, and answer outages.

    ::

        MIDDLEWARE = ["session.web.django.SessionMiddleware", ...]

    Django's own middleware answers stale requests and outages with 500, and a request whose session has ended in the meantime
    with 400. It does not work with a ``renewal_grace``, because it sends the old key again.

    A request is stale if it read a value that another request then changed. Two settings decide what happens:

    - *SESSION_RERUN*: which stale requests run again. "safe" (default): GET, HEAD and OPTIONS without a body, except OAuth
      callbacks. "never": none. Or a function of the request that returns a bool, or its dotted path. A request runs again at
      most three times, within 5 seconds.
    - *SESSION_CONFLICT_VIEW*: a view that takes the request and the `SessionConflict <session.SessionConflict>`, or its dotted
      path. It answers the other stale requests. Default: a 409. In both cases the stale request stores nothing.

    A subclass may override `conflict` and `unavailable` to make its own pages.

    If the store fails in a view, in another middleware or at the save, the answer is a 503 with ``Retry-After``. The client
    keeps its cookie. Other errors, such as a session that is too large, are not changed.

    A response of 500 or above saves nothing. But the view may have stored the session under a new key before. Then the
    response sets the cookie, because the old key does not work any more.

    A view may assign to ``request.session``. A mapping replaces the session's data, None flushes the session, and another
    ``SessionStore`` takes its place. Any other object raises `SessionTypeError <session.SessionTypeError>`.

    Raises ``ImproperlyConfigured`` at the start of the server if one of the settings is invalid.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        self._get_response: Callable[[HttpRequest], HttpResponse] = get_response  # type: ignore[assignment]  # unless it is async
        self._aget_response: Callable[[HttpRequest], Awaitable[HttpResponse]] = get_response  # type: ignore[assignment]  # if it is
        # Report an invalid setting when the server starts.
        get_rerun()
        get_conflict_view()
        got_request_exception.connect(_keep_error)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Run the request, again as long as it is stale and may run again."""
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
            time.sleep(runs.budget.pause())
            runs.restore()

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
        """Async version of `__call__`, for ASGI. Code that may wait for the store runs in a thread."""
        rerun = get_rerun()
        # The project's function may block.
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
            await asyncio.sleep(runs.budget.pause())
            runs.restore()

    def process_request(self, request: HttpRequest) -> None:
        """Begin the request's session. Of several cookies with its name, use the first with a session.

        Browsers send the cookie with the most specific path first.
        """
        if issubclass(self.SessionStore, BaseSessionStore):
            _set_cookie(request)
        super().process_request(request)
        session = request.session
        runs = _runs_of(request)
        if isinstance(session, BaseSessionStore):
            setattr(request, _SESSION, session)
            rerunnable = runs is not None and runs.may_rerun
            policy = session._site.checked if rerunnable else session._site.unchecked
            session._enter(policy, attempt=runs.budget.attempt if runs else 1, route=described(request))
            if runs is not None and runs.last is not None:
                # If the session has ended, a re-run must not create one: its cookie could replace that of a new login.
                session._core._state.only_if_there = True
                _state.keep_to(session._core._state, runs.last)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the answer to an outage or conflict that a view raised."""
        if is_outage(exception):
            return self._answer_outage(request, exception)
        conflict = None if isinstance(exception, _ANSWERS) else find_conflict(exception)
        if conflict is None:
            return None
        # process_response replaces this answer, after all inner middlewares have seen it.
        setattr(request, _CONFLICT, conflict)
        return HttpResponse(status=409)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session and set its cookie, like Django's. Answer an outage, and re-run or refuse a stale request."""
        response = self._finish(request, response)
        if response.status_code >= 500:
            _send_new_key(request, response)
        return response

    def _finish(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        noted = getattr(request, _OUTAGE, None)
        if noted is not None and response.status_code >= 500:
            # `process_exception` made the 503. Django made any other status, from an error of another middleware.
            return response if response.status_code == 503 else self._answer_outage(request, noted)
        conflict = getattr(request, _CONFLICT, None)
        if conflict is not None and (response.status_code == 409 or response.status_code >= 500):
            _take_replacement(request)
            return self._end_stale(request, response, conflict)
        put = Hidden(_take_replacement(request))
        session = getattr(request, "session", None)
        shown = isinstance(session, BaseSessionStore) and session._refused
        try:
            _apply_replacement(session, put, response.status_code)
            return self._save(request, response)
        except SessionConflict as error:
            if shown:
                # The view caught a conflict before, and this response is its answer to it.
                outcome = f"answered with {response.status_code} by the view, and nothing was stored"
                report_conflict(error, request.method or "", route_of(request), outcome=outcome)
                patch_vary_headers(response, ("Cookie",))
                return response
            return self._end_stale(request, response, error)
        except StoreError as error:
            if not is_outage(error):
                raise
            return self._answer_outage(request, error)

    def unavailable(self, request: HttpRequest, error: StoreError) -> HttpResponse:  # noqa: ARG002 (for subclasses)
        """Return the answer to an outage, a 503. With DEBUG, its body gives the reason. Override it for your own page.

        The page must not use the session or ``request.user``, because they would wait for the store again. The middleware adds
        ``Cache-Control: no-store`` and ``Retry-After`` unless the page sets them.
        """
        return unavailable(error)

    def conflict(self, request: HttpRequest, error: SessionConflict) -> HttpResponse:
        """Return the answer to a stale request: that of SESSION_CONFLICT_VIEW, or a 409. Override it for your own page.

        ``request.session`` is then a new view of the stored session. Values and messages that you add there are stored.
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
                # The request that ended or renewed the session has already told the client. A cookie from here could replace
                # that of a new login.
                response.cookies.pop(name, None)
        elif session.accessed:
            patch_vary_headers(response, ("Cookie",))
        return response

    def _end_stale(self, request: HttpRequest, response: HttpResponse, error: SessionConflict) -> HttpResponse:
        session, runs = getattr(request, "session", None), _runs_of(request)
        if not isinstance(session, BaseSessionStore):
            raise error
        if runs is not None and runs.start_rerun(session._core._state):
            return response
        close_stale(response)
        report_conflict(error, request.method or "", route_of(request))
        request.session = anew = begin_anew(session)
        setattr(request, _SESSION, anew)
        try:
            answer = (
                self._page.make(request, partial(self.conflict, request, error)) if self._has_page else refusal(request)
            )
            _apply_replacement(anew, Hidden(_take_replacement(request)), answer.status_code)
            if anew.modified or request.session is not anew:
                return self._save(request, answer)
            patch_vary_headers(answer, ("Cookie",))
            return answer
        except SessionConflict:
            # Another request changed the session again, so the page is stale, too. Nothing is stored.
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
        report(error, described(request)())
        setattr(request, _OUTAGE, error)
        response = self.unavailable(request, outage)
        for name, value in outage_headers():
            if name in ("Cache-Control", "Retry-After"):
                response.headers.setdefault(name, value)
        return response


def _set_cookie(request: HttpRequest) -> None:
    """Set the session's cookie in ``request.COOKIES`` to the first well-formed token that the client sent under its exact name.

    Django's parser strips all kinds of white space from a cookie's name, and uses the last of several cookies.
    """
    scope = getattr(request, "scope", None)
    # Under ASGI, use the original headers: Django joins several Cookie headers with commas.
    header = request.META.get("HTTP_COOKIE") if scope is None else cookies(scope)
    if not header:
        return  # a test or another middleware may have set request.COOKIES
    name = conf.settings.SESSION_COOKIE_NAME
    token = _state.choose_token(values_of(name, header))
    if token is None:
        request.COOKIES.pop(name, None)
    else:
        request.COOKIES[name] = token


def _send_new_key(request: HttpRequest, response: HttpResponse) -> None:
    """Set the cookie in an error response if the request has already stored the session under a new key.

    Django sets no cookie in a response of 500 or above, so the client would keep the old key, and be logged out.
    """
    session = getattr(request, "session", None)
    if not isinstance(session, BaseSessionStore):
        return
    state = session._core._state
    if state.ended or state.presented is None or state.token in (None, state.presented):
        return
    settings = conf.settings
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        state.token or "",
        max_age=None if session.get_expire_at_browser_close() else session.get_expiry_age(),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=settings.SESSION_COOKIE_HTTPONLY,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )
    patch_vary_headers(response, ("Cookie",))


def _runs_of(request: HttpRequest) -> Runs | None:
    # None if only `process_request` was called, as in tests of views.
    runs: Runs | None = getattr(request, _RUNS, None)
    return runs


def _take_replacement(request: HttpRequest) -> object:
    """Return the object in the session's place, and put the session back. Another Django session stays there."""
    put, session = getattr(request, "session", None), getattr(request, _SESSION, None)
    if session is not None and hasattr(request, "session") and not _is_session(put):
        request.session = session
    return put


def _is_session(value: object) -> bool:
    # Django's own middleware uses the same attribute.
    return hasattr(value, "accessed")


def _apply_replacement(session: object, put: Hidden[object], status: int) -> None:
    """Give *session* the data of the mapping that the view put in its place, or flush it if the view put None there."""
    if not isinstance(session, BaseSessionStore) or _is_session(put.reveal()):
        return
    kind = type(put.reveal()).__name__
    if put.reveal() is None:
        session.flush()
    elif not isinstance(put.reveal(), Mapping):
        raise SessionTypeError(
            f"request.session was replaced by a {kind}; replace it by a SessionStore, by a dict (the session's new data), or "
            "by None to flush the session",
            wanted="Mapping",
            found=kind,
        )
    elif status < 500:
        # Like Django, save nothing with a response of 500 or above.
        data = Hidden(_copied(put))
        session.clear()
        session.update(data.reveal())


def _copied(put: Hidden[object]) -> dict[str, object]:
    given = put.reveal()
    assert isinstance(given, Mapping)
    return dict(given)


def _keep_error(request: HttpRequest | None = None, **_: object) -> None:
    """Record the outage or conflict that Django is about to answer with 500. `process_response` replaces the 500."""
    error = sys.exc_info()[1]
    if request is None:
        return
    if is_outage(error):
        setattr(request, _OUTAGE, error)
    elif (conflict := find_conflict(error)) is not None:
        setattr(request, _CONFLICT, conflict)
